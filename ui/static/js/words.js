// Puts reports into words, as server/web/words.go does for the upload form. A test compares
// the two for every verdict.
//
// A finding is {report, text, cause, bundle, evidence, number}, and what Engine.rank adds: text
// is the report as the verifier wrote it, cause says why something could not be checked where
// the report does not, bundle is the text of a proof that was fetched, evidence that of any
// proof, number that of a record whose proof is not ready, stands says that the service was
// asked and knows of no withdrawal and no replacement.

function placesOf(t, r) {
  const places = { number: r.number ?? '', issued: t.time(r.issuedAt ?? ''), anchored: t.time(r.anchoredAt ?? ''), vouchers: vouchers(t, r), names: names(t, r) };
  if (r.agency) places.agency = r.agency.name;
  if (r.standing) {
    const { at = '', reason = '', by = '', anchoredAt = '' } = r.standing;
    Object.assign(places, { at: t.time(at), reason, by, later: t.time(anchoredAt) });
  }
  return places;
}

// headline is the anchor whose time a report leads with.
const headline = (r) => r.anchors?.find((a) => a.chain === r.anchoredBy && a.time === r.anchoredAt);

// names are the organizations that vouch for the time, as far as the trust roots name them.
const names = (t, r) => (headline(r)?.organizations ?? []).reduce((a, b) => (a ? t.text('vouchers.list', { a, b }) : b), '');

// vouchers says who vouches for the time that a report leads with, where somebody does.
function vouchers(t, r) {
  const a = headline(r);
  if (!a) return '';
  if (a.strength === 'attested') return t.text('vouchers.gateway', { gateway: a.gateway });
  const known = a.organizations?.length ?? 0;
  if (known === 1) return t.text('vouchers.organization', { names: a.organizations[0] });
  if (known > 1) return t.text('vouchers.organizations', { n: known, names: names(t, r) });
  return a.cosigners.length === 1 ? t.text('vouchers.member') : t.text('vouchers.members', { n: a.cosigners.length });
}

function say(t, f) {
  const r = f.report;
  const v = `verdict.${r.verdict}`;
  const places = placesOf(t, r);
  if (r.verdict === 'unverifiable') {
    let cause = f.why;
    if (!t.has(`cause.${cause}.reason`)) cause = 'other';
    return {
      sentence: t.text(t.first(`cause.${cause}.sentence`, `${v}.sentence`), places),
      reasons: [t.text(`cause.${cause}.reason`, places)],
      next: t.text(`cause.${cause}.next`, places),
    };
  }
  if (r.verdict === 'invalid') {
    const failed = r.steps.find(againstEvidence) ?? { step: 'bundle', reason: 'other' };
    places.step = stepTitle(t, failed);
    places.why = reasonText(t, failed);
  }
  const alone = ['revoked', 'superseded'].includes(r.verdict) && !r.standing.anchoredAt;
  const reasons = [t.text(`${v}.reason${alone ? '_alone' : ''}`, places)];
  if (r.verdict === 'superseded' && r.standing.reason) reasons.push(t.text('verdict.superseded.why', places));
  const by = onWordOf(r);
  if (by && r.verdict === 'genuine') reasons.push(t.text('verdict.genuine.attested', { gateway: by }));
  if (['genuine', 'pending'].includes(r.verdict)) reasons.push(t.text('verdict.date', places), t.text(f.stands ? 'stands.asked' : 'stands.unasked'));
  return { sentence: t.text(`${v}.sentence`, places), reasons, next: t.text(`${v}.next`, places) };
}

// againstEvidence tells a failed step that speaks against the evidence: that the file is another
// one does not.
const againstEvidence = (s) => s.status === 'failed' && (s.step !== 'document' || s.reason === 'size_differs');

// onWordOf is the gateway that alone says when a record was anchored; '' where an anchor proves
// itself, and where there is none.
function onWordOf(r) {
  const a = headline(r);
  return a?.strength === 'attested' ? a.gateway : '';
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
  add(onWordOf(r) ? 'anchored_attested' : 'anchored', r.anchoredAt, 'time');
  add('vouched', vouchers(t, r));
  add('issued', r.issuedAt, 'time');
  if (r.standing) {
    add('standing', t.text(`standing.${r.standing.state}`));
    add('withdrawn', r.standing.anchoredAt, 'time');
  }
  add('class', t.known(`class.${r.class}`, r.class));
  add(r.document.sizeCompared ? 'size' : 'size_stated', t.size(r.document.size));
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
    const later = s.step === 'standing' && r.standing && r.standing.state !== 'unknown';
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
  return { verdict: f.report.verdict, label, text: say(t, f).reasons[0], number: f.shows ? f.report.number : '' };
}

// words puts findings, the best one first, into words. about is what is known besides:
// {file, at, trust, hint}, see check.js.
export function words(t, found, { file, at, trust, hint }) {
  const [f, ...others] = found;
  const r = f.report;
  const passed = r.steps.filter((s) => s.status === 'passed').length;
  return {
    verdict: r.verdict,
    label: t.text(`verdict.${r.verdict}.label`),
    ...hinted(t, say(t, f), r.verdict, hint),
    warnings: warnings(t, r),
    facts: f.shows ? facts(t, r) : [],
    shown: f.shows ? attributes(t, r) : [],
    yours: file ? yours(t, file) : [],
    steps: r.steps.map((s) => stepWords(t, r, s)),
    stepsLead: t.text('steps.lead', { passed, total: r.steps.length }),
    others: others.map((o) => otherWords(t, o)),
    checkedBy: t.text('result.checked_here', { time: t.time(at) }),
    trust: trust && { text: t.text(trust.own ? 'result.trust_own' : 'result.trust_served'), sm3: trust.sm3 },
    number: f.shows ? r.number : '',
    newer: r.verdict === 'superseded' ? (r.standing?.by ?? '') : '',
  };
}

// warnings are those of a report. Where all that vouch for a time are one, that is said with them.
function warnings(t, r) {
  const one = headline(r)?.organizations?.length === 1;
  const codes = (r.warnings ?? []).map((w) => w.code).filter((code) => code !== 'one_organization' || !one);
  return codes.map((code) => t.text(`warning.${code}`, placesOf(t, r)));
}

// hinted adds what the file looks like, where it turned out not to be the document.
function hinted(t, said, verdict, hint) {
  const more = [];
  const open = ['not_found', 'altered', 'unverifiable'].includes(verdict);
  if (hint === 'resaved' && open) more.push(t.text('hint.resaved'));
  return { ...said, reasons: [...said.reasons, ...more] };
}

// alone is a result for a page that has no service: there are no records to open.
export function alone(t, r) {
  const plain = (f) => (f.kind === 'number' ? { ...f, kind: 'text' } : f);
  return { ...r, facts: r.facts.map(plain), others: r.others.map((o) => ({ ...o, number: '' })), newer: '' };
}

function yours(t, file) {
  const out = [
    { label: t.text('facts.name'), value: file.name, kind: 'text' },
    { label: t.text('facts.size'), value: t.size(file.size), kind: 'text' },
  ];
  if (file.digest) out.push({ label: t.text('facts.sm3'), value: file.digest, kind: 'hex' });
  return out;
}
