// One file on its way in:
//
//	waiting -> hashing -> asking -> (known) -> queued -> sending -> taking -> done
//
// known waits for the person. From queued on it may be paused, broken (the line is; it tries
// again by itself), later (the service cannot at the moment; likewise) or held (nobody is
// signed in). refused, unread and too_large can be tried again; skipped is the person's will.

import { Trouble } from './engine.js';
import { Refusal } from './upload_service.js';

const slowest = 30; // seconds between two tries
const patient = 6; // tries, one after another, that an answering service may refuse for a while

// Stop is that the person has stopped what was going on.
class Stop extends Error {}

export class Item {
  #on; // the list: what all files share
  #upload = null; // of tus, while it sends
  #reject = null; // of the promise of what is going on
  #answer = null; // resolves the wait for the person, or for time
  #url = '';
  #gone = false;
  #eager = false; // goes on although all others are paused
  #kept = -1; // bytes that were there when it last began to send
  #since = { at: 0, sent: 0 };

  state = 'waiting';
  sent = 0; // bytes hashed or sent
  places = {}; // of the state's text
  sm3 = ''; // '' where it could not be taken
  known = null;
  paper = null;

  constructor(file, classOf, on) {
    this.file = file;
    this.class = classOf;
    this.#on = on;
  }

  // settled tells whether nothing more happens by itself.
  get settled() { return ['known', 'done', 'refused', 'unread', 'too_large', 'skipped', 'paused', 'held'].includes(this.state); }

  #to(state, places = {}) {
    if (this.#gone) return;
    this.state = state;
    this.places = places;
    this.#on.changed(this);
  }

  async run() {
    try {
      if (this.file.size > this.#on.largest) return this.#to('too_large');
      if (!this.sm3) await this.#hash();
      if (!(await this.#wanted())) return this.#to('skipped');
      return await this.#deliver();
    } catch (e) {
      if (this.#gone) return undefined;
      if (e instanceof Trouble) return this.#to('unread');
      return this.#to('refused', { text: e.text || this.#on.t.text('console.upload.lost') });
    }
  }

  // hash takes the digest: one file at a time. A browser that cannot goes without it.
  async #hash() {
    const { engine, hashing } = this.#on;
    await hashing.enter();
    try {
      this.#mustGoOn();
      this.#to('hashing');
      this.sm3 = await engine.hash(this.file, (done) => this.#progress(done));
    } catch (e) {
      if (this.#gone || e.cause === 'read') throw e;
    } finally {
      hashing.leave();
    }
    this.sent = 0;
  }

  // wanted looks whether the agency has the document already, and lets the person decide.
  async #wanted() {
    if (!this.sm3 || this.known) return true;
    this.#to('asking');
    this.known = (await this.#persist(() => this.#on.service.known(this.sm3))) ?? null;
    if (!this.known) return true;
    this.#to('known', { text: this.known.text });
    return (await this.#hear()) === 'anyway';
  }

  async #deliver() {
    this.#url = this.#on.memory.find(this.file, this.sm3);
    await this.#persist(() => this.#send());
    this.#to('taking');
    this.paper = await this.#persist(() => this.#on.service.take(this.#url.split('/').at(-1), this.class.id));
    this.#on.memory.forget(this.file);
    this.#to('done');
  }

  // send sends what the server does not have yet, together with few others.
  async #send() {
    const { sending, service, memory } = this.#on;
    if (this.#on.paused && !this.#eager) throw new Stop('pause');
    this.#to('queued');
    const place = sending.enter();
    try {
      await this.#unlessStopped(place);
      this.#to('sending', this.#numbers());
      this.#since = { at: performance.now(), sent: -1 };
      await this.#unlessStopped(new Promise((resolve, reject) => {
        const metadata = { filename: this.file.name, ...(this.sm3 && { sm3: this.sm3 }) };
        this.#upload = service.upload(this.file, {
          url: this.#url, metadata, onDone: resolve, onRefusal: reject, onProgress: (sent) => this.#progress(sent),
          onUrl: (url) => {
            this.#url = url;
            memory.keep(this.file, this.sm3, url);
          },
        });
        this.#upload.start();
      }));
    } catch (e) {
      this.#upload?.abort().catch(() => {});
      throw e;
    } finally {
      this.#upload = null;
      place.then(() => sending.leave());
    }
  }

  // unlessStopped waits for something, or for the person to stop it.
  #unlessStopped(promise) {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      promise.then(resolve, reject);
    }).finally(() => { this.#reject = null; });
  }

  #progress(done) {
    this.sent = done;
    if (this.state === 'sending') {
      if (this.#since.sent < 0) this.#since.sent = done; // the first number is what the server had
      this.places = this.#numbers();
    }
    this.#on.moved(this);
  }

  #numbers() {
    const { t } = this.#on;
    const { size } = this.file;
    const rate = (this.sent - this.#since.sent) / (performance.now() - this.#since.at); // bytes per ms
    const left = this.#since.sent >= 0 && rate > 0 ? t.left((size - this.sent) / rate / 1000) : '';
    return { done: t.size(this.sent), total: t.size(size), left };
  }

  #mustGoOn() {
    if (this.#gone) throw new Stop('cancel');
  }

  // persist does something until it is done or refused for good.
  async #persist(action) {
    for (let failed = 0; ;) {
      this.#mustGoOn();
      const { state } = this;
      try {
        const result = await action();
        this.#mustGoOn();
        return result;
      } catch (e) {
        this.#mustGoOn();
        if (e instanceof Stop) {
          this.#to('paused', this.#numbers());
          await this.#hear();
          failed = 0;
        } else if (e.signedOut) {
          this.#on.service.lose();
          this.#to('held');
          await this.#hear();
        } else {
          failed = this.#since.sent > this.#kept ? 1 : failed + 1;
          this.#kept = Math.max(this.#kept, this.#since.sent);
          await this.#waitAfter(e, failed);
        }
        this.#to(state);
      }
    }
  }

  // waitAfter waits before the next try, or throws what makes no sense to try again.
  async #waitAfter(refusal, failed) {
    if (!(refusal instanceof Refusal) || !(refusal.passing || (refusal.status === 409 && this.#url && this.state === 'sending'))) throw refusal;
    if (refusal.status !== 0 && refusal.code !== 'not_ready' && failed > patient) throw refusal;
    if (refusal.status === 0) await this.#mustBeReadable();
    if (refusal.code === 'not_ready') return void (await pause(Math.max(refusal.wait, 1) * 1000));
    const seconds = Math.max(refusal.wait, Math.ceil(Math.min(slowest, 2 ** (failed - 1)) * (0.75 + Math.random() / 2)));
    for (let n = seconds; n > 0; n--) {
      this.#to(refusal.status === 0 ? 'broken' : 'later', { n, text: refusal.text });
      const heard = await this.#hear(1000);
      this.#mustGoOn();
      if (heard === 'pause') {
        this.#to('paused', this.#numbers());
        await this.#hear();
        return undefined;
      }
      if (heard !== 'time') return undefined;
    }
    return undefined;
  }

  // A file that was changed or taken away looks, when it is sent, like a line that is broken.
  async #mustBeReadable() {
    try {
      await this.file.slice(0, 1).arrayBuffer();
    } catch {
      throw new Trouble('read');
    }
  }

  // hear waits for the person, or so many milliseconds.
  #hear(time = 0) {
    return new Promise((resolve) => {
      const timer = time > 0 && setTimeout(() => resolve('time'), time);
      this.#answer = (what) => {
        clearTimeout(timer);
        resolve(what);
      };
    }).finally(() => { this.#answer = null; });
  }

  // say is what the person wants, or what has happened outside: pause, resume, now, anyway,
  // skip, retry, online, session, cancel.
  say(what) {
    switch (what) {
      case 'pause': {
        this.#eager = false;
        if (['queued', 'sending'].includes(this.state)) this.#reject?.(new Stop('pause'));
        else if (['broken', 'later'].includes(this.state)) this.#answer?.('pause');
        break;
      }
      case 'resume': {
        this.#eager = true;
        if (this.state === 'paused') this.#answer?.(what);
        break;
      }
      case 'online':
      case 'now': if (['broken', 'later'].includes(this.state)) this.#answer?.(what); break;
      case 'session': if (this.state === 'held') this.#answer?.(what); break;
      case 'skip': if (this.state === 'known') this.#answer?.(what); break;
      case 'anyway': {
        if (this.state === 'known') this.#answer?.(what);
        else if (this.state === 'skipped') this.run();
        break;
      }
      case 'retry': {
        this.class = this.#on.chosenClass();
        if (this.state === 'unread') this.sm3 = '';
        this.run();
        break;
      }
      default:
    }
  }

  // cancel gives the file up; what of it is at the server goes.
  cancel() {
    const { state } = this;
    this.#gone = true;
    if (state === 'hashing') this.#on.engine.stop();
    const upload = this.#upload ?? (this.#url && state !== 'done' ? this.#on.service.upload(this.file, { url: this.#url }) : null);
    this.#reject?.(new Stop('cancel'));
    this.#answer?.('cancel');
    this.#on.memory.forget(this.file);
    if (!upload) return;
    upload.url ??= this.#url || null;
    upload.abort(true).catch(() => {}); // else it expires by itself
  }
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
