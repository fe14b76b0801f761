// Builds the elements of a result, the same ones as templates/part_result.html. Texts only
// ever become text nodes: nothing from a bundle or a file name is parsed as HTML.

import { block, el, factList, hex, icon } from './elements.js';

function recordLink(t, number) {
  return el('a', { href: `/r/${encodeURIComponent(number)}` }, t.text('result.open_record', { number }));
}

function verdict(t, r, level) {
  return el('div', { class: `verdict v-${r.verdict}` }, icon(`v-${r.verdict}`), el('div', {},
    el('p', { class: 'label' }, r.label),
    el(level, { class: 'sentence', tabindex: '-1' }, r.sentence),
    ...r.reasons.map((text) => el('p', {}, text)),
    r.warnings.length > 0 ? el('ul', { class: 'warnings' }, ...r.warnings.map((text) => el('li', {}, text))) : null,
    r.next && el('p', { class: 'next' }, r.next),
    r.newer && el('p', {}, recordLink(t, r.newer))));
}

function step(t, s) {
  return el('li', { class: `s-${s.status}` }, icon(`s-${s.status}`), el('div', {},
    el('h3', {}, `${s.title} `, el('span', { class: 'status' }, s.statusText)),
    el('p', {}, s.text),
    s.strength && el('p', { class: 'small' }, s.strength),
    el('details', {}, el('summary', {}, t.text('steps.values')),
      el('p', { class: 'small' }, `${t.text('steps.technical')}: `, el('span', { lang: 'en' }, s.technical)),
      s.values.length > 0 ? factList(s.values) : null)));
}

function other(t, o) {
  return el('li', { class: `v-${o.verdict}` }, icon(`v-${o.verdict}`), el('div', {},
    el('p', { class: 'label' }, o.label), el('p', {}, o.text), o.number && el('p', {}, recordLink(t, o.number))));
}

// show fills the place of the result. actions are the buttons and links below the verdict,
// level is that of its heading.
export function show(t, place, r, actions, level = 'h1') {
  const parts = [verdict(t, r, level), el('p', { class: 'actions' }, ...actions)];
  if (r.yours.length > 0) parts.push(block(t.text('facts.yours'), factList(r.yours)));
  if (r.facts.length > 0) parts.push(block(t.text('facts.heading'), factList(r.facts)));
  if (r.shown.length > 0) parts.push(block(t.text('attributes.heading'), factList(r.shown)));
  if (r.others.length > 0) parts.push(block(t.text('others.heading'), el('p', {}, t.text('others.lead')), el('ul', { class: 'others' }, ...r.others.map((o) => other(t, o)))));
  if (r.steps.length > 0) parts.push(block(t.text('steps.heading'), el('p', {}, r.stepsLead), el('ol', { class: 'steps' }, ...r.steps.map((s) => step(t, s)))));
  if (r.trust) parts.push(el('p', { class: 'checked small' }, r.trust.text, ' ', hex(r.trust.sm3)));
  parts.push(el('p', { class: 'checked small' }, r.checkedBy), el('p', { class: 'printed small' }, t.text('result.printed')));
  place.replaceChildren(...parts);
}

// button makes one of the actions.
export function button(text, act) {
  const b = el('button', { type: 'button' }, text);
  b.addEventListener('click', act);
  return b;
}

// download makes a link that saves a text as a file.
export function download(text, name, content) {
  return el('a', { class: 'button', download: name, href: URL.createObjectURL(new Blob([content], { type: 'application/json' })) }, text);
}

// link makes one of the actions that leads to a record.
export function numberLink(t, number) {
  const a = recordLink(t, number);
  a.className = 'button';
  return a;
}
