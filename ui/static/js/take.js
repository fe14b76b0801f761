// Finds out what the things are that a person put in, by what is in them and never by their
// names: documents, proofs (bundles by themselves or inside certificates), evidence packages,
// which have both, and trust roots. The worker reads them, so that a hostile one cannot hold up the page.

import { Trouble } from './engine.js';

// most is how many things are taken at a time: more than a person looks through, and as many
// questions as the service answers in a minute.
export const most = 50;

// take sorts files into {documents, proofs, trust}:
// documents are {file, packed, hint}, packed is true for an evidence package, whose bundle and
// original are taken out when it is hashed; hint is resaved for what looks like a certificate that
// another program saved anew, and may be the document all the same;
// proofs are {name, bundle}, bundle the bundle's text, or its bytes where they are no text;
// trust are {file, text}.
export async function take(engine, files) {
  const out = { documents: [], proofs: [], trust: [] };
  for (const file of files) {
    const { kind, content } = await open(engine, file);
    switch (kind) {
      case 'bundle': out.proofs.push({ name: file.name, bundle: asText(content) }); break;
      case 'trust': out.trust.push({ file, text: asText(content) }); break;
      default: out.documents.push({ file, packed: kind === 'package', hint: kind === 'resaved' ? kind : '' });
    }
  }
  return out;
}

async function open(engine, file) {
  try {
    return await engine.open(file);
  } catch (e) {
    if (e instanceof Trouble && e.cause === 'read') return { kind: 'document' }; // hashing it will fail with words
    throw e;
  }
}

// asText keeps bytes that are no text as they are: filled up with replacements they would
// be another bundle than the one that was handed in.
export function asText(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return bytes;
  }
}
