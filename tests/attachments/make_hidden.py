#!/usr/bin/env python3
"""Makes files in which the number of make.py stands where a reader has to look twice: struck out of a line that was changed,
in a field of a form, drawn from the right to the left, beside empty cells.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install python-docx openpyxl reportlab && /tmp/v/bin/python make_hidden.py
"""
import gzip, io, os, zipfile

import docx, openpyxl
from docx.oxml import parse_xml
from openpyxl.styles import Font
from reportlab.pdfgen import canvas

os.chdir(os.path.dirname(os.path.abspath(__file__)))
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def keep(name, octets):
    with open(name, "wb") as file:
        file.write(octets)


def saved(document):
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def drawn(draw):
    out = io.BytesIO()
    page = canvas.Canvas(out, invariant=1)
    draw(page)
    page.save()
    return out.getvalue()


# --- Word: a line that was changed, in both ways; a property of somebody's own ---
def changed(*pieces):
    document = docx.Document()
    paragraph = document.add_paragraph("The patient's NHS number is ")
    for tag, text in pieces:
        run = f'<w:r {W}><w:t xml:space="preserve">{text}</w:t></w:r>'
        if tag:
            text_tag = "delText" if tag == "del" else "t"
            run = run.replace("w:t", f"w:{text_tag}")
            run = f'<w:{tag} {W} w:id="1" w:author="A" w:date="2026-11-22T10:00:00Z">{run}</w:{tag}>'
        paragraph._p.append(parse_xml(run))
    return saved(document)


keep("deleted-within.docx", changed(("", "450 "), ("del", "4"), ("", "557 7104")))
keep("number-replaced.docx", changed(("", "450 557 "), ("del", "7104"), ("ins", "withheld")))
plain = docx.Document()
plain.add_paragraph("nothing here")
out = io.BytesIO(saved(plain))
with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as package:
    package.writestr("docProps/custom.xml", (
        '<?xml version="1.0"?><Properties xmlns="http://schemas.openxmlformats.org/officeDocument/2006/custom-properties" '
        'xmlns:vt="http://schemas.openxmlformats.org/officeDocument/2006/docPropsVTypes"><property '
        'fmtid="{D5CDD505-2E9C-101B-9397-08002B2CF9AE}" pid="2" name="NHS number"><vt:lpwstr>4505577104</vt:lpwstr>'
        "</property></Properties>"))
keep("property.docx", out.getvalue())

# --- Excel: empty cells with a style, a formula, and the number under its title ---
book = openpyxl.Workbook()
sheet = book.active
sheet.append(["Order", "Checked", "Sum", "CHI", "Bay"])
for row in range(2, 40):
    sheet.append([row, None, f"=A{row}*2", None, row])
    sheet.cell(row, 2).font = Font(bold=True)
sheet["D39"] = "0607230002"
keep("columns.xlsx", saved(book))
book = openpyxl.Workbook()
book.active.append(["x"])
book.active["A1"].hyperlink = "mailto:a@b.example?subject=NHS%20number%20450%20557%207104"
keep("link.xlsx", saved(book))


# --- PDF ---
def form(page):
    page.drawString(72, 704, "NHS number")
    page.drawString(72, 600, "Yours faithfully, and a good deal more below")
    page.acroForm.textfield(name="text1", x=160, y=698, width=200, height=18, fontSize=10, value="4505577104")


def backwards(page):
    page.drawString(72 + page.stringWidth("The NHS number is 450 557 ", "Helvetica", 12), 700, "7104")
    page.drawString(72 + page.stringWidth("The NHS number is 450 ", "Helvetica", 12), 700, "557 ")
    page.drawString(72, 700, "The NHS number is 450 ")


def twice(page):
    at = 72
    for word in "The NHS number is 450 557 7104".split():
        for beside in (0, 0.3):
            page.drawString(at + beside, 700, word)
        at += page.stringWidth(word + " ", "Helvetica", 12)


keep("field.pdf", drawn(form))
keep("backwards.pdf", drawn(backwards))
keep("bold-twice.pdf", drawn(twice))

# --- The name that a file had before it was packed ---
out = io.BytesIO()
with gzip.GzipFile("NHS number 450 557 7104.txt", "wb", fileobj=out, mtime=0) as packed:
    packed.write(b"nothing here")
keep("name.gz", out.getvalue())
