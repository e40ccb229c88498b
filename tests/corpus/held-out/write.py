#!/usr/bin/env python3
"""Writes the sixty messages beside it. They were written before the detector was run on them, and no weight or word was chosen
by them: what it says of them is what it says of mail that nobody tuned it for. Once one is used to tune, the
figures here are no estimate any more: write others. Names are invented, numbers drawn at random.

{n} is an NHS number as printed, {u} in one, {c} a CHI number, {h} an H&C number, {x} ten digits in one that pass the check
and lie in a range that is given out but are something else, {w} ten digits that do not pass.
"""
import pathlib
import random
import re
from email.message import EmailMessage

R = random.Random(77001)
HERE = pathlib.Path(__file__).parent


def valid(prefix):
    while True:
        nine = prefix + "".join(R.choice("0123456789") for _ in range(9 - len(prefix)))
        digit = 11 - sum(int(d) * w for d, w in zip(nine, range(10, 1, -1))) % 11
        if digit != 10 and len(set(nine)) > 3:
            return nine + str(digit % 11)


def spaced(n):
    return f"{n[:3]} {n[3:6]} {n[6:]}"


MAKERS = {
    "n": lambda: spaced(valid(R.choice("4467"))),
    "u": lambda: valid(R.choice("4467")),
    "x": lambda: valid(R.choice("467")),
    "c": lambda: valid(f"{R.randint(1, 28):02}{R.randint(1, 12):02}{R.randint(31, 99)}"),
    "h": lambda: valid(R.choice(["32", "34", "36", "38"])),
    "w": lambda: "".join(R.choice("4679") if not i else R.choice("0123456789") for i in range(9)) + "X",
}


def wrong():
    n = valid(R.choice("467"))
    return n[:9] + str((int(n[9]) + R.randint(1, 9)) % 10)


MAKERS["w"] = wrong


def fill(text):
    return re.sub(r"\{([nuxchw])\}", lambda m: MAKERS[m.group(1)](), text)


#  name, labels, subject, text, and more: html, (file name, type, text)
MAIL = [
    # --- patient data ---
    ("ambulance-handover", "nhs-number", "Handover bay 4", "Crew 2231 to ED.\n62F, #NOF, given 10mg morphine IV at 0315. Obs stable.\nNHS {n}\nNOK aware. PRF to follow.\n"),
    ("blood-forms", "nhs-number", "haemolysed sample", "Hi both,\n\nthe K+ on {u} (Mr Okonjo, bay C) came back haemolysed, can someone repeat before the ward round please\n\nThanks\nPriya\n"),
    ("clinic-list", "nhs-number", "Tuesday clinic", "0900  Whitlock, Jean   12/02/1948  {n}\n0915  Bhatt, Kiran     30/11/1961  {n}\n0930  Osei, Grace      05/06/1975  {n}\n"),
    ("discharge-to-gp", "nhs-number", "Discharge summary", "Dear Dr Fallon\n\nRE: Alan PRITCHARD, d.o.b. 17.09.1939, 4 Quarry Row, Leeds LS99 1AA\nNHS Number: {u}\n\nAdmitted with CAP, treated with amoxicillin, discharged on day 3.\n"),
    ("pharmacy-owing", "nhs-number", "Owing - dosette", "Hi, we still owe 14 apixaban 5mg for the dosette pt below, can you send a new script to Bumbleton please.\n{n} - M. Tierney\n"),
    ("subject-only", "nhs-number", "Query re NHS {n}", "Hi,\n\nCould you ring me about this lady's eye drops when you have a minute?\n\nSam\nDispensary, ext 2204\n"),
    ("eps-not-pulled", "nhs-number", "EPS script not showing", "Good morning\n\nScript for the patient with nhs no {u} is not pulling down from the spine, barcode on the token will not scan either.\nPlease could you cancel and resend?\n"),
    ("care-home-flu", "nhs-number", "flu vacs", "Residents for Thursday:\n- Rm 3 Edna {u}\n- Rm 7 Wilf {u}\n- Rm 9 Joan {u}\n- Rm 12 Betty {u}\n- Rm 14 Stan {u}\n- Rm 15 Mavis {u}\n"),
    ("csv-caseload", "nhs-number", "caseload export", "Attached as discussed.\n", ("caseload.csv", "text/csv", "surname,forename,NHSNumber,dob\nKay,Ian,{u},03/04/1950\nLund,Eva,{u},11/12/1988\n")),
    ("csv-no-heading", "nhs-number", "recalls", "List attached, no header row sorry.\n", ("recall.csv", "text/csv", "KAY,IAN,{u},03/04/1950,M\nLUND,EVA,{u},11/12/1968,F\nROSS,TIM,{u},01/02/1944,M\n")),
    ("html-table", "nhs-number", "Reviews due", "", "<p>Reviews due this week</p><table><tr><th>Patient</th><th>NHS&nbsp;No</th></tr><tr><td>J. Marsh</td><td><span>{n}</span></td></tr></table>"),
    ("html-split", "nhs-number", "one more", "", "<div>NHS number <b>{n3a}</b>&thinsp;<i>{n3b}</i>&thinsp;<u>{n3c}</u> &ndash; he needs the larger print label.</div>"),
    ("filename", "nhs-number", "scan", "Scan attached.\n", ("NHS {u} consent.txt", "text/plain", "see paper copy\n")),
    ("forwarded", "nhs-number", "FW: Re: meds rec", "Can you action?\n\n-----Original Message-----\nFrom: Ward 9\nSent: 12 November 2026 10:14\nTo: Pharmacy\nSubject: Re: meds rec\n\n> > NHS No.: {n}\n> > Allergies: penicillin (rash)\n> ok, doing it now\n"),
    ("scottish-transfer", "chi-number", "Transfer from Perth", "CHI: {c}\n78 yo gentleman moving down to his daughter's, on warfarin, INR diary attached.\n"),
    ("scottish-grouped", "chi-number", "Repeat request", "Please could this patient ({c6} {c4}) have the usual inhalers sent to the Dunkeld branch.\n"),
    ("belfast", "hc-number", "Cross-border dispensing", "H&C Number {h}\nPatient visiting from Belfast until the 20th, please see the hospital letter for the dose.\n"),
    ("belfast-hcn", "hc-number", "dialysis slot", "HCN: {h}  needs a holiday slot w/c 7 Dec, Hep B status neg.\n"),
    ("mental-health", "nhs-number", "Risk info - please read", "Client known to CMHT. S117. NHS: {n}. Do not visit alone.\n"),
    ("maternity", "nhs-number", "anti D", "Both numbers as asked - mother {n}, baby {n}. Anti D due 28/40.\n"),
    ("optician", "nhs-number", "GOS18 referral", "Px: D Amos, DOB 21/08/1955\nNHS#{u}\nIOP R 26 L 24, please see soon\n"),
    ("social-care", "nhs-number", "Package restart", "Service user: Mrs Hilary Dent\nNHS no - {u}\nRestart QDS from Friday.\n"),
    ("covid-style", "nhs-number", "results line", "Result for {u}, patient: NEGATIVE. Please inform.\n"),
    ("dental", "nhs-number", "2ww referral", "Suspicious ulcer L lateral border of tongue. Patient ID {u}. Smoker. Please see within two weeks.\n"),
    ("podiatry", "nhs-number", "nail surgery list 3/12", "AM: {n}; {n}; {n}\nPM: {n}; {n}\n"),
    ("dashes", "nhs-number", "insulin pen", "Re patient {n-}: pen needles changed to 4mm.\n"),
    ("official", "marking", "OFFICIAL - SENSITIVE: safeguarding strategy meeting", "Meeting moved to 14:00, room B. Papers will follow by post.\n"),
    ("official-body", "marking", "Strategy meeting", "[OFFICIAL-SENSITIVE]\n\nThe meeting is now at two o'clock.\n"),
    ("test-data", "synthetic", "UAT script 14", "Use test patient 999 000 0018 (NHS number) for step 3 and check the PDS trace.\n"),
    ("dictated", "nhs-number", "letter for typing", "Dictated 11.11.26\n\nThank you for referring this pleasant retired postman (NHS No {u}). His knee continues to give way.\n"),
    # --- none, and looking like it ---
    ("stock-order", "none", "PO confirmation", "Your PO {x} for 40 x paracetamol 500mg x 100 has been accepted. Delivery Wednesday.\n"),
    ("wholesaler-invoice", "none", "Invoice {x}", "Dear customer,\nplease find attached invoice {x} dated 14/11/2026 for account 60114.\nTotal due GBP 418.20.\n"),
    ("courier", "none", "Your parcel is on its way", "Consignment {x} will be with you between 10:12 and 11:12 tomorrow.\nTrack it with your driver's app.\n"),
    ("mobile-list", "none", "staff mobiles", "Kim    7700 900 {p3}\nRavi   7700 900 {p3}\nOla    7700 900 {p3}\nPlease keep this updated.\n"),
    ("phone-us", "none", "Vendor contact", "Our US support desk is on {x3} any time, or open a case on the portal.\nRegards\nCorey\n"),
    ("it-log", "none", "[MONITOR] disk alert", "host=px03 svc=backup evt={x} lvl=warn msg=\"volume 91% full\"\nhost=px03 svc=backup evt={w} lvl=warn msg=\"volume 92% full\"\nhost=px04 svc=backup evt={w} lvl=info msg=\"ok\"\n"),
    ("helpdesk-ticket", "none", "INC{x} resolved", "Hello,\nyour ticket INC{x} about the label printer has been resolved. If you disagree reply within 5 days.\nNHSmail helpdesk\n"),
    ("teams-invite", "none", "Pharmacy leads call", "Microsoft Teams meeting\nMeeting ID: {xs}\nPasscode: h7Gk2\nDial in by phone +44 20 7946 0{p3}, conference {x}#\n"),
    ("isbn", "none", "book club", "Next month: the new BNF for pharmacy technicians, ISBN {x}. Second hand copies are fine.\n"),
    ("bank", "none", "Change of bank details", "Please pay to sort code 20-00-00 account 55779911, ref {x}. The patient transport invoice is unaffected.\n"),
    ("rota", "none", "Rota wk 47", "Mon  0830-1700  Ali (assignment no {x})\nTue  0830-1700  Beth (assignment no {x})\nAny swaps to me by Friday please.\n"),
    ("survey", "none", "How did we do?", "Thank you for visiting Bumbleton Pharmacy. Your survey code is {x}. One patient in ten wins a voucher.\n"),
    ("pin-codes", "none", "Alarm maintenance", "Engineer reference {x}, visit booked 3 December. Panel serial 88-{x}-B.\n"),
    ("price-list", "none", "Drug Tariff changes", "Cat M changes from December. PIP {p3}-4477, EAN 50{x}1, pack 28.\nAtorvastatin 20mg 0.92, 40mg 1.08.\n"),
    ("unsubscribe-url", "none", "CPD newsletter", "Read online: https://cpd.example/n/{x}?u={x}\nPatients and their carers: new e-learning.\nUnsubscribe https://cpd.example/u/{x}\n"),
    ("wrong-digit", "none", "cannot find on PDS", "NHS number {w} does not exist according to PDS, please check your end.\n"),
    ("licence", "none", "Software renewal", "Licence {x} (12 seats) expires 31/12/2026. Contact renewals quoting {x}.\n"),
    ("grant", "none", "Application received", "We have received your application {x} for the Pharmacy Integration Fund. Patient benefit section scored highly.\n"),
    ("parking", "none", "PCN appeal", "Penalty charge notice {x} issued at St Jude's Hospital car park, patient drop-off bay. Appeal rejected.\n"),
    ("training-dates", "none", "Secure email training", "Secure email: how to use it. Session 2, Thursday. Booking code {x}.\n"),
    ("gphc", "none", "registration renewal", "GPhC registration 20{p3}45. Payment {x} received with thanks.\n"),
    ("energy", "none", "Meter reading due", "Your MPRN is {x}. Please submit your gas meter reading by 1 December.\n"),
    ("dates", "none", "opening hours", "Christmas opening 24 12 2026 0900 1300, 27 12 2026 1000 1600, 01 01 2027 closed.\n"),
    ("figures", "none", "items dispensed", "Month   Items   NIC      Fees\nAug     6412    712 418  9921\nSep     6533    733 902  9984\nOct     6790    741 118  1044\n"),
    ("fax-cover", "none", "fax is being turned off", "From Monday our fax {x} is no longer in use. Please send prescriptions by EPS only. Patients are not affected.\n"),
    ("charity", "none", "Donation receipt", "Gift aid reference {x}. Thank you for supporting the hospice and its patients.\n"),
    ("phishing-report", "none", "Suspicious mail", "User reported mail from +{x} offering \"secure: your document\". Please block the sender.\n"),
    ("order-several", "none", "back orders", "Outstanding order numbers: {x}, {w}, {w}, {x}, {w}, {w}, {w}, {w}. ETA next week.\n"),
    ("csv-stock", "none", "stock count", "Count attached.\n", ("stock.csv", "text/csv", "sku,description,qty\n{x},Paracetamol,40\n{w},Ibuprofen,12\n{w},Senna,9\n{w},Aspirin,30\n")),
    ("signature", "none", "Lunch?", "12:30 in the canteen?\n\nJo\nNHS Bumbleton ICB | t {x} | m 07700 900{p3}\nThis email may contain confidential information about patients.\n"),
]


def expanded(text):
    """The rarer placeholders: parts of one number, and other digits."""
    n, c, x = valid("4"), MAKERS["c"](), MAKERS["x"]()
    for key, value in {
        "n3a": n[:3], "n3b": n[3:6], "n3c": n[6:], "c6": c[:6], "c4": c[6:],
        "n-": f"{n[:3]}-{n[3:6]}-{n[6:]}", "x3": f"{x[:3]}-{x[3:6]}-{x[6:]}", "xs": spaced(x),
    }.items():
        text = text.replace("{" + key + "}", value)
    while "{p3}" in text:
        text = text.replace("{p3}", f"{R.randint(100, 999)}", 1)
    return fill(text)


lines = ["file\tis\tgroup"]
for name, labels, subject, text, *more in MAIL:
    mail = EmailMessage()
    mail["From"] = "pharmacy.fa001@nhs.net"
    mail["To"] = "someone@example.com"
    mail["Subject"] = expanded(subject)
    mail["Message-ID"] = f"<{name}@bumbleton.example>"
    if text:
        mail.set_content(expanded(text))
    for one in more:
        if isinstance(one, str):
            mail.set_content(expanded(one), subtype="html")
        else:
            file, kind, content = one
            major, minor = kind.split("/")
            mail.add_attachment(expanded(content).encode(), major, minor, filename=expanded(file))
    octets = mail.as_bytes()
    if mail.is_multipart():
        octets = octets.replace(mail.get_boundary().encode(), b"=_" + name.encode())
    (HERE / f"{name}.eml").write_bytes(octets)
    lines.append(f"{name}.eml\t{labels}\t{'patient' if labels != 'none' else 'look-alike'}")
(HERE / "labels.tsv").write_text("\n".join(lines) + "\n")
