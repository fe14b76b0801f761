// The worker in which a file is hashed and a proof is checked, or a QR code is read, so that
// the page stays responsive and a job can be given up at any moment by ending the worker. It
// runs the program that it is told to: the verifier, or the reader of QR codes.
//
// Messages are {id, op, …}; each is answered by {id, …} once, after any number of
// {id, done} while a file is read. A failure is {id, failure}, which is read or engine.

'use strict';

const chunk = 4 * 1024 * 1024; // large enough that reading costs nothing beside hashing
const progressEvery = 100; // ms

let started;

function start({ loader, wasm }) {
  started ??= new Promise((resolve, reject) => {
    self.steleReady = resolve;
    if (loader) importScripts(loader); // verify.html has it in front of this script
    const go = new Go();
    instantiate(wasm, go.importObject)
      .then(({ instance }) => go.run(instance))
      .then(() => reject(new Error('the verifier ended')), reject);
  });
  return started;
}

// instantiate takes an address, or a Blob with the gzip-compressed program.
async function instantiate(source, imports) {
  if (source instanceof Blob) {
    const plain = new Response(source.stream().pipeThrough(new DecompressionStream('gzip')));
    return WebAssembly.instantiate(await plain.arrayBuffer(), imports);
  }
  const answer = await fetch(source);
  if (!answer.ok) throw new Error(`verifier: ${answer.status}`);
  if (WebAssembly.instantiateStreaming) return WebAssembly.instantiateStreaming(answer, imports);
  return WebAssembly.instantiate(await answer.arrayBuffer(), imports);
}

class ReadError extends Error {}

async function read(file, at) {
  try {
    return new Uint8Array(await file.slice(at, at + chunk).arrayBuffer());
  } catch (e) {
    throw new ReadError(String(e));
  }
}

// hash reads the next part while the last one is hashed.
async function hash(id, file) {
  const handle = stele.sm3Create();
  let next = read(file, 0);
  let told = 0;
  for (let at = 0; at < file.size; ) {
    const part = await next;
    if (part.length === 0) throw new ReadError('the file has become shorter');
    at += part.length;
    if (at < file.size) next = read(file, at);
    if (!stele.sm3Update(handle, part)) throw new Error('hash refused');
    if (performance.now() - told >= progressEvery || at === file.size) {
      told = performance.now();
      postMessage({ id, done: at });
    }
  }
  return { digest: stele.sm3Digest(handle) };
}

// reader returns a function that reads a part of a file at once, as the verifier needs it for
// packages, or returns null.
function reader(file) {
  const r = new FileReaderSync();
  return (from, to) => {
    try {
      return new Uint8Array(r.readAsArrayBuffer(file.slice(from, to)));
    } catch {
      return null;
    }
  };
}

// unpack takes bundle and original out of an evidence package, see the verifier.
function unpack(id, file) {
  let told = 0;
  const tell = (done) => {
    if (performance.now() - told < progressEvery && done !== file.size) return;
    told = performance.now();
    postMessage({ id, done });
  };
  const found = stele.unpack(reader(file), file.size, tell);
  if (found === null) throw new ReadError('a part cannot be read');
  return found;
}

function looksPacked(file) {
  const looks = stele.looksPacked(reader(file), file.size);
  if (looks === null) throw new ReadError('the end cannot be read');
  return looks;
}

// What a file may be besides a document, and how large in bytes; larger ones are documents.
const bundleMax = 1 << 20;
const trustMax = 4 << 20;
const certificateMax = 8 << 20;

// headOf is the beginning of a file as text. Some programs save text in UTF-16.
function headOf(bytes) {
  const [a, b] = bytes;
  const little = (a === 0xff && b === 0xfe) || (a === 0x7b && b === 0);
  const big = (a === 0xfe && b === 0xff) || (a === 0 && b === 0x7b);
  return new TextDecoder(little ? 'utf-16le' : big ? 'utf-16be' : 'utf-8').decode(bytes);
}

// open tells by its contents what a file is: {kind, content}, where kind is bundle, trust,
// resaved (a certificate that another program saved anew), package (of evidence, of any size)
// or document. A certificate is a bundle: its pages are worth nothing.
async function open(file) {
  const whole = async () => new Uint8Array(await file.arrayBuffer());
  try {
    const head = headOf(new Uint8Array(await file.slice(0, 512).arrayBuffer()));
    const [, format] = /^\s*\{\s*"format"\s*:\s*"stele\/(bundle|trust)\//.exec(head) ?? [];
    if ((format === 'bundle' && file.size <= bundleMax) || (format === 'trust' && file.size <= trustMax)) return { kind: format, content: await whole() };
    if (head.startsWith('PK\x03\x04')) return { kind: looksPacked(file) ? 'package' : 'document' };
    if (!head.startsWith('%PDF') || file.size > certificateMax) return { kind: 'document' };
    const bundle = stele.extract(await whole());
    if (bundle) return { kind: 'bundle', content: bundle };
    return { kind: bundle === false ? 'resaved' : 'document' };
  } catch (e) {
    throw e instanceof DOMException ? new ReadError(String(e)) : e;
  }
}

async function work({ id, op, file, trust, digest, bundle, fresh, size, reports, image, texts, findings, about }) {
  switch (op) {
    case 'hash': return hash(id, file);
    case 'open': return open(file);
    case 'unpack': return unpack(id, file);
    case 'verify': return { report: stele.verify(trust, digest, bundle, size) };
    case 'refresh': return { bundle: stele.refresh(bundle, fresh) };
    case 'rank': return { places: JSON.parse(stele.rank(reports)) };
    case 'words': return { words: JSON.parse(stele.words(texts, findings, about)) };
    case 'exhibit': return { exhibit: JSON.parse(stele.exhibit(trust, digest, bundle, texts, size)) };
    case 'scan': return { text: qr.read(image.data, image.width, image.height) };
    default: return {};
  }
}

self.onmessage = async ({ data }) => {
  try {
    await start(data);
    postMessage({ id: data.id, ...(await work(data)) });
  } catch (e) {
    postMessage({ id: data.id, failure: e instanceof ReadError ? 'read' : 'engine' });
  }
};
