"""Statements, entries, checkpoints, bundles and trust roots: docs/formats.md sections 3, 4, 5 and 8."""
import base64
import re

from certificates import verify_root
from chain import parse_epoch
from primitives import MAX_INT, Reader, canonical_signature, leaf_hash, need, point, sm3, time_ms


def valid_number(s):
    if not re.fullmatch(r"[0-9]{6}-[1-9][0-9]{3}-[0-9]{8}-[0-9X]", s):
        return False
    p = 0
    for c in s[:-2].replace("-", ""):
        p = (p + int(c)) * 2 % 11
    return s[-1] == "0123456789X"[(12 - p) % 11]


def valid_code(s):
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    if len(s) != 18 or any(c not in alphabet for c in s):
        return False
    return alphabet[(31 - sum(alphabet.index(c) * pow(3, i, 31) for i, c in enumerate(s[:17])) % 31) % 31] == s[17]


def valid_text(s, limit):
    bad = lambda c: c < 0x20 or 0x7F <= c < 0xA0 or c in (0x2028, 0x2029, 0xFEFF) or 0x202A <= c <= 0x202E or 0x2066 <= c <= 0x2069
    return 1 <= len(s.encode()) <= limit and s.strip() == s and not any(bad(ord(c)) for c in s)


def parse_statement(data):
    r = Reader(data, 16 << 10)
    s = {}
    r.lit('{"type":"stele/statement/v1","action":')
    s["action"] = r.string()
    r.lit(',"number":')
    s["number"] = r.string()
    r.lit(',"agency":{"code":')
    s["code"] = r.string()
    r.lit(',"name":')
    s["name"] = r.string()
    r.lit("}")
    need(valid_number(s["number"]) and valid_code(s["code"]) and valid_text(s["name"], 200), "number, code or name")
    if s["action"] == "issue":
        parse_issue(r, s)
    else:
        need(s["action"] == "revoke", "action")
        r.lit(',"reason":')
        s["reason"] = r.string()
        need(valid_text(s["reason"], 1000), "reason")
    r.lit(',"issuedAt":')
    s["issuedAt"] = time_ms(r.string())
    need(s["issuedAt"] >= time_ms("2000-01-01T00:00:00.000Z"), "year")
    r.lit("}")
    r.end()
    return s


def parse_issue(r, s):
    r.lit(',"document":{"sm3":')
    s["sm3"] = r.hex32()
    r.lit(',"size":')
    s["size"] = r.int()
    r.lit(',"mediaType":')
    media = r.string()
    need(len(media) <= 127 and re.fullmatch(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", media), "media type")
    r.lit('},"class":')
    need(re.fullmatch(r"[a-z][a-z0-9-]{0,63}", r.string()), "class")
    s["supersedes"] = ""
    if r.maybe(',"supersedes":'):
        s["supersedes"] = r.string()
        need(valid_number(s["supersedes"]) and s["supersedes"] != s["number"], "supersedes")
        if r.maybe(',"reason":'):
            need(valid_text(r.string(), 1000), "reason")
    r.lit(',"fields":')
    s["fields"] = r.map(r.hex32)
    need(len(s["fields"]) <= 64, "fields")


def entry_leaf(e):
    u16 = lambda b: len(b).to_bytes(2, "big") + b
    return leaf_hash(u16(e["statement"]) + u16(e["signature"]) + sm3(e["certificates"][0]))


def parse_checkpoint(note):
    need(len(note.encode()) <= 4096, "note is too long")
    text, blank, _ = note.partition("\n\n")
    need(blank, "checkpoint")
    return parse_checkpoint_text(text + "\n")


def parse_checkpoint_text(text):
    m = re.fullmatch(r"([!-*,-~]{1,128})\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n", text)
    need(m and int(m[2]) <= MAX_INT, "checkpoint")
    root = base64.b64decode(m[3])
    need(base64.b64encode(root).decode() == m[3], "root")
    return {"origin": m[1], "size": int(m[2]), "root": root, "text": text}


ALGORITHM = b"\xffsm2-sm3\0"


def key_id(name, key):
    return sm3(name.encode() + b"\n" + ALGORITHM + key)[:4]


def parse_log_key(text):
    m = re.fullmatch(r"([!-*,-~]{1,128})\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)", text)
    need(m and len(m[3]) % 4 == 0, "log key")
    raw = base64.b64decode(m[3])
    need(base64.b64encode(raw).decode() == m[3] and raw.startswith(ALGORITHM), "log key")
    key = point(raw[len(ALGORITHM):])
    need(key_id(m[1], key).hex() == m[2], "log key id")
    return m[1], key


def note_signature(note, c):
    """(key id, signature) of a note's only signature line in the log's own name, or None."""
    m = re.fullmatch(r"\n— (\S+) ([A-Za-z0-9+/]+={0,2})\n", note[len(c["text"]):])
    if not m or m[1] != c["origin"] or len(m[2]) % 4:
        return None
    raw = base64.b64decode(m[2])
    if base64.b64encode(raw).decode() != m[2] or len(raw) < 4 or not canonical_signature(raw[4:]):
        return None
    return raw[:4], raw[4:]


KINDS = ("stele/egov/v1", "bsn/fabric/v1", "bsn/fisco/v1")


def kind_of(text):
    return next((k for k in KINDS if text.startswith(('{"kind":"%s",' % k, '{"kind":"%s"}' % k))), None)


def parse_bundle(data):
    r = Reader(data, 1 << 20)

    def signed(middle):
        e = {"statement": r.b64()}
        r.lit(',"signature":')
        e["signature"] = r.b64()
        middle()
        r.lit(',"certificates":')
        e["certificates"] = r.list(r.b64)
        need(1 <= len(e["statement"]) <= 16 << 10 and 1 <= len(e["signature"]) <= 72 and 1 <= len(e["certificates"]) <= 4, "evidence")
        return e

    def proof(e):
        r.lit(',"log":{"index":')
        e["index"] = r.int()
        r.lit(',"path":')
        e["path"] = r.list(r.hash)
        r.lit(',"checkpoint":')
        e["checkpoint"] = r.string()
        r.lit('},"anchors":')
        e["anchors"] = r.list(r.raw)
        need(len(e["path"]) <= 64 and len(e["anchors"]) <= 16 and all(kind_of(a) for a in e["anchors"]), "evidence")
        return e

    def field():
        r.lit('{"salt":')
        salt = r.b64(16)
        r.lit(',"value":')
        value = r.string().encode()
        need(len(value) <= 4 << 10, "value")
        r.lit("}")
        return salt, value

    user = []

    def user_id():
        r.lit(',"userId":')
        user.append(r.string())

    r.lit('{"format":"stele/bundle/v1","statement":')
    b = signed(user_id)
    b["userId"] = user[0]
    r.lit(',"fields":')
    b["fields"] = r.map(field)
    proof(b)
    b["standing"] = None
    if r.maybe(',"standing":{"statement":'):
        b["standing"] = proof(signed(lambda: None))
        r.lit("}")
    r.lit("}")
    r.end()
    return b


def parse_trust(data, gateway):
    """gateway reads one of the gateways."""
    r = Reader(data[:-1] if data.endswith(b"\n") else data, 4 << 20)
    seconds = r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z"

    def log():
        r.lit('{"key":')
        origin, key = parse_log_key(r.string())
        r.lit(',"notBefore":')
        start, end = time_ms(r.string(), seconds), None
        if r.maybe(',"notAfter":'):
            end = time_ms(r.string(), seconds)
        r.lit("}")
        return {"origin": origin, "key": key, "from": start, "until": end}

    def chain():
        r.lit('{"kind":"stele/egov/v1","genesis":')
        e = parse_epoch(r.string())
        r.lit("}")
        need(e["number"] == 0, "genesis")
        return e

    r.lit('{"format":"stele/trust/v1","roots":')
    roots = r.list(r.b64)
    r.lit(',"logs":')
    logs = r.list(log)
    r.lit(',"chains":')
    chains = r.list(chain)
    gateways = []
    if r.maybe(',"gateways":'):
        gateways = r.list(lambda: gateway(r))
        need(gateways and len(set(gateways)) == len(gateways), "gateways")
    r.lit("}")
    r.end()
    need(all(verify_root(x) for x in roots) and len(set(roots)) == len(roots), "roots")
    need(len({(x["origin"], x["key"]) for x in logs}) == len(logs) and len({x["chain"] for x in chains}) == len(chains), "something is pinned twice")
    return {"roots": roots, "logs": logs, "gateways": gateways, "chains": {x["chain"]: x for x in chains}}
