#!/usr/bin/env python3
"""Makes the files beside it: one patient's number in each format, as the usual libraries write it.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install python-docx openpyxl python-pptx odfpy reportlab fpdf2 pypdf \
        pyzipper cryptography && /tmp/v/bin/python make.py

The number is 450 557 7104, which tests/attachments.rs looks for. The files are kept, so that the tests need none
of these libraries.
"""
import gzip, io, os, tarfile, zipfile
from email.message import EmailMessage

import docx, openpyxl, pptx, pyzipper, reportlab
from fpdf import FPDF
from odf import draw, opendocument, table, text as odftext
from pypdf import PdfReader, PdfWriter
from reportlab.pdfgen import canvas
from PIL import Image

os.chdir(os.path.dirname(os.path.abspath(__file__)))
NUMBER = "450 557 7104"
SAYS = f"The patient's NHS number is {NUMBER}."


def keep(name, octets):
    with open(name, "wb") as file:
        file.write(octets)
    return octets


def saved(document):
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def picture():
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(out, "PNG")
    out.seek(0)
    return out


# --- Word ---
document = docx.Document()
paragraph = document.add_paragraph("The patient's NHS number is 450 ")
paragraph.add_run("55").bold = True
paragraph.add_run("7 71")
paragraph.add_run("04").italic = True
word = keep("runs.docx", saved(document))
document = docx.Document()
document.add_paragraph("nothing here")
document.sections[0].header.paragraphs[0].text = SAYS
keep("header.docx", saved(document))
document = docx.Document()
cells = document.add_table(2, 2)
cells.cell(0, 0).text, cells.cell(0, 1).text = "Name", "NHS number"
cells.cell(1, 0).text, cells.cell(1, 1).text = "A Patient", "4505577104"
keep("table.docx", saved(document))
document = docx.Document()
document.add_picture(picture())
keep("scan.docx", saved(document))

# --- Excel ---
book = openpyxl.Workbook()
book.active.append(["Name", "NHS number"])
book.active.append(["A Patient", 4505577104])
sheet = keep("number.xlsx", saved(book))
book = openpyxl.Workbook()
book.active.append(["x"])
book.create_sheet("second").append([SAYS])
keep("words.xlsx", saved(book))

# --- PowerPoint ---
show = pptx.Presentation()
slide = show.slides.add_slide(show.slide_layouts[5])
slide.shapes.title.text = "Cases"
slide.notes_slide.notes_text_frame.text = SAYS
keep("notes.pptx", saved(show))
show = pptx.Presentation()
show.slides.add_slide(show.slide_layouts[6]).shapes.add_picture(picture(), 0, 0)
keep("scan.pptx", saved(show))

# --- OpenDocument ---
document = opendocument.OpenDocumentText()
paragraph = odftext.P(text="The patient's NHS number is 450 ")
paragraph.addElement(odftext.Span(text="557 71"))
paragraph.addText("04.")
document.text.addElement(paragraph)
out = io.BytesIO()
document.write(out)
keep("span.odt", out.getvalue())
document = opendocument.OpenDocumentText()
frame = draw.Frame(width="15cm", height="20cm", anchortype="paragraph")
frame.addElement(draw.Image(href=document.addPictureFromString(picture().read(), "image/png")))
paragraph = odftext.P()
paragraph.addElement(frame)
document.text.addElement(paragraph)
out = io.BytesIO()
document.write(out)
keep("scan.odt", out.getvalue())
document = opendocument.OpenDocumentSpreadsheet()
rows = table.Table(name="Sheet1")
for row in (["Name", "NHS number"], ["A Patient", 4505577104]):
    line = table.TableRow()
    for value in row:
        if isinstance(value, int):
            cell = table.TableCell(valuetype="float", value=value)
            cell.addElement(odftext.P(text="4.51E+09"))
        else:
            cell = table.TableCell(valuetype="string")
            cell.addElement(odftext.P(text=value))
        line.addElement(cell)
    rows.addElement(line)
document.spreadsheet.addElement(rows)
out = io.BytesIO()
document.write(out)
keep("value.ods", out.getvalue())

# --- Rich text, as Word writes it ---
keep("bold.rtf", (r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0\fswiss Arial;}}{\info{\title x}}\pard The patient\rquote s NHS "
                  r"number is {\b 450 }{\insrsid1 55}{\insrsid2 7 71}04\par}").encode())

# --- Messages ---
inner = EmailMessage()
inner["From"], inner["To"], inner["Subject"] = "a@b.example", "c@d.example", "Referral"
inner.set_content("see the sheet")
inner.add_attachment(sheet, maintype="application", subtype="octet-stream", filename="list.bin")
message = keep("sheet.eml", inner.as_bytes())


# --- Archives ---
def archive(files, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as target:
        for name, octets in files:
            target.writestr(name, octets)
    return out.getvalue()


nested = keep("nested.zip", archive([("a/", b""), ("a/x.txt", b"x"), ("inner.dat", archive([("r.docx", word)]))]))
keep("stored.zip", archive([("list.csv", b"name,nhs number\r\nA,4505577104\r\n")], zipfile.ZIP_STORED))
keep("message.zip", archive([("m.bin", message)]))
keep("bzip2.zip", archive([("x.txt", SAYS.encode())], zipfile.ZIP_BZIP2))
keep("text.gz", gzip.compress(SAYS.encode(), mtime=0))
out = io.BytesIO()
with pyzipper.AESZipFile(out, "w", compression=pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES) as target:
    target.setpassword(b"secret")
    target.writestr("x.txt", SAYS)
keep("aes.zip", out.getvalue())
keep("bomb.zip", archive([("x.txt", b"\0" * (16 << 20))]))
keep("cut.zip", nested[:-40])
damaged = bytearray(archive([("x.txt", os.urandom(100) + b"x" * 1000)]))
damaged[50:90] = b"\xff" * 40
keep("damaged.zip", bytes(damaged))
out = io.BytesIO()
with tarfile.open(fileobj=out, mode="w:gz") as target:
    entry = tarfile.TarInfo("x.txt")
    entry.size = len(SAYS)
    target.addfile(entry, io.BytesIO(SAYS.encode()))
keep("text.tar.gz", out.getvalue())


# --- PDF ---
def drawn(draw, **how):
    out = io.BytesIO()
    page = canvas.Canvas(out, invariant=1, **how)
    draw(page)
    page.save()
    return out.getvalue()


def kerned(page):
    text = page.beginText(72, 700)
    text.setFont("Helvetica", 12)
    text.textOut("The patient's NHS number is 45")
    text.textOut("0 557 ")
    text.textOut("7104")
    page.drawText(text)


plain = keep("plain.pdf", drawn(kerned, pageCompression=1))
keep("picture.pdf", drawn(lambda page: page.drawInlineImage(Image.open(picture()), 0, 0, 500, 700)))
pdf = FPDF()
pdf.add_page()
pdf.add_font("Vera", fname=os.path.join(os.path.dirname(reportlab.__file__), "fonts", "Vera.ttf"))
pdf.set_font("Vera", size=12)
pdf.cell(text=SAYS)
subset = keep("subset.pdf", bytes(pdf.output()))


def locked(octets, **how):
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(octets)))
    writer.encrypt(algorithm="AES-256", **how)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


keep("password.pdf", locked(plain, user_password="secret", owner_password="other"))
keep("restricted.pdf", locked(plain, user_password="", owner_password="other"))
writer = PdfWriter(clone_from=PdfReader(io.BytesIO(plain)))
out = io.BytesIO()
writer.add_attachment("list.xlsx", sheet)
writer.write(out)
keep("portfolio.pdf", out.getvalue())
keep("cut.pdf", subset[: len(subset) // 2])
