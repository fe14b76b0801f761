// The public page. Without this script, and in browsers that cannot do what it needs, the
// page's form uploads the file instead; see the comment on the form's template.

import { Engine } from './engine.js';
import { addCopyButtons } from './exhibit.js';
import { Page } from './page.js';
import { Service } from './service.js';
import { Texts } from './text.js';

// capable tells whether this browser can do the work and the server has the verifier.
function capable(form) {
  return Boolean(form?.dataset.wasm && 'WebAssembly' in window && 'Worker' in window && Blob.prototype.arrayBuffer && Object.hasOwn && Array.prototype.at);
}

const absolute = (path) => new URL(path, location.href).href;

async function main() {
  const form = document.getElementById('check');
  if (!capable(form)) return;
  const { catalogue, wasm, loader, worker } = form.dataset;
  const texts = await Texts.load(catalogue);
  const engine = new Engine({ worker, assets: { wasm: absolute(wasm), loader: absolute(loader) } });
  const page = new Page(texts, engine, new Service());
  page.enable();
  addCopyButtons(texts, document);
  prepare(form, engine, page);
  offerScan(texts, page);
}

// offerScan fetches what scanning needs when somebody wants to scan.
function offerScan(texts, page) {
  const scan = document.getElementById('scan');
  if (!scan) return;
  const { worker, wasm, loader } = scan.dataset;
  scan.hidden = false;
  scan.addEventListener('click', () => {
    import('./scan.js').then(({ Scanner }) => new Scanner(texts, { worker, assets: { wasm: absolute(wasm), loader: absolute(loader) } }).open())
      .catch(() => page.complain('scan.failed'));
  });
}

// prepare fetches the verifier before it is needed: at once where people come to check a
// file, at the first sign of that on a record's page, and not at all in advance for those
// who pay for data. If it does not start, the page must not go on promising that files stay
// on the device.
function prepare(form, engine, page) {
  if (navigator.connection?.saveData) return;
  let begun = false;
  const start = () => {
    if (!begun) engine.start().catch((e) => e.cause === 'engine' && page.disable());
    begun = true;
  };
  if (!form.elements.namedItem('number')) {
    start();
    return;
  }
  for (const sign of ['pointerenter', 'focusin', 'touchstart']) form.addEventListener(sign, start, { once: true, passive: true });
  document.addEventListener('dragenter', start, { once: true });
}

main();
