// The picture of a proof and the view for experts: the same elements as
// templates/part_exhibit.html, and the buttons that copy, which only a script can have.

import { el, factList } from './elements.js';

// picture turns the verifier's SVG into an element. It is read as XML, in which there is
// nothing that runs: the page's policy forbids it, and so does the verifier's escaping.
function picture(svg) {
  const root = new DOMParser().parseFromString(svg, 'image/svg+xml').documentElement;
  return root.localName === 'svg' ? document.importNode(root, true) : null;
}

function values(list) {
  const dl = factList(list);
  dl.classList.add('values');
  return dl;
}

function part(t, p) {
  return el('section', { class: 'part' }, el('h3', {}, p.title), values(p.values),
    p.commands && el('details', { class: 'commands' }, el('summary', {}, t.text('exhibit.commands')), el('pre', { tabindex: '0' }, p.commands)));
}

// exhibitBlocks are the two sections of an exhibit, or none where there is nothing to show.
export function exhibitBlocks(t, x) {
  if (!x || x.parts.length === 0) return [];
  const drawn = el('section', { class: 'block exhibit' },
    el('h2', {}, t.text('picture.heading')), el('p', { class: 'screen-only' }, t.text('picture.lead')), picture(x.picture),
    el('details', {}, el('summary', {}, t.text('picture.points')), values(x.points)));
  const experts = el('section', { class: 'block experts' }, el('details', {},
    el('summary', {}, el('h2', {}, t.text('exhibit.heading'))),
    el('p', {}, t.text('exhibit.lead')), el('p', { class: 'small' }, t.text('exhibit.how')), el('p', { class: 'small' }, t.text('exhibit.trust')),
    ...x.parts.map((p) => part(t, p))));
  addCopyButtons(t, drawn);
  addCopyButtons(t, experts);
  return [drawn, experts];
}

// addCopyButtons gives each value and each block of commands below a place a button, also on
// pages that the server wrote. Browsers that do not let pages copy get none.
export function addCopyButtons(t, place) {
  if (!navigator.clipboard) return;
  for (const row of place.querySelectorAll('.values > div')) {
    const dd = row.querySelector('dd');
    dd.append(copyButton(t, row.querySelector('dt').textContent, dd.textContent));
  }
  for (const pre of place.querySelectorAll('.commands > pre')) {
    pre.after(copyButton(t, t.text('exhibit.commands'), pre.textContent));
  }
}

function copyButton(t, what, text) {
  const b = el('button', { type: 'button', class: 'copy', 'aria-label': t.text('exhibit.copy_what', { what }) }, t.text('exhibit.copy'));
  b.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text);
      announce(t.text('exhibit.copied_what', { what }));
      mark(t, b, what);
    } catch {
      announce(t.text('exhibit.copy_failed'));
    }
  });
  return b;
}

// mark shows on one button at a time that its text is what was copied.
let marked = null;
function mark(t, b, what) {
  marked?.();
  b.textContent = t.text('exhibit.copied');
  b.setAttribute('aria-label', t.text('exhibit.copied_what', { what }));
  marked = () => {
    b.textContent = t.text('exhibit.copy');
    b.setAttribute('aria-label', t.text('exhibit.copy_what', { what }));
  };
}

function announce(text) {
  const live = document.getElementById('live');
  if (live) live.textContent = text;
}
