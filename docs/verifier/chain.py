"""The e-government chain: headers, epochs and evidence. docs/formats.md section 6."""
import re

from primitives import (MAX_INT, Reader, Refused, ed25519_verify, included, leaf_hash, need, point, sm2_verify, sm3,
                        time_ms)


def parse_epoch(text):
    need(len(text) <= 96 << 10, "epoch is too long")
    number = r"(0|[1-9][0-9]{0,15})"
    name = r"[!-*,-~]{1,128}"
    m = re.fullmatch(rf"stele/epoch/v1\nchain ({name})\nepoch {number}\nprevious ([0-9a-f]{{64}})\n((?:validator .*\n)+)((?:notary .*\n)*)", text)
    need(m and len(m[1]) <= 50 and int(m[2]) <= MAX_INT, "epoch")
    e = {"text": text, "chain": m[1], "number": int(m[2]), "previous": bytes.fromhex(m[3]), "validators": [], "notaries": []}
    need(e["number"] or e["previous"] == bytes(32), "epoch 0 has a predecessor")
    for line in m[4].split("\n")[:-1]:
        v = re.fullmatch(rf"validator ({name}) ([1-9][0-9]{{0,6}}) ([0-9a-f]{{64}}) ([0-9a-f]{{130}})", line)
        need(v and int(v[2]) <= 1000000, "validator")
        e["validators"].append({"name": v[1], "power": int(v[2]), "ed25519": bytes.fromhex(v[3]), "sm2": point(bytes.fromhex(v[4]))})
    for line in m[5].split("\n")[:-1]:
        n = re.fullmatch(rf"notary ({name}) ([0-9a-f]{{130}})", line)
        need(n, "notary")
        e["notaries"].append({"origin": n[1], "sm2": point(bytes.fromhex(n[2]))})
    vs, ns = e["validators"], e["notaries"]
    once = lambda xs: len(set(xs)) == len(xs)
    need(len(vs) <= 64 and len(ns) <= 256, "too many members")
    need(once([v["name"] for v in vs]) and once([n["origin"] for n in ns]) and once([v["ed25519"] for v in vs])
         and once([x["sm2"] for x in vs + ns]), "a name or key occurs twice")
    return e


def parse_header(text):
    number = r"(0|[1-9][0-9]{0,15})"
    m = re.fullmatch(rf"stele/anchor/v1\nchain ([!-*,-~]{{1,50}})\nepoch {number}\nindex {number}\nheight {number}\ntime (.*)\n"
                     rf"anchors {number} ([0-9a-f]{{64}})\nhistory ([0-9a-f]{{64}})\n", text)
    need(m and len(text) <= 400, "header")
    h = {"text": text, "chain": m[1], "epoch": int(m[2]), "index": int(m[3]), "height": int(m[4]), "time": time_ms(m[5]), "count": int(m[6]),
         "root": bytes.fromhex(m[7]), "history": bytes.fromhex(m[8])}
    h["leaf"] = leaf_hash(text.replace("epoch %d\n" % h["epoch"], "", 1).encode())
    need(max(h["epoch"], h["index"], h["height"]) <= MAX_INT and h["height"] >= 1 and h["time"] >= 0 and 1 <= h["count"] <= 1024, "header")
    return h


def parse_evidence(text):
    r = Reader(text.encode(), 1 << 20)

    def cosignature():
        r.lit('{"validator":')
        v = r.int()
        r.lit(',"signature":')
        s = r.b64()
        r.lit("}")
        return v, s

    def join():
        r.lit('{"validator":')
        v = r.int()
        r.lit(',"sm2":')
        s = r.b64()
        r.lit(',"ed25519":')
        e = r.b64()
        r.lit("}")
        return v, s, e

    def epoch():
        r.lit('{"text":')
        e = parse_epoch(r.string())
        r.lit(',"signatures":')
        e["signatures"] = r.list(cosignature)
        r.lit(',"joins":')
        e["joins"] = r.list(join)
        r.lit("}")
        need(len(e["signatures"]) <= 64 and len(e["joins"]) <= 64, "epoch")
        return e

    r.lit('{"kind":"stele/egov/v1","header":')
    ev = {"header": parse_header(r.string())}
    r.lit(',"position":')
    ev["position"] = r.int()
    r.lit(',"path":')
    ev["path"] = r.list(r.hash)
    r.lit(',"cosignatures":')
    ev["cosignatures"] = r.list(cosignature)
    r.lit(',"epochs":')
    ev["epochs"] = r.list(epoch)
    r.lit("}")
    r.end()
    need(len(ev["path"]) <= 64 and len(ev["cosignatures"]) <= 64, "evidence")
    return ev


def check_quorum(epoch, text, signatures):
    last, power = -1, 0
    for v, sig in signatures:
        need(last < v < len(epoch["validators"]), "order of signatures", Refused)
        need(sm2_verify(epoch["validators"][v]["sm2"], text.encode(), sig), "signature of a validator", Refused)
        last, power = v, power + epoch["validators"][v]["power"]
    need(3 * power > 2 * sum(v["power"] for v in epoch["validators"]), "quorum", Refused)


def check_next(before, e):
    need(e["chain"] == before["chain"] and e["number"] == before["number"] + 1 and e["previous"] == sm3(before["text"].encode()), "epoch does not follow", Refused)
    check_quorum(before, e["text"], e["signatures"])
    member = lambda v: (v["name"], v["ed25519"], v["sm2"])
    known = [member(v) for v in before["validators"]]
    need([j[0] for j in e["joins"]] == [i for i, v in enumerate(e["validators"]) if member(v) not in known], "proofs of possession", Refused)
    for i, s, ed in e["joins"]:
        v = e["validators"][i]
        need(sm2_verify(v["sm2"], e["text"].encode(), s) and ed25519_verify(v["ed25519"], e["text"].encode(), ed), "proof of possession", Refused)


def verify_evidence(genesis, ev, c, header_text=None, chain=None):
    h = ev["header"]
    need((chain or h["chain"]) == genesis["chain"], "chain", Refused)
    epoch = genesis
    for e in ev["epochs"]:
        check_next(epoch, e)
        epoch = e
    need(epoch["number"] == h["epoch"], "epoch", Refused)
    check_quorum(epoch, header_text or h["text"], ev["cosignatures"])
    need(included(ev["position"], h["count"], leaf_hash(c["text"].encode()), ev["path"], h["root"]), "anchors", Refused)


def renamed(ev, c, trust):
    """Evidence of a chain that is not pinned contradicts itself or is a pinned chain's."""
    name = ev["header"]["chain"]
    if any(e["chain"] != name for e in ev["epochs"]):
        return True
    for g in trust["chains"].values():
        try:
            text = ev["header"]["text"].replace("\nchain " + name + "\n", "\nchain " + g["chain"] + "\n", 1)
            verify_evidence(g, ev, c, text, g["chain"])
            return True
        except Refused:
            pass
    return False


def check_pins(chain, ev):
    """The epochs that are pinned besides the first: evidence keeps to them."""
    pins, h = chain["epochs"], ev["header"]
    for e in ev["epochs"]:
        need(e["number"] > len(pins) or sm3(e["text"].encode()) == pins[e["number"] - 1][0], "pinned epoch", Refused)
    need(h["epoch"] >= len(pins) or h["time"] <= pins[h["epoch"]][1] + 5 * 60 * 1000, "after the term", Refused)


def check_headers(a, b, path=None):
    """Two headers of one chain are of one history, as far as can be seen; with a path, they are."""
    a, b = sorted((a, b), key=lambda h: h["index"])
    if a["index"] == b["index"]:
        need(a["leaf"] == b["leaf"] and not path, "two headers of one index", Refused)
        return
    need(a["height"] < b["height"] and a["time"] <= b["time"], "order of headers", Refused)
    need(path is None or included(a["index"], b["index"], a["leaf"], path, b["history"]), "history", Refused)
