// Finds the record of a file: the file is hashed here and searched for by its digest. It does
// not leave the device.

import { Engine } from './engine.js';

const absolute = (path) => new URL(path, location.href).href;

export function offer() {
  const drop = document.getElementById('drop');
  const form = document.getElementById('find');
  if (!drop || !form || !('WebAssembly' in window) || !('Worker' in window)) return;
  const { worker, wasm, loader, working, failed } = drop.dataset;
  const said = document.getElementById('drop-said');
  const input = document.getElementById('drop-file');
  const engine = new Engine({ worker, assets: { wasm: absolute(wasm), loader: absolute(loader) } });
  const find = async (file) => {
    if (!file) return;
    said.textContent = working.replace('{done}', '0');
    try {
      const digest = await engine.hash(file, (done) => { said.textContent = working.replace('{done}', String(Math.floor((100 * done) / Math.max(file.size, 1)))); });
      for (const field of form.elements) if (field.name) field.value = '';
      form.elements.namedItem('q').value = digest;
      form.requestSubmit();
    } catch {
      said.textContent = failed;
    }
  };
  drop.hidden = false;
  input.addEventListener('change', () => find(input.files[0]));
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  addEventListener('dragover', (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    drop.classList.add('over');
  });
  addEventListener('dragleave', () => drop.classList.remove('over'));
  addEventListener('drop', (event) => {
    if (!carries(event)) return;
    event.preventDefault(); // the browser would open it
    drop.classList.remove('over');
    find(event.dataTransfer.files[0]);
  });
}
