#!/usr/bin/env python3
"""A second verifier, written from docs/formats.md alone.

It shares no code with Stele: SM3, Merkle trees, DER and the formats are here, and SM2 and
Ed25519 signatures are checked by the openssl command (3.0 or later). It is slow and plain on
purpose. The project's tests run it over every test vector and compare what it finds.

    verifier.py --trust trust.json bundle.json|certificate.pdf [document]
    verifier.py --trust trust.json package.evidence.zip [document]
    verifier.py --vectors folder          one line of JSON for each vector of the folder

This file holds the steps and the verdict: section 9.
"""
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta

from carriers import BadPackage, bundle_of
from certificates import agency_code, parse_cert, verify_chain, verify_root
from chain import parse_evidence, renamed, verify_evidence
from formats import KINDS, entry_leaf, key_id, kind_of, note_signature, parse_bundle, parse_checkpoint, parse_statement
from formats import parse_trust as parse_trust_file
from gateways import check_attested, parse_gateway
from primitives import USER_ID, Malformed, Refused, included, need, sm2_verify, sm3

CLOCK_TOLERANCE = 5 * 60 * 1000  # milliseconds


STEPS = ["bundle", "document", "fields", "statement", "certificate", "inclusion", "checkpoint", "anchor", "standing"]


def check_fields(s, shown):
    for name, (salt, value) in shown.items():
        if name not in s["fields"]:
            return "failed", "unknown_field"
        if sm3(salt + name.encode() + b"\0" + value) != s["fields"][name]:
            return "failed", "commitment_differs"
    return "passed", ""


def check_certificate(e, s, signer, trust):
    if agency_code(signer) != s["code"] or signer["subject"].get("organization", "") != s["name"]:
        return "failed", "other_holder"
    try:
        verify_chain(e["certificates"], s["issuedAt"])
    except Refused:
        return "failed", "bad_certificate"
    root = e["certificates"][-1]
    if root in trust["roots"]:
        return "passed", ""
    return ("not_checked", "unknown_root") if verify_root(root) else ("failed", "bad_certificate")


def check_anchor(raw, c, trust):
    """Returns status, reason and, where it passed, the chain, the height, the time and the keys it vouches for."""
    kind = kind_of(raw)
    if kind != KINDS[0]:
        status, reason, found = check_attested(kind, raw, c, trust["gateways"])
        return status, reason, found and (*found, [])
    try:
        ev = parse_evidence(raw)
    except Malformed:
        return "failed", "malformed", None
    h = ev["header"]
    if h["chain"] not in trust["chains"]:
        return ("failed", "bad_evidence", None) if renamed(ev, c, trust) else ("not_checked", "unknown_chain", None)
    try:
        verify_evidence(trust["chains"][h["chain"]], ev, c)
    except Refused:
        return "failed", "bad_evidence", None
    epochs = [trust["chains"][h["chain"]], *ev["epochs"]]
    return "passed", "", (h["chain"], h["height"], h["time"], [n["sm2"] for epoch in epochs for n in epoch["notaries"] if n["origin"] == c["origin"]])


def check_anchors(e, c, s, trust, steps):
    """Returns the anchors that passed, as kind, chain, height and time, and the keys they vouch for."""
    passed, keys = [], []
    for raw in e["anchors"]:
        status, reason, found = check_anchor(raw, c, trust)
        if found:
            kind, (chain, height, at, vouched) = kind_of(raw), found
            if at < s["issuedAt"] - CLOCK_TOLERANCE:
                status, reason = "failed" if kind == KINDS[0] else "not_checked", "time_order"
            elif any((kind, chain) == a[:2] for a in passed):
                status, reason = "failed", "duplicate"
            else:
                passed.append((kind, chain, height, at))
                keys += vouched
        steps.append(("anchor", status, reason))
    if not e["anchors"]:
        steps.append(("anchor", "skipped", "not_anchored"))
    return passed, keys


def anchored_at(anchors):
    """The earliest of the anchors that prove themselves, or of the attested ones, or None."""
    own = [at for kind, _, _, at in anchors if kind == KINDS[0]]
    return min(own or [at for _, _, _, at in anchors], default=None)


def check_checkpoint(note, c, s, trust, proven, anchored):
    pinned = [x for x in trust["logs"] if x["origin"] == c["origin"]]
    keys = [x["key"] for x in pinned] + proven
    sig = note_signature(note, c)
    if sig is None:
        return "failed", "bad_signature"
    for k in keys:
        if key_id(c["origin"], k) == sig[0] and sm2_verify(k, c["text"].encode(), sig[1]):
            for x in pinned:
                if x["key"] == k and (anchored is not None and anchored < x["from"] or x["until"] is not None and s["issuedAt"] > x["until"]):
                    return "failed", "key_not_valid"
            return "passed", ""
    if proven or any(key_id(c["origin"], k) == sig[0] or sm2_verify(k, c["text"].encode(), sig[1]) for k in keys):
        return "failed", "bad_signature"
    return "not_checked", "unknown_log_key" if keys else "unknown_log"


def check_evidence(e, s, user, trust, steps):
    """Steps 5 to 10. Returns the anchors that passed."""
    try:
        signer = parse_cert(e["certificates"][0])
    except Malformed:
        steps += [("statement", "skipped", "no_signer"), ("certificate", "failed", "malformed")]
    else:
        if user != USER_ID:
            steps.append(("statement", "failed", "user_id"))
        elif not sm2_verify(signer["key"], e["statement"], e["signature"]):
            steps.append(("statement", "failed", "bad_signature"))
        else:
            steps.append(("statement", "passed", ""))
        steps.append(("certificate", *check_certificate(e, s, signer, trust)))
    try:
        c = parse_checkpoint(e["checkpoint"])
    except Malformed:
        steps += [("inclusion", "failed", "malformed"), ("checkpoint", "skipped", "no_checkpoint"), ("anchor", "skipped", "no_checkpoint")]
        return []
    ok = included(e["index"], c["size"], entry_leaf(e), e["path"], c["root"])
    steps.append(("inclusion", "passed", "") if ok else ("inclusion", "failed", "not_included"))
    anchors, keys = check_anchors(e, c, s, trust, steps)
    steps.append(("checkpoint", *check_checkpoint(e["checkpoint"], c, s, trust, keys, anchored_at(anchors))))
    return anchors


def check_standing(b, s, trust):
    """Returns status, reason and the state."""
    if b["standing"] is None:
        return "passed", "", "valid"
    try:
        later = parse_statement(b["standing"]["statement"])
    except Malformed:
        return "failed", "malformed", None
    if later["code"] != s["code"]:
        return "failed", "other_agency", None
    if later["issuedAt"] < s["issuedAt"] - CLOCK_TOLERANCE:
        return "failed", "time_order", None
    if later["action"] == "revoke" and later["number"] == s["number"]:
        state = "revoked"
    elif later["action"] == "issue" and later["supersedes"] == s["number"]:
        state = "superseded"
    else:
        return "failed", "other_record", None
    steps = []
    check_evidence(b["standing"], later, b["userId"], trust, steps)
    steps.sort(key=lambda x: STEPS.index(x[0]))
    if any(st == "failed" for _, st, _ in steps):
        return "failed", "bad_evidence", state
    unknown = [r for n, st, r in steps if st == "not_checked" and n != "anchor"]
    return ("not_checked", unknown[0], state) if unknown else ("passed", "", state)


def unreadable(*steps):
    known = {x[0]: x for x in steps}
    return [known.get(n, (n, "skipped", "unreadable")) for n in STEPS]


def verify(trust, digest, data):
    """Returns the verdict, all steps with status and reason, and the anchors that passed."""
    try:
        b = parse_bundle(data)
    except Malformed:
        return "invalid", unreadable(("bundle", "failed", "malformed")), []
    try:
        s = parse_statement(b["statement"])
        need(s["action"] == "issue", "action")
    except Malformed:
        return "invalid", unreadable(("bundle", "passed", ""), ("statement", "failed", "malformed")), []
    document = ("not_checked", "no_document") if digest is None else ("passed", "") if digest == s["sm3"] else ("failed", "digest_differs")
    steps = [("bundle", "passed", ""), ("document", *document), ("fields", *check_fields(s, b["fields"]))]
    anchors = check_evidence(b, s, b["userId"], trust, steps)
    *found, state = check_standing(b, s, trust)
    steps.append(("standing", *found))
    steps.sort(key=lambda x: STEPS.index(x[0]))
    return decide(steps, document[0], state), steps, anchors


def decide(steps, document, state):
    status = lambda *names: [st for n, st, _ in steps if n in names]
    others = [n for n in STEPS if n != "document"]
    anchors = [st for st in status("anchor") if st != "skipped"]
    if "failed" in status(*others):
        return "invalid"
    if "not_checked" in status(*(n for n in others if n != "anchor")):
        return "unverifiable"
    if document == "failed":
        return "altered"
    if state != "valid":
        return state
    if not anchors:
        return "pending"
    if "passed" not in anchors or document == "not_checked":
        return "unverifiable"
    return "genuine"


def first_failed(verdict, steps):
    """The step that makes a bundle invalid, and why."""
    return next((x[::2] for x in steps if verdict == "invalid" and x[0] != "document" and x[1] == "failed"), ("", ""))


def parse_trust(data):
    return parse_trust_file(data, parse_gateway)


def utc(ms):
    return (datetime(1970, 1, 1) + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds") + "Z"


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def file_digest(path):
    """openssl streams a file of any size."""
    return bytes.fromhex(subprocess.run(["openssl", "dgst", "-sm3", "-r", path], check=True, stdout=subprocess.PIPE).stdout[:64].decode())


class Digest:
    """SM3 by openssl of what comes in parts."""

    def __init__(self):
        self.dgst = subprocess.Popen(["openssl", "dgst", "-sm3", "-r"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def add(self, data):
        self.dgst.stdin.write(data)

    def end(self):
        return bytes.fromhex(self.dgst.communicate()[0][:64].decode())


def run_vectors(folder):
    trusts = {}
    for v in json.loads(read(folder, "vectors.json"))["vectors"]:
        if v["trust"] not in trusts:
            trusts[v["trust"]] = parse_trust(read(folder, v["trust"]))
        digest = bytes.fromhex(v["digest"]) if v.get("digest") else file_digest(os.path.join(folder, v["document"])) if v.get("document") else None
        verdict, steps, anchors = verify(trusts[v["trust"]], digest, read(folder, v["bundle"]))
        step, reason = first_failed(verdict, steps)
        at = anchored_at(anchors)
        print(json.dumps({"name": v["name"], "verdict": verdict, "step": step, "reason": reason, "steps": [" ".join(x).strip() for x in steps],
                          "anchoredAt": "" if at is None else utc(at), "anchors": [f"{k} {chain} {height} {utc(t)}" for k, chain, height, t in anchors]}), flush=True)


def main(args):
    if len(args) == 2 and args[0] == "--vectors":
        return run_vectors(args[1])
    if len(args) not in (3, 4) or args[0] != "--trust":
        sys.exit(__doc__)
    packed = Digest()
    try:
        bundle, original = bundle_of(args[2], packed.add)
    except BadPackage:
        print("invalid: step bundle failed: package")
        sys.exit(1)
    except Malformed:
        sys.exit("neither a bundle nor a certificate as it was issued")
    finally:
        inside = packed.end()
    digest = file_digest(args[3]) if len(args) == 4 else inside if original else None
    verdict, steps, _ = verify(parse_trust(read(args[1])), digest, bundle)
    step, reason = first_failed(verdict, steps)
    print(verdict + (f": step {step} failed: {reason}" if step else ""))
    sys.exit(0 if verdict == "genuine" else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
