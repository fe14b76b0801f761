#!/usr/bin/env python3
"""A second verifier, written from docs/formats.md alone.

It shares no code with Stele: SM3, Merkle trees, DER and the formats are here, and SM2 and
Ed25519 signatures are checked by the openssl command (3.0 or later). It is slow and plain on
purpose. The project's tests run it over every test vector and compare what it finds.

    verifier.py --trust trust.json bundle.json|certificate.pdf [document]
    verifier.py --trust trust.json package.evidence.zip [document]
    verifier.py --trust trust.json --trust-key KEY …    demands trust.json.sig by this key (section 15)
    verifier.py --vectors folder          one line of JSON for each vector of the folder

This file holds the steps and the verdict: section 9.
"""
import functools
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta

from carriers import BadPackage, bundle_of
from certificates import agency_code, parse_cert, verify_chain, verify_root
from chain import CLOCK_TOLERANCE, check_headers, check_links, check_pins, follow, parse_evidence, renamed, unpinned, verify_evidence
from formats import KINDS, MAX_BUNDLE, MAX_TRUST, entry_leaf, key_id, kind_of, may_anchor, note_signature, parse_bundle, parse_checkpoint, parse_log_key, parse_statement, speaks_for, valid_code
from formats import check_trust_signature, parse_trust as parse_trust_file
from gateways import check_attested, parse_gateway
from status import certificate_key, map_shows, parse_certificate_value, parse_record_value, parse_revocation, parse_status, record_key, status_leaf
from primitives import USER_ID, Malformed, Refused, consistent, included, need, read_again, sm2_verify, sm3

STEPS = ["bundle", "document", "fields", "statement", "certificate", "inclusion", "checkpoint", "anchor", "consistency", "status", "standing"]
OPTIONAL = ("consistency", "status")  # of bundles that carry them


def check_fields(s, shown):
    for name, (salt, value) in shown.items():
        if name not in s["fields"]:
            return "failed", "unknown_field"
        if sm3(salt + name.encode() + b"\0" + value) != s["fields"][name]:
            return "failed", "commitment_differs"
    return "passed", ""


def check_certificate(e, s, signer, trust, found):
    """found is what check_evidence knows already: the log's origin and the anchors."""
    if agency_code(signer) != s["code"] or signer["subject"].get("organization", "") != s["name"]:
        return "failed", "other_holder"
    try:
        verify_chain(e["certificates"], s["issuedAt"])
    except Refused:
        return "failed", "bad_certificate"
    der = e["certificates"][-1]
    root = next((x for x in trust["roots"] if x["der"] == der), None)
    if root is None:
        return ("not_checked", "unknown_root") if verify_root(der) else ("failed", "bad_certificate")
    if not speaks_for(root, s["code"], found["origin"]):
        return "not_checked", "out_of_scope"
    first = headline(found["anchors"])
    if first and any(first["time"] // 1000 * 1000 > parse_cert(c)["until"] for c in e["certificates"]):
        return "not_checked", "expired_at_anchor"
    return "passed", ""


def check_anchor(raw, c, trust):
    """Returns status, reason and, where it passed, what the anchor says."""
    kind = kind_of(raw)
    if kind != KINDS[0]:
        status, reason, found = check_attested(kind, raw, c, trust["gateways"])
        if not found:
            return status, reason, None
        app, at, later = found
        if not may_anchor(trust, c["origin"], app):
            return "not_checked", "other_chain", None
        return status, reason, {"kind": kind, "chain": app, "height": 0, "time": at, "keys": [], "alone": False, "later": later}
    try:
        ev = parse_evidence(raw)
    except Malformed:
        return "failed", "malformed", None
    h = ev["header"]
    pinned = trust["chains"].get(h["chain"])
    start = next((i for i, l in enumerate(ev["links"]) if l["from"] in trust["chains"] and may_anchor(trust, c["origin"], l["from"])), None)
    if pinned is None and start is None:
        return ("failed", "bad_evidence", None) if renamed(ev, c, trust) else ("not_checked", "unknown_chain", None)
    try:
        check_links(ev, c)
        signed = follow(ev["links"][start:], trust) if start is not None else []
        chain = pinned or unpinned(ev["links"][-1]["to"])
        verify_evidence(chain, ev, c)
        check_pins(chain, ev["epochs"], h["epoch"], h["time"])
    except Refused:
        return "failed", "bad_evidence", None
    if start is None and not may_anchor(trust, c["origin"], h["chain"]):
        return "not_checked", "other_chain", None
    epochs = [chain, *ev["epochs"]]
    keys = [n["sm2"] for epoch in epochs for n in epoch["notaries"] if n["origin"] == c["origin"]]
    signed = [] if pinned else signed
    signed += [(chain, epochs[-1], ev["cosignatures"]), *((chain, e, x["signatures"]) for e, x in zip(epochs, ev["epochs"]))]
    return "passed", "", {"kind": kind, "chain": h["chain"], "height": h["height"], "time": h["time"], "keys": keys, "alone": any(alone(*x) for x in signed), "header": h, "later": False}


def alone(chain, epoch, signatures):
    """Whether the signatures of one organization are a quorum without the others'."""
    power = {}
    for i, _ in signatures:
        v = epoch["validators"][i]
        code = chain["members"].get(v["sm2"])
        power[code] = power.get(code, 0) + v["power"]
    total = sum(v["power"] for v in epoch["validators"])
    return any(code and 3 * p > 2 * total for code, p in power.items())


def check_anchors(raws, c, issued_at, trust, steps):
    """Returns the anchors that passed."""
    passed = []
    for raw in raws:
        status, reason, a = check_anchor(raw, c, trust)
        if a:
            if a["time"] < issued_at - CLOCK_TOLERANCE:
                status, reason = "failed" if a["kind"] == KINDS[0] else "not_checked", "time_order"
            elif any((a["kind"], a["chain"]) == (b["kind"], b["chain"]) for b in passed):
                status, reason = "failed", "duplicate"
            else:
                passed.append(a)
        steps.append(("anchor", status, reason))
    if not raws:
        steps.append(("anchor", "skipped", "not_anchored"))
    return passed


def headline(anchors):
    """The anchor that a report leads with: the earliest that proves itself, or that is attested; or None."""
    own = [a for a in anchors if a["kind"] == KINDS[0]]
    return min(own or anchors, key=lambda a: a["time"], default=None)


def warnings_of(s, anchors, trust):
    first = headline(anchors)
    if first is None:
        return []
    late = first["time"] - s["issuedAt"] > trust["late"]
    return ["late_anchor"] * late + ["one_organization"] * first["alone"]


def check_checkpoint(note, c, issued_at, trust, anchors):
    pinned = [x for x in trust["logs"] if x["origin"] == c["origin"]]
    proven = [k for a in anchors for k in a["keys"]]
    first = headline(anchors)
    keys = [x["key"] for x in pinned] + proven
    sig = note_signature(note, c)
    if sig is None:
        return "failed", "bad_signature"
    for k in keys:
        if key_id(c["origin"], k) == sig[0] and sm2_verify(k, c["text"].encode(), sig[1]):
            for x in pinned:
                if x["key"] == k and (first and first["time"] < x["from"] or x["until"] is not None and issued_at > x["until"]):
                    return "failed", "key_not_valid"
            return "passed", ""
    if proven or any(key_id(c["origin"], k) == sig[0] or sm2_verify(k, c["text"].encode(), sig[1]) for k in keys):
        return "failed", "bad_signature"
    return "not_checked", "unknown_log_key" if keys else "unknown_log"


def check_evidence(e, s, user, trust, steps):
    """Steps 5 to 10. Returns what later steps need: root, origin, checkpoint and the anchors that passed."""
    found = {"root": e["certificates"][-1], "origin": "", "checkpoint": None, "anchors": []}
    try:
        signer = parse_cert(e["certificates"][0])
    except Malformed:
        signer = None
        steps += [("statement", "skipped", "no_signer"), ("certificate", "failed", "malformed")]
    else:
        if user != USER_ID:
            steps.append(("statement", "failed", "user_id"))
        elif not sm2_verify(signer["key"], e["statement"], e["signature"]):
            steps.append(("statement", "failed", "bad_signature"))
        else:
            steps.append(("statement", "passed", ""))
    try:
        c = parse_checkpoint(e["checkpoint"])
    except Malformed:
        steps += [("inclusion", "failed", "malformed"), ("checkpoint", "skipped", "no_checkpoint"), ("anchor", "skipped", "no_checkpoint")]
    else:
        ok = included(e["index"], c["size"], entry_leaf(e), e["path"], c["root"])
        steps.append(("inclusion", "passed", "") if ok else ("inclusion", "failed", "not_included"))
        anchors = check_anchors(e["anchors"], c, s["issuedAt"], trust, steps)
        steps.append(("checkpoint", *check_checkpoint(e["checkpoint"], c, s["issuedAt"], trust, anchors)))
        found.update(origin=c["origin"], checkpoint=c, anchors=anchors)
    if signer is not None:
        steps.append(("certificate", *check_certificate(e, s, signer, trust, found)))
    return found


LONG_AGO = -(2**62)  # before every time there is


def check_consistency(extra, first, trust):
    """The second checkpoint of a bundle of version 2. Returns status and reason."""
    if not first["origin"]:
        return "skipped", "no_checkpoint"
    try:
        other = parse_checkpoint(extra["checkpoint"])
    except Malformed:
        return "failed", "malformed"
    if other["origin"] != first["origin"]:
        return "failed", "other_log"
    a, b = first["checkpoint"], other
    if a["size"] > b["size"]:
        a, b = b, a
    if not (same_size(a, b, extra["path"]) or a["size"] < b["size"] and consistent(a["size"], b["size"], a["root"], b["root"], extra["path"])):
        return "failed", "not_consistent"
    anchors, bad = check_beside(extra["checkpoint"], other, extra["anchors"], trust, lambda a: True)
    if bad:
        return bad
    if not anchors or not first["anchors"]:
        return "not_checked", "not_anchored"
    try:
        for x in first["anchors"]:
            for y in anchors:
                if x["kind"] == y["kind"] == KINDS[0] and x["chain"] == y["chain"]:
                    check_headers(x["header"], y["header"], extra["headers"].get(x["chain"]))
    except Refused:
        return "failed", "history_differs"
    return "passed", ""


def check_beside(note, c, raws, trust, counts):
    """A checkpoint that is not the bundle's own: the anchors that passed and count, and status and reason or None."""
    steps = []
    anchors = [a for a in check_anchors(raws, c, LONG_AGO, trust, steps) if counts(a)]
    steps.insert(0, ("checkpoint", *check_checkpoint(note, c, LONG_AGO, trust, anchors)))
    if any(st == "failed" for _, st, _ in steps):
        return anchors, ("failed", "bad_evidence")
    unknown = [r for n, st, r in steps if st == "not_checked" and (n == "checkpoint" or not anchors)]
    return anchors, ("not_checked", unknown[0]) if unknown else None


def check_status(b, s, trust, first):
    """Returns status, reason, what the log says where it passed, and the warnings."""
    x = b["status"]
    if not first["origin"]:
        return "skipped", "no_checkpoint", None, []
    try:
        said, (name, key), c = parse_status(x["statement"]), parse_log_key(x["key"]), parse_checkpoint(x["checkpoint"])
    except Malformed:
        return "failed", "malformed", None, []
    bad = status_place(b, x, said, name, key, c, first["origin"])
    if bad:
        return "failed", bad, None, []
    anchors, bad = check_beside(x["checkpoint"], c, x["anchors"], trust, lambda a: not a["later"])
    if not bad and not anchors:
        bad = "not_checked", "not_anchored"
    bad = bad or status_key(key, c, headline(anchors), anchors, trust)
    if bad:
        return *bad, None, []
    for p, k, parse in ((x["record"], record_key(s["number"], s["code"]), parse_record_value), (x["certificate"], certificate_key(b["certificates"][0]), parse_certificate_value)):
        if not map_shows(p, said["map"], k) or p["value"] is not None and parse(p["value"])[1] >= said["size"]:
            return "failed", "map_differs", None, []
    told = {"anchor": headline(anchors), "entries": said["size"], "ended": x["record"]["value"] and parse_record_value(x["record"]["value"])}
    if x["certificate"]["value"] is None:
        return "passed", "", told, []
    if not root_revoked(x["certificate"], b["certificates"]):
        return "failed", "bad_revocation", None, []
    since, own = parse_certificate_value(x["certificate"]["value"])[0], headline(first["anchors"])
    if own is None or own["time"] >= since:
        return "failed", "certificate_revoked", None, []
    return "passed", "", told, ["certificate_revoked"]


def root_revoked(p, chain):
    """Whether the root of the record's chain says what the map does of its signer's certificate."""
    try:
        said, root = parse_revocation(p["statement"]), parse_cert(chain[-1])
    except Malformed:
        return False
    since, _, reason = parse_certificate_value(p["value"])
    return (valid_code(said["agency"]) and said["certificate"] == sm3(chain[0]) and said["since"] == since and said["reason"] == reason
            and len(chain) > 1 and sm2_verify(root["key"], p["statement"], p["signature"]))


def status_place(b, x, said, name, key, c, origin):
    """The reason for which the status is not where it has to be, or None."""
    size = said["size"]
    if not said["log"] == name == c["origin"] == origin:
        return "other_log"
    if size != x["index"]:
        return "other_place"
    if b["index"] >= size:
        return "not_covered"
    if c["size"] != size + 1:
        return "not_last"
    if not sm2_verify(key, x["statement"], x["signature"]):
        return "bad_signature"
    if not included(size, c["size"], status_leaf(x), x["path"], c["root"]) or not included(b["index"], c["size"], entry_leaf(b), x["recordPath"], c["root"]):
        return "not_included"
    return None


def status_key(key, c, first, anchors, trust):
    """Whether the key that signed a status is the log's at the time of its anchor: None, or status and reason."""
    pinned = [x for x in trust["logs"] if x["origin"] == c["origin"] and x["key"] == key]
    if pinned:
        valid = pinned[0]["from"] <= first["time"] and (pinned[0]["until"] is None or first["time"] <= pinned[0]["until"])
        return None if valid else ("failed", "key_not_valid")
    return None if any(key in a["keys"] for a in anchors) else ("not_checked", "unknown_log_key")


def same_size(a, b, path):
    return a["size"] == b["size"] and a["root"] == b["root"] and not path


def check_standing(b, s, trust, first, told):
    """Returns status, reason, the state and the warnings. told is what the log's status says, or None."""
    if b["standing"] is None:
        if told is None:
            return "not_checked", NO_STATUS, "unknown", []
        return "passed", "", told["ended"][0] if told["ended"] else "valid", []
    try:
        later = parse_statement(b["standing"]["statement"])
    except Malformed:
        return "failed", "malformed", "unknown", []
    if later["code"] != s["code"]:
        return "failed", "other_agency", "unknown", []
    if later["issuedAt"] < s["issuedAt"] - CLOCK_TOLERANCE:
        return "failed", "time_order", "unknown", []
    if later["action"] == "revoke" and later["number"] == s["number"]:
        state = "revoked"
    elif later["action"] == "issue" and later["supersedes"] == s["number"]:
        state = "superseded"
    else:
        return "failed", "other_record", "unknown", []
    steps = []
    second = check_evidence(b["standing"], later, b["userId"], trust, steps)
    before, after = (next((x for x in trust["roots"] if x["der"] == y["root"]), None) for y in (first, second))
    both = before and after and speaks_for(before, s["code"], first["origin"]) and speaks_for(after, s["code"], second["origin"])
    if second["root"] != first["root"] and after and not both:
        return "failed", "other_root", state, []
    if second["origin"] and first["origin"] and second["origin"] != first["origin"]:
        return "failed", "other_log", state, []
    index = b["standing"]["index"]
    if told and (told["ended"] != (state, index) if told["ended"] else index < told["entries"]):
        return "failed", "status_differs", state, []
    warnings = [] if second["anchors"] else ["standing_not_anchored"]
    warnings += ["standing_late_anchor"] * ("late_anchor" in warnings_of(later, second["anchors"], trust))
    steps.sort(key=lambda x: STEPS.index(x[0]))
    if any(st == "failed" for _, st, _ in steps):
        return "failed", "bad_evidence", state, warnings
    unknown = [r for n, st, r in steps if st == "not_checked" and n != "anchor"]
    return ("not_checked", unknown[0], state, warnings) if unknown else ("passed", "", state, warnings)


NO_STATUS = "no_status_proof"


def unreadable(*steps):
    known = {x[0]: x for x in steps}
    return [known.get(n, (n, "skipped", "unreadable")) for n in STEPS if n not in OPTIONAL]


def check_document(s, digest, size):
    if digest is None:
        return "not_checked", "no_document"
    if digest != s["sm3"]:
        return "failed", "digest_differs"
    return ("passed", "") if size is None or size == s["size"] else ("failed", "size_differs")


def verify(trust, digest, size, data):
    """Returns the verdict, all steps with status and reason, the anchors that passed, the codes of warnings, and the standing.

    size is the document's in bytes, or None where its digest alone is known."""
    try:
        b, resaved = read_again(parse_bundle, data, MAX_BUNDLE)
    except Malformed:
        return "invalid", unreadable(("bundle", "failed", "malformed")), [], [], ""
    try:
        s = parse_statement(b["statement"])
        need(s["action"] == "issue", "action")
    except Malformed:
        return "invalid", unreadable(("bundle", "passed", ""), ("statement", "failed", "malformed")), [], [], ""
    steps = [("bundle", "passed", ""), ("document", *check_document(s, digest, size)), ("fields", *check_fields(s, b["fields"]))]
    first = check_evidence(b, s, b["userId"], trust, steps)
    if b["consistency"]:
        steps.append(("consistency", *check_consistency(b["consistency"], first, trust)))
    told, revoked = None, []
    if b["status"]:
        *found, told, revoked = check_status(b, s, trust, first)
        steps.append(("status", *found))
    *found, state, later = check_standing(b, s, trust, first, told)
    steps.append(("standing", *found))
    steps.sort(key=lambda x: STEPS.index(x[0]))
    verdict, holds = decide(steps, state)
    warnings = ["resaved"] * resaved + warnings_of(s, first["anchors"], trust) + revoked + later
    standing = f"{state} {utc(told['anchor']['time'])} {told['anchor']['chain']} {told['entries']}" if told else state
    return verdict, steps, first["anchors"], warnings if holds else [], standing


def against(step):
    """Whether a step speaks against the evidence; that the file is another one does not."""
    name, status, reason = step
    return status == "failed" and (name != "document" or reason == "size_differs")


def decide(steps, state):
    """Returns the verdict, and whether the evidence holds."""
    status = {n: (st, r) for n, st, r in steps}
    anchors = [st for n, st, _ in steps if n == "anchor" and st != "skipped"]
    if any(against(x) for x in steps):
        return "invalid", False
    if any(st == "not_checked" and n not in ("document", "anchor", *OPTIONAL) and r != NO_STATUS for n, st, r in steps):
        return "unverifiable", False
    if status["document"][0] == "failed":
        return "altered", True
    if state in ("revoked", "superseded"):
        return state, True
    if not anchors:
        return "pending", True
    if "passed" not in anchors or status["document"][0] == "not_checked":
        return "unverifiable", True
    return "genuine", True


def first_failed(verdict, steps):
    """The step that makes a bundle invalid, and why."""
    return next((x[::2] for x in steps if verdict == "invalid" and against(x)), ("", ""))


def parse_trust(data):
    return read_again(lambda d: parse_trust_file(d, parse_gateway), data, MAX_TRUST)[0]


def utc(ms):
    return (datetime(1970, 1, 1) + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds") + "Z"


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


@functools.lru_cache(None)
def file_digest(path):
    """openssl streams a file of any size."""
    return bytes.fromhex(subprocess.run(["openssl", "dgst", "-sm3", "-r", path], check=True, stdout=subprocess.PIPE).stdout[:64].decode())


class Digest:
    """SM3 by openssl of what comes in parts."""

    def __init__(self):
        self.size = 0
        self.dgst = subprocess.Popen(["openssl", "dgst", "-sm3", "-r"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def add(self, data):
        self.size += len(data)
        self.dgst.stdin.write(data)

    def end(self):
        return bytes.fromhex(self.dgst.communicate()[0][:64].decode())


def run_vectors(folder):
    trusts = {}
    for v in json.loads(read(folder, "vectors.json"))["vectors"]:
        if v["trust"] not in trusts:
            trusts[v["trust"]] = parse_trust(read(folder, v["trust"]))
        digest, size = bytes.fromhex(v["digest"]) if v.get("digest") else None, None
        if v.get("document"):
            path = os.path.join(folder, v["document"])
            digest, size = file_digest(path), os.path.getsize(path)
        verdict, steps, anchors, warnings, standing = verify(trusts[v["trust"]], digest, size, read(folder, v["bundle"]))
        step, reason = first_failed(verdict, steps)
        first = headline(anchors)
        print(json.dumps({"name": v["name"], "verdict": verdict, "step": step, "reason": reason, "steps": [" ".join(x).strip() for x in steps],
                          "warnings": warnings, "standing": standing, "anchoredAt": "" if first is None else utc(first["time"]),
                          "anchors": [f"{a['kind']} {a['chain']} {a['height']} {utc(a['time'])}" for a in anchors]}), flush=True)


def main(args):
    if len(args) == 2 and args[0] == "--vectors":
        return run_vectors(args[1])
    key = None
    if len(args) > 3 and args[2] == "--trust-key":
        key, args = args[3], args[:2] + args[4:]
    if len(args) not in (3, 4) or args[0] != "--trust":
        sys.exit(__doc__)
    if key is not None:
        try:
            check_trust_signature(read(args[1]), read(args[1] + ".sig"), key)
        except Malformed:
            print("the trust roots are not signed by this key: nothing was checked")
            sys.exit(2)
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
    digest, size = None, None
    if len(args) == 4:
        digest, size = file_digest(args[3]), os.path.getsize(args[3])
    elif original:
        digest, size = inside, packed.size
    verdict, steps, _, warnings, standing = verify(parse_trust(read(args[1])), digest, size, bundle)
    step, reason = first_failed(verdict, steps)
    print(verdict + (f": step {step} failed: {reason}" if step else "") + (f" (standing: {standing})" if standing.startswith("valid") else "") + (f" (warnings: {', '.join(warnings)})" if warnings else ""))
    sys.exit(0 if verdict == "genuine" else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
