// Finds out what files are. Only their digests, or a certificate's number, leave the device;
// what comes back is believed only as far as the verifier in this browser confirms it.
//
// A subject is what is asked about: {file, digest, proofs, number, code, hint, bad}. file is
// {name, size}, or null for a proof by itself, then proofs has that one; number and code are
// of the certificate that a file is to be compared with; bad is the report on an evidence package
// that is not as it was issued, as text. An outcome is {subject, found, at,
// trust}: found are the findings, the best one first (see Engine.rank), at is when, RFC 3339,
// trust is {sm3, own}, or null where none were needed. Outcomes are plain data. words is what they
// say in the page's language (see ui/words): the verifier makes it, and Checker.word makes it anew.

import { Trouble } from './engine.js';
import { asText } from './take.js';

// bare is a finding without a proof. What is said of it here holds where the verifier cannot run.
const bare = (verdict, summary) => {
  const report = { format: 'stele/report/v1', verdict, summary, steps: [] };
  return { report, text: JSON.stringify(report), shows: false, open: false, attention: 0 };
};
const unverifiable = (cause) => {
  const summary = `This could not be checked now: ${cause}. It says nothing about the file.`;
  return { ...bare('unverifiable', summary), cause, why: cause };
};
const notFound = () => bare('not_found', 'There is no record of this file here.');

// unspoken is what a finding with a cause says where the verifier cannot run, which says all else.
function unspoken(t, { why }, file, at) {
  const cause = t.has(`cause.${why}.reason`) ? why : 'other';
  const text = (label, value) => ({ label: t.text(label), value, kind: 'text' });
  return {
    verdict: 'unverifiable',
    label: t.text('verdict.unverifiable.label'),
    sentence: t.text(t.first(`cause.${cause}.sentence`, 'verdict.unverifiable.sentence')),
    reasons: [t.text(`cause.${cause}.reason`)],
    next: t.text(`cause.${cause}.next`),
    yours: file ? [text('facts.name', file.name), text('facts.size', t.size(file.size))] : [],
    checkedBy: t.text('result.checked_here', { time: t.time(at) }),
    warnings: [], facts: [], shown: [], steps: [], others: [], stepsLead: '', number: '', newer: '',
  };
}

// outages are troubles that the next question would meet too.
const outages = ['network', 'service', 'busy'];

// noTrust are trust roots that trust nothing.
const noTrust = '{"format":"stele/trust/v1","roots":[],"logs":[],"chains":[]}';

// textOf is a bundle that was handed in as bytes, or undefined where it is no text.
function textOf(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

export class Checker {
  #engine;
  #service;
  #texts;
  #own = null; // trust roots that the person brought
  #served = null; // trust roots of the service

  // service may be null: then nothing is asked, and the person brings the trust roots.
  constructor(engine, service, texts) {
    this.#engine = engine;
    this.#service = service;
    this.#texts = texts;
  }

  // own are the trust roots that the person brought, {text, sm3}, or null. While there are
  // any, nothing is asked of the service at all.
  get own() { return this.#own; }

  set own(trust) { this.#own = trust; }

  // online tells whether the service is asked.
  get online() { return this.#service !== null && this.#own === null; }

  // readTrust makes trust roots of a text, or returns null if they cannot be used.
  async readTrust(text) {
    if (typeof text !== 'string') return null;
    // Without usable trust roots there is no single step; with them, nothing is a bad bundle.
    const { report } = await this.#engine.verify(text, null, '');
    return report.verdict === 'invalid' ? this.#withDigest(text) : null;
  }

  async #withDigest(text) { return { text, sm3: await this.#engine.hash(new Blob([text])) }; }

  // check returns the outcomes for what was taken in (see take.js), documents first, each in
  // the order given. on is told what goes on: hashing(i, done), checking(i, of, asked).
  async check({ documents, proofs }, { number, code }, signal, on) {
    const subjects = await this.#subjects(documents, proofs, { number, code }, on);
    const out = [];
    let outage = null;
    for (const [i, subject] of subjects.entries()) {
      on.checking(i, subjects.length, this.online);
      const outcome = subject.failure
        ? await this.#ranked(subject, [unverifiable(subject.failure)])
        : await this.#judge(subject, signal, outage);
      outage ??= outcome.found.map((f) => f.cause).find((c) => outages.includes(c)) ?? null;
      out.push(outcome);
    }
    return out;
  }

  // failed is the outcome for a file that could not be looked into.
  failed(file, e) {
    const subject = { file: { name: file.name, size: file.size }, digest: null, proofs: [] };
    return this.#unspoken(this.#outcome(subject, [unverifiable(e instanceof Trouble ? e.cause : 'engine')]));
  }

  // again asks once more about a subject, with the digest that is known of it.
  again(subject, signal) { return this.#judge(subject, signal, null); }

  // subjects hashes the documents and gives each the proofs that speak of it.
  async #subjects(documents, proofs, compareWith, on) {
    const subjects = [];
    const packed = [];
    for (const [i, { file, packed: isPacked, hint }] of documents.entries()) {
      const subject = { file: { name: file.name, size: file.size }, digest: null, proofs: [], hint, ...compareWith };
      let proofAlone = false;
      try {
        on.hashing(i, 0);
        const told = (done) => on.hashing(i, done);
        if (isPacked) proofAlone = await this.#unpack(file, subject, packed, told);
        else subject.digest = await this.#engine.hash(file, told);
      } catch (e) {
        if (!(e instanceof Trouble) || e.cause === 'stopped') throw e;
        subject.failure = e.cause;
      }
      if (!proofAlone) subjects.push(subject);
    }
    const alone = [];
    for (const p of [...packed, ...proofs]) {
      const about = await this.#digestIn(p.bundle);
      const owners = subjects.filter((s) => s.digest !== null && s.digest === about);
      for (const s of owners) s.proofs.push(p);
      if (owners.length === 0) alone.push(p);
    }
    // One file with one foreign proof is a question: is it this certificate's file?
    if (subjects.length === 1 && subjects[0].proofs.length === 0 && subjects[0].digest !== null) subjects[0].proofs = alone.splice(0);
    return [...subjects, ...alone.map((p) => ({ file: null, digest: null, proofs: [p], name: p.name }))];
  }

  // unpack takes an evidence package for the original and the bundle that are in it: what is found
  // is what these two give when they are put in. It returns true where there is no original.
  async #unpack(file, subject, packed, told) {
    const { report, bundle, original } = await this.#engine.unpack(file, told);
    if (report) {
      subject.bad = report;
      return false;
    }
    packed.push({ name: file.name, bundle: asText(bundle) });
    if (original === null) return true;
    subject.file = { name: `${file.name}/${original.name}`, size: original.size };
    subject.digest = original.sm3;
    return false;
  }

  // digestIn is the digest that a bundle says it is about. It pairs; it proves nothing.
  async #digestIn(bundle) {
    const { report } = await this.#engine.verify(noTrust, null, bundle);
    return report.document?.sm3 ?? null;
  }

  async #judge(subject, signal, outage) {
    const { bad } = subject;
    if (bad) return this.#ranked(subject, [{ report: JSON.parse(bad), text: bad }]);
    try {
      const found = subject.proofs.length > 0 ? await this.#handedIn(subject, signal, outage) : await this.#lookUp(subject, signal, outage);
      return await this.#ranked(subject, found);
    } catch (e) {
      if (signal.aborted) throw e;
      return await this.#ranked(subject, [unverifiable(e instanceof Trouble ? e.cause : 'engine')]);
    }
  }

  // ranked is an outcome with the best finding first. A verifier that failed is not asked again.
  async #ranked(subject, found) {
    const failed = found[0].cause === 'engine';
    return this.word(this.#outcome(subject, failed ? found : await this.#engine.rank(found)));
  }

  // word returns an outcome with its words, in the language that the page has now. Without the
  // verifier nothing can be said but that.
  async word(outcome) {
    const { subject, found, at, trust } = outcome;
    if (found[0].cause === 'engine') return this.#unspoken(outcome);
    const file = subject.file && { ...subject.file, digest: subject.digest ?? '' };
    const about = { file, at, trust, hint: subject.hint, alone: this.#service === null };
    try {
      return { ...outcome, words: await this.#engine.words(this.#texts.whole, found, about) };
    } catch (e) {
      if (e.cause === 'stopped') throw e;
      return this.#unspoken({ ...outcome, found: [unverifiable('engine')] });
    }
  }

  #unspoken(outcome) {
    return { ...outcome, words: unspoken(this.#texts, outcome.found[0], outcome.subject.file, outcome.at) };
  }

  #outcome(subject, found) {
    const needed = !subject.bad && (this.#own || found.some((f) => f.report.steps.length > 0));
    const trust = needed ? this.#own ?? this.#served : null;
    return { subject, found, at: new Date().toISOString(), trust: trust && { sm3: trust.sm3, own: this.#own !== null } };
  }

  async #handedIn(subject, signal, outage) {
    const out = [];
    for (const { bundle } of subject.proofs) {
      const [f] = await this.#engine.rank([await this.#verify(bundle, subject, signal)]);
      out.push(outage ? f : await this.#newer(f, bundle, subject, signal));
    }
    return out;
  }

  // newer looks for what became of a record after its bundle was written: a bundle cannot
  // know. The service may; without it, what the bundle proves still stands.
  async #newer(f, bundle, { digest, file }, signal) {
    if (!f.open || !this.online) return f;
    const { number } = f.report;
    const known = await this.#lookUp({ number, digest, file }, signal, null).catch(() => []);
    f.stands = known.some((o) => o.stands);
    const fresh = [];
    for (const o of known) fresh.push(...(await this.#refreshed(f, bundle, o, { digest, file }, signal)));
    // Where nothing has changed the bundle stays: it is the holder's, and may show more attributes. So does it with
    // fresh evidence that says until when the record is known to stand, which the holder can keep.
    return (await this.#engine.rank([...fresh, f, ...known])).find((o) => o.shows && o.report.number === number);
  }

  // refreshed is the holder's bundle with the evidence of a known one, in a list, if that says of a later time than
  // the holder's whether the record stands.
  async #refreshed(f, bundle, known, subject, signal) {
    const asOf = (o) => Date.parse(o.report.standing?.asOf ?? '') || 0;
    if (!known.bundle || asOf(known) <= asOf(f)) return [];
    const merged = await this.#engine.refresh(bundle, known.bundle);
    return merged === null ? [] : [{ ...(await this.#verify(merged, subject, signal)), stands: known.stands }];
  }

  async #lookUp({ digest, file, number, code }, signal, outage) {
    if (this.#own !== null || this.#service === null) return [unverifiable('no_bundle')];
    if (outage) return [unverifiable(outage)];
    const what = number ? { number } : { sm3: digest };
    if (number && code) what.code = code;
    const matches = parseMatches(await this.#service.lookup(what, signal));
    if (matches.length === 0) return [notFound()];
    const found = [];
    for (const m of matches) {
      if (!m.bundle) {
        found.push({ ...unverifiable('not_ready'), number: m.number });
        continue;
      }
      const f = { ...(await this.#verify(m.bundle, { digest, file }, signal)), stands: m.stands };
      // A record that was asked for by this digest and has another is a wrong answer, and
      // says nothing about the file; so does one of another number than was asked for.
      const wrong = number ? f.report.number !== number && f.report.verdict !== 'invalid' : f.report.verdict === 'altered';
      found.push(wrong ? unverifiable('answer') : f);
    }
    return found;
  }

  async #verify(bundle, { digest, file }, signal) {
    const trust = await this.#trust(signal);
    if (trust === null) return unverifiable('no_trust');
    const { report, text } = await this.#engine.verify(trust.text, digest, bundle, file?.size);
    // Without a single step the verifier could not use what it was given: the trust roots.
    const cause = report.verdict === 'unverifiable' && report.steps.length === 0 ? 'trust' : undefined;
    return { report, text, cause, bundle: typeof bundle === 'string' ? bundle : undefined, evidence: typeof bundle === 'string' ? bundle : textOf(bundle) };
  }

  // exhibit is the proof of a finding taken apart; texts is the catalogue.
  async exhibit(f, { digest, file }, texts) {
    const trust = await this.#trust(new AbortController().signal);
    return this.#engine.exhibit(trust.text, digest, f.evidence, texts.json('picture.', 'exhibit.'), file?.size);
  }

  // trust fetches the trust roots, and keeps them: a bundle can then be checked even when
  // the service has gone away since.
  async #trust(signal) {
    if (this.#own !== null || this.#service === null) return this.#own;
    this.#served ??= await this.#withDigest(await this.#service.trust(signal));
    return this.#served;
  }
}

// parseMatches returns the numbers and the bundles of an answer, and whether the records stand.
function parseMatches(text) {
  try {
    const { matches } = JSON.parse(text);
    if (!matches.every((m) => typeof m.record.number === 'string' && ['string', 'undefined'].includes(typeof m.bundle))) throw new Error('form');
    return matches.map((m) => ({ number: m.record.number, stands: m.record.standing === 'valid', bundle: m.bundle ?? '' }));
  } catch {
    throw new Trouble('answer');
  }
}
