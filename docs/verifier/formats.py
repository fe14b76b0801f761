"""Statements, entries, checkpoints, bundles, trust roots: docs/formats.md sections 3, 4, 5, 8 and 15."""
import base64
import re

from certificates import verify_root
from chain import parse_epoch
from status import parse_certificate_value, parse_map_proof, parse_record_value
from primitives import (MAX_INT, Malformed, Reader, canonical_signature, leaf_hash, need, point, sm2_verify, sm3,
                        time_ms, unprintable, valid_name)


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
    return 1 <= len(s.encode()) <= limit and s.strip() == s and not any(unprintable(c) for c in s)


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
    m = re.fullmatch(r"([!-*,-~]{1,128})\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})", text)
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


def check_trust_signature(file, note, key_text):
    """Section 15: the note is by the key, over the file without the line feed at its end."""
    name, key = parse_log_key(key_text)
    need(len(note) <= 4096, "signature is too long")
    try:
        note = note.decode()
    except UnicodeDecodeError:
        raise Malformed("signature") from None
    text = note.partition("\n\n")[0] + "\n"
    lines = text.split("\n")
    need(len(lines) == 4 and lines[0] == "stele/trust-signature/v1" and re.fullmatch(r"[0-9a-f]{64}", lines[1]), "signature")
    time_ms(lines[2], SECONDS)
    signed = note_signature(note, {"text": text, "origin": name})
    need(signed and signed[0] == key_id(name, key) and sm2_verify(key, text.encode(), signed[1]), "signature does not verify")
    need(lines[1] == sm3(file[:-1] if file.endswith(b"\n") else file).hex(), "another file was signed")


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

    def consistency():
        c = {"checkpoint": r.string()}
        r.lit(',"path":')
        c["path"] = r.list(r.hash)
        r.lit(',"anchors":')
        c["anchors"] = r.list(r.raw)
        r.lit(',"headers":')
        headers = r.list(header_path)
        c["headers"] = dict(headers)
        r.lit("}")
        need(len(c["path"]) <= 64 and len(c["anchors"]) <= 16 and all(kind_of(a) for a in c["anchors"]), "consistency")
        need(len(headers) == len(c["headers"]) <= 16, "paths between headers")
        return c

    def header_path():
        r.lit('{"chain":')
        chain = r.string()
        r.lit(',"path":')
        path = r.list(r.hash)
        r.lit("}")
        need(re.fullmatch(r"[!-*,-~]{1,50}", chain) and len(path) <= 64, "path between headers")
        return chain, path

    def revocation(p):
        r.lit(',"statement":')
        p["statement"] = r.b64()
        r.lit(',"signature":')
        p["signature"] = r.b64()
        need(1 <= len(p["statement"]) <= 1 << 10 and 1 <= len(p["signature"]) <= 72, "revocation")

    def map_proof(parse_value, beside=lambda p: None):
        r.lit('{"proof":')
        p = parse_map_proof(r.b64())
        p["value"] = None
        if r.maybe(',"value":'):
            p["value"] = r.string()
            parse_value(p["value"])
            beside(p)
        r.lit("}")
        need((p["end"] == 0) == (p["value"] is not None), "value")
        return p

    def status():
        x = {"statement": r.b64()}
        r.lit(',"signature":')
        x["signature"] = r.b64()
        r.lit(',"key":')
        x["key"] = r.string()
        proof(x)
        r.lit(',"recordPath":')
        x["recordPath"] = r.list(r.hash)
        r.lit(',"record":')
        x["record"] = map_proof(parse_record_value)
        r.lit(',"certificate":')
        x["certificate"] = map_proof(parse_certificate_value, revocation)
        r.lit("}")
        need(1 <= len(x["statement"]) <= 1 << 10 and 1 <= len(x["signature"]) <= 72 and len(x["recordPath"]) <= 64, "status")
        return x

    r.lit('{"format":"stele/bundle/v')
    version = 2 if r.maybe("2") else 1
    r.lit('","statement":' if version == 2 else '1","statement":')
    b = signed(user_id)
    b["userId"] = user[0]
    r.lit(',"fields":')
    b["fields"] = r.map(field)
    proof(b)
    b["consistency"] = b["status"] = b["standing"] = None
    if version == 2:
        if r.maybe(',"consistency":{"checkpoint":'):
            b["consistency"] = consistency()
        if r.maybe(',"status":{"statement":'):
            b["status"] = status()
        need(b["consistency"] or b["status"], "version 2 has more than version 1")
    if r.maybe(',"standing":{"statement":'):
        b["standing"] = proof(signed(lambda: None))
        r.lit("}")
    r.lit("}")
    r.end()
    return b


SECONDS = r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z"


def trust_time(r):
    t = time_ms(r.string(), SECONDS)
    need(t >= time_ms("2000-01-01T00:00:00Z", SECONDS), "year")
    return t


def trust_key(r):
    r.lit('{"key":')
    origin, key = parse_log_key(r.string())
    r.lit(',"notBefore":')
    start, end = trust_time(r), None
    if r.maybe(',"notAfter":'):
        end = trust_time(r)
    r.lit("}")
    need(end is None or start <= end, "validity of a log's key")
    return {"origin": origin, "key": key, "from": start, "until": end, "chains": None}


def trust_genesis(r):
    r.lit('{"kind":"stele/egov/v1","genesis":')
    e = parse_epoch(r.string())
    need(e["number"] == 0, "genesis")
    return {**e, "epochs": [], "members": {}}


def trust_v1(r, gateway):
    r.lit('1","roots":')
    t = {"late": DAY, "roots": r.list(lambda: {"der": r.b64(), "codes": [], "regions": [], "logs": []})}
    r.lit(',"logs":')
    t["logs"] = r.list(lambda: trust_key(r))

    def chain():
        c = trust_genesis(r)
        r.lit("}")
        return c

    r.lit(',"chains":')
    t["chains"] = r.list(chain)
    t["gateways"] = []
    if r.maybe(',"gateways":'):
        t["gateways"] = r.list(lambda: gateway(r))
        need(t["gateways"], "gateways")
    return t


DAY = 24 * 3600 * 1000
TEN_YEARS = 10 * 365 * 24 * 3600  # seconds


def strings(r, key, valid=lambda s: True):
    r.lit(',"%s":' % key)
    out = r.list(r.string)
    need(out == sorted(set(out), key=lambda s: s.encode()) and all(valid(s) for s in out), key)
    return out


def trust_v2(r, gateway):
    r.lit('2","lateAfter":')
    t = {"late": 1000 * r.int(1, TEN_YEARS)}

    def root():
        r.lit('{"certificate":')
        x = {"der": r.b64(), "codes": strings(r, "codes", valid_code)}
        x["regions"] = strings(r, "regions", lambda s: re.fullmatch("[0-9]{2}([0-9]{2}){0,2}", s))
        x["logs"] = strings(r, "logs", valid_name)
        r.lit("}")
        return x

    def log():
        r.lit('{"origin":')
        origin = r.string()
        chains = strings(r, "chains")
        r.lit(',"keys":')
        keys = r.list(lambda: trust_key(r))
        r.lit("}")
        need(keys and all(k["origin"] == origin for k in keys), "keys of a log")
        return [{**k, "chains": chains} for k in keys]

    def epoch():
        r.lit('{"hash":')
        digest = r.hex32()
        r.lit(',"from":')
        at = trust_time(r)
        r.lit("}")
        return digest, at

    def member():
        r.lit('{"key":')
        key = r.string()
        need(re.fullmatch("[0-9a-f]{130}", key), "key of a member")
        key = point(bytes.fromhex(key))
        r.lit(',"organization":')
        name = r.string()
        r.lit(',"code":')
        code = r.string()
        r.lit("}")
        need(valid_text(name, 200) and valid_code(code), "member")
        return key, code

    def chain():
        c = trust_genesis(r)
        r.lit(',"epochs":')
        c["epochs"] = r.list(epoch)
        r.lit(',"members":')
        members = r.list(member)
        c["members"] = dict(members)
        r.lit("}")
        need(len(c["epochs"]) <= 4096 and len(c["members"]) == len(members), "pinned epochs or members")
        need(all(a[1] <= b[1] for a, b in zip(c["epochs"], c["epochs"][1:])), "terms of the pinned epochs")
        return c

    r.lit(',"roots":')
    t["roots"] = r.list(root)
    r.lit(',"logs":')
    logs = r.list(log)
    t["logs"] = [k for keys in logs for k in keys]
    r.lit(',"chains":')
    t["chains"] = r.list(chain)
    r.lit(',"gateways":')
    t["gateways"] = r.list(lambda: gateway(r))
    known = {c["chain"] for c in t["chains"]} | {app for _, app, _ in t["gateways"]}
    need(all(any(k["origin"] == o for k in t["logs"]) for x in t["roots"] for o in x["logs"]), "a root's log is not pinned")
    need(len({keys[0]["origin"] for keys in logs}) == len(logs) and all(c in known for k in t["logs"] for c in k["chains"]), "logs")
    return t


def parse_trust(data, gateway):
    """gateway reads one of the gateways."""
    r = Reader(data[:-1] if data.endswith(b"\n") else data, MAX_TRUST)
    r.lit('{"format":"stele/trust/v')
    t = trust_v2(r, gateway) if r.sees("2") else trust_v1(r, gateway)
    r.lit("}")
    r.end()
    ders, chains, gateways = [x["der"] for x in t["roots"]], {x["chain"]: x for x in t["chains"]}, t["gateways"]
    need(all(verify_root(x) for x in ders) and len(set(ders)) == len(ders), "roots")
    need(len(ders) < 2 or all((x["codes"] or x["regions"]) and x["logs"] for x in t["roots"]), "several roots, and one that speaks for everybody")
    need(len({(x["origin"], x["key"]) for x in t["logs"]}) == len(t["logs"]) and len(chains) == len(t["chains"]), "something is pinned twice")
    need(len(set(gateways)) == len(gateways), "a gateway is pinned twice")
    need(not any(app in chains for _, app, _ in gateways), "a chain and an application have one name")
    longer = lambda a, b: a.startswith(b) and a[len(b):].isdigit()
    need(not any(g[0] == h[0] and g[2] == h[2] and longer(g[1], h[1]) for g in gateways for h in gateways), "an application is another one with more digits")
    return {**t, "chains": chains}


MAX_TRUST = 4 << 20
MAX_BUNDLE = 1 << 20


def speaks_for(root, code, origin):
    """Whether a root may certify this agency, whose records this log holds: section 8."""
    if root["logs"] and origin not in root["logs"]:
        return False
    return not root["codes"] + root["regions"] or code in root["codes"] or any(code[2:].startswith(d) for d in root["regions"])


def may_anchor(trust, origin, chain):
    """Whether a chain, or the application behind a gateway, may anchor a log: section 8."""
    return all(k["chains"] is None or chain in k["chains"] for k in trust["logs"] if k["origin"] == origin)
