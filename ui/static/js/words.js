// Puts reports into words, as server/web/words.go does for the upload form. A test compares
// the two for every verdict.
//
// A finding is {report, text, cause, bundle, evidence, number}: text is the report as the
// verifier wrote it, cause says why something could not be checked where the report does not,
// bundle is the text of a proof that was fetched, evidence that of any proof, number that of a
// record whose proof is not ready.

// order is that in which findings about one file are shown.
const order = ['genuine', 'pending', 'superseded', 'revoked', 'altered', 'unverifiable', 'invalid', 'not_found'];

export function bestFirst(found) {
  return found.map((f, i) => [f, i]).sort(([a, i], [b, j]) => order.indexOf(a.report.verdict) - order.indexOf(b.report.verdict) || i - j).map(([f]) => f);
}

// causeOf names why a report is unverifiable, in the order in which the verifier decides.
export function causeOf(f) {
  if (f.cause) return f.cause;
  const open = f.report.steps.filter((s) => s.status === 'not_checked');
  const other = open.find((s) => s.step !== 'document' && s.step !== 'anchor');
  if (other) return other.reason;
  const anchor = open.find((s) => s.step === 'anchor');
  if (anchor && !f.report.steps.some((s) => s.step === 'anchor' && s.status === 'passed')) return anchor.reason;
  return open.find((s) => s.step === 'document')?.reason ?? 'other';
}

// claims tells whether what a bundle says of itself may be shown.
export function claims(f) {
  const v = f.report.verdict;
  return ['genuine', 'pending', 'altered', 'revoked', 'superseded'].includes(v) || (v === 'unverifiable' && causeOf(f) === 'no_document');
}

function placesOf(t, r) {
  const places = { number: r.number ?? '', issued: t.time(r.issuedAt ?? '') };
  if (r.agency) places.agency = r.agency.name;
  if (r.standing) Object.assign(places, { at: t.time(r.standing.at ?? ''), reason: r.standing.reason ?? '', by: r.standing.by ?? '' });
  return places;
}

function say(t, f) {
  const r = f.report;
  const v = `verdict.${r.verdict}`;
  const places = placesOf(t, r);
  if (r.verdict === 'unverifiable') {
    let cause = causeOf(f);
    if (!t.has(`cause.${cause}.reason`)) cause = 'other';
    return {
      sentence: t.text(t.first(`cause.${cause}.sentence`, `${v}.sentence`), places),
      reasons: [t.text(`cause.${cause}.reason`, places)],
      next: t.text(`cause.${cause}.next`, places),
    };
  }
  if (r.verdict === 'invalid') {
    const failed = r.steps.find((s) => s.status === 'failed' && s.step !== 'document') ?? { step: 'bundle', reason: 'other' };
    places.step = stepTitle(t, failed);
    places.why = reasonText(t, failed);
  }
  const reasons = [t.text(`${v}.reason`, places)];
  if (r.verdict === 'superseded' && r.standing.reason) reasons.push(t.text('verdict.superseded.why', places));
  const by = onWordOf(r);
  if (by && r.verdict === 'genuine') reasons.push(t.text('verdict.genuine.attested', { gateway: by }));
  return { sentence: t.text(`${v}.sentence`, places), reasons, next: t.text(`${v}.next`, places) };
}

// onWordOf is the gateway that alone says when a record was anchored; '' where an anchor proves
// itself, and where there is none.
function onWordOf(r) {
  const anchors = r.anchors ?? [];
  if (anchors.some((a) => a.strength === 'self-proving')) return '';
  return (anchors.findLast((a) => a.time === r.anchoredAt) ?? anchors[0])?.gateway ?? '';
}

const comparedWith = (step, what) => step.compared?.find((v) => v.what === what)?.value ?? '';

// reasonText names the file at fault, where a package is.
function reasonText(t, step) {
  const key = `reason.${step.step}.${step.reason}`;
  const entry = comparedWith(step, 'entry');
  const own = step.strength === 'attested' ? `${key}_attested` : entry ? `${key}_entry` : key;
  return t.text(t.first(own, key, `reason.${step.reason}`, 'reason.other'), { entry });
}

// stepTitle tells an anchor that a gateway vouches for from one of the e-government chain.
function stepTitle(t, s) {
  return t.text(s.strength === 'attested' ? 'step.anchor.title_attested' : `step.${s.step}.title`);
}

function facts(t, r) {
  const out = [];
  const add = (key, value, kind = 'text') => {
    if (!value) return;
    const fact = { label: t.text(`facts.${key}`), value, kind };
    if (kind === 'time') Object.assign(fact, { value: t.text('time.beijing', { time: t.time(value) }), raw: value });
    out.push(fact);
  };
  add('number', r.number, 'number');
  add('agency', r.agency.name);
  add('code', r.agency.code);
  add('issued', r.issuedAt, 'time');
  add(onWordOf(r) ? 'anchored_attested' : 'anchored', r.anchoredAt, 'time');
  if (r.standing) add('standing', t.text(`standing.${r.standing.state}`));
  add('class', t.known(`class.${r.class}`, r.class));
  add('size', t.size(r.document.size));
  add('media', r.document.mediaType);
  add('supersedes', r.supersedes, 'number');
  add('sm3', r.document.sm3, 'hex');
  return out;
}

function attributes(t, r) {
  const bytewise = (a, b) => (a < b ? -1 : Number(a > b));
  const value = (name) => (name === 'originMethod' ? t.known(`method.${r.fields[name]}`, r.fields[name]) : r.fields[name]);
  return Object.keys(r.fields ?? {}).sort(bytewise).map((name) => ({ label: t.known(`field.${name}`, name), value: value(name), kind: 'text' }));
}

function stepWords(t, r, s) {
  const out = { status: s.status, statusText: t.text(`status.${s.status}`), title: stepTitle(t, s), text: '', technical: s.detail, strength: '' };
  if (s.status === 'passed') {
    const later = s.step === 'standing' && r.standing && r.standing.state !== 'valid';
    out.text = t.text(later ? 'step.standing.passed_later' : `step.${s.step}.passed${s.strength === 'attested' ? '_attested' : ''}`);
    if (s.strength) out.strength = t.text(`strength.${s.strength}`, { gateway: comparedWith(s, 'gateway') });
  } else {
    out.text = reasonText(t, s);
  }
  out.values = (s.compared ?? []).map((v) => ({ label: t.known(`compared.${slug(v.what)}`, v.what), value: v.value, kind: kindOf(v.value) }));
  return out;
}

function slug(s) { return s.toLowerCase().split(/[^a-z0-9]+/).filter(Boolean).join('_'); }

function kindOf(value) {
  if (value.includes('\n')) return 'block';
  return /^[0-9a-f]{64}$/.test(value) ? 'hex' : 'text';
}

function otherWords(t, f) {
  const label = t.text(`verdict.${f.report.verdict}.label`);
  return { verdict: f.report.verdict, label, text: say(t, f).reasons[0], number: claims(f) ? f.report.number : '' };
}

// words puts findings, the best one first, into words. about is what is known besides:
// {file, at, trust, hint}, see check.js.
export function words(t, found, { file, at, trust, hint }) {
  const [f, ...others] = found;
  const r = f.report;
  const shown = claims(f);
  const passed = r.steps.filter((s) => s.status === 'passed').length;
  return {
    verdict: r.verdict,
    label: t.text(`verdict.${r.verdict}.label`),
    ...hinted(t, say(t, f), r.verdict, hint),
    facts: shown ? facts(t, r) : [],
    shown: shown ? attributes(t, r) : [],
    yours: file ? yours(t, file) : [],
    steps: r.steps.map((s) => stepWords(t, r, s)),
    stepsLead: t.text('steps.lead', { passed, total: r.steps.length }),
    others: others.map((o) => otherWords(t, o)),
    checkedBy: t.text('result.checked_here', { time: t.time(at) }),
    trust: trust && { text: t.text(trust.own ? 'result.trust_own' : 'result.trust_served'), sm3: trust.sm3 },
    number: shown ? r.number : '',
    newer: r.verdict === 'superseded' ? (r.standing?.by ?? '') : '',
  };
}

// hinted adds what the file looks like, where it turned out not to be the document.
function hinted(t, said, verdict, hint) {
  const more = [];
  const open = ['not_found', 'altered', 'unverifiable'].includes(verdict);
  if (hint === 'resaved' && open) more.push(t.text('hint.resaved'));
  return { ...said, reasons: [...said.reasons, ...more] };
}

// alone is a result for a page that has no service: there are no records to open, and nobody
// who knows what became of this one since its bundle was written.
export function alone(t, r) {
  const plain = (f) => (f.kind === 'number' ? { ...f, kind: 'text' } : f);
  const later = ['genuine', 'pending'].includes(r.verdict) ? [t.text('offline.later')] : [];
  return { ...r, reasons: [...r.reasons, ...later], facts: r.facts.map(plain), others: r.others.map((o) => ({ ...o, number: '' })), newer: '' };
}

function yours(t, file) {
  const out = [
    { label: t.text('facts.name'), value: file.name, kind: 'text' },
    { label: t.text('facts.size'), value: t.size(file.size), kind: 'text' },
  ];
  if (file.digest) out.push({ label: t.text('facts.sm3'), value: file.digest, kind: 'hex' });
  return out;
}
