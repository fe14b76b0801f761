// What the page of uploads asks the service, and as whom. The protocol of the uploads
// themselves (tus 1.0.0) is spoken by tus-js-client.

const { tus } = window;

const patience = 20000; // ms until an answer that does not come counts as none
const takePatience = 10 * 60 * 1000; // a large file is read, and looked through, by the server
const chunk = 32 * 1024 * 1024; // bytes of a request: each one keeps the session alive
const header = 'X-Stele-Form';

// Refusal is why something was not done. Status 0 is that no answer came; wait is in seconds.
export class Refusal extends Error {
  constructor(status, { code = '', message = '' } = {}, wait = 0) {
    super(message || `status ${status}`);
    Object.assign(this, { status, code, text: message, wait });
  }

  // signedOut tells whether the session is over, or another one than the page's.
  get signedOut() { return this.status === 401 || this.code === 'foreign_form' || (this.status === 403 && this.code === ''); }

  // passing tells whether trying again may help.
  get passing() { return [0, 408, 423, 429].includes(this.status) || this.status >= 500 || this.code === 'not_ready'; }
}

export class Service {
  #form;
  #whose;
  #tell;
  #replaces;
  #digests = new Map(); // sm3 -> those who wait to know
  #asking = false;

  // lost tells whether the session is over.
  lost = false;

  // form is the token of the session's forms, whose the person's id; tell is called when lost changes,
  // and replaces is the number of the record that files are handed in to replace, or ''.
  constructor(form, whose, replaces, tell) {
    this.#form = form;
    this.#replaces = replaces;
    this.#whose = whose;
    this.#tell = tell;
  }

  lose() {
    if (this.lost) return;
    this.lost = true;
    this.#tell();
  }

  // find looks who is signed in now. It returns '' if the person of this page is, else the key
  // of what to say.
  async find() {
    try {
      const { user, form } = await this.#fetch('/console/upload/session', { method: 'GET' }, patience);
      if (user !== this.#whose) return 'console.upload.session_other';
      this.#form = form;
      this.lost = false;
      this.#tell();
      return '';
    } catch (e) {
      return e.status === 0 ? 'console.upload.lost' : 'console.upload.session_not_yet';
    }
  }

  // known tells what the agency has of a document already, {href, name, text}, or undefined.
  // Those who ask while others are being answered are asked for together.
  known(sm3) {
    return new Promise((resolve, reject) => {
      this.#digests.set(sm3, [...(this.#digests.get(sm3) ?? []), { resolve, reject }]);
      if (!this.#asking) this.#askKnown();
    });
  }

  async #askKnown() {
    this.#asking = true;
    while (this.#digests.size > 0) {
      const some = [...this.#digests].slice(0, 100);
      for (const [sm3] of some) this.#digests.delete(sm3);
      try {
        const { known } = await this.#post('/console/known', some.map(([sm3]) => ['sm3', sm3]), patience);
        for (const [sm3, waiting] of some) for (const { resolve } of waiting) resolve(known[sm3]);
      } catch (e) {
        for (const [, waiting] of some) for (const { reject } of waiting) reject(e);
      }
    }
    this.#asking = false;
  }

  // take makes a paper of an upload, {paper, title, href}; repeated it is the same one.
  take(upload, classID) { return this.#post('/console/papers/take', [['upload', upload], ['class', classID], ['replaces', this.#replaces]], takePatience); }

  #post(path, fields, time) { return this.#fetch(path, { method: 'POST', headers: { [header]: this.#form }, body: new URLSearchParams(fields) }, time); }

  async #fetch(path, request, time) {
    const giveUp = new AbortController();
    const timer = setTimeout(() => giveUp.abort(), time);
    try {
      const answer = await fetch(path, { ...request, signal: giveUp.signal });
      const body = await answer.json().catch(() => ({}));
      if (answer.ok) return body;
      throw new Refusal(answer.status, body, Number(answer.headers.get('Retry-After')) || 0);
    } catch (e) {
      throw e instanceof Refusal ? e : new Refusal(0);
    } finally {
      clearTimeout(timer);
    }
  }

  // upload returns an upload of tus that has not begun; start() begins it, or goes on where the
  // one at url is. Trying again is for whoever asked.
  upload(file, { url, metadata, onUrl, onProgress, onDone, onRefusal }) {
    const upload = new tus.Upload(file, {
      endpoint: absolute('/console/uploads'),
      uploadUrl: url ? absolute(url) : null,
      metadata,
      chunkSize: chunk,
      retryDelays: null,
      storeFingerprintForResuming: false,
      onBeforeRequest: (request) => request.setHeader(header, this.#form),
      onAfterResponse: (request, response) => {
        // Any of these would be taken for an upload that is gone, and a new one begun.
        if (request.getMethod() === 'HEAD' && [401, 403, 408, 429].includes(response.getStatus())) throw refusalOf(response);
      },
      onUploadUrlAvailable: () => onUrl(new URL(upload.url, location.href).pathname),
      onProgress,
      onSuccess: onDone,
      onError: (e) => {
        if (e.causingError instanceof Refusal) onRefusal(e.causingError);
        else onRefusal(e.originalResponse ? refusalOf(e.originalResponse) : new Refusal(0));
      },
    });
    return upload;
  }
}

const absolute = (path) => new URL(path, location.href).href;

function refusalOf(response) {
  let body;
  try {
    body = JSON.parse(response.getBody());
  } catch { /* answers to HEAD have none */ }
  return new Refusal(response.getStatus(), body ?? {}, Number(response.getHeader('Retry-After')) || 0);
}
