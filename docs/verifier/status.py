"""The status map and status statements: docs/formats.md section 18."""
import re

from primitives import MAX_INT, Reader, leaf_hash, need, sm3, time_ms, valid_name

SECONDS = r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z"
REASONS = ("keyCompromise", "superseded", "cessationOfOperation")
INDEX = "(0|[1-9][0-9]{0,15})"


def parse_status(data):
    r = Reader(data, 1 << 10)
    s = {}
    r.lit('{"type":"stele/status/v1","log":')
    s["log"] = r.string()
    r.lit(',"size":')
    s["size"] = r.int()
    r.lit(',"map":')
    s["map"] = r.hex32()
    for key in ("records", "certificates", "agencies"):
        r.lit(',"%s":' % key)
        s[key] = r.int()
    r.lit("}")
    r.end()
    need(valid_name(s["log"]), "log")
    return s


def status_leaf(x):
    """The entry is that of a statement, with the SM3 of the key's text in place of the certificate's."""
    u16 = lambda b: len(b).to_bytes(2, "big") + b
    return leaf_hash(u16(x["statement"]) + u16(x["signature"]) + sm3(x["key"].encode()))


def record_key(number, code):
    return sm3(b"\1" + number.encode() + code.encode())


def certificate_key(der):
    return sm3(b"\2" + sm3(der))


def index_of(text):
    n = int(text)
    need(n <= MAX_INT, "index")
    return n


def parse_record_value(text):
    """Returns what became of the record, and the index of the entry that says so."""
    m = re.fullmatch("(revoked|superseded) " + INDEX, text)
    need(m, "value of a record")
    return m[1], index_of(m[2])


def parse_certificate_value(text):
    """Returns since when the certificate is revoked, the index of the entry that says so, and why."""
    m = re.fullmatch("(%s) (\\S+) %s" % ("|".join(REASONS), INDEX), text)
    need(m, "value of a certificate")
    since = time_ms(m[2], SECONDS)
    need(since >= time_ms("2000-01-01T00:00:00Z", SECONDS), "year")
    return since, index_of(m[3]), m[1]


def parse_revocation(data):
    """What the root says of a certificate."""
    r = Reader(data, 1 << 10)
    said = {}
    r.lit('{"type":"stele/certificate-revocation/v1","certificate":')
    said["certificate"] = r.hex32()
    r.lit(',"agency":')
    said["agency"] = r.string()
    r.lit(',"reason":')
    said["reason"] = r.string()
    for key in ("since", "issuedAt"):
        r.lit(',"%s":' % key)
        said[key] = time_ms(r.string(), SECONDS)
    r.lit("}")
    r.end()
    need(said["reason"] in REASONS, "reason")
    need(time_ms("2000-01-01T00:00:00Z", SECONDS) <= said["since"] <= said["issuedAt"], "times")
    return said


def parse_map_proof(raw):
    """Steps from the root down, each a bit and the sibling, and the end: 0 the key, 1 another key, 2 an empty map."""
    need(len(raw) >= 3, "proof of the map")
    n = int.from_bytes(raw[:2], "big")
    need(n <= 256 and len(raw) > 2 + 33 * n, "steps")
    steps = [(raw[at], raw[at + 1:at + 33]) for at in range(2, 2 + 33 * n, 33)]
    need(all(a[0] < b[0] for a, b in zip(steps, steps[1:])), "order of the steps")
    end, rest = raw[2 + 33 * n], raw[3 + 33 * n:]
    need(end <= 2 and len(rest) == (64 if end == 1 else 0) and not (end == 2 and n), "end of the proof")
    return {"steps": steps, "end": end, "other": (rest[:32], rest[32:])}


def bit(key, at):
    return key[at // 8] >> (7 - at % 8) & 1


def map_shows(p, root, key):
    """Whether the proof shows under the root that the key has its value, or that it is absent where it has none."""
    if p["end"] == 2:
        return root == sm3(b"")
    leaf, value = key, sm3(p["value"].encode()) if p["end"] == 0 else None
    if p["end"] == 1:
        leaf, value = p["other"]
        if leaf == key or any(bit(leaf, at) != bit(key, at) for at, _ in p["steps"]):
            return False
    h = sm3(b"\0\x20" + leaf + b"\x20" + value)
    for at, sibling in reversed(p["steps"]):
        number = bytes([at]) if at < 128 else bytes([at & 0x7F | 0x80, 1])
        h = sm3(b"\1" + number + (sibling + h if bit(key, at) else h + sibling))
    return h == root
