"""The e-government chain: headers, epochs and evidence. docs/formats.md section 6."""
import re

from primitives import (MAX_INT, Reader, Refused, consistent, ed25519_verify, included, leaf_hash, need, point, sm2_verify,
                        sm3, time_ms)

CLOCK_TOLERANCE = 5 * 60 * 1000  # milliseconds


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


def parse_link(text):
    number = r"(0|[1-9][0-9]{0,15})"
    m = re.fullmatch(rf"stele/chain-link/v1\nlog ([!-*,-~]{{1,128}})\nfrom ([!-*,-~]{{1,50}}) ([0-9a-f]{{64}})\nepoch {number}\n"
                     rf"checkpoint {number} ([0-9a-f]{{64}})\ntime ([^\n]*)\n(.*)", text, re.DOTALL)
    need(m and len(text) <= (96 << 10) + 1024, "link")
    to = parse_epoch(m[8])
    l = {"text": text, "origin": m[1], "from": m[2], "genesis": bytes.fromhex(m[3]), "epoch": int(m[4]), "size": int(m[5]), "root": bytes.fromhex(m[6]),
         "time": time_ms(m[7]), "to": to}
    need(max(l["epoch"], l["size"]) <= MAX_INT and l["time"] >= 0 and to["number"] == 0 and to["chain"] != l["from"], "link")
    need(l["size"] or l["root"] == sm3(b""), "size 0")
    return l


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

    def link():
        r.lit('{"text":')
        l = parse_link(r.string())
        r.lit(',"log":')
        l["log"] = r.b64()
        r.lit(',"cosignatures":')
        l["cosignatures"] = r.list(cosignature)
        r.lit(',"epochs":')
        l["epochs"] = r.list(epoch)
        r.lit(',"path":')
        l["path"] = r.list(r.hash)
        r.lit("}")
        need(len(l["cosignatures"]) <= 64 and len(l["path"]) <= 64, "link")
        return l

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
    ev["links"] = []
    if r.maybe(',"links":'):
        ev["links"] = r.list(link)
        need(1 <= len(ev["links"]) <= 8, "links")
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


def check_links(ev, c):
    """Where the links lead and what they say of the checkpoint; no signatures."""
    if not ev["links"]:
        return
    before, seen = None, {ev["links"][0]["from"]}
    for l in ev["links"]:
        if before:
            need(l["from"] == before["to"]["chain"] and l["genesis"] == sm3(before["to"]["text"].encode()), "links do not join", Refused)
            need(l["size"] >= before["size"] and l["time"] >= before["time"], "links go back", Refused)
        need(l["to"]["chain"] not in seen, "loop", Refused)
        seen.add(l["to"]["chain"])
        need(l["origin"] == c["origin"], "log", Refused)
        need(grown(l, c), "consistency", Refused)
        before = l
    need(before["to"]["chain"] == ev["header"]["chain"], "end of the links", Refused)
    need(ev["header"]["time"] >= before["time"] - CLOCK_TOLERANCE, "dated before the move", Refused)


def grown(l, c):
    if l["size"] in (0, c["size"]):
        return not l["path"] and (l["size"] == 0 or l["root"] == c["root"])
    return l["size"] < c["size"] and consistent(l["size"], c["size"], l["root"], c["root"], l["path"])


def check_link(former, l, text=None):
    """The former chain lets the log go. Returns the epoch whose members signed."""
    epoch = former
    for e in l["epochs"]:
        check_next(epoch, e)
        epoch = e
    need(epoch["number"] == l["epoch"], "epoch", Refused)
    check_quorum(epoch, text or l["text"], l["cosignatures"])
    return epoch


def check_link_log(former, l, trust):
    known = [x for x in trust["logs"] if x["origin"] == l["origin"]]
    keys = [x["key"] for x in known if x["from"] <= l["time"] and (x["until"] is None or l["time"] <= x["until"])]
    keys += [n["sm2"] for e in [former, *l["epochs"]] for n in e["notaries"] if n["origin"] == l["origin"] and n["sm2"] not in [x["key"] for x in known]]
    need(any(sm2_verify(k, l["text"].encode(), l["log"]) for k in keys), "the log's signature", Refused)


def follow(links, trust):
    """Links of which the first leads from a pinned chain. Returns what was signed: chain, epoch, signatures."""
    former, signed = trust["chains"][links[0]["from"]], []
    for l in links:
        need(l["from"] == former["chain"] and l["genesis"] == sm3(former["text"].encode()), "former chain", Refused)
        epoch = check_link(former, l)
        check_link_log(former, l, trust)
        check_pins(former, l["epochs"], l["epoch"], l["time"])
        signed.append((former, epoch, l["cosignatures"]))
        signed += [(former, e, x["signatures"]) for e, x in zip([former, *l["epochs"]], l["epochs"])]
        pinned = trust["chains"].get(l["to"]["chain"])
        need(pinned is None or pinned["text"] == l["to"]["text"], "another chain of that name is pinned", Refused)
        former = pinned or unpinned(l["to"])
    return signed


def unpinned(genesis):
    """A chain of which the trust roots say nothing, but for links that lead to it."""
    return {**genesis, "epochs": [], "members": {}}


def renamed(ev, c, trust):
    """Evidence of a chain that is not pinned contradicts itself or is a pinned chain's."""
    name = ev["header"]["chain"]
    try:
        check_links(ev, c)
    except Refused:
        return True
    if any(e["chain"] != name for e in ev["epochs"]):
        return True
    for g in trust["chains"].values():
        for l in ev["links"]:
            if l["from"] == g["chain"]:
                continue
            line = "\nfrom %s %s\n"
            text = l["text"].replace(line % (l["from"], l["genesis"].hex()), line % (g["chain"], sm3(g["text"].encode()).hex()), 1)
            try:
                need(l["to"]["chain"] != g["chain"], "link", Refused)
                check_link(g, l, text)
                return True
            except Refused:
                pass
        try:
            text = ev["header"]["text"].replace("\nchain " + name + "\n", "\nchain " + g["chain"] + "\n", 1)
            verify_evidence(g, ev, c, text, g["chain"])
            return True
        except Refused:
            pass
    return False


def check_pins(chain, led, number, time):
    """The epochs that are pinned besides the first: what members signed keeps to them. led are the epochs up to theirs."""
    pins = chain["epochs"]
    for e in led:
        need(e["number"] > len(pins) or sm3(e["text"].encode()) == pins[e["number"] - 1][0], "pinned epoch", Refused)
    need(number >= len(pins) or time <= pins[number][1] + CLOCK_TOLERANCE, "after the term", Refused)


def check_headers(a, b, path=None):
    """Two headers of one chain are of one history, as far as can be seen; with a path, they are."""
    a, b = sorted((a, b), key=lambda h: h["index"])
    if a["index"] == b["index"]:
        need(a["leaf"] == b["leaf"] and not path, "two headers of one index", Refused)
        return
    need(a["height"] < b["height"] and a["time"] <= b["time"], "order of headers", Refused)
    need(path is None or included(a["index"], b["index"], a["leaf"], path, b["history"]), "history", Refused)
