// Loads the browser's verifier in node as a page's worker does, and prints what it answers
// as lines of JSON. Arguments: wasm_exec.js, the program, the folder of the vectors, the texts,
// the folder of packages.
"use strict";
const fs = require("fs");
const path = require("path");
const [execPath, programPath, dir, textsPath, packagesDir] = process.argv.slice(2);
require(execPath);

const print = (value) => fs.writeSync(1, JSON.stringify(value) + "\n");

// The bytes that the test in Go hashes too.
function pattern(length) {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = (i * 7 + (i >> 8)) & 255;
  return out;
}

function hashes() {
  const sizes = [0, 1, 55, 56, 63, 64, 65, 1000, 65535, 65536, 65537, 200000, 3000000];
  for (const size of sizes) {
    const data = pattern(size);
    const whole = stele.sm3Create();
    const parts = stele.sm3Create(); // both in work at once
    stele.sm3Update(whole, data);
    for (let at = 0, step = 1; at < size; at += step, step = step * 3 + 1) {
      stele.sm3Update(parts, data.subarray(at, Math.min(at + step, size)));
    }
    print({ size, whole: stele.sm3Digest(whole), parts: stele.sm3Digest(parts) });
  }
}

function misuse() {
  const handle = stele.sm3Create();
  const given = stele.sm3Create();
  const answers = {
    updateUnknown: stele.sm3Update(12345, pattern(1)), updateText: stele.sm3Update(handle, "text"), updateNothing: stele.sm3Update(handle),
    updateHandle: stele.sm3Update("1", pattern(1)), discarded: stele.sm3Discard(given), discardedTwice: stele.sm3Discard(given),
    digestUnknown: stele.sm3Digest(12345), digestNothing: stele.sm3Digest(), first: stele.sm3Digest(handle) !== null, second: stele.sm3Digest(handle),
  };
  print(answers);
  const trust = fs.readFileSync(path.join(dir, "trust.json"), "utf8");
  const bundle = new Uint8Array(fs.readFileSync(path.join(dir, "genuine.json")));
  for (const args of [[], [trust, null], ["{}", null, bundle], [trust, "1234", bundle], [trust, 5, bundle], [trust, null, 5], [null, null, bundle]]) {
    print(JSON.parse(stele.verify(...args)));
  }
  for (const args of [[], [trust, null, bundle], ["{}", null, bundle, "{}"], [trust, "1234", bundle, "{}"], [trust, null, 5, "{}"], [trust, null, bundle, "not JSON"], [trust, null, new Uint8Array(3 << 20), "{}"], [null, null, null, null]]) {
    print(JSON.parse(stele.exhibit(...args)));
  }
  print([[], ["[null]"], ["not JSON"], [5], ["[]", "[]"]].map((args) => stele.rank(...args)));
  print([[], ["{}", "[]", "{}"], ["{}", "[{}]", "{}"], ["not JSON", '[{"report":{}}]', "{}"], ["{}", '[{"report":{"verdict":"revoked"}}]', "{}"], ["{}", '[{"report":{}}]', "not JSON"], [5, 5, 5]]
    .map((args) => stele.words(...args)));
  print(JSON.parse(stele.verify(trust, null, new Uint8Array(3 << 20))));
  print(JSON.parse(stele.verify(trust, undefined, new TextDecoder().decode(bundle))));
}

function vectors() {
  const reports = [];
  const texts = fs.readFileSync(textsPath, "utf8");
  const index = JSON.parse(fs.readFileSync(path.join(dir, "vectors.json"), "utf8"));
  for (const v of index.vectors) {
    let digest = v.digest || null;
    let size;
    if (v.document) {
      const h = stele.sm3Create();
      const document = new Uint8Array(fs.readFileSync(path.join(dir, v.document)));
      size = document.length;
      stele.sm3Update(h, document);
      digest = stele.sm3Digest(h);
    }
    const trust = fs.readFileSync(path.join(dir, v.trust), "utf8");
    const bundle = new Uint8Array(fs.readFileSync(path.join(dir, v.bundle)));
    const report = stele.verify(trust, digest, bundle, size);
    reports.push(report);
    const [{ cause }] = JSON.parse(stele.rank(`[${report}]`));
    const found = `{"report":${report},"why":${JSON.stringify(cause ?? "")},"stands":true}`;
    const about = { file: { name: "a file", size: 5, digest: "" }, at: "2026-11-30T00:00:00Z", trust: { sm3: "00", own: true }, hint: "resaved", alone: reports.length % 2 === 0 };
    const words = stele.words(texts, `[${found},${found}]`, JSON.stringify(about));
    print({ name: v.name, report, words, exhibit: stele.exhibit(trust, digest, bundle, texts, size) });
  }
  print(JSON.parse(stele.rank(`[${reports}]`)));
}

// packages opens evidence packages, in a folder that the test in Go wrote, as a page's worker does.
function packages() {
  for (const name of fs.readdirSync(packagesDir).sort()) {
    const data = new Uint8Array(fs.readFileSync(path.join(packagesDir, name)));
    const read = (from, to) => data.slice(from, to);
    const told = [];
    const found = stele.unpack(read, data.length, (done) => told.push(done));
    const bundle = found.bundle ? new TextDecoder().decode(found.bundle) : "";
    const all = told.at(-1) === data.length && told.every((n, i) => i === 0 || n >= told[i - 1]);
    const looks = stele.looksPacked(read, data.length);
    print({ name, looks, report: found.report ?? "", bundle, original: found.original ?? null, told: all });
  }
  const broken = { null: () => null, short: () => new Uint8Array(1), none: () => undefined, text: () => "PK" };
  for (const read of Object.values(broken)) {
    print({ looks: stele.looksPacked(read, 1000), found: stele.unpack(read, 1000) });
  }
  print({ looks: stele.looksPacked(), found: stele.unpack(5, 5) });
}

function speed() {
  const chunk = pattern(2 << 20);
  const h = stele.sm3Create();
  const start = performance.now();
  for (let i = 0; i < 32; i++) stele.sm3Update(h, chunk);
  const seconds = (performance.now() - start) / 1000;
  stele.sm3Discard(h);
  const trust = fs.readFileSync(path.join(dir, "trust-solo.json"), "utf8");
  const bundle = new Uint8Array(fs.readFileSync(path.join(dir, "genuine-solo.json")));
  const times = [];
  for (let i = 0; i < 40; i++) {
    const start = performance.now();
    stele.verify(trust, null, bundle);
    times.push(performance.now() - start);
  }
  print({ fast: Number(stele.sm3Fast), hashMBps: (32 * chunk.length) / 1e6 / seconds, verifyFirstMs: times[0], verifyLaterMs: times[39] });
}

const go = new Go();
globalThis.steleReady = () => {
  print({ ready: true });
  speed();
  hashes();
  misuse();
  vectors();
  packages();
  process.exit(0);
};
WebAssembly.instantiate(fs.readFileSync(programPath), go.importObject).then(({ instance }) => go.run(instance));
