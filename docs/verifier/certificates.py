"""SM2 certificates: docs/formats.md section 7."""
import re

from primitives import SM2_SPKI, Malformed, Refused, canonical_signature, der, der_int, need, point, sm2_verify, time_ms


SM2_WITH_SM3 = (bytes.fromhex("06082a811ccf55018375"), bytes.fromhex("06082a811ccf550183750500"))
OIDS = {"550406": "country", "550408": "province", "550407": "locality", "55040a": "organization", "550403": "commonName", "550405": "code"}
STRINGS = {12: "utf-8", 19: "ascii", 22: "ascii", 18: "ascii", 20: "latin-1", 30: "utf-16-be"}


def elements(data):
    at, out = 0, []
    while at < len(data):
        start, tag = at, data[at]
        content, at = der(data, at, tag)
        out.append((tag, content, data[start:at]))
    return out


def cert_name(content):
    out, count = {}, 0
    for tag, rdn, _ in elements(content):
        need(tag == 0x31, "name")
        for tag, pair, _ in elements(rdn):
            need(tag == 0x30, "name")
            (t1, oid, _), (t2, value, _) = elements(pair)
            need(t1 == 6 and t2 in STRINGS, "name")
            value, count = value.decode(STRINGS[t2]), count + 1
            field = OIDS.get(oid.hex())
            if field:
                need(field not in out and value, "name")
                out[field] = value
    need(count, "empty name")
    return out


def cert_time(tag, content):
    if tag == 23:
        text = content.decode("ascii")
        return time_ms(("20" if text[:2] < "50" else "19") + text, r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z")
    need(tag == 24, "time")
    return time_ms(content.decode("ascii"), r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z")


def parse_cert(raw):
    try:
        return parse_cert_strictly(raw)
    except (ValueError, IndexError, UnicodeDecodeError):
        raise Malformed("certificate")


def parse_cert_strictly(raw):
    need(len(raw) <= 8 << 10, "certificate is too long")
    outer, end = der(raw, 0, 0x30)
    need(end == len(raw), "bytes after the certificate")
    (t1, tbs, tbs_raw), (t2, alg, _), (t3, bits, _) = elements(outer)
    need((t1, t2, t3) == (0x30, 0x30, 3) and bits[:1] == b"\0" and canonical_signature(bits[1:]), "certificate")
    parts = elements(tbs)
    need([p[0] for p in parts] == [0xA0, 2, 0x30, 0x30, 0x30, 0x30, 0x30, 0xA3], "fields of the certificate")
    need(parts[0][1] == b"\x02\x01\x02", "version")
    serial, _ = der_int(parts[1][2], 0)
    need(0 < serial < 1 << 159, "serial number")
    need(parts[2][1] == alg and alg in SM2_WITH_SM3, "algorithm")
    (b_tag, b, _), (a_tag, a, _) = elements(parts[4][1])
    c = {"raw": raw, "tbs": tbs_raw, "signature": bits[1:], "issuer": cert_name(parts[3][1]), "issuer_raw": parts[3][2],
         "subject": cert_name(parts[5][1]), "subject_raw": parts[5][2], "from": cert_time(b_tag, b), "until": cert_time(a_tag, a),
         "usage": 0, "ca": None, "ski": b"", "aki": b"", "purposes": None}
    need(parts[6][2].startswith(SM2_SPKI) and c["from"] <= c["until"], "key or validity")
    c["key"] = point(parts[6][2][len(SM2_SPKI):])
    cert_extensions(c, parts[7][1])
    return c


def cert_extensions(c, data):
    (tag, content, whole), = elements(data)
    need(tag == 0x30, "extensions")
    seen = set()
    for tag, ext, _ in elements(content):
        fields = elements(ext)
        need(tag == 0x30 and fields[0][0] == 6 and fields[-1][0] == 4 and len(fields) in (2, 3), "extension")
        if len(fields) == 3:
            need(fields[1][0] == 1 and fields[1][1] in (b"\xff", b"\0"), "extension")
        oid, critical, value = fields[0][1].hex(), len(fields) == 3 and fields[1][1] == b"\xff", fields[-1][1]
        need(oid not in seen and oid != "551d1e", "extension")
        need(not critical or oid in ("551d0f", "551d13"), "critical extension")
        seen.add(oid)
        if oid == "551d0f":  # key usage
            bits, _ = der(value, 0, 3)
            c["usage"] = {i for i in range(8 * (len(bits) - 1)) if bits[1 + i // 8] >> (7 - i % 8) & 1}
        elif oid == "551d13":  # basic constraints
            fields = elements(der(value, 0, 0x30)[0])
            ca = bool(fields) and fields[0][0] == 1 and fields[0][1] == b"\xff"
            lengths = [int.from_bytes(f[1], "big") for f in fields if f[0] == 2]
            c["ca"] = {"ca": ca, "path": lengths[0] if lengths else None}
        elif oid == "551d0e":
            c["ski"] = der(value, 0, 4)[0]
        elif oid == "551d23":
            for tag, k, _ in elements(der(value, 0, 0x30)[0]):
                c["aki"] = k if tag == 0x80 else c["aki"]
        elif oid == "551d25":
            c["purposes"] = [f[1].hex() for f in elements(der(value, 0, 0x30)[0])]
    c["usage"] = c["usage"] or set()


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
