"""Where a bundle is found: by itself, in a certificate's PDF (section 12) or in an evidence
package (section 13)."""
import re
import zipfile

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


def bundle_of(path):
    """The bundle in a file, and the name of the document in it or None."""
    with open(path, "rb") as f:
        data = f.read(MAX_PDF + 1)
    if data.startswith(b"%PDF"):
        return from_certificate(data), None
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return from_package(path)
    return data, None


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


def from_package(path):
    with zipfile.ZipFile(path) as z:
        names = [i.filename for i in z.infolist()]
        originals = [n for n in names if re.fullmatch(r"original(\.[a-z0-9]{1,8})?", n)]
        if len(names) > 4096 or names.count("bundle.json") != 1 or len(originals) > 1:
            raise Malformed
        with z.open("bundle.json") as f:
            return f.read(MAX_BUNDLE + 1), originals[0] if originals else None
