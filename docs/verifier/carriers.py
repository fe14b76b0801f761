"""Where a bundle is found: by itself, in a certificate's PDF (section 12) or in an evidence
package (section 13)."""
import re
import struct
import zlib

from primitives import Malformed, need

MAX_PDF = 8 << 20
MAX_BUNDLE = 1 << 20
MAX_OBJECTS = 4096
PDF_HEAD = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n%stele/certificate/v1\n"
CATALOG = (b"<</Type/Catalog/Pages 2 0 R/Lang(zh-CN)/PageMode/UseNone/ViewerPreferences<</DisplayDocTitle true>>"
           b"/Names<</EmbeddedFiles<</Names[(%(name)s) %(file)d 0 R]>>>>/AF[%(file)d 0 R]>>")
FILE = (b"<</Type/Filespec/F(%(name)s)/UF(%(name)s)/AFRelationship/Data/Desc(Evidence, format stele/bundle/v1)"
        b"/EF<</F %(data)d 0 R/UF %(data)d 0 R>>>>")
DATA = b"<</Type/EmbeddedFile/Subtype/application#2Fjson/Params<</Size %(size)d>>/Length %(size)d>>\nstream\n"
NUMBER = rb"(0|[1-9][0-9]{0,7})"


def bundle_of(path, original=lambda data: None):
    """The bundle in a file, and the name of the document in it or None; original gets its bytes,
    part after part. They count only when this returns."""
    with open(path, "rb") as f:
        data = f.read(MAX_PDF + 1)
        if data.startswith(b"%PDF"):
            return from_certificate(data), None
        if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            f.seek(0)
            try:
                return Package(f, original).read()
            except Malformed:
                raise BadPackage from None
    return data, None


class BadPackage(Exception):
    """A package that is not as it was issued: the verdict is invalid, step bundle, reason package."""


def from_certificate(pdf):
    need(len(pdf) <= MAX_PDF and pdf.startswith(PDF_HEAD))
    end = re.search(rb"\nstartxref\n" + NUMBER + rb"\n%%EOF\n\Z", pdf)
    need(end)
    table = int(end[1])
    need(table < end.start())
    head = re.match(rb"xref\n0 " + NUMBER + rb"\n0000000000 65535 f \n", pdf[table:])
    need(head)
    count = int(head[1])
    need(6 <= count <= MAX_OBJECTS)
    at = table + head.end()
    offsets = []
    for _ in range(1, count):
        line = re.match(rb"([0-9]{10}) 00000 n \n", pdf[at:at + 20])
        need(line)
        offsets.append(int(line[1]))
        at += 20
    trailer = rb"trailer\n<</Size %d/Root 1 0 R/Info %d 0 R/ID\[<([0-9a-f]{32})><\1>\]>>" % (count, count - 3)
    need(re.fullmatch(trailer, pdf[at:end.start()]))
    need(offsets[0] == len(PDF_HEAD) and all(a < b for a, b in zip(offsets, offsets[1:] + [table])))
    objects = [framed(pdf[a:b], number) for number, (a, b) in enumerate(zip(offsets, offsets[1:] + [table]), 1)]
    return attachment(objects, count)


def framed(data, number):
    head, tail = b"%d 0 obj\n" % number, b"\nendobj\n"
    need(data.startswith(head) and data.endswith(tail) and len(data) >= len(head) + len(tail))
    return data[len(head):-len(tail)]


def attachment(objects, count):
    name = re.search(rb"/EmbeddedFiles<</Names\[\(([A-Za-z0-9-][A-Za-z0-9.-]{0,63})\)", objects[0])
    size = re.search(rb"/Length " + NUMBER + rb">", objects[-1][:1024])
    need(name and size)
    places = {b"name": name[1], b"file": count - 2, b"data": count - 1, b"size": int(size[1])}
    start, end = DATA % places, b"\nendstream"
    need(objects[0] == CATALOG % places and objects[-2] == FILE % places and objects[-1].startswith(start) and objects[-1].endswith(end))
    bundle = objects[-1][len(start):-len(end)]
    need(len(bundle) == int(size[1]) and 1 <= len(bundle) <= MAX_BUNDLE)
    return bundle


FILES = (r"README\.txt|report\.html|report\.json|certificate\.pdf|bundle\.json|trust\.json"
         r"|algorithms\.txt|verify\.html|manifest\.sm3")
DECIMAL = r"(?:0|[1-9][0-9]{0,15})"
PARTS = (r"statement\.json|signature\.der|signer\.pem|issuer-N\.pem|root\.pem|entry\.bin"
         r"|inclusion/[0-9]{2}\.(?:left|right)"
         r"|checkpoint\.(?:txt|der)|log\.pem"
         r"|anchor-N/(?:header\.txt|path/[0-9]{2}\.(?:left|right)|cosignature-N\.der"
         r"|epoch-N/(?:epoch\.txt|validator-N\.pem|signature-N\.der))"
         r"|gateway-N/(?:key\.pem|(?:history|block|ledger|row|receipt)\.(?:txt|der))").replace("N", DECIMAL)
ORIGINAL = r"original(?:\.[a-z0-9]{1,8})?"
NAME = re.compile(rf"(?:{FILES}|{ORIGINAL}|(?:standing/)?(?:{PARTS}))", re.ASCII)
MAX_FILES, MAX_PART, WIDE = 4096, 64 << 20, (1 << 32) - 1


class Package:
    """Reads a package from its first byte to its last: what the headers, the table of contents and
    the end must be follows from the files, and is compared."""

    def __init__(self, file, original):
        self.file, self.to_original, self.at = file, original, 0
        self.files = []  # name, offset, CRC, stored size, size
        self.dos = self.seconds = self.bundle = self.original = None

    def take(self, n):
        data = self.file.read(n)
        need(len(data) == n)
        self.at += n
        return data

    def read(self):
        mark = self.take(4)
        while mark == b"PK\x03\x04":
            self.entry()
            mark = self.take(4)
        need(self.bundle is not None)
        start = self.at - 4
        listed = b"".join(self.listed(*f) for f in self.files)
        need(mark + self.take(len(listed) - 4) == listed)
        want = end_of(len(self.files), len(listed), start)
        need(self.take(len(want)) == want and not self.file.read(1))
        return self.bundle, self.original

    def extra(self):
        return b"UT\x05\0\x01" + self.seconds

    def entry(self):
        offset, head = self.at - 4, self.take(26)
        length, extra = struct.unpack("<HH", head[22:])
        need(length <= 128 and extra == 9)
        name, extra = self.take(length), self.take(9)
        if not self.files:
            self.dos, self.seconds = head[6:10], extra[5:]
        need(head[:22] == b"\x14\0\x08\0\x08\0" + self.dos + bytes(12) and extra == self.extra())
        need(name.isascii() and NAME.fullmatch(name.decode()))
        need(name not in [f[0] for f in self.files] and len(self.files) < MAX_FILES)
        is_original = name.startswith(b"original")
        need(not is_original or self.original is None)
        crc, stored, size = self.blocks(name, is_original)
        need(self.take(4) == b"PK\x07\x08")
        form = "<IQQ" if stored >= WIDE or size >= WIDE else "<III"
        need(struct.unpack(form, self.take(struct.calcsize(form))) == (crc, stored, size))
        if is_original:
            self.original = name.decode()
        self.files.append((name, offset, crc, stored, size))

    def blocks(self, name, is_original):
        """A Deflate stream that is not compressed (RFC 1951, 3.2.4); only its last block is empty."""
        crc = stored = size = 0
        parts = []
        while True:
            last, length, inverse = struct.unpack("<BHH", self.take(5))
            need(last in (0, 1) and length ^ inverse == 0xffff and (last == 1) == (length == 0))
            data = self.take(length)
            crc, stored, size = zlib.crc32(data, crc), stored + 5 + length, size + length
            need(is_original or size <= (MAX_BUNDLE if name == b"bundle.json" else MAX_PART))
            if is_original:
                self.to_original(data)
            elif name == b"bundle.json":
                parts.append(data)
            if last:
                if name == b"bundle.json":
                    self.bundle = b"".join(parts)
                return crc, stored, size

    def listed(self, name, offset, crc, stored, size):
        extra, wide = self.extra(), stored >= WIDE or size >= WIDE
        if wide or offset >= WIDE:
            extra += struct.pack("<HHQQQ", 1, 24, size, stored, offset)
            stored = size = WIDE
        sums = struct.pack("<IIIHH", crc, stored, size, len(name), len(extra))
        place = struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, min(offset, WIDE))
        version = b"\x2d" if wide else b"\x14"
        return b"PK\x01\x02\x14\x03" + version + b"\0\x08\0\x08\0" + self.dos + sums + place + name + extra


def end_of(files, length, start):
    if start < WIDE:
        return struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, files, files, length, start, 0)
    return (struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, files, files, length, start)
            + struct.pack("<4sIQI", b"PK\x06\x07", 0, start + length, 1)
            + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xffff, 0xffff, WIDE, WIDE, 0))
