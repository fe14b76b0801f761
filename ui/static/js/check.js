// Finds out what a file is. Only its digest, or a certificate's number, leaves the device;
// what comes back is believed only as far as the verifier in this browser confirms it.

import { Trouble } from './engine.js';
import { bestFirst, claims } from './words.js';

const patience = 20000; // ms until an answer that does not come counts as none
const bundleMax = 1 << 20; // bytes; larger files are no bundles

const unverifiable = (cause) => ({ report: { verdict: 'unverifiable', steps: [] }, cause });
const notFound = () => ({ report: { verdict: 'not_found', steps: [] } });

async function ask(url, signal) {
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), patience);
  const stop = () => giveUp.abort();
  signal.addEventListener('abort', stop);
  try {
    const answer = await fetch(url, { signal: giveUp.signal, headers: { Accept: 'application/json' } });
    if (answer.status === 429) throw new Trouble('busy');
    if (answer.status >= 500) throw new Trouble('service');
    if (!answer.ok) throw new Trouble('answer');
    return await answer.text();
  } catch (e) {
    throw e instanceof Trouble ? e : new Trouble('network');
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

// sniffBundle returns the bytes of a file that is meant to be a bundle, or null.
export async function sniffBundle(file) {
  if (file.size > bundleMax || !/\.json$/i.test(file.name)) return null;
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const head = new TextDecoder().decode(bytes.subarray(0, 256));
    return /^\s*\{\s*"format"\s*:\s*"stele\/bundle\//.test(head) ? bytes : null;
  } catch {
    return null; // it is treated as a document, and reading that will fail with words
  }
}

export class Checker {
  #engine;
  #texts;
  #trust = null;

  constructor(engine, texts) {
    this.#engine = engine;
    this.#texts = texts;
  }

  // check returns findings, the best one first. job is {file, bundle, number, code, signal};
  // on is told what goes on: preparing(), hashing(done), digest(hex), asking(), checking().
  async check(job, on) {
    let digest = null;
    try {
      if (!this.#engine.ready) {
        on.preparing();
        await this.#engine.start();
      }
      if (job.file) {
        on.hashing(0);
        digest = await this.#engine.hash(job.file, on.hashing);
        on.digest(digest);
      }
      const found = job.bundle ? [await this.#handedIn(job, digest, on)] : await this.#lookUp(job, digest, on);
      await this.#takeApart(found[0], digest, job.signal);
      return found;
    } catch (e) {
      if (job.signal.aborted) throw e;
      return [unverifiable(e instanceof Trouble ? e.cause : 'engine')];
    }
  }

  async #handedIn(job, digest, on) {
    const found = await this.#verify(job.bundle, digest, job.signal, on);
    if (!digest || !['genuine', 'pending'].includes(found.report.verdict)) return found;
    // A bundle cannot know what became of its record later. The service may; without it,
    // what the bundle proves still stands.
    const online = await this.#lookUp({ signal: job.signal }, digest, on).catch(() => []);
    return online.find((f) => claims(f) && f.report.number === found.report.number) ?? found;
  }

  async #lookUp({ number, code, signal }, digest, on) {
    on.asking();
    const query = new URLSearchParams(number ? { number } : { sm3: digest });
    if (number && code) query.set('code', code);
    const matches = parseMatches(await ask(`/api/v1/lookup?${query}`, signal));
    if (matches.length === 0) return [notFound()];
    const found = [];
    for (const bundle of matches) {
      if (!bundle) {
        found.push(unverifiable('not_ready'));
        continue;
      }
      const f = await this.#verify(bundle, digest, signal, on);
      // A record that was asked for by this digest and has another is a wrong answer, and
      // says nothing about the file; so does one of another number than was asked for.
      const wrong = number ? f.report.number !== number && f.report.verdict !== 'invalid' : f.report.verdict === 'altered';
      found.push(wrong ? unverifiable('answer') : f);
    }
    return bestFirst(found);
  }

  async #verify(bundle, digest, signal, on) {
    const trust = await this.trust(signal);
    on.checking();
    const report = await this.#engine.verify(trust, digest, bundle);
    // Without a single step the verifier could not use what it was given: the trust roots.
    const cause = report.verdict === 'unverifiable' && report.steps.length === 0 ? 'trust' : undefined;
    return { report, cause, bundle };
  }

  // takeApart adds the proof's parts to a finding whose claims may be shown.
  async #takeApart(f, digest, signal) {
    if (f.bundle && claims(f)) f.exhibit = await this.#engine.exhibit(await this.trust(signal), digest, f.bundle, this.#texts.json('picture.', 'exhibit.'));
  }

  // trust fetches the trust roots, and keeps them: a bundle can then be checked even when
  // the service has gone away since.
  async trust(signal) {
    if (this.#trust === null) this.#trust = await ask('/api/v1/trust.json', signal);
    return this.#trust;
  }
}

// parseMatches returns the bundles of an answer.
function parseMatches(text) {
  try {
    const { matches } = JSON.parse(text);
    if (!matches.every((m) => m.record && ['string', 'undefined'].includes(typeof m.bundle))) throw new Error('form');
    return matches.map((m) => m.bundle ?? '');
  } catch {
    throw new Trouble('answer');
  }
}
