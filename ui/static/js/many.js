// The list of results when several things were put in: what needs attention first, one line
// each, which opens to the whole result.

import { el, icon } from './elements.js';

// byAttention orders outcomes; among those of one verdict the given order stays.
export function byAttention(outcomes) {
  return [...outcomes].sort((a, b) => a.found[0].attention - b.found[0].attention);
}

// summary counts the verdicts in one sentence.
export function summary(t, outcomes) {
  const counts = new Map();
  for (const o of byAttention(outcomes)) {
    const v = o.found[0].report.verdict;
    counts.set(v, (counts.get(v) ?? 0) + 1);
  }
  const parts = [...counts].map(([v, n]) => t.text(`many.count.${v}`, { n }));
  return t.text('many.summary', { total: outcomes.length, counts: parts.reduce((a, b) => t.text('many.and', { a, b })) });
}

// nameOf is what a person calls the thing that was put in.
export const nameOf = ({ subject }) => subject.file?.name ?? subject.name;

// row makes one line of the list. fill gets the place of the whole result when it is opened
// for the first time.
export function row(r, name, open, fill) {
  const body = el('div', { class: 'result' });
  const details = el('details', {},
    el('summary', {}, icon(`v-${r.verdict}`), el('span', {},
      el('span', { class: 'label' }, r.label), ' ', el('span', { class: 'name' }, name), ' ', el('span', { class: 'sentence-small' }, r.sentence))),
    body);
  const once = () => {
    if (!details.open || body.hasChildNodes()) return;
    fill(body);
  };
  details.addEventListener('toggle', once);
  details.open = open;
  once();
  return el('li', { class: `v-${r.verdict}` }, details);
}

// frame makes the list's head: the counted sentence and the actions for all.
export function frame(t, text, actions, rows) {
  return [el('h1', { class: 'sentence', tabindex: '-1' }, text), el('p', { class: 'actions' }, ...actions),
    el('p', { class: 'small' }, t.text('many.order')), el('ul', { class: 'many' }, ...rows)];
}
