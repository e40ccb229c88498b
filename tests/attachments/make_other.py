#!/usr/bin/env python3
"""Makes archives and documents of kinds that are not opened, and tar archives, which are; beside make.py.

    /tmp/v/bin/pip install py7zr msoffcrypto-tool

The number in those that can be read is 450 557 7104. The old document, the message of Outlook's and winmail.dat
hold no more than what they are told by: nobody here writes them.
"""
import io, os, struct, tarfile

import py7zr
from msoffcrypto.format.ooxml import OOXMLFile

os.chdir(os.path.dirname(os.path.abspath(__file__)))
SAYS = b"The patient's NHS number is 450 557 7104."


def keep(name, octets):
    with open(name, "wb") as file:
        file.write(octets)


for name, form in [("ustar.tar", tarfile.USTAR_FORMAT), ("gnu.tar", tarfile.GNU_FORMAT), ("pax.tar", tarfile.PAX_FORMAT)]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as target:
        # USTAR has room for a long name only where it can be parted at a folder.
        entry = tarfile.TarInfo(("folder-" * 12) + "/" + ("x" * 90 if form == tarfile.USTAR_FORMAT else "x" * 200) + ".txt")
        entry.size = len(SAYS)
        target.addfile(entry, io.BytesIO(SAYS))
    keep(name, out.getvalue())

for name, password in [("plain.7z", None), ("password.7z", "secret")]:
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", password=password, header_encryption=False) as target:
        target.writestr(SAYS, "x.txt")
    keep(name, out.getvalue())

out = io.BytesIO()
OOXMLFile(open("table.docx", "rb")).encrypt("secret", out)
keep("password.docx", out.getvalue())


def compound(*streams):
    """The header and the directory of a compound file with these streams, which are empty."""
    sector = b"".join(
        struct.pack("<64sHBB12s16s20sIQ", name.encode("utf-16le"), 2 * len(name) + 2, 5 if not at else 2, 1,
                    b"\xff" * 12, b"", b"", 0xFFFFFFFE, 0)
        for at, name in enumerate(("Root Entry", *streams)))
    table = struct.pack("<II", 0xFFFFFFFD, 0xFFFFFFFE).ljust(512, b"\xff")
    head = struct.pack("<8s16sHHHHH6sIIIIIIIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"", 0x3E, 3, 0xFFFE, 9, 6, b"",
                       0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0) + struct.pack("<I", 0)
    return head.ljust(512, b"\xff") + table + sector.ljust(-(-len(sector) // 512) * 512, b"\0")


keep("old.doc", compound("WordDocument", "1Table"))
keep("old.xls", compound("Workbook"))
keep("old.ppt", compound("PowerPoint Document"))
keep("outlook.msg", compound("__properties_version1.0", "__substg1.0_0037001F"))
keep("winmail.dat", struct.pack("<IH", 0x223E9F78, 1) + b"\x01\x06\x90\x08\x00\x04\x00\x00\x00\x00\x00\x01\x00\x01\x00")
keep("old.rar", b"Rar!\x1a\x07\x00" + b"\xcf\x90\x73\x00\x00\x0d\x00\x00\x00\x00\x00\x00\x00")
