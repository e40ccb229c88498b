#!/usr/bin/env python3
"""Writes made/: labelled mail as pharmacies, practices and care homes send it, nobody's real data.

Run it in this folder; the same seed gives the same files. A label says what a careful reader finds in the message, never what
the detector says of it: `none` is written for numbers that are something else, whatever they look like. Numbers are drawn at random
(about one in three that could be issued is, so they are made, not taken from anybody); names and streets are invented; telephone
numbers are of the ranges that Ofcom and NANPA keep for fiction. hand/ is written by hand and left alone.
"""

import base64
import pathlib
import quopri
import random
import shutil

R = random.Random(20261121)
HERE = pathlib.Path(__file__).parent
MADE = HERE / "made"
LABELS = []
COUNT = {}

# --- Numbers --------------------------------------------------------------------------------------


def check_digit(nine):
    """The tenth digit (modulus 11), or None if there is none."""
    digit = 11 - sum(int(d) * w for d, w in zip(nine, range(10, 1, -1))) % 11
    return {11: "0", 10: None}.get(digit, str(digit))


def valid(prefix, nine=9):
    """Ten digits with a right check digit that begin with `prefix`."""
    while True:
        body = prefix + "".join(R.choice("0123456789") for _ in range(nine - len(prefix)))
        if check_digit(body) is not None and len(set(body)) > 2:
            return body + check_digit(body)


def nhs():
    return valid(R.choice("4467"))


def chi():
    return valid(f"{R.randint(1, 28):02}{R.randint(1, 12):02}{R.randint(30, 99)}")


def hc():
    return valid(R.choice(["32", "33", "35", "37", "39"]))


def synthetic():
    return valid("999")


def spaced(n, sep=" "):
    return f"{n[:3]}{sep}{n[3:6]}{sep}{n[6:]}"


def any_shape(n):
    return R.choice([n, spaced(n), spaced(n), spaced(n, "-")])


def mobile_without_zero():
    """Of Ofcom's range for drama, 07700 900xxx, without its zero, and with a right check digit."""
    return R.choice([n for n in (f"7700900{i:03}" for i in range(1000)) if check_digit(n[:9]) == n[9]])


def american():
    """Of the range for fiction, 555-01xx, with a right check digit."""
    while True:
        n = R.choice(["415", "617", "646", "702", "713", "425", "469", "626"]) + f"55501{R.randint(0, 99):02}"
        if check_digit(n[:9]) == n[9]:
            return n


def timestamp():
    """Seconds since 1970 that could be a CHI number."""
    while True:
        n = f"{R.choice(['16', '17'])}{R.randint(1, 12):02}{R.randint(0, 99):02}{R.randint(0, 9999):04}"
        if check_digit(n[:9]) == n[9]:
            return n


def nino():
    return f"{R.choice('ABCEGHJKLMPRSTWX')}{R.choice('ABCEGHJKLMPRSTWXZ')}{R.randint(0, 999999):06}{R.choice('ABCD')}"


# --- People and places, all invented ---------------------------------------------------------------

FORENAMES = "Ada Bryn Ceri Dilys Elspeth Fergus Gita Hamza Iona Jamal Keira Lorcan Maeve Nia Olu Priya Rhodri Saoirse Tariq Una Wren Zofia".split()
SURNAMES = "Ashgrove Bramwell Cattermole Dunnock Eccleshall Fairbrass Gathercole Hollinrake Inchbald Jesmond Kettlewell Larkspur Mossop Netherby Ormerod Pargeter Quillfeather Ravensdale Silverlock Thistlewood Umpleby Wetherell Yarrowby".split()
STREETS = "Cobbler's Row, Fennel Street, Larch Close, Mill Rise, Orchard Bank, Tanner's Yard, Weir Lane".split(", ")
DRUGS = ["amlodipine 5 mg", "metformin 500 mg", "levothyroxine 50 microgram", "ramipril 2.5 mg", "sertraline 50 mg", "atorvastatin 20 mg", "lansoprazole 15 mg"]
PHARMACIES = ["Bumbleton Pharmacy", "Larch Close Chemist", "Weir Lane Pharmacy", "Mill Rise Dispensary"]


def person():
    return f"{R.choice(FORENAMES)} {R.choice(SURNAMES)}"


def titled():
    return f"{R.choice(['Mr', 'Mrs', 'Ms', 'Miss'])} {R.choice(SURNAMES)}"


def birth(form=None):
    d, m, y = R.randint(1, 28), R.randint(1, 12), R.randint(1925, 2012)
    months = "January February March April May June July August September October November December".split()
    forms = [f"{d:02}/{m:02}/{y}", f"{d:02}.{m:02}.{y}", f"{d} {months[m - 1]} {y}", f"{d:02}-{months[m - 1][:3]}-{y}", f"{y}-{m:02}-{d:02}"]
    return forms[form] if form is not None else R.choice(forms)


def postcode():
    return f"{R.choice(['BX', 'QB', 'ZW', 'XC'])}{R.randint(1, 29)} {R.randint(1, 9)}{R.choice('ABDEFGHJLN')}{R.choice('PQRSTUWXYZ')}"


def address():
    return f"{R.randint(1, 120)} {R.choice(STREETS)}, Bumbleton, {postcode()}"


def drama_phone():
    return R.choice([f"01632 960{R.randint(0, 999):03}", f"020 7946 0{R.randint(0, 999):03}", f"0113 496 0{R.randint(0, 999):03}", f"07700 900{R.randint(0, 999):03}"])


def signature():
    return R.choice([
        f"Kind regards\n{person()}\nPharmacist, {R.choice(PHARMACIES)}\nTel: {drama_phone()}\n",
        f"Many thanks\n{person()}\nReception, Weir Lane Surgery\n{address()}\nT: {drama_phone()} F: {drama_phone()}\n",
        f"Regards, {person().split()[0]}\n",
        f"--\n{person()} | Practice Manager | NHS Bumbleton ICB | {drama_phone()}\nThis email may hold confidential information about patients.\n",
        "",
    ])


# --- Messages --------------------------------------------------------------------------------------

PLACES = ["pharmacy.fa001@nhs.net", "weirlane.surgery@nhs.net", "care.bumbleton@nhs.net", "orders@wholesale.example", "office@bumbleton.example"]


def word(text):
    """A subject, as an encoded word if it has to be."""
    if text.isascii():
        return text
    return "=?utf-8?B?" + base64.b64encode(text.encode()).decode() + "?="


def save(group, labels, subject, rest, extra=""):
    """Writes one message; `rest` begins with the fields of the content."""
    number = COUNT[group] = COUNT.get(group, 0) + 1
    name = f"{group}-{number:02}.eml"
    head = (
        f"From: {R.choice(PLACES)}\nTo: {R.choice(PLACES)}\nSubject: {subject}\n{extra}"
        f"Date: Fri, 20 Nov 2026 09:{R.randint(10, 59)}:00 +0000\nMessage-ID: <{group}.{number}@corpus.example>\nMIME-Version: 1.0\n"
    )
    rest = rest if isinstance(rest, bytes) else rest.encode()
    (MADE / name).write_bytes(head.encode() + rest)
    LABELS.append((name, labels, group))


def plain(text):
    return f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{text}\n"


def quoted(text, charset="utf-8"):
    body = quopri.encodestring(text.encode(charset, "replace")).decode()
    return f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: quoted-printable\n\n{body}\n"


def based(text, charset="utf-8", kind="text/plain"):
    body = base64.encodebytes(text.encode(charset)).decode()
    return f"Content-Type: {kind}; charset={charset}\nContent-Transfer-Encoding: base64\n\n{body}\n"


def html(body, before=""):
    return f"Content-Type: text/html; charset=utf-8\n\n<html><head><style>p {{ margin: 0 }}</style></head><body>{before}{body}</body></html>\n"


def as_html(text):
    return html("".join(f"<p>{line}</p>\n" for line in text.split("\n")))


def alternative(text):
    return f'Content-Type: multipart/alternative; boundary="alt"\n\n--alt\n{plain(text)}\n--alt\n{as_html(text)}\n--alt--\n'


def with_file(text, name, octets, kind="application/octet-stream"):
    body = base64.encodebytes(octets).decode()
    return (
        f'Content-Type: multipart/mixed; boundary="mix"\n\n--mix\n{plain(text)}\n--mix\n'
        f'Content-Type: {kind}; name="{name}"\nContent-Disposition: attachment; filename="{name}"\nContent-Transfer-Encoding: base64\n\n{body}\n--mix--\n'
    )


def any_form(text):
    return R.choice([plain, plain, quoted, based, as_html, alternative])(text)


def negative(group, texts, subject="Query"):
    for item in texts:
        title, text = item if isinstance(item, tuple) else (subject, item)
        save(group, "none", word(title), any_form(f"Hello\n\n{text}\n\n{signature()}"))


def positive(group, texts, labels="nhs-number", subject="Query"):
    for item in texts:
        title, text = item if isinstance(item, tuple) else (subject, item)
        save(group, labels, word(title), any_form(f"Hello\n\n{text}\n\n{signature()}"))


# --- What is something else ------------------------------------------------------------------------


def telephones():
    m = mobile_without_zero
    negative("telephone", [
        f"Please ring our new mobile +44 {m()[:4]} {m()[4:]} after six.",
        f"The patient line has moved: +44 (0){m()}.",
        f"Dr {person()} can be bleeped, or call her mobile 0{m()}.",
        f"Delivery driver's mob: {m()}. He has the patient bags from 2 pm.",
        f"Mobile {m()} for the locum, who will see patients from Monday.",
        f"Telephone: {spaced(m())}",
        f"Tel/Fax {spaced(m())} / {spaced(m(), '-')}\nNHS Bumbleton Integrated Care Board",
        f"Contact number for the patient participation group is {m()}.",
        f"Patient transport: phone {m()}, option 2.",
        f"Text the word STOP to {m()} and we take the patient off the list for reminders; sms only.",
        f"0044 {m()} is her number abroad, patient safety calls only.",
        f"His WhatsApp is {m()} (personal phone).",
        f"ward phone\n{m()}\n\npatients may be visited from 2",
        f"You can reach the on-call pharmacist on {m()} (mobile) any time this weekend.",
        f"Fax no. {m()} is gone since the move to NHSmail; patient letters go by mail.",
        f"Our switchboard {spaced(m())} is down. Patients know.",
        f"{m()} (tel) and {drama_phone()} (office)",
        f"Call us on {spaced(m())} or come by.",
        ("Your missed call", f"You missed a call from {m()} at 09:14. Duration 0:42."),
        ("Telephone list", f"Reception {drama_phone()}\nDispensary {drama_phone()}\nDriver {m()}\nPatient line {drama_phone()}"),
    ])
    a = american
    negative("telephone-abroad", [
        f"Call our US support desk on ({a()[:3]}) {a()[3:6]}-{a()[6:]}.",
        f"Toll free: {spaced(a(), '-')}. Ask for the patient monitoring team.",
        f"Phone {spaced(a(), '.')} | support@vendor.example",
        f"+1 {spaced(a())} is the number in Boston.",
        f"1-{spaced(a(), '-')} for orders from abroad",
        f"Fax: {spaced(a(), '-')}\nPatient monitoring division",
        f"tel:+1-{spaced(a(), '-')}",
        f"Office {spaced(a(), '-')} / Cell {spaced(a(), '-')}",
    ])


def books():
    negative("isbn", [
        "The reading list for the diploma:\nISBN 0306406152\nISBN 0131103628",
        f"ISBN-10: {valid('0')} (paperback), patient counselling, 3rd edition",
        f"Clinical skills for pharmacists, isbn {valid('4')}.",
        f"Do you still have my copy of Patient Assessment (ISBN: {valid('7')})?",
        f"ISBN-10 {valid('1')}; ISBN-13 978-{valid('0')[:9]}7",
        f"Patient Safety, second edition. ISBN {valid('6')}. £24.99",
        f"978{valid('4')} is the barcode on the back",
        f"ISSN and ISBN: {valid('4')} — journal of the patient association",
        f"order the book 0-19-{valid('7')[:6]}-{R.randint(0, 9)} please",
        f"ASIN or ISBN {valid('4')}, whichever the library wants",
    ], subject="Books")


def orders():
    n = lambda: valid(R.choice("467"))
    negative("order", [
        ("Your order", f"Thank you for your order {n()}. It leaves us tonight.\nDeliver to: {address()}"),
        f"Order number {n()} was short by two boxes of {R.choice(DRUGS)}.",
        f"Order no. {n()}: patient information leaflets, 200 of each.",
        f"PO {n()} approved. Patient gowns, 40 boxes.",
        f"Purchase order: {n()}\nSupplier: Wholesale Ltd\nDeliver by 24/11/2026",
        f"Invoice {n()} is overdue. Please pay within 14 days.",
        f"Invoice no: {spaced(n())}\nDate: 03/11/2026\nAmount £412.80",
        f"Your order reference is {n()}. {titled()}, {address()}",
        f"Order ID: {n()} / {n()} both cancelled as asked",
        f"Batch {n()} is recalled (class 2 medicines recall). Take patients' packs back as usual.",
        f"batch number {n()}, expiry 03/2028, {R.choice(DRUGS)}",
        f"Serial no {n()}: blood pressure monitor, used for patient checks, due for calibration",
        f"SKU {n()}  qty 4\nSKU {n()}  qty 12",
        f"Receipt number {n()} for the parking at the patient forum",
        f"Booking reference {n()}: meeting room 2, patient panel, 4 December",
        f"Ticket number {n()} has been resolved: the printer for patient labels works.",
        f"Quotation {n()} for patient chairs, valid until 31 January.",
        f"Transaction id {n()} refused by the card machine.",
        f"Licence key {n()} for the patient record viewer",
        f"Credit note {n()} raised against invoice {n()} for damaged stock.",
        f"Our job no {n()}: the patient call bell in room 4 was mended.",
        f"Work order {n()}: patient lift serviced, next due in May.",
        f"Supplier account {n()}: statement for October.",
        f"Service request {n()} logged. Summary: patient kiosk does not start.",
        f"Case number {n()} with the software supplier: patient search is slow on Mondays.",
    ])
    negative("tracking", [
        f"Your parcel {n()} is out for delivery.",
        f"Tracking number {n()}. Signed for by {person()}.",
        f"Royal Mail: AB{R.randint(100000000, 999999999)}GB is on its way",
        f"Track it with AB{n()}GB",
        f"Consignment {n()}, 3 totes, fridge line included; patient bags separate",
        f"Tracking no: {spaced(n())} (patient appliance order)",
        f"DPD parcel number 1550{n()} will come between 10:12 and 11:12.",
        f"Shipment {n()} left the depot. Contents: patient literature.",
        f"Waybill {n()}\nPieces 2\nWeight 11.4 kg\nPatient samples: none",
        f"Delivery note {n()} – {R.choice(DRUGS)} x 28, 6 packs",
        f"courier ref {n()} collected 16:40",
    ], subject="Delivery")


def machines():
    t = timestamp
    negative("timestamp", [
        f"sync finished at {t()} (unix time), 0 errors, 14 patient records updated",
        f"timestamp={t()} level=warn msg=\"queue slow\"",
        f"The last run was at epoch {t()}; patients were not affected.",
        f'{{"ts": {t()}, "event": "login", "user": "weirlane"}}',
        f'{{"created_at": {t()}, "patient_count": 412, "status": "ok"}}',
        f"log line: {t()} INFO job patient-export done in 3 s",
        f"[{t()}] kernel: eth0 link up\n[{t()}] kernel: eth0 link down",
        f"Unix time {t()} is Thursday, before you ask.",
        f"backup-{t()}.tar.gz was written, patient database included",
        f"exp: {t()}\niat: {t()}",
    ], subject="Nightly report")
    n = lambda: valid(R.choice("467"))
    negative("url", [
        f"See https://intranet.example/pages/viewpage.action?pageId={n()} for the patient pathway.",
        f"https://video.example/{n()}",
        f"Patient leaflet: http://www.leaflets.example/{n()}/en",
        f"www.shop.example/item/{n()}?colour=blue",
        f"Join at https://meet.example/j/{n()}?pwd=abc for the patient panel",
        f"Click https://survey.example/s?id={n()}&lang=en to say what patients think",
        f"{n()}@fax.example is the fax gateway for patient letters",
        f"File: //server/share/{n()}/rota.xlsx, patients excluded",
        f"<https://news.example/a/{n()}> patient stories",
        f"mailto:list-{n()}@lists.example to leave the patient news list",
        f"https://example.com/{spaced(n(), '-')}",
        f"The link https://forms.example/r/{n()} is for patients without NHS login.",
    ], subject="Link")
    save("url", "none", "Patient survey", html(f'<a href="https://survey.example/r/{n()}">Tell us</a><img src="https://t.example/o/{n()}.gif">'))
    save("url", "none", "Patient news", html(f'<p>Patient news</p><a href="https://news.example/?u={n()}&amp;m={n()}">Unsubscribe</a>'))
    negative("message-id", [
        f"> On Monday somebody wrote:\n> Message-ID: <{n()}.{n()}@mail.example>\n> the patient list is done",
        f"Message id {n()} bounced. The patient newsletter list needs care.",
        f"error 0x{n()} in module patient_view",
        f"commit {n()}a9f3c closes the patient merge bug",
        f"UUID 1b4e28ba-2fa1-11d2-{n()[:4]}-{n()}ff",
    ], subject="Mail system")


def tables():
    n = lambda: valid(R.choice("467"))
    line = lambda: f"{R.randint(1000000, 9999999)}  {R.choice(DRUGS):32} {R.randint(1, 40):>4} {R.randint(100, 9999) / 100:>8.2f}"
    for _ in range(6):
        rows = "\n".join(line() for _ in range(12))
        save("invoice", "none", "Invoice", any_form(f"Invoice no {n()}\n\nPIP code  Description  Qty  Price\n{rows}\n\nTotal due in 30 days. {signature()}"))
    for _ in range(5):
        cells = "\n".join("  ".join(str(R.randint(100, 999)) for _ in range(7)) + f"  {R.randint(1000, 9999)}" for _ in range(10))
        save("figures", "none", "Figures for October", any_form(f"Items by week and branch; the last is the sum\n\n{cells}\n\nPatients counselled are not in it."))
    for _ in range(4):
        rows = "".join(f"<tr><td>{R.randint(100, 999)}</td><td>{R.randint(100, 999)}</td><td>{R.randint(1000, 9999)}</td></tr>" for _ in range(9))
        save("figures", "none", "Weekly items", html(f"<table><tr><th>New</th><th>Repeat</th><th>All patients</th></tr>{rows}</table>"))
    for _ in range(5):
        rows = "\n".join(f"{R.choice(SURNAMES)} Pharmacy,F{R.choice('ACDEFGH')}{R.randint(100, 999)},{n() if i % 5 == 0 else R.randint(4000000000, 7999999999)}" for i in range(14))
        save("csv-telephone", "none", "Directory", with_file("The pharmacies with their telephone numbers, Excel ate the zeros.", "pharmacies.csv", f"name,code,telephone\n{rows}\n".encode(), "text/csv"))
    for _ in range(4):
        rows = "\n".join(f"{R.randint(4000000000, 7999999999)},{R.randint(1, 30)},{R.randint(100, 9000) / 100}" for _ in range(40))
        save("csv-orders", "none", "Order lines", with_file("All order lines of the week are in the file.", "lines.csv", f"order_id,qty,price\n{rows}\n".encode(), "text/csv"))
    for _ in range(3):
        rows = "\n".join(str(R.randint(4000000000, 7999999999)) for _ in range(60))
        save("list-of-ids", "none", "Product ids", plain(f"These product ids are to go off the shelf list:\n\n{rows}\n"))
    for _ in range(4):
        rota = "\n".join(f"{d:<10} {R.choice(['0900 1300', '0830 1230'])} {R.choice(['1400 1800', '1330 1730'])} {R.choice(FORENAMES)}" for d in "Monday Tuesday Wednesday Thursday Friday".split())
        save("rota", "none", "Rota", any_form(f"Rota from 23 11 2026\n\n{rota}\n\nPatient clinics are on Wednesday.\n{signature()}"))
    negative("results", [
        "Na 140 K 4.5 Urea 5.1 Creat 88 eGFR 72\nHb 131 WCC 6.2 Plt 245\nNo name on the form, please send it again.",
        "BP 141 88, 138 84, 1402 steps, 136 82 1405 steps: readings of the demonstration machine",
        "Ratio 4.10; 102 of 3213 7 items short",
        "Range 401-999, bin 023, shelf 2137",
        f"Temperatures 401 402 3991 (fridge, tenths) 24 25 2611 (room)",
    ], subject="Readings")


def other_numbers():
    n = lambda: valid(R.choice("467"))
    negative("hospital-number", [
        f"Hospital number RXH{R.randint(100000, 999999)}: the bed is made up.",
        f"Hosp no. {R.randint(100000, 999999)}{R.choice('ABXZ')} is due at ten",
        f"MRN {R.randint(1000000, 9999999)} moved to ward 4",
        f"Unit number T{R.randint(100000, 999999)}; see the ward book",
        f"Patient ID {R.randint(10000, 99999)} in the local system",
        f"PAS number {R.randint(10000000, 99999999)}, clinic letters to follow by post",
        f"hospital no {R.randint(100, 999)}-{R.randint(100, 999)}-{R.randint(100, 999)}",
        f"Case note {R.randint(1000000, 9999999)}/{R.randint(10, 99)}",
    ])
    negative("staff-number", [
        f"Staff number {n()} starts on Monday as a dispenser.",
        f"Payroll no {n()}: overtime for the patient clinic is missing.",
        f"Employee ID {n()}. Patient-facing: yes.",
        f"ESR assignment number {R.randint(20000000, 29999999)}-{R.randint(2, 4)}",
        f"GPhC {R.randint(2000000, 2299999)} / GMC {R.randint(4000000, 7999999)}, may see patients alone",
        f"Smartcard 5550{R.randint(10000000, 99999999)} is locked; she cannot open patient records.",
        f"NMC PIN {R.randint(10, 99)}A{R.randint(1000, 9999)}E, patient group directions signed",
        f"personnel number {n()} needs access to the patient portal",
        f"Badge number {n()} does not open the patient entrance.",
        f"NI number {nino()} for payroll, {person()}, starts 01/12/2026",
    ], subject="Staff")
    negative("bare", [
        f"It is {n()}, as I said.",
        f"{n()}",
        f"see {n()}, thanks",
        f"The code for the door app is {n()} now.",
        f"{n()} and {n()} are done, the rest tomorrow.",
        f"Ref {n()}. We shut early on Friday.",
        f"our reference {n()}, your letter of 3 November about the lease",
        f"Agreement {n()} ends in March.",
        f"{n()}\n{n()}\n{n()}",
        f"The winning numbers of the raffle: {n()}, {n()}",
        f"{titled()} has paid, {n()}.",
        f"Meter reading {n()}? That cannot be right.",
    ])
    negative("account", [
        f"Meeting ID: {spaced(n())} Passcode: {R.randint(100000, 999999)}\nPatient panel, 4 December",
        f"Zoom {spaced(n())}: patient safety huddle at 8:30",
        f"Dial in: {drama_phone()}, access code {n()}",
        f"Conference ID {spaced(n())}#, patient pathways",
        f"UTR {n()} for the partnership",
        f"Self assessment, unique taxpayer reference {n()}",
        f"VAT number GB{n()[:9]}",
        f"Account number {n()}, sort code 00-00-00",
        f"Policy number {n()}: patient injury cover, renewed",
        f"IBAN GB00 TEST {n()[:4]} {n()[4:8]} {n()[8:]}12",
        f"Charity number {n()[:7]}; company number {n()[:8]}",
        f"card ending {n()[:4]}, or {n()[:4]} {n()[4:8]} {n()[6:10]} {n()[:4]}",
        f"£{n()} cannot be the budget for patient meals",
        f"the sum of {n()}.00 is a typing mistake",
        f"MPAN 10 {n()[:4]} {n()[4:8]} {n()[6:9]}, supply of the patient wing",
        f"NHS supply chain account {n()}, patient gowns",
        f"Google Ads customer {spaced(n(), '-')} / account ID {spaced(n(), '-')}",
    ])
    bad = lambda: (lambda x: x[:9] + str((int(x[9]) + R.randint(1, 9)) % 10))(n())
    negative("wrong-check-digit", [
        "The form shows NHS number 987 654 4321 as its example.",
        f"NHS number {spaced(bad())} is not known to the spine; typing mistake?",
        f"NHS no {bad()} rejected by PDS",
        f"patient {bad()} cannot be found",
        f"NHS No: {spaced(bad(), '-')}",
        "Enter the NHS number as 123 456 7890.",
        "NHS number: 000 000 0000 (not known)",
        "NHS number 4444444444 was typed by the tester",
    ])
    negative("range", [
        f"NHS number {spaced(valid('5'))} is in a range that is not issued.",
        f"patient {valid('8')}",
        f"NHS no. {valid('00')}",
        f"IHI {valid('80')} (Ireland)",
    ])
    negative("barcode", [
        f"EAN {valid('50')}{R.randint(100, 999)} does not scan",
        f"GTIN 0{n()}{R.randint(100, 999)}, batch {R.choice('ABC')}{R.randint(1000, 9999)}, patient pack",
        f"EPS id {R.randint(100000, 999999)}-A{R.randint(10000, 99999)}-{R.randint(100000, 999999)}B for the patient who came twice",
        f"dm+d code {n()}1000001107 for {R.choice(DRUGS)}, patient pack",
        f"SNOMED {n()}001 is the concept",
        f"PIP code {R.randint(100, 999)}-{R.randint(1000, 9999)}",
    ])
    negative("no-number", [
        f"Could you ask the patient to bring the old inhalers? {titled()} will know.",
        "NHS number is missing on three forms. Please tell patients to bring the letter.",
        "The NHS App shows the NHS number at the top. Patients ask for it every day.",
        f"Date of birth and address must be checked at hand-out. {drama_phone()}",
        f"We had {R.randint(1000, 9000)} patients in October, {R.randint(100, 900)} of them new.",
        f"The flu clinic is on 28/11/2026, 9:00 to 12:30, for all patients over 65. {address()}",
        f"Minutes of the patient group, {birth(0)}: apologies, minutes, parking, any other business.",
        f"{R.choice(DRUGS)} is out of stock until week 49. Patients may have the 28 pack.",
    ])


def about_secure():
    for subject in ["Secure storage of controlled drugs", "Secure email accreditation", "Securing the premises at night", "[security] update for Windows", "Security alert", "Is the safe secure?", "RE: secure storage rota", "Insecure connection to the spine", "How to send a secure email", "Encryption of laptops", "[External] Secure by design workshop", "Fwd: encrypted USB sticks", "Please secure the bins", "Secured loan for the refit", "[urgent] secure waste collection", "secure waste: collection on Monday"]:
        save("about-secure", "none", subject, any_form(f"Hello\n\nPlease see to it this week.\n\n{signature()}"))
    for subject, text in [
        ("Training", "Staff must know when to mark mail as official-sensitive and when not."),
        ("Car park", "The rear car park is restricted (staff only). Protect your valuables."),
        ("Guidance", "The guide says that OFFICIAL-SENSITIVE goes at the start of the subject."),
        ("Sensitive teeth", "The official line on sensitive teeth: see the dentist."),
        ("Official: sensitive skin range", "New on the shelf."),
        ("Officials", "Officials, sensitive to criticism, did not reply."),
        ("Restricted diet", "Menu for a restricted diet; protect from light."),
        ("Medicines", "Do not crush (restricted). Protect from light and moisture."),
    ]:
        save("about-marking", "none" if subject != "Official: sensitive skin range" else "none", subject, any_form(f"{text}\n\n{signature()}"))


# --- What is patient data --------------------------------------------------------------------------


def labelled_numbers():
    labels = ["NHS number: {}", "NHS No {}", "NHS no. {}", "NHS: {}", "NHS {}", "nhs number {}", "NHS NUMBER - {}", "N.H.S. No. {}", "NHS#: {}", "NHSNumber={}", "NHS Num {}", "(NHS no: {})", "NHS number is {}", "His NHS number was {}", "Patient's NHS number {}", "NHS ID {}", "pt no {}", "patient number {}", "Patient ID: {}", "hospital number {}"]
    positive("labelled", [label.format(any_shape(nhs())) for label in labels])
    positive("near-words", [
        f"The patient {any_shape(nhs())} asks for her {R.choice(DRUGS)} a week early.",
        f"{any_shape(nhs())}: DOB {birth(0)}, needs a medication review.",
        f"Please send the summary for {person()}, born {birth(2)}, {any_shape(nhs())}.",
        f"Re {titled()}, {any_shape(nhs())}, date of birth {birth(1)}. Discharged today on {R.choice(DRUGS)}.",
        f"Could you chase the script for {any_shape(nhs())}? The patient is waiting here.",
        f"D.O.B. {birth(0)}\n{any_shape(nhs())}\n{address()}",
        f"Registered with us since May. Patient {any_shape(nhs())}. Allergic to penicillin.",
        f"Two patients, {nhs()} and {nhs()}, had each other's bags.",
        f"MDS trays for patient {nhs()} stop from Monday.",
        f"Missed dose: {spaced(nhs())}, ward 4, patient comfortable.",
    ])
    positive("grouped-alone", [
        f"{spaced(nhs())} — bag is ready",
        f"Please look at {spaced(nhs())} before noon.",
        f"{titled()} {spaced(nhs())}",
        f"re {spaced(nhs(), '-')}: stopped {R.choice(DRUGS)}",
        f"{spaced(nhs())}\n{spaced(nhs())}",
        f"TTO for {spaced(nhs())} sent down",
    ])
    positive("corroborated", [
        f"{person()}, {birth(0)}, {nhs()}: bag is ready",
        f"{nhs()} {R.choice(SURNAMES)} {birth(0)} {postcode()}",
        f"{R.choice(SURNAMES).upper()}, {R.choice(FORENAMES)}  {birth(3)}  {nhs()}  {R.choice(DRUGS)}",
        f"Please add {nhs()} ({titled()}, {birth(1)}) to the tray round.",
        f"{titled()}\n{address()}\n{birth(0)}\n{nhs()}",
        f"{nhs()} / {nino()} / {R.choice(SURNAMES)}: exemption certificate",
        f"{birth(4)} {nhs()} flu jab given left arm",
        f"For {titled()} of {address()}, {birth(2)}: {nhs()}.",
        f"Resident {titled()}, room 12, {nhs()}: new {R.choice(DRUGS)}",
        f"Service user {nhs()} moves in on Friday.",
        f"Rhif GIG: {nhs()}",
        f"Rhif y GIG {spaced(nhs())}, diolch",
    ])
    positive("several", [
        "\n".join(nhs() for _ in range(R.randint(5, 9))),
        "Trays to stop: " + ", ".join(nhs() for _ in range(6)),
        "For the flu list\n" + "\n".join(f"{nhs()} {R.choice(SURNAMES)}" for _ in range(7)),
    ], subject="List")
    tel = drama_phone
    positive("among-telephones", [
        f"Tel {tel()}, mob {tel()}. NHS no {any_shape(nhs())}.",
        f"Please call {tel()} about NHS number {any_shape(nhs())}",
        f"Patient: {titled()}\nTelephone: {tel()}\nNHS number: {any_shape(nhs())}\nMobile: {tel()}",
        f"Order 4412 for patient {nhs()} came without {R.choice(DRUGS)}.",
        f"https://forms.example/q?nhsnumber={nhs()}",
        f"NHS number {spaced(nhs())}, tel {tel()}, invoice {R.randint(1000, 9999)} attached",
        f"Name          NHS number     Telephone\n{person():14}{spaced(nhs())}   {tel()}",
    ])
    positive("odd-grouping", [
        f"NHS number {nhs()[:2]} {nhs()[2:6]} {nhs()[6:]}" if False else (lambda n: f"NHS number {n[:2]} {n[2:6]} {n[6:]}")(nhs()),
        (lambda n: f"NHS no. {' '.join(n)}")(nhs()),
        (lambda n: f"NHS no {n[:5]} {n[5:]}")(nhs()),
        (lambda n: f"NHS number: {n[:3]} {n[3:]}")(nhs()),
        (lambda n: f"NHS number: {n[:3]}-{n[3:6]} {n[6:]}")(nhs()),
        (lambda n: f"NHS number: {n[:6]} {n[6:]}")(nhs()),
    ])
    positive("letter", [letter(nhs()) for _ in range(14)], subject="Referral")


def letter(n):
    who = titled()
    return R.choice([
        f"Dear colleague\n\nRe: {who}, {address()}\nDOB: {birth()}    NHS No: {any_shape(n)}\n\nThank you for seeing this pleasant patient with six weeks of "
        f"cough. Takes {R.choice(DRUGS)} and {R.choice(DRUGS)}. No allergies known. Chest clear.\n\nYours sincerely",
        f"Discharge medication\n\nPatient: {who}\nNHS number {any_shape(n)}\nConsultant: Dr {person()}\nStarted: {R.choice(DRUGS)}\nStopped: {R.choice(DRUGS)}\n"
        "Please reconcile within 72 hours (discharge medicines service).",
        f"Emergency supply\n\nWe gave {who} ({any_shape(n)}, born {birth()}) three days of {R.choice(DRUGS)} today. Please send a prescription.",
        f"{who} ({any_shape(n)}) came for a blood pressure check: 168/94, repeated 161/92. Patient asked to see you this week. Tel {drama_phone()}.",
        f"Repeat request\n  Patient      {who}\n  NHS No       {any_shape(n)}\n  Items        {R.choice(DRUGS)}, 56\n               {R.choice(DRUGS)}, 28\n  Collect at   {R.choice(PHARMACIES)}",
    ])


def other_registers():
    positive("chi", [
        f"CHI {chi()}", f"CHI number {chi()}", f"CHI no: {(lambda n: n[:6] + ' ' + n[6:])(chi())}", f"Patient CHI {chi()}, seen in Dumfries",
        f"{titled()}, CHI {chi()}, moves to your list", f"Community Health Index number {chi()}", f"the patient, {chi()}, is on {R.choice(DRUGS)}",
        (lambda n: f"{n[:6]} {n[6:]}, bag ready")(chi()), f"patient {spaced(chi())}", f"CHI: {chi()}\nTel {drama_phone()}",
    ], "chi-number")
    positive("hc", [
        f"H&C number {any_shape(hc())}", f"HCN {hc()}", f"Health care number: {any_shape(hc())}", f"H&C no. {spaced(hc())}, Belfast", f"patient {hc()} from Derry",
        f"H&C: {spaced(hc())}, {titled()}", f"{spaced(hc())} for collection", f"HCN: {hc()} DOB {birth(0)}",
    ], "hc-number")
    positive("synthetic", [
        f"NHS number {spaced(synthetic())} for the test of the new system", f"Test patient {synthetic()}", f"{spaced(synthetic())}", f"NHS no: {valid('943')}, not a real person",
        f"training patient: NHS number {spaced(valid('969'))}", f"NHS numbers {synthetic()}, {synthetic()}, {synthetic()} are in the sandbox",
    ], "synthetic")
    save("mixed-registers", "nhs-number,synthetic", "Two", plain(f"NHS number {spaced(nhs())} is real, NHS number {spaced(synthetic())} is not."))
    save("mixed-registers", "nhs-number,chi-number", "Two", plain(f"NHS number {spaced(nhs())} has moved; CHI {chi()} is the old one."))
    save("mixed-registers", "nhs-number,marking", "OFFICIAL-SENSITIVE: referral", plain(f"NHS number {spaced(nhs())}"))
    save("mixed-registers", "nhs-number,secure", "[secure] Referral", plain(f"NHS number {spaced(nhs())}"))
    save("mixed-registers", "nhs-number,near-miss", "secure: Referral", plain(f"NHS number {spaced(nhs())}"))
    save("mixed-registers", "nhs-number,near-miss", "(secure) Referral", plain(f"NHS number {nhs()}"))


def forms():
    """The same thing in every form that mail has."""
    n = nhs
    split = lambda x: f"<b>{x[:3]}</b> <span style='color:#000'>{x[3:5]}</span>{x[5]}<!-- x --> {x[6:8]}<i>{x[8:]}</i>"
    put = lambda rest, labels="nhs-number", subject="Query", extra="": save("form", labels, subject, rest, extra)
    put(html(f"<p>NHS number {split(n())}</p>"))
    put(html(f"<p>NHS n&#117;mber {''.join(f'&#{ord(c)};' for c in n())}</p>"))
    put(html(f"<p>NHS&nbsp;number {spaced(n(), '&nbsp;')}</p>"))
    put(html(f"<p>NHS number {spaced(n(), '&thinsp;')}</p>"))
    put(html(f"<p>NHS number {'&#x200b;'.join(n())}</p>"))
    put(html(f"<p>NHS number {(lambda x: x[:4] + '&shy;' + x[4:])(n())}</p>"))
    put(html(f"<div style='display:none'>NHS number {spaced(n())}</div><p>Good morning</p>"))
    put(html(f"<table><tr><th>Name</th><th>NHS number</th></tr><tr><td>{person()}</td><td>{n()}</td></tr></table>"))
    put(html(f"<table><tr><td>NHS number</td><td>{(lambda x: f'{x[:3]}</td><td>{x[3:6]}</td><td>{x[6:]}')(n())}</td></tr></table>"))
    put(html(f"<table><tr><td>Patient</td><td>{person()}</td></tr><tr><td>NHS no</td><td>{spaced(n())}</td></tr><tr><td>Tel</td><td>{drama_phone()}</td></tr></table>"))
    put(html(f"<p>Patient<br>{n()[:3]}" + f"</p><p>NHS no {n()}</p>"))
    put(html(f'<img alt="NHS number {spaced(n())}" src="cid:x">'))
    put(html(f'<p title="NHS number {spaced(n())}">Hover here</p>'))
    put(based(f"<p>NHS number <b>{spaced(n())}</b></p>", "utf-8", "text/html"))
    put(alternative(f"Patient {spaced(n())}"))
    x = n()
    put(f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nNHS number {x[:3]} {x[3:5]}=\n{x[5:6]} {x[6:]}\n")
    put(f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nNHS number {x[:3]}=C2=A0{x[3:6]}=C2=A0{x[6:]}\n")
    put(f"Content-Type: text/plain; charset=windows-1252\nContent-Transfer-Encoding: quoted-printable\n\nNHS number {x[:3]}=A0{x[3:6]}=A0{x[6:]}\n")
    put(f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n" + "NHS number " + "".join(f"={ord(c):02X}" for c in x) + "\n")
    put(based(f"NHS number {spaced(n())}"))
    put(based(f"NHS number {spaced(n())}", "utf-16"))
    put(based(f"NHS number {spaced(n())}", "utf-16be"))
    put(based(f"NHS number {spaced(n())} für Frau Ashgrove", "iso-8859-1"))
    wide = str.maketrans("0123456789", "０１２３４５６７８９")
    put(plain(f"NHS number {spaced(n()).translate(wide)}"))
    put(plain(f"ＮＨＳ number {n().translate(wide)}, patient waits"))
    arabic = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
    put(plain(f"NHS number {spaced(n()).translate(arabic)}"))
    for sep in ["\u2009", "\u202f", "\u2011", "\u2013", ".", "\t", "  ", "\n"]:
        put(plain(f"NHS number {spaced(n(), sep)}"))
    put(plain(f"> > Patient\n> > NHS number {x[:3]} {x[3:6]}\n> > {x[6:]}\n"))
    put(plain("Good morning"), subject=f"NHS {spaced(n())}")
    put(plain("Good morning"), subject=f"Patient {n()}")
    put(plain("Good morning"), subject="=?utf-8?Q?NHS_number_" + spaced(n(), "_") + "?=")
    put(plain("Good morning"), subject="=?utf-8?B?" + base64.b64encode(f"NHS number {n()}".encode()).decode() + "?=")
    x = n()
    put(plain("Good morning"), subject=f"=?utf-8?Q?NHS_{x[:5]}?=\n =?utf-8?Q?{x[5:]}?=")
    put(plain("Good morning"), extra=f"Keywords: NHS number {spaced(n())}\n")
    put(plain("Good morning"), extra=f"Comments: patient {spaced(n())}\n")
    put(with_file("Letter attached", f"NHS {n()} letter.bin", b"\0\1\2\3"))
    put(with_file("Letter attached", f"discharge_{spaced(n(), '_')}.bin", b"\0\1\2\3"), subject="Patient letter")
    put(with_file("Notes attached", "notes.txt", f"Patient notes\nNHS number {spaced(n())}\n".encode(), "text/plain"))
    put(with_file("Notes attached", "notes.txt", f"NHS number {n()}".encode("utf-16"), "text/plain"))
    put(with_file("Page attached", "page.html", f"<p>NHS number {split(n())}</p>".encode(), "text/html"))
    for head, cell in [("nhs_number,name", lambda: f"{n()},{person()}"), ("Name,DOB,NHS No", lambda: f"{person()},{birth(0)},{spaced(n())}"), ("Surname\tNHSNumber", lambda: f"{R.choice(SURNAMES)}\t{n()}"), ("patient_id,item", lambda: f"{n()},{R.choice(DRUGS)}"), ("NHS Number,Telephone", lambda: f"{n()},{drama_phone()}")]:
        rows = "\n".join(cell() for _ in range(R.randint(2, 12)))
        put(with_file("The list is attached.", "list.csv", f"{head}\n{rows}\n".encode(), "text/csv"))
    rows = "\n".join(f"{person()},{n()}" for _ in range(8))
    put(with_file("The list is attached.", "export.csv", rows.encode(), "text/csv"))
    inner = f"From: a@b.example\nSubject: fw\n\nNHS number {spaced(n())}\n"
    put(f'Content-Type: multipart/mixed; boundary="mix"\n\n--mix\n{plain("See below")}\n--mix\nContent-Type: message/rfc822\n\n{inner}\n--mix--\n')
    put(with_file("Saved mail attached", "mail.eml", inner.encode()))
    put(f'Content-Type: multipart/mixed; boundary="mix"\n\nNHS number {spaced(n())}\n--mix\n{plain("See above")}\n--mix--\n')
    put(plain(f"CHI {chi().translate(wide)}"), "chi-number")
    put(html(f"<p>CHI <b>{(lambda x: x[:6] + '</b><i>' + x[6:])(chi())}</i></p>"), "chi-number")
    put(html(f"<p>H&amp;C number {spaced(hc(), '&nbsp;')}</p>"), "hc-number")


def markings_and_tags():
    for subject in ["OFFICIAL-SENSITIVE: discharge", "OFFICIAL SENSITIVE - list", "official-sensitive", "Official - Sensitive: rota of the ward", "[OFFICIAL-SENSITIVE] list", "[OFFICIAL-SENSITIVE: PERSONAL] list", "RE: OFFICIAL-SENSITIVE list", "FW: [O-S] list", "[RESTRICTED] list", "[PROTECT] list", "OFFICIAL:SENSITIVE list", "List (OFFICIAL SENSITIVE)", "OFFICIALSENSITIVE list"]:
        save("marking", "marking", subject, any_form(f"Please see below.\n\n{signature()}"))
    for text in ["OFFICIAL-SENSITIVE\n\nDear all", "Official Sensitive: Personal\n\nHello", "*** OFFICIAL-SENSITIVE ***\nHello", "Classification: OFFICIAL-SENSITIVE\nHello", "[O-S]\nHello", "Hello\n\n[OFFICIAL-SENSITIVE]\n"]:
        save("marking", "marking", "List", any_form(text))
    label = "MSIP_Label_1b4e28ba-2fa1-11d2-883f-0016d3cca427_"
    for extra in ["Sensitivity: Company-Confidential\n", "X-Protective-Marking: VER=2024.1, NS=gov.au, SEC=OFFICIAL:Sensitive\n", "X-Protective-Marking: OFFICIAL-SENSITIVE\n", f"msip_labels: {label}Enabled=true;\n {label}Name=Official Sensitive Personal; {label}ContentBits=0\n"]:
        save("marking", "marking", "List", plain("Please see the list."), extra)
    for extra in ["Sensitivity: Personal\n", "X-Protective-Marking: VER=2024.1, NS=gov.au, SEC=OFFICIAL\n", f"msip_labels: {label}Enabled=true; {label}Name=General\n"]:
        save("about-marking", "none", "List", plain("Please see the list."), extra)
    for subject in ["[secure] Results", "[SECURE] results", "Results [Secure]", "Re: [secure] results", "[encrypt] results", "=?utf-8?Q?=5Bsecure=5D_results?=", "Fwd: RE: [secure]", "[External] [secure] results"]:
        save("secure", "secure", subject, any_form(f"The letter is attached.\n\n{signature()}"))
    for subject in ["secure: results", "Secure - results", "SECURE", "[secre] results", "[secrue] results", "[secured] results", "[ secure ] results", "(secure) results", "( secure ) results", "{secure} results", "[secure results", "secure] results", "Re: secure: results", "[sesure] results", "<secure> results", "[encrypted] results", "[encypt] results", "Encrypt: results", "=?utf-8?Q?=5Bs=D0=B5cure=5D_results?=", "[[secure results"]:
        save("near-miss", "near-miss", subject, any_form(f"The letter is attached.\n\n{signature()}"))


def main():
    shutil.rmtree(MADE, ignore_errors=True)
    MADE.mkdir()
    for make in [telephones, books, orders, machines, tables, other_numbers, about_secure, labelled_numbers, other_registers, forms, markings_and_tags]:
        make()
    lines = "".join("\t".join(row) + "\n" for row in LABELS)
    (MADE / "labels.tsv").write_text("file\tis\tgroup\n" + lines)
    print(len(LABELS), "messages,", sum(labels == "none" for _, labels, _ in LABELS), "with nothing in them")


main()
