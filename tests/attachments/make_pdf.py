#!/usr/bin/env python3
"""Makes PDFs whose text nobody can read, and such as only look like it; beside make.py, which says how to run it.

The number in those that can be read is 450 557 7104.
"""
import io, os

import reportlab, reportlab.rl_config
from fpdf import FPDF
from PIL import Image
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas

os.chdir(os.path.dirname(os.path.abspath(__file__)))
reportlab.rl_config.useA85 = 0
SAYS = "The patient's NHS number is 450 557 7104."


def written(writer, name):
    out = io.BytesIO()
    writer.write(out)
    with open(name, "wb") as file:
        file.write(out.getvalue())


def drawn(*pages):
    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=(595, 842), invariant=1)
    for draw in pages:
        draw(page)
        page.showPage()
    page.save()
    return out.getvalue()


def fonts_of(writer):
    for page in writer.pages:
        for font in page["/Resources"]["/Font"].values():
            yield font.get_object()


def scan(size=(595, 842)):
    def draw(page):
        page.drawImage(ImageReader(Image.new("L", (50, 70), "white")), 0, 0, *size)
    return draw


def says(page):
    page.setFont("Helvetica", 11)
    page.drawString(72, 700, SAYS)


def letter(page):
    scan((60, 40))(page)
    says(page)


def stamped(page):
    scan()(page)
    page.drawString(500, 20, "Page 2 of 2")


def background(page):
    scan()(page)
    for line in range(20):
        page.drawString(72, 700 - 14 * line, SAYS)


def form(page):
    page.beginForm("f")
    says(page)
    page.endForm()
    page.doForm("f")


def keep(name, octets):
    with open(name, "wb") as file:
        file.write(octets)


keep("page-scanned.pdf", drawn(says, scan()))
keep("page-stamped.pdf", drawn(says, stamped))
keep("logo.pdf", drawn(letter))
keep("background.pdf", drawn(background))
keep("form.pdf", drawn(form, says))
keep("empty-page.pdf", drawn(says, lambda page: None))

# A font with glyphs of its own, two octets a character, and no map to Unicode.
pdf = FPDF()
pdf.add_page()
pdf.add_font("Vera", fname=os.path.join(os.path.dirname(reportlab.__file__), "fonts", "Vera.ttf"))
pdf.set_font("Vera", size=12)
pdf.cell(text=SAYS)
writer = PdfWriter(clone_from=PdfReader(io.BytesIO(bytes(pdf.output()))))
for font in fonts_of(writer):
    del font["/ToUnicode"]
written(writer, "no-map.pdf")

# One octet a character, glyphs numbered as they come, in names that say nothing.
def numbered(named):
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(drawn(says))))
    letters = sorted(set(SAYS))
    for font in fonts_of(writer):
        names = [NameObject("/" + named(number, letter)) for number, letter in enumerate(letters)]
        differences = ArrayObject([NumberObject(1), *names])
        font[NameObject("/Encoding")] = DictionaryObject({
            NameObject("/Type"): NameObject("/Encoding"), NameObject("/Differences"): differences})
    page = writer.pages[0]
    content = page["/Contents"].get_object()
    code = {letter: number + 1 for number, letter in enumerate(letters)}
    hexadecimal = "".join(f"{code[letter]:02x}" for letter in SAYS)
    content.set_data(f"BT /F1 11 Tf 72 700 Td <{hexadecimal}> Tj ET".encode())
    return writer


written(numbered(lambda number, letter: f"g{number}"), "glyph-numbers.pdf")
written(numbered(lambda number, letter: f"uni{ord(letter):04X}"), "glyph-names.pdf")

# A font that came with the document and says nothing of its codes.
writer = numbered(lambda number, letter: "x")
for font in fonts_of(writer):
    del font["/Encoding"]
    file = writer._add_object(__import__("pypdf").generic.StreamObject())
    font[NameObject("/Subtype")] = NameObject("/TrueType")
    font[NameObject("/FontDescriptor")] = writer._add_object(DictionaryObject({
        NameObject("/Type"): NameObject("/FontDescriptor"), NameObject("/Flags"): NumberObject(4),
        NameObject("/FontFile2"): file}))
written(writer, "own-codes.pdf")
