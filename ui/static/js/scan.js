// Reads the QR code of a certificate, with the camera or out of a photo, and opens its record.
// Pictures stay in this browser. Only an address of this very service is followed.

import { Engine } from './engine.js';
import { el } from './elements.js';
import { button } from './view.js';

const pause = 120; // ms between looks at the camera's picture
const cameraSide = 1280; // px: enough for a code held before a lens, and quick to read
const photoSides = [1600, 3600]; // px: a small code in a large photo wants the second

// recordPath is the path of the record that a text from a QR code leads to, put together anew
// from its parts, or '' where it leads anywhere else.
export function recordPath(text, origin) {
  const url = parse(text);
  const found = url?.origin === origin && /^\/r\/(\d{6}-\d{4}-\d{8}-[\dX])$/.exec(url.pathname);
  if (!found) return '';
  const code = url.searchParams.get('code') ?? '';
  return /^[0-9A-Za-z]{8}$/.test(code) ? `/r/${found[1]}?code=${code}` : `/r/${found[1]}`;
}

function parse(text) {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

// reader reads a QR code in an ImageData: the browser's own, or ours in a worker.
async function reader(urls) {
  const own = 'BarcodeDetector' in window && (await BarcodeDetector.getSupportedFormats().catch(() => []));
  if (own && own.includes('qr_code')) {
    const detector = new BarcodeDetector({ formats: ['qr_code'] });
    return { read: async (image) => (await detector.detect(image))[0]?.rawValue ?? '', stop: () => {} };
  }
  const engine = new Engine(urls);
  return { read: (image) => engine.scan(image), stop: () => engine.stop() };
}

// causeOf is the text for a camera that does not open (Media Capture and Streams, section
// 10.2).
function causeOf(e) {
  switch (e.name) {
    case 'NotAllowedError': return 'scan.denied';
    case 'NotFoundError': case 'OverconstrainedError': return 'scan.no_camera';
    default: return 'scan.in_use';
  }
}

// Scanner is the panel, from its opening to its closing.
export class Scanner {
  #t;
  #reader;
  #stream = null;
  #canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  #dialog;
  #video = el('video', { 'aria-hidden': 'true', hidden: '' });
  #status;

  // urls are those of the worker, as Engine takes them.
  constructor(texts, urls) {
    this.#t = texts;
    this.#reader = reader(urls);
    this.#video.muted = true;
    this.#video.playsInline = true;
    this.#status = el('p', { role: 'status' });
    this.#dialog = this.#panel();
  }

  // open shows the panel and starts the camera.
  open() {
    document.body.append(this.#dialog);
    this.#dialog.showModal();
    this.#say('scan.starting');
    this.#start();
  }

  #panel() {
    const t = this.#t;
    const photo = el('input', { id: 'scan-photo', class: 'unseen', type: 'file', accept: 'image/*' });
    photo.addEventListener('change', () => {
      const [file] = photo.files;
      photo.value = ''; // so that the same one can be chosen again
      if (file) this.#photo(file);
    });
    const cancel = button(t.text('scan.cancel'), () => this.#dialog.close());
    cancel.autofocus = true;
    const dialog = el('dialog', { class: 'scan', 'aria-labelledby': 'scan-heading', 'aria-describedby': 'scan-purpose' },
      el('h2', { id: 'scan-heading' }, t.text('scan.heading')), el('p', { id: 'scan-purpose', class: 'small' }, t.text('scan.purpose')),
      this.#video, this.#status, el('p', { class: 'actions' }, cancel, photo, el('label', { class: 'choose', for: 'scan-photo' }, t.text('scan.photo'))));
    dialog.addEventListener('close', () => this.#end());
    return dialog;
  }

  // end turns the camera off. Escape leads here too.
  #end() {
    this.#release();
    this.#reader.then((r) => r.stop());
    this.#dialog.remove();
  }

  #release() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.hidden = true;
  }

  #say(key, places) {
    const text = this.#t.text(key, places);
    if (this.#status.textContent !== text) this.#status.textContent = text;
  }

  async #start() {
    if (!navigator.mediaDevices?.getUserMedia) return this.#say(window.isSecureContext ? 'scan.unsupported' : 'scan.insecure');
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: 'environment', width: { ideal: cameraSide } } });
      if (!this.#dialog.open) return this.#release(); // it was closed while the browser asked
      this.#video.srcObject = this.#stream;
      this.#video.hidden = false;
      await this.#video.play();
    } catch (e) {
      this.#release();
      return this.#say(causeOf(e));
    }
    this.#say('scan.looking');
    return this.#watch();
  }

  async #watch() {
    while (this.#stream) {
      const text = await this.#read(this.#video, this.#video.videoWidth, this.#video.videoHeight, cameraSide);
      if (!this.#stream || this.#took(text)) return;
      await new Promise((resolve) => { setTimeout(resolve, pause); });
    }
  }

  async #photo(file) {
    this.#release();
    this.#say('scan.reading');
    let picture;
    try {
      picture = await createImageBitmap(file);
    } catch {
      return this.#say('scan.bad_photo');
    }
    for (const side of photoSides) {
      const text = await this.#read(picture, picture.width, picture.height, side);
      if (text === null || this.#took(text) || text) return undefined;
    }
    return this.#say('scan.nothing');
  }

  // read returns the text of a code, '' for none, and null where there is nothing to read with.
  async #read(source, width, height, side) {
    if (width === 0 || height === 0) return ''; // no picture yet
    const scale = Math.min(1, side / Math.max(width, height));
    const { canvas } = this.#canvas;
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    this.#canvas.drawImage(source, 0, 0, canvas.width, canvas.height);
    try {
      return await (await this.#reader).read(this.#canvas.getImageData(0, 0, canvas.width, canvas.height));
    } catch {
      if (this.#dialog.open) this.#say('scan.failed');
      this.#release();
      return null;
    }
  }

  // took opens the record that a code leads to. What leads elsewhere is said, and not opened.
  #took(text) {
    if (!text) return false;
    const path = recordPath(text, location.origin);
    if (path !== '') {
      this.#say('scan.found');
      this.#dialog.close();
      location.assign(path);
      return true;
    }
    const host = parse(text)?.host;
    this.#say(host ? 'scan.foreign' : 'scan.foreign_text', { host });
    return false;
  }
}
