// The script of verify.html, one file that holds all it needs (ui/build puts it together). It
// asks nobody and keeps nothing: what a check needs is handed in by the person, in any order
// and in any number of goes, and the page says what is still missing.

import verifier from 'built:verifier';
import workerScript from 'built:worker';
import en from '../../locales/en.json';
import zh from '../../locales/zh-CN.json';
import { Engine } from './engine.js';
import { Page } from './page.js';
import { take } from './take.js';
import { Texts } from './text.js';
import { el, hex, icon } from './elements.js';

const catalogues = [zh, en];
const needs = ['trust', 'evidence', 'document'];
const nothing = () => ({ trust: [], evidence: [], document: [] });
const byId = (id) => document.getElementById(id);

// A file is hashed once, also when its result is shown again in another language.
class HashOnce extends Engine {
  #digests = new WeakMap();
  #unpacked = new WeakMap();

  async hash(file, progress) {
    if (!this.#digests.has(file)) this.#digests.set(file, await super.hash(file, progress));
    return this.#digests.get(file);
  }

  async unpack(file, progress) {
    if (!this.#unpacked.has(file)) this.#unpacked.set(file, await super.unpack(file, progress));
    return this.#unpacked.get(file);
  }
}

class OfflinePage extends Page {
  #t;
  #engine;
  #given = nothing(); // files by what they are needed for
  #trustDigest = '';
  #shown = []; // the files of the result on the screen

  constructor(texts, engine) {
    super(texts, engine, null);
    this.#t = texts;
    this.#engine = engine;
    byId('proof-only').addEventListener('click', () => this.#check());
  }

  // take keeps files until there is one of each kind. New trust roots take the place of the
  // old ones; a certificate or bundle, and a document, are added to those that there are. An
  // evidence package is both.
  async take(files) {
    if (files.length === 0) return this.complain('drop.folder');
    const given = { trust: [], evidence: [], document: [] };
    for (const f of files) for (const kind of await this.#kindsOf(f)) given[kind].push(f);
    if (given.trust.length > 1) return this.complain('trust.several');
    if (given.trust.length > 0 && !(await this.#useTrust(given.trust[0]))) return this.complain('trust.bad');
    this.complain('');
    for (const n of needs) this.#given[n] = n === 'trust' && given.trust.length > 0 ? given.trust : [...this.#given[n], ...given[n]];
    byId('result').hidden = true;
    byId('ask').hidden = false;
    if (this.#missing() === undefined) return this.#check();
    this.tell();
    byId('live').textContent = this.#t.text(`offline.${this.#missing()}.missing`);
    return undefined;
  }

  async #kindsOf(file) {
    const { documents: [document], proofs, trust } = await take(this.#engine, [file]);
    if (document?.packed) return ['evidence', 'document'];
    return trust.length > 0 ? ['trust'] : proofs.length > 0 ? ['evidence'] : ['document'];
  }

  // useTrust finds out whether the verifier can read trust roots, and their digest, which the
  // person compares: without a step, a report says that it cannot.
  async #useTrust(file) {
    const { report } = await this.#engine.verify(await file.text(), null, '');
    if (report.steps.length === 0) return false;
    this.#trustDigest = await this.#engine.hash(file);
    return true;
  }

  // check keeps the trust roots for the next check, and nothing else.
  async #check() {
    const files = [...new Set(needs.flatMap((n) => this.#given[n]))];
    await super.take(files);
    const { trust, evidence } = this.#given;
    if (byId('result').hidden) { // given up, perhaps because a document is not the right one
      this.#given = { trust, evidence, document: [] };
    } else {
      this.#shown = files;
      this.#given = { ...nothing(), trust };
    }
    this.tell();
  }

  #missing() { return needs.find((n) => this.#given[n].length === 0); }

  // tell shows what was given and what is missing.
  tell() {
    const now = this.#missing();
    byId('needs').replaceChildren(...needs.map((n) => this.#need(n, n === now)));
    byId('proof-only').hidden = now !== 'document';
  }

  #need(name, now) {
    const t = this.#t;
    const files = this.#given[name];
    const given = files.length > 0;
    const item = el('li', { class: given ? 'n-given' : now ? 'n-now' : 'n-later' }, icon(given ? 's-passed' : 'v-not_found'), el('div', {},
      el('h3', {}, t.text(`offline.${name}.title`)),
      ...(given ? files.map((f) => el('p', {}, t.text('offline.given', { name: f.name }))) : [el('p', {}, t.text(`offline.${name}.missing`))]),
      given && name === 'trust' ? el('p', { class: 'small' }, t.text('offline.compare'), ' ', hex(this.#trustDigest)) : null));
    if (now) item.setAttribute('aria-current', 'step');
    return item;
  }

  // say puts the page, and the result on it, into the language of the texts.
  async say() {
    this.complain('');
    this.tell();
    if (!byId('result').hidden) await super.take(this.#shown);
  }
}

// fill writes the texts of the parts that do not change.
function fill(t, next) {
  document.documentElement.lang = t.text('lang.tag');
  document.title = `${t.text('offline.title')} · ${t.text('site.name')}`;
  for (const e of document.querySelectorAll('[data-t]')) e.textContent = t.text(e.dataset.t);
  byId('progress-all').setAttribute('aria-label', t.text('progress.all'));
  const zone = document.querySelector('.zone-label');
  Object.assign(zone.dataset, { drag: t.text('offline.drop'), release: t.text('offline.release') });
  byId('version').textContent = t.text('offline.version', { version: document.querySelector('meta[name=version]').content });
  Object.assign(byId('language'), { textContent: next['lang.own_name'], lang: next['lang.tag'], hidden: false });
}

// preferred is the catalogue that the browser asks for; the first one is the original.
function preferred() {
  const same = (c, tag) => c['lang.tag'].split('-')[0] === tag.split('-')[0];
  const tag = navigator.languages.find((l) => catalogues.some((c) => same(c, l)));
  return tag ? catalogues.find((c) => same(c, tag)) : catalogues[0];
}

function capable() {
  return 'WebAssembly' in window && 'Worker' in window && 'DecompressionStream' in window && Boolean(Blob.prototype.arrayBuffer && Object.hasOwn && Array.prototype.at);
}

async function main() {
  if (!capable()) return;
  const worker = URL.createObjectURL(new Blob([workerScript], { type: 'text/javascript' }));
  const engine = new HashOnce({ worker, assets: { wasm: new Blob([verifier]) } });
  await engine.start();
  const texts = new Texts(preferred());
  const other = () => catalogues[(catalogues.indexOf(texts.all) + 1) % catalogues.length];
  const page = new OfflinePage(texts, engine);
  fill(texts, other());
  page.tell();
  page.enable();
  byId('language').addEventListener('click', () => {
    texts.all = other();
    fill(texts, other());
    page.say();
  });
  byId('unable').hidden = true;
  byId('ask').hidden = false;
}

main();
