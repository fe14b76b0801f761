// The page at work: takes files, shows progress, shows the answer. Whoever makes one decides
// where the verifier, the texts and the service are; see main.js.

import { Checker, sniffBundle } from './check.js';
import { words } from './words.js';
import { button, download, numberLink, show } from './view.js';

const byId = (id) => document.getElementById(id);
const announceEvery = 25; // percent
const numbersFrom = 10 * 1024 * 1024; // bytes from which progress is told in numbers

export class Page {
  #t;
  #form = byId('check');
  #ask = byId('ask');
  #result = byId('result');
  #progress = byId('progress');
  #engine;
  #checker;
  #job = null; // AbortController of the check at work

  constructor(texts, engine) {
    this.#t = texts;
    this.#engine = engine;
    this.#checker = new Checker(engine, texts);
  }

  // enable turns the upload form into a place where files are checked.
  enable() {
    this.#form.dataset.mode = 'local';
    byId('file').multiple = true;
    byId('file').addEventListener('change', ({ target }) => {
      const files = [...target.files];
      target.value = ''; // so that the same file can be chosen again
      if (files.length > 0) this.#take(files);
    });
    this.#form.addEventListener('submit', (e) => {
      if (this.#form.dataset.mode === 'local') e.preventDefault();
    });
    byId('cancel').addEventListener('click', () => this.#cancel());
    this.#listenForDrops();
  }

  // disable goes back to the upload form.
  disable() { this.#form.dataset.mode = 'upload'; }

  // A file that misses the zone must not replace the page, so the whole page is the zone.
  #listenForDrops() {
    const zone = this.#form.querySelector('.zone-label');
    const mark = (on) => {
      this.#form.classList.toggle('dragging', on);
      zone.textContent = on ? zone.dataset.release : zone.dataset.drag;
    };
    document.addEventListener('dragover', (e) => {
      e.preventDefault();
      mark(true);
    });
    document.addEventListener('dragleave', (e) => {
      if (e.relatedTarget === null) mark(false);
    });
    document.addEventListener('drop', (e) => {
      e.preventDefault();
      mark(false);
      if (this.#form.dataset.mode !== 'local' || this.#job) return;
      const folder = [...e.dataTransfer.items].some((i) => i.webkitGetAsEntry?.()?.isDirectory);
      this.#take(folder ? [] : [...e.dataTransfer.files]);
    });
  }

  #complain(key) {
    const p = byId('complaint');
    p.hidden = key === '';
    p.textContent = key === '' ? '' : this.#t.text(key);
    if (key !== '') this.#reset();
  }

  async #take(files) {
    if (files.length === 0) return this.#complain('drop.folder');
    if (files.length > 2) return this.#complain('drop.too_many');
    const job = { signal: null };
    for (const f of files) {
      const bundle = await sniffBundle(f);
      if (bundle && !job.bundle) job.bundle = bundle;
      else if (!job.file) job.file = f;
      else return this.#complain('drop.too_many');
    }
    this.#complain('');
    if (!job.bundle) {
      job.number = this.#form.elements.namedItem('number')?.value;
      job.code = this.#form.elements.namedItem('code')?.value;
    }
    return this.#run(job);
  }

  async #run(job) {
    this.#job = new AbortController();
    job.signal = this.#job.signal;
    this.#ask.hidden = false;
    this.#result.hidden = true;
    const bar = this.#startProgress(job.file);
    let digest = '';
    try {
      const found = await this.#checker.check(job, {
        preparing: () => this.#wait('progress.preparing', { size: this.#form.dataset.wasmSize }),
        hashing: (done) => bar(done),
        digest: (hex) => { digest = hex; },
        asking: () => this.#wait('progress.asking'),
        checking: () => this.#wait('progress.checking'),
      });
      const file = job.file && { name: job.file.name, size: job.file.size, digest };
      this.#answer(found, file);
    } catch (e) {
      if (!job.signal.aborted) throw e;
    } finally {
      this.#job = null;
    }
  }

  // startProgress returns what tells the progress of hashing, in bytes.
  #startProgress(file) {
    this.#form.hidden = true;
    this.#progress.hidden = false;
    byId('cancel').focus();
    const t = this.#t;
    let since = 0;
    let announced = 0;
    return (done) => {
      if (done === 0) {
        since = performance.now();
        this.#wait('progress.hashing', { name: file.name });
        return;
      }
      const bar = byId('progress-bar');
      bar.max = file.size;
      bar.value = done;
      if (file.size < numbersFrom) return;
      const seconds = ((performance.now() - since) / 1000) * ((file.size - done) / done);
      byId('progress-numbers').textContent = t.text('progress.numbers', { done: t.size(done), total: t.size(file.size), left: t.left(seconds) });
      const percent = Math.floor((done * 100) / file.size / announceEvery) * announceEvery;
      if (percent > announced && percent < 100) {
        announced = percent;
        this.#announce(t.text('progress.percent', { n: percent }));
      }
    };
  }

  // wait says what is waited for, without a measure of it.
  #wait(key, places) {
    const text = this.#t.text(key, places);
    byId('progress-bar').removeAttribute('value');
    byId('progress-numbers').textContent = '';
    byId('progress-what').textContent = text;
    this.#announce(text);
  }

  #announce(text) { byId('live').textContent = text; }

  #answer(found, file) {
    const t = this.#t;
    const r = words(t, found, file, new Date());
    const actions = [button(t.text('result.again'), () => this.#reset(true)), button(t.text('result.print'), () => window.print())];
    if (found[0].bundle && r.number) actions.push(download(t.text('result.save_bundle'), `${r.number}.bundle.json`, found[0].bundle));
    if (r.number) actions.push(numberLink(t, r.number));
    show(t, this.#result, r, actions);
    if (found[0].cause === 'engine') this.disable();
    this.#progress.hidden = true;
    this.#form.hidden = false;
    this.#ask.hidden = true;
    this.#result.hidden = false;
    this.#announce(r.sentence);
    this.#result.querySelector('h1').focus();
    window.scrollTo(0, 0);
  }

  #cancel() {
    this.#job?.abort();
    this.#engine.stop();
    this.#reset(true);
    this.#announce(this.#t.text('progress.cancelled'));
    const p = byId('complaint');
    p.hidden = false;
    p.textContent = this.#t.text('progress.cancelled');
  }

  // reset shows the question again.
  #reset(focus = false) {
    this.#progress.hidden = true;
    this.#result.hidden = true;
    this.#result.replaceChildren();
    this.#ask.hidden = false;
    this.#form.hidden = false;
    if (focus) byId('file').focus();
  }
}
