// The page on which documents are handed in: takes files and folders, by choice or by drop,
// and minds who is signed in. Without this script, and in browsers that cannot do what it
// needs, the page's form hands in one file.

import { Engine } from './engine.js';
import { Texts } from './text.js';
import { List } from './upload_list.js';
import { Service } from './upload_service.js';

const byId = (id) => document.getElementById(id);
const absolute = (path) => new URL(path, location.href).href;

// most is how many files are taken at a time: more than anybody looks through.
const most = 1000;

// Files that systems leave in folders; nobody means to hand them in.
const litter = /^(\..*|Thumbs\.db|desktop\.ini|~\$.*)$/i;

class Page {
  #form = byId('hand-in');
  #t;
  #list;
  #service;

  constructor() {
    const { words, whose, replaces, most: largest, worker, wasm, loader } = this.#form.dataset;
    this.#t = new Texts(JSON.parse(words));
    this.#service = new Service(this.#form.elements.namedItem('form').value, whose, replaces, () => this.#tellSession());
    const engine = new Engine({ worker, assets: { wasm: absolute(wasm), loader: absolute(loader) } });
    this.#list = new List({ t: this.#t, service: this.#service, engine, whose, largest: Number(largest), chosenClass: () => this.#class() });
  }

  #class() {
    const { value, selectedOptions } = byId('class');
    return { id: value, name: selectedOptions[0].dataset.name };
  }

  enable() {
    this.#form.dataset.mode = 'local';
    byId('file').multiple = true;
    for (const id of ['file', 'folder']) {
      byId(id).addEventListener('change', ({ target }) => {
        const files = [...target.files];
        target.value = ''; // so that the same file can be chosen again
        if (files.length > 0) this.#take(id === 'folder' ? tidy(files) : files);
      });
    }
    this.#form.addEventListener('submit', (e) => e.preventDefault());
    byId('session-go-on').addEventListener('click', () => this.#findSession(true));
    // Whoever has signed in elsewhere and comes back need not say so.
    addEventListener('focus', () => this.#findSession(false));
    addEventListener('beforeunload', (e) => {
      if (this.#list.busy) e.preventDefault();
    });
    this.#listenForDrops();
  }

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
    document.addEventListener('drop', async (e) => {
      e.preventDefault();
      mark(false);
      const entries = [...e.dataTransfer.items].map((i) => i.webkitGetAsEntry?.()); // gone after the first wait
      const whole = [...e.dataTransfer.files];
      this.#take(entries.some((entry) => entry?.isDirectory) ? tidy(await filesOf(entries)) : whole);
    });
  }

  #take(files) {
    if (files.length === 0) this.#complain('console.upload.no_files');
    else if (files.length > most) this.#complain('console.upload.too_many', { max: most, n: files.length });
    else {
      this.#complain('');
      const twice = this.#list.add(files);
      if (twice > 0) this.#complain('console.upload.twice', { n: twice });
    }
  }

  #complain(key, places) {
    const p = byId('complaint');
    p.hidden = key === '';
    p.textContent = key === '' ? '' : this.#t.text(key, places);
  }

  #tellSession() {
    byId('session').hidden = !this.#service.lost;
    byId('session-said').textContent = '';
  }

  async #findSession(aloud) {
    if (!this.#service.lost) return;
    const found = await this.#service.find();
    if (found === '') this.#list.goOn();
    else if (aloud) byId('session-said').textContent = this.#t.text(found);
  }
}

const tidy = (files) => files.filter(({ name }) => !litter.test(name));

// filesOf are the files of dropped entries, those of folders included.
async function filesOf(entries) {
  const found = [];
  const open = entries.filter(Boolean);
  for (let entry = open.shift(); entry; entry = open.shift()) {
    if (entry.isFile) found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    else open.push(...(await children(entry.createReader())));
  }
  return found;
}

// children reads a folder, which comes in pieces until one is empty.
async function children(reader) {
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return all;
    all.push(...some);
  }
}

if (window.tus?.isSupported && Object.hasOwn) new Page().enable();
