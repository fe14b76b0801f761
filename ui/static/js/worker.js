// The worker in which a file is hashed and a proof is checked, so that the page stays
// responsive and a job can be given up at any moment by ending the worker.
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
    importScripts(loader);
    const go = new Go();
    instantiate(wasm, go.importObject)
      .then(({ instance }) => go.run(instance))
      .then(() => reject(new Error('the verifier ended')), reject);
  });
  return started;
}

async function instantiate(url, imports) {
  const answer = await fetch(url);
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

async function work({ id, op, file, trust, digest, bundle, texts }) {
  switch (op) {
    case 'hash': return hash(id, file);
    case 'verify': return { report: JSON.parse(stele.verify(trust, digest, bundle)) };
    case 'exhibit': return { exhibit: JSON.parse(stele.exhibit(trust, digest, bundle, texts)) };
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
