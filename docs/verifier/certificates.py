"""SM2 certificates: docs/formats.md section 7.

    certificates.py cases.json     one line of JSON for each case of the file: what was read, and how its chain ends
"""
import base64
import json
import re
import sys

from primitives import (SM2_SPKI, Malformed, Refused, canonical_signature, der, der_int, need, point, sm2_verify,
                        time_ms, unprintable)


SM2_WITH_SM3 = (bytes.fromhex("06082a811ccf55018375"), bytes.fromhex("06082a811ccf550183750500"))
OIDS = {"550406": "country", "550408": "province", "550407": "locality", "55040a": "organization", "550403": "commonName", "550405": "code"}
PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")
STRINGS = {  # tag: encoding, and the characters
    12: ("utf-8", re.compile(r".*", re.DOTALL)),
    18: ("ascii", re.compile(r"[0-9 ]*")),
    19: ("ascii", PRINTABLE),
    22: ("ascii", re.compile(r"[ -~]*")),
    30: ("utf-16-be", re.compile(r"[\0-\uffff]*")),
}


def elements(data):
    at, out = 0, []
    while at < len(data):
        start, tag = at, data[at]
        content, at = der(data, at, tag)
        out.append((tag, content, data[start:at]))
    return out


def only(data, tag):
    """The content of the one element that data is."""
    content, end = der(data, 0, tag)
    need(end == len(data), "bytes after the value")
    return content


def oid(tag, content):
    need(tag == 6 and content and content[-1] < 0x80, "OID")
    need(not any(c == 0x80 and (i == 0 or content[i - 1] < 0x80) for i, c in enumerate(content)), "OID is not minimal")
    return content.hex()


def cert_string(tag, content):
    need(tag in STRINGS and content, "string")
    encoding, allowed = STRINGS[tag]
    text = content.decode(encoding)
    need(allowed.fullmatch(text) and not any(unprintable(c) for c in text), "characters")
    return text


def cert_name(content):
    out, rdns = {}, elements(content)
    need(rdns, "empty name")
    for tag, rdn, _ in rdns:
        pairs = elements(rdn)
        need(tag == 0x31 and pairs and all(a[2] < b[2] for a, b in zip(pairs, pairs[1:])), "set")
        for tag, pair, _ in pairs:
            need(tag == 0x30, "name")
            (t1, kind, _), (t2, value, _) = elements(pair)
            field, value = OIDS.get(oid(t1, kind)), cert_string(t2, value)
            if field:
                need(field not in out, "name")
                out[field] = value
    return out


def cert_time(tag, content):
    text = content.decode("ascii")
    need(tag in (23, 24), "time")
    if tag == 23:
        text = ("20" if text[:2] < "50" else "19") + text
    t = time_ms(text, r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z")
    need(text >= "1950", "year")
    return t


def parse_cert(raw):
    try:
        return parse_cert_strictly(raw)
    except (ValueError, IndexError, UnicodeDecodeError):
        raise Malformed("certificate")


def parse_cert_strictly(raw):
    need(len(raw) <= 8 << 10, "certificate is too long")
    outer = only(raw, 0x30)
    (t1, tbs, tbs_raw), (t2, alg, _), (t3, bits, _) = elements(outer)
    need((t1, t2, t3) == (0x30, 0x30, 3) and bits[:1] == b"\0" and canonical_signature(bits[1:]), "certificate")
    parts = elements(tbs)
    need([p[0] for p in parts] == [0xA0, 2, 0x30, 0x30, 0x30, 0x30, 0x30, 0xA3], "fields of the certificate")
    need(parts[0][1] == b"\x02\x01\x02", "version")
    serial, _ = der_int(parts[1][2], 0)
    need(0 < serial < 1 << 159, "serial number")
    need(parts[2][1] == alg and alg in SM2_WITH_SM3, "algorithm")
    (b_tag, b, _), (a_tag, a, _) = elements(parts[4][1])
    c = {"raw": raw, "tbs": tbs_raw, "signature": bits[1:], "serial": serial,
         "issuer": cert_name(parts[3][1]), "issuer_raw": parts[3][2],
         "subject": cert_name(parts[5][1]), "subject_raw": parts[5][2],
         "from": cert_time(b_tag, b), "until": cert_time(a_tag, a),
         "usage": set(), "ca": None, "ski": b"", "aki": b"", "purposes": None}
    need(parts[6][2].startswith(SM2_SPKI) and c["from"] <= c["until"], "key or validity")
    c["key"] = point(parts[6][2][len(SM2_SPKI):])
    cert_extensions(c, parts[7][1])
    return c


def cert_extensions(c, data):
    seen, extensions = set(), elements(only(data, 0x30))
    need(extensions, "no extensions")
    for tag, ext, _ in extensions:
        fields = elements(ext)
        need(tag == 0x30 and len(fields) in (2, 3) and fields[-1][0] == 4, "extension")
        critical = len(fields) == 3 and boolean(*fields[1][:2])
        kind, value = oid(*fields[0][:2]), fields[-1][1]
        need(kind not in seen and kind != "551d1e", "extension")
        need(not critical or kind in ("551d0f", "551d13"), "critical extension")
        seen.add(kind)
        if kind == "551d0f":
            c["usage"] = key_usage(only(value, 3))
        elif kind == "551d13":
            c["ca"] = basic_constraints(elements(only(value, 0x30)))
        elif kind == "551d0e":
            c["ski"] = only(value, 4)
            need(c["ski"], "key identifier")
        elif kind == "551d23":
            c["aki"] = authority_key_id(elements(only(value, 0x30)))
        elif kind == "551d25":
            c["purposes"] = [oid(*f[:2]) for f in elements(only(value, 0x30))]
            need(c["purposes"], "no purpose")


def boolean(tag, content):
    need(tag == 1 and content in (b"\0", b"\xff"), "BOOLEAN")
    return content == b"\xff"


def key_usage(bits):
    need(len(bits) >= 2 and bits[0] < 8, "key usage")
    count = 8 * (len(bits) - 1) - bits[0]
    value = int.from_bytes(bits[1:], "big")
    need(count <= 9, "there is no such usage")
    need(value & (1 << bits[0] + 1) - 1 == 1 << bits[0], "key usage is not minimal")
    return {i for i in range(count) if bits[1 + i // 8] >> (7 - i % 8) & 1}


def basic_constraints(fields):
    ca = bool(fields) and fields[0][0] == 1 and boolean(*fields[0][:2])
    rest = fields[1:] if fields and fields[0][0] == 1 else fields
    if not rest:
        return {"ca": ca, "path": None}
    need(ca and len(rest) == 1, "basic constraints")
    length, _ = der_int(rest[0][2], 0)
    need(0 <= length < 1 << 31, "path length")
    return {"ca": ca, "path": length}


def authority_key_id(fields):
    tags = [f[0] for f in fields]
    need(tags == [t for t in (0x80, 0xA1, 0x82) if t in tags], "authority key identifier")
    need(0x80 not in tags or fields[0][1], "key identifier")
    return fields[0][1] if 0x80 in tags else b""


def is_ca(c):
    return bool(c["ca"] and c["ca"]["ca"] and 5 in c["usage"])


def agency_code(c):
    code = c["subject"].get("code", "")
    return code if re.fullmatch(r"[0-9A-HJ-NPQRTUWXY]{18}", code) else ""


def verify_chain(raws, at):
    """Everything but whether the root is pinned."""
    need(2 <= len(raws) <= 4, "length of the chain", Refused)
    try:
        chain = [parse_cert(r) for r in raws]
    except Malformed as e:
        raise Refused(str(e))
    signer = chain[0]
    need(not (signer["ca"] and signer["ca"]["ca"]) and signer["usage"] == {0, 1} and agency_code(signer), "profile", Refused)
    need(signer["purposes"] is None or {"2b06010505070324", "551d2500"} & set(signer["purposes"]), "purpose", Refused)
    for i, (c, issuer) in enumerate(zip(chain, chain[1:])):
        need(c["subject_raw"] != c["issuer_raw"] and c["issuer_raw"] == issuer["subject_raw"], "names", Refused)
        need(not c["aki"] or not issuer["ski"] or c["aki"] == issuer["ski"], "key identifiers", Refused)
        need(is_ca(issuer) and (issuer["ca"]["path"] is None or i <= issuer["ca"]["path"]), "authority", Refused)
        need(sm2_verify(issuer["key"], c["tbs"], c["signature"]), "signature", Refused)
    for c in chain:
        need(c["from"] <= at and at // 1000 * 1000 <= c["until"], "validity", Refused)


def verify_root(raw):
    try:
        c = parse_cert(raw)
    except Malformed:
        return False
    return c["subject_raw"] == c["issuer_raw"] and is_ca(c) and sm2_verify(c["key"], c["tbs"], c["signature"])


def read_by(raw):
    """All that anything here depends on, in the form in which the tests compare it."""
    c = parse_cert(raw)
    usage = sum(1 << i for i in c["usage"])
    limit = c["ca"] and c["ca"]["path"]
    return {"serial": "%x" % c["serial"], "subject": c["subject"], "issuer": c["issuer"],
            "from": c["from"] // 1000, "until": c["until"] // 1000, "key": c["key"].hex(), "usage": usage,
            "constrained": c["ca"] is not None, "authority": bool(c["ca"] and c["ca"]["ca"]),
            "pathLen": -1 if limit is None else limit, "ski": c["ski"].hex(), "aki": c["aki"].hex(),
            "purposes": c["purposes"] or []}


def outcome(case):
    """What becomes of the certificate at a place of its chain, whose root is pinned: malformed is the
    certificate, refused its chain. Without a time only the certificate is read."""
    chain, read = [base64.b64decode(x) for x in case["chain"]], None
    try:
        read = read_by(chain[case["place"]])
        if "at" not in case:
            return {"name": case["name"], "outcome": "accepted", "read": read}
        if case["place"] == len(chain) - 1:
            need(verify_root(chain[-1]), "root", Refused)
        verify_chain(chain, time_ms(case["at"]))
        result = "accepted"
    except Malformed:
        result = "malformed"
    except Refused:
        result = "refused"
    return {"name": case["name"], "outcome": result, "read": read}


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as f:
        for one in json.load(f)["cases"]:
            print(json.dumps(outcome(one), ensure_ascii=False), flush=True)
