// The page's side of the worker.

// Trouble is why something could not be checked; its cause is one of the catalogue's.
export class Trouble extends Error {
  constructor(cause) {
    super(cause);
    this.cause = cause;
  }
}

export class Engine {
  #urls;
  #worker = null;
  #open = new Map(); // id -> {resolve, reject, progress}
  #last = 0;

  constructor(urls) { this.#urls = urls; }

  // ready tells whether the verifier is loaded.
  ready = false;

  // start loads the verifier; it is done when the promise is.
  async start() {
    await this.#ask({ op: 'start' });
    this.ready = true;
  }

  // hash returns the SM3 digest of a file; progress gets the number of bytes done.
  async hash(file, progress) { return (await this.#ask({ op: 'hash', file }, progress)).digest; }

  // open tells what a file is, see the worker.
  async open(file) { return this.#ask({ op: 'open', file }); }

  // unpack returns {bundle, original} of an evidence package, or {report}, as text, of one that is
  // not as it was issued; progress gets the number of bytes done.
  async unpack(file, progress) { return this.#ask({ op: 'unpack', file }, progress); }

  // verify returns the report on a bundle, with its exact text; digest is null where there is
  // no file, size that of the file where it is known.
  async verify(trust, digest, bundle, size) {
    const { report: text } = await this.#ask({ op: 'verify', trust, digest, bundle, size });
    return { report: JSON.parse(text), text };
  }

  // refresh returns the bundle that somebody holds with the evidence of a fresh one of the same record, as text, or
  // null where they are not of one record. Nothing of it is verified yet.
  async refresh(bundle, fresh) { return (await this.#ask({ op: 'refresh', bundle, fresh })).bundle; }

  // rank puts findings about one file into order, the best first: the first is the answer. To
  // each it adds what the verifier's table of verdicts says: whether what the bundle says may
  // be shown (shows), whether the record may have come further since (open), why it could not
  // be checked (why), and its place in a list about several files (attention).
  async rank(found) {
    const { places } = await this.#ask({ op: 'rank', reports: JSON.stringify(found.map((f) => f.report)) });
    return places.map(({ at, shows, open, cause, attention }) => {
      const f = found[at];
      return { ...f, shows, open, why: f.cause ?? cause, attention };
    });
  }

  // words puts findings, the best one first, into words; texts is the catalogue as JSON, about what
  // is known besides: {file, at, trust, hint, alone}, see the verifier.
  async words(texts, found, about) {
    const findings = JSON.stringify(found.map(({ report, why, stands }) => ({ report, why, stands })));
    return (await this.#ask({ op: 'words', texts, findings, about: JSON.stringify(about) })).words;
  }

  // scan returns the text of a QR code in an ImageData, or ''.
  async scan(image) { return (await this.#ask({ op: 'scan', image })).text; }

  // exhibit returns a bundle taken apart; texts are those of the keys picture.* and exhibit.*, as JSON.
  async exhibit(trust, digest, bundle, texts, size) {
    return (await this.#ask({ op: 'exhibit', trust, digest, bundle, texts, size })).exhibit;
  }

  // stop ends whatever is at work. The next call starts anew, from the browser's cache.
  stop() {
    this.#worker?.terminate();
    this.#worker = null;
    this.ready = false;
    this.#fail('stopped');
  }

  #ask(message, progress) {
    return new Promise((resolve, reject) => {
      const id = ++this.#last;
      this.#open.set(id, { resolve, reject, progress });
      this.#running().postMessage({ id, ...this.#urls.assets, ...message });
    });
  }

  #running() {
    if (this.#worker) return this.#worker;
    this.#worker = new Worker(this.#urls.worker);
    this.#worker.onmessage = ({ data }) => this.#answer(data);
    this.#worker.onerror = () => this.#fail('engine');
    return this.#worker;
  }

  #answer({ id, done, failure, ...result }) {
    const asked = this.#open.get(id);
    if (!asked) return;
    if (done !== undefined) {
      asked.progress?.(done);
      return;
    }
    this.#open.delete(id);
    if (failure) asked.reject(new Trouble(failure));
    else asked.resolve(result);
  }

  #fail(cause) {
    for (const { reject } of this.#open.values()) reject(new Trouble(cause));
    this.#open.clear();
  }
}
