// The files that a person is handing in: what they share, and how they stand together.

import { Item } from './upload_item.js';
import { Row } from './upload_row.js';
import { Memory, fingerprint } from './upload_memory.js';

const byId = (id) => document.getElementById(id);

const together = 2; // files that are sent at a time: one more hides the waits of the other

// Gate lets so many through at a time, in the order in which they came.
class Gate {
  #free;
  #waiting = [];

  constructor(free) { this.#free = free; }

  enter() {
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve();
    }
    return new Promise((resolve) => { this.#waiting.push(resolve); });
  }

  leave() {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}

export class List {
  #rows = new Map(); // Item -> Row
  #told = 0; // how many were done when that was last said
  #summing = false;

  hashing = new Gate(1);
  sending = new Gate(together);
  paused = false;

  // chosenClass returns {id, name} of the class that the page has chosen.
  constructor({ t, service, engine, whose, largest, chosenClass }) {
    Object.assign(this, { t, service, engine, largest, chosenClass, memory: new Memory(whose) });
    byId('pause-all').addEventListener('click', () => this.#pauseAll(true));
    byId('resume-all').addEventListener('click', () => this.#pauseAll(false));
    byId('all-anyway').addEventListener('click', () => this.#all('known', 'anyway'));
    byId('all-skip').addEventListener('click', () => this.#all('known', 'skip'));
    addEventListener('online', () => this.#say('online'));
  }

  // busy tells whether something would stop if the page were left.
  get busy() { return [...this.#rows.keys()].some((i) => !i.settled || ['known', 'paused', 'held'].includes(i.state)); }

  // add takes files in and returns how many of them were in already.
  add(files) {
    const here = new Set([...this.#rows.keys()].filter((i) => i.state !== 'done').map((i) => fingerprint(i.file)));
    const fresh = files.filter((file) => !here.has(fingerprint(file)) && here.add(fingerprint(file)));
    byId('handing').hidden = false;
    for (const file of fresh) {
      const item = new Item(file, this.chosenClass(), this);
      const row = new Row(this.t, item, () => this.#remove(item));
      this.#rows.set(item, row);
      byId('files').append(row.element);
      item.run();
    }
    if (fresh.length > 0) announce(this.t.text('console.upload.added', { n: fresh.length }));
    this.#sum();
    return files.length - fresh.length;
  }

  // goOn is called when the person has signed in again.
  goOn() { this.#say('session'); }

  // changed is called by an item that has another state, moved by one whose numbers change.
  changed(item) {
    this.#rows.get(item)?.show();
    if (item.state === 'known') announce(this.t.text('console.upload.asks', { name: item.file.name, text: item.known.text }));
    if (['refused', 'unread', 'too_large'].includes(item.state)) announce(`${item.file.name}: ${this.#rows.get(item).said()}`);
    this.#sumSoon();
  }

  moved(item) { this.#rows.get(item)?.move(); }

  #say(what) {
    for (const item of this.#rows.keys()) item.say(what);
  }

  #all(state, what) {
    for (const item of [...this.#rows.keys()].filter((i) => i.state === state)) item.say(what);
    byId('list-title').focus();
  }

  #pauseAll(on) {
    this.paused = on;
    this.#say(on ? 'pause' : 'resume');
    this.#sum();
    byId(on ? 'resume-all' : 'pause-all').focus();
  }

  #remove(item) {
    const row = this.#rows.get(item);
    const next = row.element.nextElementSibling ?? row.element.previousElementSibling;
    this.#rows.delete(item);
    item.cancel();
    row.element.remove();
    (next?.querySelector('button, a') ?? byId('file')).focus();
    announce(this.t.text('console.upload.given_up', { name: item.file.name }));
    this.#sum();
  }

  // Many states change at once; the sum is made when they have.
  #sumSoon() {
    if (this.#summing) return;
    this.#summing = true;
    setTimeout(() => {
      this.#summing = false;
      this.#sum();
    });
  }

  #sum() {
    const { t } = this;
    const items = [...this.#rows.keys()];
    const count = (...states) => items.filter((i) => states.includes(i.state)).length;
    const done = count('done');
    const asks = count('known');
    const parts = [t.text('console.upload.summary', { total: items.length, done })];
    const add = (key, n) => n > 0 && parts.push(t.text(key, { n }));
    add('console.upload.summary_ask', asks);
    add('console.upload.summary_refused', count('refused', 'unread', 'too_large'));
    add('console.upload.summary_held', count('paused', 'held'));
    byId('summary').textContent = parts.join(' · ');
    byId('handing').hidden = items.length === 0;
    byId('pause-all').hidden = this.paused || count('waiting', 'hashing', 'asking', 'queued', 'sending', 'broken', 'later') < 2;
    byId('resume-all').hidden = !this.paused && count('paused') < 2;
    byId('all-anyway').hidden = asks < 2;
    byId('all-skip').hidden = asks < 2;
    this.#finish(done, items.every((i) => i.settled && !['known', 'paused', 'held'].includes(i.state)));
  }

  // finish says, when nothing is left to do, how many were handed in.
  #finish(done, over) {
    byId('finished').hidden = !over || done === 0;
    if (!over || done === 0) {
      this.#told = over ? 0 : this.#told;
      return;
    }
    const text = this.t.text('console.upload.all_done', { n: done });
    byId('finished-text').textContent = text;
    if (done !== this.#told) announce(text);
    this.#told = done;
  }
}

function announce(text) { byId('live').textContent = text; }
