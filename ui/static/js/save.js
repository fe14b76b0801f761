// What a person can keep of a result.
//
// The report as JSON is
//
//	{"format":"stele/verification/v1","checkedAt":"<RFC 3339, UTC>","checkedBy":"browser",
//	 "file":{"name":"…","size":1234,"sm3":"<64 hex>"},   absent where a proof was checked alone
//	 "trust":"<64 hex>",                                SM3 of the trust roots' file; absent where none were needed
//	 "cause":"network",                                 why it could not be checked, where the report does not say
//	 "report":{…},                                      exactly what the verifier wrote (stele/report/v1)
//	 "bundle":"…"}                                      the bundle's exact text; absent where there is none
//
// It is a note of what was seen, not evidence: anybody can write one. The bundle in it is.

// asJSON writes the report on an outcome. The verifier's text goes in as it is: parsing and
// writing it again would change its bytes.
export function asJSON({ subject, found: [f], at, trust }) {
  const parts = [['format', 'stele/verification/v1'], ['checkedAt', at], ['checkedBy', 'browser']];
  if (subject.file) parts.push(['file', { ...subject.file, sm3: subject.digest ?? undefined }]);
  if (trust) parts.push(['trust', trust.sm3]);
  if (f.cause) parts.push(['cause', f.cause]);
  const pairs = parts.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  pairs.push(`"report":${f.text}`);
  if (f.bundle) pairs.push(`"bundle":${JSON.stringify(f.bundle)}`);
  return `{${pairs.join(',')}}\n`;
}

// fields are what a report as a PDF is made from: digest and proof, no file and no name.
export function fields({ subject, found: [f] }, lang) {
  const out = { lang };
  if (subject.digest) out.sm3 = subject.digest;
  if (f.bundle) out.bundle = f.bundle;
  if (subject.number) Object.assign(out, { number: subject.number, code: subject.code ?? '' });
  return out;
}

// nameFor is what a saved report is called: by the certificate's number, or the digest.
export function nameFor({ subject, found: [f] }, number, extension) {
  const what = number || (subject.digest ?? f.report.verdict).slice(0, 16);
  return `${what}.report.${extension}`;
}

// hand gives the browser a file to save.
export function hand(name, blob) {
  const a = document.createElement('a');
  a.href = URL.createObjectURL(blob);
  a.download = name;
  document.body.append(a);
  a.click();
  a.remove();
  setTimeout(() => URL.revokeObjectURL(a.href), 60000); // some browsers begin to read late
}
