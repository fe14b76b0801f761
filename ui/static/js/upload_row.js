// A file in the list: its name, how it stands, its progress, and what can be done.

import { el } from './elements.js';

const numbersFrom = 10 * 1024 * 1024; // bytes from which the time left is told

// acts are what the person can do in each state; the last one takes the row away.
const acts = {
  waiting: ['cancel'], hashing: ['cancel'], asking: ['cancel'], known: ['anyway', 'skip'], queued: ['pause', 'cancel'], sending: ['pause', 'cancel'],
  paused: ['resume', 'cancel'], broken: ['now', 'pause', 'cancel'], later: ['now', 'pause', 'cancel'], held: ['cancel'], taking: [], done: [],
  refused: ['retry', 'remove'], unread: ['retry', 'remove'], too_large: ['remove'], skipped: ['anyway', 'remove'],
};

const moving = ['hashing', 'sending', 'paused', 'broken', 'later', 'held'];

export class Row {
  #t;
  #item;
  #remove;
  #name;
  #state = el('p', { class: 'how' });
  #bar;
  #acts = el('p', { class: 'row-acts' });

  constructor(t, item, remove) {
    this.#t = t;
    this.#item = item;
    this.#remove = remove;
    this.#name = el('strong', {}, item.file.name);
    this.#bar = el('progress', { max: String(Math.max(1, item.file.size)), value: '0', 'aria-label': t.text('console.upload.progress_of', { name: item.file.name }) });
    this.element = el('li', { tabindex: '-1' },
      el('div', { class: 'what' }, el('p', {}, this.#name, ' ', el('span', { class: 'small' }, `${t.size(item.file.size)} · ${item.class.name}`)), this.#state, this.#bar), this.#acts);
    this.show();
  }

  // said is the state in words.
  said() {
    const { state, places, file } = this.#item;
    const left = state === 'sending' && places.left && file.size >= numbersFrom;
    return this.#t.text(`console.upload.state.${state}${left ? '_left' : ''}`, { size: this.#t.size(file.size), ...places });
  }

  // show writes the row anew; whoever had the focus in it keeps it there.
  show() {
    const { state, known, paper } = this.#item;
    this.element.dataset.state = state;
    const focused = this.#acts.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    const buttons = acts[state].map((act) => this.#button(act));
    const [name, at] = paper ? [paper.title, paper.href] : [known?.name, known?.href];
    if (at && ['done', 'known', 'skipped'].includes(state)) buttons.unshift(el('a', { class: 'button', href: at, target: '_blank' }, name));
    this.#acts.replaceChildren(...buttons);
    if (focused) (buttons.find((b) => b.dataset.act === focused) ?? buttons[0] ?? this.element).focus();
    this.#bar.hidden = !moving.includes(state);
    this.move();
  }

  // move writes what changes many times a second.
  move() {
    this.#bar.value = this.#item.sent;
    const text = this.said();
    if (this.#state.textContent !== text) this.#state.textContent = text;
  }

  #button(act) {
    const what = this.#t.text(`console.upload.act.${act}`);
    const button = el('button', { type: 'button', 'data-act': act, 'aria-label': this.#t.text('console.upload.named', { what, name: this.#item.file.name }) }, what);
    button.addEventListener('click', () => (['cancel', 'remove'].includes(act) ? this.#remove() : this.#item.say(act)));
    return button;
  }
}
