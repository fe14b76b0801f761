// The page at work: takes files, shows progress, shows the answers. Whoever makes one decides
// where the verifier, the texts and the service are; see main.js.

import { pack, unpack } from './carry.js';
import { Checker } from './check.js';
import { Progress } from './progress.js';
import { RecordPage } from './record.js';
import { Results } from './results.js';
import { most, take } from './take.js';
import { el, hex } from './elements.js';

const byId = (id) => document.getElementById(id);

export class Page {
  #t;
  #form = byId('check');
  #ask = byId('ask');
  #engine;
  #checker;
  #progress;
  #results;
  #record;
  #job = null; // AbortController of the check at work

  // service is null where there is none: on a page that is used offline.
  constructor(texts, engine, service) {
    this.#t = texts;
    this.#engine = engine;
    this.#checker = new Checker(engine, service, texts);
    this.#progress = new Progress(texts, this.#form.dataset.wasmSize, announce);
    this.#results = new Results({ texts, service, checker: this.#checker, announce, again: () => this.#reset(true) });
    this.#record = new RecordPage(service, announce);
  }

  // enable turns the upload form into a place where files are checked.
  enable() {
    this.#form.dataset.mode = 'local';
    byId('file').multiple = true;
    byId('file').addEventListener('change', ({ target }) => {
      const files = [...target.files];
      target.value = ''; // so that the same file can be chosen again
      if (files.length > 0) this.take(files);
    });
    this.#form.addEventListener('submit', (e) => {
      if (this.#form.dataset.mode === 'local') e.preventDefault();
    });
    byId('cancel').addEventListener('click', () => this.#cancel());
    byId('own-trust-drop')?.addEventListener('click', () => this.#useTrust(null));
    this.#listenForDrops();
    this.#record.follow();
    this.#keepOverLanguages();
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
      this.take(folder ? [] : [...e.dataTransfer.files]);
    });
  }

  complain(key, places) {
    const p = byId('complaint');
    p.hidden = key === '';
    p.textContent = key === '' ? '' : this.#t.text(key, places);
    if (key !== '') this.#reset();
  }

  async take(files) {
    if (files.length === 0) return this.complain('drop.folder');
    if (files.length > most) return this.complain('drop.too_many', { max: most, n: files.length });
    this.complain('');
    this.#job = new AbortController();
    const { signal } = this.#job;
    this.#results.hide();
    this.#ask.hidden = false;
    this.#form.hidden = true;
    this.#progress.start();
    try {
      await this.#check(files, signal);
    } catch (e) {
      if (!signal.aborted) this.#results.show(files.map((f) => this.#checker.failed(f, e)));
      if (!signal.aborted && e.cause === 'engine') this.disable();
    } finally {
      if (!signal.aborted) this.#stopProgress();
      this.#job = null;
    }
    return undefined;
  }

  async #check(files, signal) {
    if (!this.#engine.ready) {
      this.#progress.preparing();
      await this.#engine.start();
    }
    const taken = await take(this.#engine, files);
    if (!(await this.#takeTrust(taken.trust)) || taken.documents.length + taken.proofs.length === 0) return;
    const compareWith = { number: this.#form.elements.namedItem('number')?.value, code: this.#form.elements.namedItem('code')?.value };
    this.#progress.expect(taken.documents.map(({ file }) => file));
    const outcomes = await this.#checker.check(taken, compareWith, signal, this.#progress);
    this.#results.show(outcomes);
  }

  #stopProgress() {
    this.#progress.stop();
    this.#form.hidden = false;
    this.#ask.hidden = this.#results.shown;
  }

  // takeTrust uses trust roots that were among the files. It returns false if they are of no use.
  async #takeTrust(found) {
    if (found.length === 0) return true;
    const trust = found.length === 1 ? await this.#checker.readTrust(found[0].text) : null;
    if (trust === null) this.complain(found.length === 1 ? 'trust.bad' : 'trust.several');
    else this.#useTrust({ ...trust, name: found[0].file.name });
    return trust !== null;
  }

  #useTrust(trust) {
    this.#checker.own = trust;
    this.#results.hide();
    if (trust) this.#record.stop();
    else this.#record.follow();
    this.#tellTrust(trust);
    announce(this.#t.text(trust ? 'trust.own' : 'trust.served', { name: trust?.name ?? '' }));
    if (trust === null) this.#reset(true);
  }

  // tellTrust says which trust roots are in use, on a page where that can change.
  #tellTrust(trust) {
    if (!byId('own-trust')) return;
    byId('own-trust').hidden = trust === null;
    byId('own-trust-which').replaceChildren(...(trust ? [this.#t.text('trust.own', { name: trust.name }), ' ', el('span', { class: 'small' }, this.#t.text('trust.sm3'), ' ', hex(trust.sm3))] : []));
  }

  #cancel() {
    this.#job?.abort();
    this.#engine.stop();
    this.#progress.stop();
    this.#reset(true);
    const text = this.#t.text(this.#progress.asked ? 'progress.cancelled_asked' : 'progress.cancelled');
    announce(text);
    const p = byId('complaint');
    p.hidden = false;
    p.textContent = text;
  }

  // reset shows the question again.
  #reset(focus = false) {
    this.#results.hide();
    this.#ask.hidden = false;
    this.#form.hidden = false;
    if (focus) byId('file').focus();
  }

  // keepOverLanguages takes results, and trust roots that the person brought, along to the
  // page in another language, and shows what was brought along.
  #keepOverLanguages() {
    for (const a of document.querySelectorAll('header a[hreflang]')) {
      a.addEventListener('click', () => {
        const outcomes = this.#results.outcomes;
        if (outcomes.length > 0 || this.#checker.own) pack({ outcomes: outcomes.map(({ words, ...rest }) => rest), open: this.#results.open, own: this.#checker.own });
      });
    }
    const state = unpack();
    if (state === null) return;
    if (state.own) this.#useTrust(state.own);
    if (state.outcomes.length > 0) this.#showAgain(state.outcomes, state.open);
  }

  // showAgain shows what the page in the other language had found, in this one's words.
  async #showAgain(outcomes, open) {
    this.#ask.hidden = true;
    const worded = await Promise.all(outcomes.map((o) => this.#checker.word(o))).catch(() => []);
    if (this.#job || worded.length === 0) return;
    this.#results.show(worded, open);
  }
}

function announce(text) { byId('live').textContent = text; }
