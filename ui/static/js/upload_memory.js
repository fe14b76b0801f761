// What the browser keeps of uploads that are not done: where each is, so that the same file,
// chosen again after a reload or on another day, goes on where it stopped. The service forgets
// an upload sooner than this does.

const keepFor = 7 * 24 * 60 * 60 * 1000; // ms

// fingerprint tells files apart without reading them.
export const fingerprint = (file) => `${file.name}|${file.size}|${file.lastModified}`;

export class Memory {
  #prefix;

  // whose is the person's id: on a shared computer nobody goes on with another's uploads.
  constructor(whose) {
    this.#prefix = `stele.upload.${whose}.`;
    this.#try(() => {
      for (const key of Object.keys(localStorage)) {
        if (key.startsWith(this.#prefix) && !(this.#read(key)?.at > Date.now() - keepFor)) localStorage.removeItem(key);
      }
    });
  }

  // find returns where the upload of a file is, or ''. A file whose contents changed meanwhile,
  // as far as that is known, is another one.
  find(file, sm3) {
    const entry = this.#try(() => this.#read(this.#prefix + fingerprint(file)));
    return entry && entry.sm3 === sm3 ? entry.url : '';
  }

  keep(file, sm3, url) { this.#try(() => localStorage.setItem(this.#prefix + fingerprint(file), JSON.stringify({ url, sm3, at: Date.now() }))); }

  forget(file) { this.#try(() => localStorage.removeItem(this.#prefix + fingerprint(file))); }

  #read(key) {
    try {
      return JSON.parse(localStorage.getItem(key));
    } catch {
      return null;
    }
  }

  // A browser may keep nothing; then a reload begins anew.
  #try(f) {
    try {
      return f();
    } catch {
      return undefined;
    }
  }
}
