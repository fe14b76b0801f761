"""SM3, SM2, DER, the Merkle tree and canonical JSON: docs/formats.md sections 1, 2 and 4."""
import base64
import functools
import json
import os
import re
import subprocess
import tempfile
from datetime import datetime

USER_ID = "1234567812345678"
MAX_INT = 2**53 - 1


class Malformed(Exception):
    """Bytes that are not the one spelling of a value."""


class Refused(Exception):
    """Well-formed evidence that does not hold."""


def need(condition, what="", error=Malformed):
    if not condition:
        raise error(what)


def rotl(x, n):
    n %= 32
    return ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF


def sm3(data):
    """GB/T 32905."""
    m = data + b"\x80" + b"\0" * ((55 - len(data)) % 64) + (8 * len(data)).to_bytes(8, "big")
    v = [0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E]
    p1 = lambda x: x ^ rotl(x, 15) ^ rotl(x, 23)
    for at in range(0, len(m), 64):
        w = [int.from_bytes(m[at + i:at + i + 4], "big") for i in range(0, 64, 4)]
        for j in range(16, 68):
            w.append(p1(w[j - 16] ^ w[j - 9] ^ rotl(w[j - 3], 15)) ^ rotl(w[j - 13], 7) ^ w[j - 6])
        a, b, c, d, e, f, g, h = v
        for j in range(64):
            t = 0x79CC4519 if j < 16 else 0x7A879D8A
            ss1 = rotl((rotl(a, 12) + e + rotl(t, j)) & 0xFFFFFFFF, 7)
            ff = a ^ b ^ c if j < 16 else (a & b) | (a & c) | (b & c)
            gg = e ^ f ^ g if j < 16 else (e & f) | (~e & g)
            tt1 = (ff + d + (ss1 ^ rotl(a, 12)) + (w[j] ^ w[j + 4])) & 0xFFFFFFFF
            tt2 = (gg + h + ss1 + w[j]) & 0xFFFFFFFF
            a, b, c, d, e, f, g, h = tt1, a, rotl(b, 9), c, tt2 ^ rotl(tt2, 9) ^ rotl(tt2, 17), e, rotl(f, 19), g
        v = [x ^ y for x, y in zip(v, (a, b, c, d, e, f, g, h))]
    return b"".join(x.to_bytes(4, "big") for x in v)


P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
SM2_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")
ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")


def point(raw):
    """An uncompressed point on the SM2 curve."""
    need(len(raw) == 65 and raw[0] == 4, "point")
    x, y = int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big")
    need(x < P and y < P and (y * y - x * x * x + 3 * x - B) % P == 0, "point is not on the curve")
    return raw


def der(data, at, tag):
    """One DER element with the tag: its content, and where it ends."""
    need(len(data) >= at + 2 and data[at] == tag, "DER tag")
    n, at = data[at + 1], at + 2
    if n >= 0x80:
        size = n & 0x7F
        need(1 <= size <= 3 and len(data) >= at + size, "DER length")
        n = int.from_bytes(data[at:at + size], "big")
        need(n >= 0x80 and n >= 1 << 8 * (size - 1), "DER length is not minimal")
        at += size
    need(len(data) >= at + n, "DER content")
    return data[at:at + n], at + n


def der_int(data, at):
    v, at = der(data, at, 2)
    need(v and not (len(v) > 1 and (v[0] == 0 and v[1] < 0x80 or v[0] == 0xFF and v[1] >= 0x80)), "DER integer is not minimal")
    return int.from_bytes(v, "big", signed=True), at


def canonical_signature(sig):
    try:
        need(len(sig) <= 72, "signature length")
        body, end = der(sig, 0, 0x30)
        r, at = der_int(body, 0)
        s, at = der_int(body, at)
        return end == len(sig) and at == len(body) and r > 0 and s > 0
    except Malformed:
        return False


@functools.lru_cache(None)
def openssl_verify(spki, message, sig, *options):
    with tempfile.TemporaryDirectory() as d:
        for name, content in (("m", message), ("s", sig),
                              ("k", b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(spki) + b"-----END PUBLIC KEY-----\n")):
            with open(os.path.join(d, name), "wb") as f:
                f.write(content)
        done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "k", "-rawin", "-in", "m", "-sigfile", "s", *options],
                              cwd=d, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode == 0 and b"Verified Successfully" in done.stdout


def sm2_verify(key, message, sig):
    return canonical_signature(sig) and openssl_verify(SM2_SPKI + key, message, sig, "-digest", "sm3", "-pkeyopt", "distid:" + USER_ID)


def ed25519_verify(key, message, sig):
    return len(sig) == 64 and openssl_verify(ED25519_SPKI + key, message, sig)


def leaf_hash(data):
    return sm3(b"\0" + data)


def node_hash(left, right):
    return sm3(b"\1" + left + right)


def included(index, size, leaf, path, root):
    """RFC 9162 section 2.1.3.2."""
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def consistent(first, second, first_root, second_root, path):
    """RFC 9162 section 2.1.4.2; from the empty tree the path is empty."""
    if first == 0:
        return not path and first_root == sm3(b"")
    path = path if first & (first - 1) else [first_root] + path
    if not path:
        return False
    fn, sn, fr, sr = first - 1, second - 1, path[0], path[0]
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    for p in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(p, fr), node_hash(p, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == first_root and sr == second_root


ESCAPES = {'"': '"', "\\": "\\", "b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def no_constant(name):
    raise ValueError(name + " is no JSON")


JSON = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=no_constant)


STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def depth(text):
    """How deep lists and objects lie in one another; of what is no JSON, anything."""
    deepest = now = 0
    for c in re.findall(r"[][{}]", STRING.sub("", text)):
        now += 1 if c in "[{" else -1
        deepest = max(deepest, now)
    return deepest


class Reader:
    def __init__(self, data, limit):
        need(len(data) <= limit, "too long")
        try:
            self.text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("UTF-8")
        need(depth(self.text) <= 64, "too deep")
        self.at = 0

    def sees(self, s):
        return self.text.startswith(s, self.at)

    def lit(self, s):
        need(self.sees(s), "expected " + s)
        self.at += len(s)

    def maybe(self, s):
        if self.sees(s):
            self.at += len(s)
            return True
        return False

    def end(self):
        need(self.at == len(self.text), "trailing bytes")

    def string(self):
        self.lit('"')
        out = []
        while True:
            need(self.at < len(self.text), "string without end")
            c = self.text[self.at]
            self.at += 1
            if c == '"':
                return "".join(out)
            need(c >= " ", "control character")
            if c != "\\":
                out.append(c)
                continue
            e = self.text[self.at:self.at + 1]
            if e in ESCAPES and e:
                self.at += 1
                out.append(ESCAPES[e])
                continue
            m = re.compile(r"u00([01][0-9a-f])").match(self.text, self.at)
            need(m and chr(int(m[1], 16)) not in ESCAPES.values(), "escape")
            self.at = m.end()
            out.append(chr(int(m[1], 16)))

    def b64(self, size=None):
        s = self.string()
        need(re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", s) and len(s) % 4 == 0, "base64")
        raw = base64.b64decode(s)
        need(base64.b64encode(raw).decode() == s and size in (None, len(raw)), "base64")
        return raw

    def hash(self):
        return self.b64(32)

    def hex32(self):
        s = self.string()
        need(re.fullmatch(r"[0-9a-f]{64}", s), "hex digest")
        return bytes.fromhex(s)

    def int(self, least=0, most=MAX_INT):
        m = re.compile(r"0|-?[1-9][0-9]{0,19}").match(self.text, self.at)
        need(m and least <= int(m[0]) <= most, "number")
        self.at = m.end()
        return int(m[0])

    def list(self, item):
        self.lit("[")
        out = []
        while not self.maybe("]"):
            if out:
                self.lit(",")
            out.append(item())
        return out

    def map(self, value):
        """An object with names that are not fixed, sorted by their bytes."""
        self.lit("{")
        out = {}
        while not self.maybe("}"):
            if out:
                self.lit(",")
            name = self.string()
            need(FIELD_NAME.fullmatch(name) and all(n < name for n in out), "field name")
            self.lit(":")
            out[name] = value()
        return out

    def raw(self):
        """Any JSON value without white space, as text."""
        start = self.at
        try:
            _, self.at = JSON.raw_decode(self.text, self.at)
        except ValueError:
            raise Malformed("JSON")
        text = self.text[start:self.at]
        need(not re.search(r"\s", STRING.sub("", text)), "white space")
        return text


TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")|(-?[0-9][0-9+\-.eE]*)|[ \t\r\n]+|[\[\]{},:a-z]')
SHORT = {v: "\\" + k for k, v in ESCAPES.items()}


def quoted(s):
    """A JSON string in its one spelling: section 2."""
    return '"' + "".join(SHORT.get(c) or ("\\u%04x" % ord(c) if c < " " else c) for c in s) + '"'


def decode_text(data):
    for mark, place, name in ((b"\xfe\xff", 2, "utf-16-be"), (b"\xff\xfe", 2, "utf-16-le"), (b"\0{", 0, "utf-16-be"), (b"{\0", 0, "utf-16-le")):
        if data.startswith(mark):
            return data[place:].decode(name)
    return data.decode("utf-8").removeprefix("\ufeff")


def restore(data, limit):
    """The canonical spelling of JSON that another program saved anew: section 2."""
    need(len(data) <= limit, "too long")
    try:
        text = decode_text(data)
        JSON.decode(text)
        out = []
        for m in TOKEN.finditer(text):
            string, number = m.groups()
            need(not number or not re.search("[.eE]", number), "number")
            out.append(quoted(json.loads(string)) if string else m[0].strip(" \t\r\n"))
        return "".join(out).encode("utf-8")
    except (ValueError, RecursionError):
        raise Malformed("not JSON, or half of a surrogate pair")


def read_again(parse, data, limit):
    """What parse makes of data as it is, or of data restored; and whether it was restored."""
    try:
        return parse(data), False
    except Malformed:
        try:
            return parse(restore(data, limit)), True
        except Malformed:
            pass
        raise


def unprintable(c):
    """The characters that no text may hold: section 3."""
    n = ord(c)
    reorders = 0x202A <= n <= 0x202E or 0x2066 <= n <= 0x2069
    return n < 0x20 or 0x7F <= n < 0xA0 or n in (0x2028, 0x2029, 0xFEFF) or reorders


FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def time_ms(text, layout=r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z"):
    m = re.fullmatch(layout, text, re.ASCII)
    need(m, "time")
    f = [int(x) for x in m.groups()]
    try:
        t = datetime(*f[:6])
    except ValueError:
        raise Malformed("time")
    return round((t - datetime(1970, 1, 1)).total_seconds()) * 1000 + (f[6] if len(f) > 6 else 0)


def valid_name(s):
    return bool(re.fullmatch(r"[!-*,-~]{1,128}", s))
