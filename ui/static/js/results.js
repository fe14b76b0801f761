// Shows outcomes, one as a page and several as a list, keeps them up to date, and offers to
// save them.

import { byAttention, frame, nameOf, row, summary } from './many.js';
import { exhibitBlocks } from './exhibit.js';
import { asJSON, fields, hand, nameFor } from './save.js';
import { el } from './elements.js';
import { button, download, numberLink, show } from './view.js';
import { Watch } from './watch.js';

const place = () => document.getElementById('result');
const pause = 5000; // ms before a record is followed again that the service wrongly said had moved

export class Results {
  #t;
  #service;
  #checker;
  #announce;
  #again;
  #watch;
  #outcomes = [];
  #open = new Set(); // subjects whose rows are open
  #ended = new AbortController(); // of what is asked about these outcomes

  // again is called to check something else.
  constructor({ texts, service, checker, announce, again }) {
    this.#t = texts;
    this.#service = service;
    this.#checker = checker;
    this.#announce = announce;
    this.#again = again;
    this.#watch = service && new Watch(service);
  }

  get outcomes() { return this.#outcomes; }

  // open are the places of the rows that are open.
  get open() { return this.#outcomes.flatMap((o, i) => (this.#open.has(o.subject) ? [i] : [])); }

  get shown() { return this.#outcomes.length > 0; }

  // show shows outcomes in place of what was shown; open are the places of rows to be opened.
  show(outcomes, open = []) {
    this.hide();
    this.#outcomes = outcomes.length > 1 ? byAttention(outcomes) : outcomes;
    this.#open = new Set(open.map((i) => this.#outcomes[i]?.subject));
    this.#ended = new AbortController();
    place().hidden = false;
    this.#draw();
    this.#headline();
    for (const o of this.#outcomes) this.#follow(o);
    window.scrollTo(0, 0);
  }

  hide() {
    this.#ended.abort();
    this.#watch?.stop();
    this.#outcomes = [];
    place().hidden = true;
    place().replaceChildren();
  }

  #headline() {
    const h1 = place().querySelector('h1');
    this.#announce(h1.textContent);
    h1.focus();
  }

  #draw() {
    const t = this.#t;
    const all = [button(t.text(this.#outcomes.length > 1 ? 'many.again' : 'result.again'), this.#again), button(t.text('result.print'), () => window.print())];
    if (this.#outcomes.length > 1) {
      place().replaceChildren(...frame(t, summary(t, this.#outcomes), all, this.#outcomes.map((o) => this.#row(o))));
      return;
    }
    this.#fill(place(), this.#outcomes[0], all, 'h1');
  }

  #row(outcome) {
    const keep = (body) => this.#fill(body, outcome, [], 'h2');
    const li = row(outcome.words, nameOf(outcome), this.#open.has(outcome.subject), keep);
    li.firstElementChild.addEventListener('toggle', ({ target }) => {
      if (target.open) this.#open.add(outcome.subject);
      else this.#open.delete(outcome.subject);
    });
    return li;
  }

  // fill shows one outcome in a place of its own.
  #fill(where, outcome, actions, level) {
    const r = outcome.words;
    const t = this.#t;
    const waits = Watch.waits(outcome) && this.#checker.online;
    if (waits) actions.push(button(t.text('watch.again'), () => this.#look(outcome, true)));
    if (r.number && this.#service) actions.push(numberLink(t, r.number));
    show(t, where, r, actions, level);
    const note = (text, kind) => text && el('p', { class: `note small ${kind}` }, text);
    where.querySelector('.actions').after(...[
      note(waits && t.text('watch.note'), 'watching'),
      el('p', { class: 'actions saves' }, ...this.#saves(outcome, r)),
      note(this.#printable(outcome) && t.text('save.pdf_note'), 'sent'),
    ].filter(Boolean));
    this.#exhibit(where, outcome);
  }

  // exhibit adds the proof drawn and taken apart, once the verifier has made them. Without it
  // the result stands all the same.
  async #exhibit(where, { subject, found: [f] }) {
    if (!f.evidence || !f.shows) return;
    where.dataset.waits = 'exhibit';
    const x = await this.#checker.exhibit(f, subject, this.#t).catch(() => null);
    delete where.dataset.waits;
    where.querySelector('.checked')?.before(...exhibitBlocks(this.#t, x));
  }

  // printable: a report as a PDF is made by the service, from what it can check itself.
  #printable({ subject, trust, found: [f] }) {
    return this.#checker.online && !trust?.own && f.report.verdict !== 'unverifiable' && !subject.bad;
  }

  // saves are what a person can keep of an outcome.
  #saves(outcome, r) {
    const t = this.#t;
    const [f] = outcome.found;
    const out = [];
    const json = () => hand(nameFor(outcome, r.number, 'json'), new Blob([asJSON(outcome)], { type: 'application/json' }));
    if (this.#printable(outcome)) out.push(this.#pdfButton(outcome, r));
    out.push(button(t.text('save.json'), json));
    if (f.bundle && r.number) out.push(download(t.text('result.save_bundle'), `${r.number}.bundle.json`, f.bundle));
    return out;
  }

  // The PDF is fetched rather than navigated to, so that a failure leaves the result in place.
  #pdfButton(outcome, r) {
    const t = this.#t;
    const b = button(t.text('save.pdf'), async () => {
      b.disabled = true;
      const note = b.closest('.saves').nextElementSibling;
      try {
        hand(nameFor(outcome, r.number, 'pdf'), await this.#service.report(fields(outcome, t.text('lang.tag'))));
        note.textContent = t.text('save.pdf_done');
      } catch (e) {
        note.textContent = t.text(e.cause === 'busy' ? 'save.pdf_busy' : 'save.pdf_failed');
      }
      this.#announce(note.textContent);
      b.disabled = false;
    });
    return b;
  }

  #follow(outcome) {
    if (this.#watch && this.#checker.online) this.#watch.follow(outcome, () => this.#look(outcome, false));
  }

  // look checks an outcome once more, and puts the new one in its place. asked tells that the
  // person wants to know, even that nothing has changed.
  async #look(outcome, asked) {
    const { signal } = this.#ended;
    const next = await this.#checker.again(outcome.subject, signal).catch(() => null);
    const i = this.#outcomes.indexOf(outcome);
    if (signal.aborted || next === null || i < 0) return;
    const same = next.found[0].report.verdict === outcome.found[0].report.verdict;
    if (next.found[0].report.verdict === 'unverifiable' && !asked) { // an outage now takes nothing back
      setTimeout(() => this.#outcomes.includes(outcome) && this.#follow(outcome), pause);
      return;
    }
    this.#watch.leave(outcome.subject);
    this.#outcomes[i] = next;
    this.#replace(i, next);
    this.#announce(asked && same ? this.#t.text('watch.same') : next.words.sentence);
    if (same) setTimeout(() => this.#outcomes.includes(next) && this.#follow(next), pause);
    else this.#follow(next);
  }

  // replace draws what has changed, and keeps the focus near where it was.
  #replace(i, next) {
    if (this.#outcomes.length === 1) {
      const within = place().contains(document.activeElement);
      this.#draw();
      if (within) place().querySelector('h1').focus();
      return;
    }
    const old = place().querySelectorAll('.many > li')[i];
    const within = old.contains(document.activeElement);
    const fresh = this.#row(next);
    old.replaceWith(fresh);
    place().querySelector('h1').textContent = summary(this.#t, this.#outcomes);
    if (within) fresh.querySelector('summary').focus();
  }
}
