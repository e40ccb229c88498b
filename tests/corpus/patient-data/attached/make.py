#!/usr/bin/env python3
"""Writes labelled mail with documents in it, as other programs write them; run as ../../../attachments/make.py says.

Half of them are about stock, money and telephones, with numbers that pass the check of an NHS number. Numbers are drawn
at random and names are invented; a label says what a careful reader finds, never what the detector says.
"""
import csv, io, pathlib, random, zipfile
from email.message import EmailMessage

import docx, openpyxl
import reportlab.rl_config
from fpdf import FPDF
from reportlab.pdfgen import canvas

R = random.Random(4040)
HERE = pathlib.Path(__file__).parent
LABELS = ["file\tis\tgroup"]


def valid(prefix=None):
    while True:
        nine = (prefix or R.choice("4467")) + "".join(R.choice("0123456789") for _ in range(9))
        nine = nine[:9]
        digit = 11 - sum(int(d) * w for d, w in zip(nine, range(10, 1, -1))) % 11
        if digit != 10 and len(set(nine)) > 3:
            return nine + str(digit % 11)


def wrong():
    n = valid()
    return n[:9] + str((int(n[9]) + 3) % 10)


def spaced(n):
    return f"{n[:3]} {n[3:6]} {n[6:]}"


def word(*paragraphs, table=()):
    document = docx.Document()
    for text in paragraphs:
        document.add_paragraph(text)
    if table:
        cells = document.add_table(len(table), len(table[0]))
        for row, values in enumerate(table):
            for column, value in enumerate(values):
                cells.cell(row, column).text = str(value)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def sheet(*rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def letter(*lines):
    out = io.BytesIO()
    page = canvas.Canvas(out, invariant=1)
    for at, line in enumerate(lines):
        page.drawString(72, 760 - 16 * at, line)
    page.save()
    return out.getvalue()


def form(rows):
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("Helvetica", size=10)
    for row in rows:
        for cell in row:
            pdf.cell(60, 8, str(cell), border=1)
        pdf.ln()
    return bytes(pdf.output())


def table(*rows):
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def packed(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, octets in files.items():
            target.writestr(name.replace("_", "."), octets)
    return out.getvalue()


def message(inner, name):
    """A message with a file, to be put into an archive."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ward@bumbleton.example", "pharmacy.fa001@nhs.net", "Fwd: list"
    mail["Message-ID"] = f"<inner-{name}@bumbleton.example>"
    mail.set_content("See attached.\n")
    mail.add_attachment(inner, "application", "octet-stream", filename="list.csv")
    return mail.as_bytes().replace(mail.get_boundary().encode(), b"=_inner")


def write(name, labels, subject, text, file, octets):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "pharmacy.fa001@nhs.net", "someone@example.com", subject
    mail["Message-ID"] = f"<{name}@bumbleton.example>"
    mail.set_content(text)
    mail.add_attachment(octets, "application", "octet-stream", filename=file)
    (HERE / f"{name}.eml").write_bytes(mail.as_bytes().replace(mail.get_boundary().encode(), b"=_" + name.encode()))
    LABELS.append(f"{name}.eml\t{labels}\tattached-{file.rsplit('.')[-1]}")


SEE = "Please see the attached.\n"
N = "nhs-number"
write("letter-pdf", N, "Clinic letter", SEE, "letter.pdf", letter("Re: Mr A Larkspur, 14/03/1951", f"NHS number: {spaced(valid())}", "Seen in clinic today."))
write("form-pdf", N, "Referral", SEE, "referral.pdf", form([["Surname", "Forename", "NHS No."], ["Larkspur", "Olu", valid()]]))
write("list-pdf", N, "Tuesday", SEE, "list.pdf", letter(*[f"{9 + at}:00  Patient {at}   {spaced(valid())}" for at in range(6)]))
write("chi-pdf", "chi-number", "Transfer", SEE, "transfer.pdf", letter("CHI number " + valid(f"{R.randint(1, 28):02}07{R.randint(31, 99)}"), "Usual inhalers."))
write("letter-docx", N, "Letter", SEE, "letter.docx", word("Dear Dr Ash,", f"Re: Mrs Fern, NHS No {spaced(valid())}", "Thank you."))
write("table-docx", N, "Reviews", SEE, "reviews.docx", word("Reviews due", table=[["Name", "NHS number"], ["J Marsh", valid()], ["K Reed", valid()]]))
write("hc-docx", "hc-number", "Holiday dialysis", SEE, "slot.docx", word(f"H&C number {valid('34')}, slot on Tuesday."))
write("caseload-xlsx", N, "Caseload", SEE, "caseload.xlsx", sheet(["Surname", "NHS Number", "DOB"], *[["Reed", int(valid()), "03/04/1950"] for _ in range(4)]))
write("words-xlsx", N, "Notes", SEE, "notes.xlsx", sheet(["Note"], [f"rang re patient {spaced(valid())}, will call back"]))
write("archive-zip", N, "Files", SEE, "files.zip", packed(a_txt=b"nothing", b_csv=table(["name", "nhs_no"], ["Reed", valid()])))
write("message-zip", N, "Old mail", SEE, "old.zip", packed(mail_eml=message(table(["NHS No"], [valid()]), "zip")))
write("letter-zip", N, "Letters", SEE, "letters.zip", packed(l_pdf=letter(f"Patient: {spaced(valid())}"), w_docx=word("no number here")))
write("test-xlsx", "synthetic", "Test pack", SEE, "pack.xlsx", sheet(["NHS number"], [int(valid("999"))]))

write("order-pdf", "none", "Order", SEE, "order.pdf", form([["Order number", valid()], ["Account", "60114"], ["Total", "418.20"]]))
write("invoice-pdf", "none", "Invoice", SEE, "invoice.pdf", letter(f"Invoice number {valid()}", "40 x paracetamol 500 mg", "VAT number 123456789"))
write("phones-pdf", "none", "Telephone list", SEE, "phones.pdf", letter("Telephone list", *[f"Ward {at}: tel {valid()}" for at in range(3)]))
write("manual-pdf", "none", "Manual", SEE, "manual.pdf", letter(f"ISBN {valid()}", "How to clean a dosette tray", "For patients and carers"))
write("stock-xlsx", "none", "Stock", SEE, "stock.xlsx", sheet(["SKU", "Product", "Qty"], *[[int(valid() if at == 2 else wrong()), "Senna", at] for at in range(12)]))
write("parcels-xlsx", "none", "Parcels", SEE, "parcels.xlsx", sheet(["Consignment", "Depot"], [int(valid()), "Leeds"], [int(wrong()), "York"], [int(wrong()), "Hull"], [int(wrong()), "Hull"]))
write("figures-xlsx", "none", "Items", SEE, "figures.xlsx", sheet(["Month", "Items", "NIC"], ["Aug", 641, 712418], ["Sep", 653, 733902]))
write("minutes-docx", "none", "Minutes", SEE, "minutes.docx", word("Minutes of the patient group", "Next meeting: 020 7946 0958 for apologies.", "The suggestion box was empty."))
write("contract-docx", "none", "Contract", SEE, "contract.docx", word(f"Purchase order {valid()} of 14 November 2026", "Either side may end it with 30 days' notice."))
write("assets-docx", "none", "Assets", SEE, "assets.docx", word("Assets", table=[["Serial number", "Item"], [valid(), "Label printer"], [valid(), "Scanner"]]))
write("logs-zip", "none", "Logs", SEE, "logs.zip", packed(a_log="\n".join(f"ts={1700000000 + at * 37} ok" for at in range(60)).encode(), b_csv=table(["order_id", "qty"], *[[wrong(), 1] for _ in range(9)], [valid(), 2])))
write("invoices-zip", "none", "Invoices", SEE, "invoices.zip", packed(i_pdf=letter(f"Invoice no {valid()}"), o_docx=word(f"Order number {valid()}")))
write("blank-form-docx", "none", "Form", SEE, "form.docx", word("NHS number: ____ ____ ______", "Date of birth: __/__/____", "Telephone: 01632 960123"))
(HERE / "labels.tsv").write_text("\n".join(LABELS) + "\n")
