"""Attested anchors: the signed answers of a BSN gateway. docs/formats.md section 14."""
import json
import re

from formats import parse_checkpoint_text, valid_text
from primitives import (MAX_INT, Malformed, Reader, Refused, canonical_signature, consistent, der, der_int, need, openssl_verify, point, sm2_verify,
                        sm3, SM2_SPKI)

FABRIC, FISCO = "bsn/fabric/v1", "bsn/fisco/v1"

# Bodies: "s" a string, "b" a boolean, "i" 64 bits with a sign, "u" without; "?" may be left out.
TRANSACTION = {"txId": "s", "status": "i", "createName": "s", "timeSpanSec": "i", "timeSpanNsec": "i"}
CONTRACT_TRANSACTION = {"txId": "s", "blockHash": "s", "blockNumber": "i", "gasUsed": "i", "from": "s", "to": "s", "value": "i", "input": "s"}
ANSWERS = {
    FABRIC: {
        "history": {"blockInfo": {"txId": "s", "blockHash": "s", "status": "i"}, "ccRes": {"ccCode": "i", "ccData": "s"}},
        "block": {"blockHash": "s", "blockNumber": "u", "preBlockHash": "s", "blockSize": "u", "blockTxCount": "i", "transactions": [TRANSACTION]},
        "ledger": {"blockHash": "s", "height": "u", "preBlockHash": "s"},
    },
    FISCO: {
        "row": {"constant": "b", "queryInfo": "s", "txId": "s", "blockHash": "s", "blockNumber?": "i", "gasUsed?": "i", "status": "s", "from": "s",
                "to": "s", "input": "s", "output": "s", "logs": "s"},
        "receipt": {"txId": "s", "blockHash": "s", "blockNumber": "i", "gasUsed": "i", "from": "s", "to": "s", "contractAddress": "s", "logs": "s"},
        "block": {"blockHash": "s", "blockNumber": "i", "parentBlockHash": "s", "blockSize": "i", "blockTime": "i", "author": "s",
                  "transactions": [CONTRACT_TRANSACTION]},
    },
}


def read(r, form):
    if form == "s":
        s = r.string()
        need("\u2028" not in s and "\u2029" not in s, "line separator")
        return s
    if form == "b":
        if r.maybe("true"):
            return True
        r.lit("false")
        return False
    if form == "i":
        return r.int(-2**63, 2**63 - 1)
    if form == "u":
        return r.int(0, 2**64 - 1)
    if isinstance(form, list):
        return r.list(lambda: read(r, form[0]))
    r.lit("{")
    out = {}
    for name, kind in form.items():
        comma = "," if out else ""
        if name.endswith("?"):
            name = name[:-1]
            if r.maybe('%s"%s":' % (comma, name)):
                out[name] = read(r, kind)
            continue
        r.lit('%s"%s":' % (comma, name))
        out[name] = read(r, kind)
    r.lit("}")
    return out


def parse_attested(kind, text):
    r = Reader(text.encode(), 256 << 10)
    r.lit('{"kind":"%s","app":' % kind)
    app = read(r, "s")
    r.lit(',"path":')
    e = {"kind": kind, "app": app, "path": r.list(r.hash)}
    for name, form in ANSWERS[kind].items():
        r.lit(',"%s":{"msg":' % name)
        msg = read(r, "s")
        r.lit(',"body":')
        e[name] = {"msg": msg, "body": read(r, form)}
        r.lit(',"mac":')
        e[name]["mac"] = r.b64()
        r.lit("}")
    r.lit("}")
    r.end()
    need(re.fullmatch("[0-9A-Za-z]{1,64}", app) and len(e["path"]) <= 64, "evidence")
    return e


def under_mac(v):
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, dict):
        return "".join(map(under_mac, v.values()))
    return "".join(map(under_mac, v)) if isinstance(v, list) else str(v)


# Keys of gateways: what comes before the point in a SubjectPublicKeyInfo, and p, b and n of the
# ECDSA curves (SEC 2 sections 2.4.1 and 2.4.2); a is -3 and 0.
R1_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
K1_SPKI = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200")
CURVES = {
    R1_SPKI: (2**256 - 2**224 + 2**192 + 2**96 - 1, -3, 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
              0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
    K1_SPKI: (2**256 - 2**32 - 977, 0, 7, 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141),
}


def parse_key(raw):
    """The curve, as what comes before the point, and the point."""
    spki, q = raw[:-65], raw[-65:]
    if spki == SM2_SPKI:
        return spki, point(q)
    need(spki in CURVES and len(q) == 65 and q[0] == 4, "key of a gateway")
    p, a, b, _ = CURVES[spki]
    x, y = int.from_bytes(q[1:33], "big"), int.from_bytes(q[33:], "big")
    need(x < p and y < p and (y * y - x * x * x - a * x - b) % p == 0, "point is not on the curve")
    return spki, q


def signed(key, answer):
    spki, q = key
    text = ("0" + answer["msg"] + under_mac(answer["body"])).encode()
    if spki == SM2_SPKI:
        return sm2_verify(q, sm3(text), answer["mac"])
    if not canonical_signature(answer["mac"]):
        return False
    body, _ = der(answer["mac"], 0, 0x30)
    s, _ = der_int(body, der_int(body, 0)[1])
    return s <= CURVES[spki][3] // 2 and openssl_verify(spki + q, text, answer["mac"], "-digest", "sha256")


def parse_gateway(r):
    """One of the gateways in trust roots."""
    r.lit('{"kind":')
    kind = r.string()
    r.lit(',"app":')
    app = r.string()
    need(kind in ANSWERS and re.fullmatch("0x[0-9a-f]{40}" if kind == FISCO else "[0-9A-Za-z]{1,64}", app), "application")
    r.lit(',"name":')
    name = r.string()
    need(valid_text(name, 120), "name")
    r.lit(',"key":')
    key = parse_key(r.b64())
    r.lit("}")
    return kind, app, key


class Number(str):
    """A number of an inner text, as it is written."""


def once(pairs):
    names = [re.sub("[\ud800-\udfff]", "\ufffd", n) for n, _ in pairs]
    need(len(set(names)) == len(names), "a name stands there twice")
    return dict(zip(names, (v for _, v in pairs)))


def no_constant(name):
    raise ValueError(name + " is no JSON")


INNER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=no_constant, object_pairs_hook=once)


def depth(v):
    inside = v.values() if isinstance(v, dict) else v if isinstance(v, list) else ()
    return isinstance(v, (dict, list)) + max(map(depth, inside), default=0)


def inner(text):
    try:
        v = INNER.decode(text)
        need(depth(v) <= 32, "depth")
        return v
    except (ValueError, RecursionError, Malformed):
        raise Refused("inner text")


def member(v, name, kind):
    need(isinstance(v, dict) and type(v.get(name)) is kind, name, Refused)
    return v[name]


def parse_entry(origin, key, value):
    prefix = "stele/" + sm3(origin.encode())[:16].hex() + "/"
    n = re.fullmatch("[1-9][0-9]{0,15}", key[len(prefix):])
    need(key.startswith(prefix) and n and int(n[0]) <= MAX_INT, "key", Refused)
    lines = value.split("\n")
    need(len(lines) == 5 and lines[4] == "", "value", Refused)
    try:
        c = parse_checkpoint_text("\n".join(lines[:3]) + "\n")
        r = Reader(('"%s"' % lines[3]).encode(), 200)
        signature = r.b64()
        r.end()
        need(1 <= len(signature) <= 72 and c["origin"] == origin, "value")
    except Malformed:
        raise Refused("value")
    return c


def check_fabric(e, origin):
    """What the answers say together: the entry's checkpoint and the time."""
    res, block, ledger = e["history"]["body"]["ccRes"], e["block"]["body"], e["ledger"]["body"]
    need(res["ccCode"] == 200, "ccCode", Refused)
    writes = inner(res["ccData"])
    need(type(writes) is list and len(writes) == 1, "writes", Refused)
    tx, deleted = member(writes[0], "txId", str), member(writes[0], "isDelete", bool)
    need(not deleted, "deleted", Refused)
    data = inner(member(writes[0], "dataInfo", str))
    c = parse_entry(origin, member(data, "BaseKey", str), member(data, "BaseInfo", str))
    hashes = (tx, block["blockHash"], block["preBlockHash"], ledger["blockHash"])
    need(1 <= block["blockNumber"] <= MAX_INT and all(re.fullmatch("[0-9a-f]{64}", h) for h in hashes), "block", Refused)
    found = [t for t in block["transactions"] if t["txId"] == tx]
    need(len(found) == 1 and block["blockTxCount"] == len(block["transactions"]), "transaction", Refused)
    t = found[0]
    need(all(re.fullmatch("[0-9a-f]{64}", x["txId"]) for x in block["transactions"]), "transactions", Refused)
    user = t["createName"].removesuffix("@" + e["app"])
    need(t["status"] == 0 and user != t["createName"] and user and "@" not in user, "transaction", Refused)
    need(ledger["height"] > block["blockNumber"], "height", Refused)
    need(ledger["height"] > block["blockNumber"] + 1 or ledger["blockHash"] == block["blockHash"], "top", Refused)
    need(10**9 <= t["timeSpanSec"] < 10**10 and 0 <= t["timeSpanNsec"] < 10**9, "time", Refused)
    return c, t["timeSpanSec"] * 1000 + 999


INSERTED = ("0xcc65598a3d21801dbf161e513a8f1cde52edbc0b7d8d4ba52edf983166f0bbb3", "0x" + sm3(b"InsertResult(int256,string,int256,string)").hex())


def insert_result(row_id, key, value):
    """The ABI encoding of (1, id, key, value) as (int256,string,int256,string)."""
    word = lambda n: n.to_bytes(32, "big", signed=True)
    padded = lambda b: word(len(b)) + b + bytes(-len(b) % 32)
    tail = padded(row_id.encode())
    return "0x" + (word(1) + word(128) + word(key) + word(128 + len(tail)) + tail + padded(value.encode())).hex()


def is_insert(log, app, data):
    try:
        topics = member(log, "topics", list)
        return member(log, "address", str) == app and len(topics) == 1 and type(topics[0]) is str and topics[0] in INSERTED and member(log, "data", str) == data
    except Refused:
        return False


def check_fisco(e, origin):
    row, receipt, block, app = e["row"]["body"], e["receipt"]["body"], e["block"]["body"], e["app"]
    for answer in ("row", "receipt", "block"):
        msg = e[answer]["msg"]
        need(len(msg.encode()) <= 64 and not re.search(r'[0-9"\[\]{}]|true|false', msg), "msg", Refused)
    lists = inner(row["queryInfo"])
    need(row["constant"] and type(lists) is list and len(lists) == 3 and all(type(x) is list for x in lists), "rows", Refused)
    ids, keys, values = lists
    need(len(ids) == len(keys) == len(values) > 0 and all(type(x) is str for x in ids + values), "rows", Refused)
    need(all(type(k) is Number and re.fullmatch("-?[0-9]+", k) and -2**63 <= int(k) < 2**63 for k in keys), "rows", Refused)
    c = parse_entry(origin, ids[0], values[0])
    address = "0x[0-9a-f]{40}"
    need(re.fullmatch(address, app) and receipt["to"] == app and re.fullmatch(address, receipt["from"]), "contract", Refused)
    logs = inner(receipt["logs"])
    need(type(logs) is list and any(is_insert(x, app, insert_result(ids[0], int(keys[0]), values[0])) for x in logs), "logs", Refused)
    hashes = (receipt["txId"], block["blockHash"], block["parentBlockHash"])
    need(1 <= block["blockNumber"] <= MAX_INT and all(re.fullmatch("0x[0-9a-f]{64}", h) for h in hashes), "block", Refused)
    need((receipt["blockHash"], receipt["blockNumber"]) == (block["blockHash"], block["blockNumber"]), "block", Refused)
    found = [t for t in block["transactions"] if t["txId"] == receipt["txId"]]
    need(len(found) == 1 and found[0]["to"] == app, "transaction", Refused)
    for x in block["transactions"]:
        need(re.fullmatch("0x[0-9a-f]{64}", x["txId"]) and (x["blockHash"], x["blockNumber"]) == (block["blockHash"], block["blockNumber"]), "transactions", Refused)
    need(10**12 <= block["blockTime"] < 10**13 and re.fullmatch("|0x[0-9a-f]+|[0-9a-f]{128}", block["author"]), "time", Refused)
    return c, block["blockTime"]


def grown(c, entry, path):
    """The entry's checkpoint is this one, or grew out of it."""
    if entry["size"] == c["size"]:
        return not path and entry["root"] == c["root"]
    return entry["size"] > c["size"] and consistent(c["size"], entry["size"], c["root"], entry["root"], path)


def check_attested(kind, text, c, gateways):
    """Returns status, reason and, where it passed, application, time, and whether it is about a later checkpoint."""
    if not gateways:
        return "not_checked", "unknown_gateway", None
    try:
        e = parse_attested(kind, text)
    except Malformed:
        return "failed", "malformed", None
    try:
        entry, at = (check_fabric if kind == FABRIC else check_fisco)(e, c["origin"])
    except Refused:
        return "failed", "bad_evidence", None
    keys = [key for k, app, key in gateways if (k, app) == (kind, e["app"])]
    for key in keys:
        macs = [signed(key, e[name]) for name in ANSWERS[kind]]
        if any(macs):
            ok = all(macs) and grown(c, entry, e["path"])
            return ("passed", "", (e["app"], at, entry["size"] > c["size"])) if ok else ("failed", "bad_evidence", None)
    return "not_checked", "unknown_gateway_key" if keys else "unknown_gateway", None
