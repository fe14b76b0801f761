// The script of verify.html, one file that holds all it needs (ui/build puts it together). It
// asks nobody and keeps nothing: what a check needs is handed in by the person, in any order
// and in any number of goes, and the page says what is still missing.

import verifier from 'built:verifier';
import workerScript from 'built:worker';
import en from '../../locales/en.json';
import zh from '../../locales/zh-CN.json';
import { sniffBundle, sniffTrust } from './check.js';
import { Engine } from './engine.js';
import { Page } from './page.js';
import { Texts } from './text.js';
import { el, icon, value } from './view.js';

const catalogues = [zh, en];
const needs = ['trust', 'evidence', 'document'];
const byId = (id) => document.getElementById(id);

// A file is hashed once, also when its result is shown again in another language.
class HashOnce extends Engine {
  #digests = new WeakMap();

  async hash(file, progress) {
    if (!this.#digests.has(file)) this.#digests.set(file, await super.hash(file, progress));
    return this.#digests.get(file);
  }
}

async function kindOf(file) {
  if (await sniffTrust(file)) return 'trust';
  return (await sniffBundle(file)) ? 'evidence' : 'document';
}

class OfflinePage extends Page {
  #t;
  #engine;
  #given = {}; // files by what they are needed for
  #trustDigest = '';
  #shown = []; // the files of the result on the screen

  constructor(texts, engine) {
    super(texts, engine, null);
    this.#t = texts;
    this.#engine = engine;
    byId('proof-only').addEventListener('click', () => this.#check());
  }

  // take keeps files until there is one of each kind. A new file takes the place of one of
  // its kind; what is no trust roots and no evidence is a document.
  async take(files) {
    if (files.length === 0) return this.complain('drop.folder');
    const given = {};
    for (const f of files) {
      const kind = await kindOf(f);
      if (given[kind]) return this.complain('offline.too_many');
      given[kind] = f;
    }
    if (given.trust && !(await this.#useTrust(given.trust))) return this.complain('offline.bad_trust');
    this.complain('');
    Object.assign(this.#given, given);
    byId('result').hidden = true;
    byId('ask').hidden = false;
    if (needs.every((n) => this.#given[n])) return this.#check();
    this.tell();
    return byId('live').textContent = this.#t.text(`offline.${this.#missing()}.missing`);
  }

  // useTrust finds out whether the verifier can read trust roots, and their digest, which the
  // person compares: without a step, a report says that it cannot.
  async #useTrust(file) {
    const { steps } = await this.#engine.verify(await file.text(), null, '');
    if (steps.length === 0) return false;
    this.#trustDigest = await this.#engine.hash(file);
    return true;
  }

  // check keeps the trust roots for the next check, and nothing else.
  async #check() {
    const files = needs.map((n) => this.#given[n]).filter(Boolean);
    await super.take(files);
    if (byId('result').hidden) return; // given up, or a file could not be taken
    this.#shown = files;
    this.#given = { trust: this.#given.trust };
    this.tell();
  }

  #missing() { return needs.find((n) => !this.#given[n]); }

  // tell shows what was given and what is missing.
  tell() {
    const now = this.#missing();
    byId('needs').replaceChildren(...needs.map((n) => this.#need(n, n === now)));
    byId('proof-only').hidden = now !== 'document';
  }

  #need(name, now) {
    const t = this.#t;
    const file = this.#given[name];
    const item = el('li', { class: file ? 'n-given' : now ? 'n-now' : 'n-later' }, icon(file ? 's-passed' : 'v-not_found'), el('div', {},
      el('h3', {}, t.text(`offline.${name}.title`)),
      el('p', {}, file ? t.text('offline.given', { name: file.name }) : t.text(`offline.${name}.missing`)),
      file && name === 'trust' ? el('p', { class: 'small' }, t.text('offline.compare'), ' ', value({ kind: 'hex', value: this.#trustDigest })) : null));
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
