// The small elements that results are built of, the same as in templates/part_result.html.
// Texts only ever become text nodes.

const svgNamespace = 'http://www.w3.org/2000/svg';

export function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== ''));
  return e;
}

export function icon(id) {
  const svg = document.createElementNS(svgNamespace, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(svgNamespace, 'use');
  use.setAttribute('href', `#${id}`);
  svg.append(use);
  return svg;
}

// hex breaks a digest for the eye; it is copied whole.
export function hex(digest) {
  const span = el('span', { class: 'hex' });
  for (const part of digest.match(/.{1,8}/g)) span.append(el('span', {}, part), el('wbr'));
  return span;
}

function value(f) {
  switch (f.kind) {
    case 'hex': return hex(f.value);
    case 'number': return el('a', { class: 'mono', href: `/r/${encodeURIComponent(f.value)}` }, f.value);
    case 'time': return el('time', { datetime: f.raw }, f.value);
    case 'base64': return el('span', { class: 'mono small' }, f.value);
    case 'block': return el('pre', { tabindex: '0' }, f.value);
    default: return f.value;
  }
}

export function factList(facts) {
  return el('dl', { class: 'facts' }, ...facts.map((f) => el('div', {}, el('dt', {}, f.label), el('dd', {}, value(f)))));
}

export function block(heading, ...children) {
  return el('section', { class: 'block' }, el('h2', {}, heading), ...children);
}
