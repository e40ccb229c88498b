"""Reports of a running gateway, clause by clause, as Python's email package reads them.

Arguments: the gateway's relay port, the ports of two next hops to play (without DSN, with DSN), the Maildirs.
Sends messages that fail, are late, expire or arrive, waits for the reports, and prints what is wrong.
"""

import email.policy
import email.utils
import pathlib
import re
import socketserver
import sys
import threading
import time
from smtplib import SMTP

RELAY, PLAIN, DSN, MAILDIRS = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4])
ANSWERS = {
    "no": "550-5.1.1 nobody here\r\n550 5.1.1 of that name",
    "rude": "554 5.7.1 caf\xe9 \x1b[31m \x07Action: delivered",
    "bare": "550 no code of the new kind",
    "late": "451 4.2.1 mailbox busy",
    "s\u00f8ren": "550 5.1.1 nobody",
}
HEADER = "From: <s@elsewhere.example>\r\nSubject: opening hours\r\nMessage-ID: <one@elsewhere.example>\r\n"
ASCII = (HEADER + "\r\n.first\r\nWe open at nine.\r\n").encode()
EIGHT = (HEADER + "\r\nWe open the caf\u00e9 at nine.\r\n").encode()
UTF8 = HEADER.replace("opening", "\u00f8pening").encode() + b"\r\nWe open at nine.\r\n"
SENT, FAULTS = [], []


class NextHop(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode("latin-1" if "\xe9" in text else "utf-8") + b"\r\n")

    def handle(self):
        self.say("220 mx.ward.example")
        while line := self.rfile.readline():
            text = line.decode().strip()
            verb = text[:4].upper()
            if verb == "EHLO":
                dsn = "250-DSN\r\n" if self.server.server_address[1] == DSN else ""
                self.say(f"250-mx.ward.example\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n{dsn}250 ENHANCEDSTATUSCODES")
            elif verb == "DATA":
                self.say("354 go")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                self.say("250 2.0.0 taken")
            elif verb == "RCPT":
                SENT.append(text)
                local = re.search("<(.*?)[.@]", text)[1]
                self.say(ANSWERS.get(local, "250 2.1.5 fine"))
            else:
                if verb == "MAIL":
                    SENT.append(text)
                self.say("221 bye" if verb == "QUIT" else "250 2.0.0 fine")
                if verb == "QUIT":
                    return


def submit(message, mail, *recipients):
    """Each is what stands after MAIL FROM: and RCPT TO:."""
    with SMTP("127.0.0.1", RELAY, local_hostname="client.example") as smtp:
        smtp.command_encoding = "utf-8"
        smtp.ehlo()
        for command in (f"MAIL FROM:{mail}", *(f"RCPT TO:{one}" for one in recipients)):
            code, text = smtp.docmd(command)
            assert code == 250, (command, text)
        code, text = smtp.data(message)
        assert code == 250, text


def mail_for(address):
    local, domain = address.rsplit("@", 1)
    return [one.read_bytes() for one in sorted((MAILDIRS / domain / local / "new").glob("*"))]


def wait_for_reports(address, count):
    end = time.monotonic() + 40
    while len(found := mail_for(address)) < count and time.monotonic() < end:
        time.sleep(0.05)
    check(len(found) == count, f"{address}: {len(found)} reports, not {count}")
    return [Report(address, one) for one in found]


def check(so, fault):
    if not so:
        FAULTS.append(fault)


def fields(part):
    return {name.lower(): " ".join(value.split()) for name, value in part.items()}


class Report:
    """A report; to read it is to hold it against the clauses that are true of every report."""

    def __init__(self, to, octets):
        self.name = to
        check(octets.isascii() and all(len(line) <= 998 for line in octets.split(b"\r\n")), f"{to}: not 7 bit (RFC 3464 2.1)")
        self.mail = mail = email.message_from_bytes(octets, policy=email.policy.compat32)
        for part in mail.walk():
            check(not part.defects, f"{to}: {part.defects}")
            check(part.get("Content-Transfer-Encoding", "7bit") == "7bit", f"{to}: encoded (RFC 6522 3)")
        self.is_so(mail.get_content_type() == "multipart/report", "type (RFC 6522 3)")
        self.is_so(mail.get_param("report-type") == "delivery-status", "report-type (RFC 6522 3, RFC 3464 2)")
        self.is_so(mail["MIME-Version"] == "1.0", "MIME-Version (RFC 2045 4)")
        self.is_so(mail["Return-Path"] == "<>", "null reverse path (RFC 3464 2, RFC 5321 6.1)")
        self.is_so(mail["Auto-Submitted"] == "auto-replied", "Auto-Submitted (RFC 3834 5)")
        for name in ("From", "To", "Subject", "Date", "Message-ID"):
            self.is_so(len(mail.get_all(name, [])) == 1, f"{name} once (RFC 5322 3.6)")
        parts = mail.get_payload()
        kinds = [part.get_content_type() for part in parts]
        self.is_so(kinds[:2] == ["text/plain", "message/delivery-status"] and len(kinds) <= 3, f"parts {kinds} (RFC 6522 3)")
        self.words = parts[0].get_payload()
        self.returned = kinds[2] if len(kinds) == 3 else None
        self.original = parts[2].as_bytes().split(b"\n\n", 1)[1] if self.returned else b""
        top, *each = parts[1].get_payload()
        self.top, self.each = fields(top), [fields(one) for one in each]
        self.is_so(len(each) >= 1, "a group for a recipient (RFC 3464 2.3)")
        for group in (top, *each):
            self.is_so(len(group.keys()) == len(fields(group)), "no field twice (RFC 3464 2.1)")
        self.judge_message()
        for group in self.each:
            self.judge_recipient(group)

    def is_so(self, so, what):
        check(so, f"{self.name}: {what}")

    def judge_message(self):
        self.is_so(re.fullmatch(r"dns; [a-z.]+", self.top.get("reporting-mta", "")), "Reporting-MTA (RFC 3464 2.2.2)")
        self.is_so(email.utils.parsedate_to_datetime(self.top["arrival-date"]), "Arrival-Date (RFC 3464 2.2.5)")
        known = {"reporting-mta", "original-envelope-id", "arrival-date"}
        self.is_so(set(self.top) <= known, f"fields {set(self.top) - known}")

    def judge_recipient(self, one):
        for name in ("final-recipient", "action", "status"):
            self.is_so(name in one, f"{name} (RFC 3464 2.3)")
        self.is_so(re.fullmatch(r"(rfc822|utf-8); \S+@\S+", one["final-recipient"]), "Final-Recipient (RFC 3464 2.3.2)")
        classes = {"failed": "45", "delayed": "4", "delivered": "2", "relayed": "2"}
        status = re.fullmatch(r"([245])\.\d{1,3}\.\d{1,3}", one["status"])
        self.is_so(status and status[1] in classes[one["action"]], f"Status {one['status']} (RFC 3464 2.3.4)")
        if "remote-mta" in one:
            self.is_so(re.fullmatch(r"dns; \S+", one["remote-mta"]), "Remote-MTA (RFC 3464 2.3.5)")
        if one["action"] in ("failed", "delayed"):
            self.is_so(re.match(r"(smtp; [45]\d\d|x-[a-z]+; \S)", one.get("diagnostic-code", "")), "Diagnostic-Code (RFC 3464 2.3.6)")
        self.is_so(email.utils.parsedate_to_datetime(one["last-attempt-date"]), "Last-Attempt-Date (RFC 3464 2.3.7)")
        late = one["action"] == "delayed"
        self.is_so(late == ("will-retry-until" in one), "Will-Retry-Until for delays alone (RFC 3464 2.3.9)")

    def recipients(self):
        return {one["final-recipient"].split("; ")[1]: one for one in self.each}

    def has(self, recipient, **expected):
        one = self.recipients().get(recipient, {})
        for name, value in expected.items():
            name = name.replace("_", "-")
            self.is_so(one.get(name) == value, f"{recipient}: {name} is {one.get(name)!r}, not {value!r}")


def failures():
    submit(ASCII, "<full@elsewhere.example> RET=FULL ENVID=QQ+2B1+3D",
           "<no.1@plain.example> ORCPT=rfc822;First+2BLast+3D@ward.example", "<fine@plain.example>",
           "<no.2@plain.example> NOTIFY=NEVER", "<rude@plain.example>", "<bare@plain.example> NOTIFY=FAILURE,DELAY")
    [report] = wait_for_reports("full@elsewhere.example", 1)
    report.is_so(report.top.get("original-envelope-id") == "QQ+1=", "ENVID without xtext (RFC 3464 2.2.1)")
    report.is_so(set(report.recipients()) == {f"{one}@plain.example" for one in ("no.1", "rude", "bare")}, "one group for each that is told (RFC 3461 6.2)")
    report.has("no.1@plain.example", original_recipient="rfc822; First+Last=@ward.example", action="failed", status="5.1.1",
               remote_mta="dns; [127.0.0.1]", diagnostic_code="smtp; 550 5.1.1 nobody here of that name")
    report.has("rude@plain.example", original_recipient=None, action="failed", status="5.7.1")
    report.has("bare@plain.example", action="failed", status="5.0.0", diagnostic_code="smtp; 550 no code of the new kind")
    report.is_so(report.returned == "message/rfc822" and report.original.endswith(ASCII.replace(b"\r\n", b"\n")), "RET=FULL (RFC 3461 4.3)")
    for name, message, ret in (("hdrs", ASCII, " RET=HDRS"), ("unsaid", ASCII, ""), ("eight", EIGHT, " RET=FULL BODY=8BITMIME")):
        submit(message, f"<{name}@elsewhere.example>{ret}", "<no@plain.example>")
        [report] = wait_for_reports(f"{name}@elsewhere.example", 1)
        report.is_so("original-envelope-id" not in report.top, "no ENVID where none was (RFC 3464 2.2.1)")
        report.is_so(report.returned == "text/rfc822-headers", "the header (RFC 3461 4.3)")
        report.is_so(b"Subject: opening hours" in report.original and b"nine" not in report.original, "the header alone (RFC 6522 4)")
    submit(UTF8, "<utf8@elsewhere.example> BODY=8BITMIME SMTPUTF8 RET=FULL", "<s\u00f8ren@plain.example>")
    [report] = wait_for_reports("utf8@elsewhere.example", 1)
    report.is_so(report.each[0]["final-recipient"] == r"utf-8; s\x{F8}ren@plain.example", "an address that is not ASCII (RFC 6533 3)")


def nobody_is_told():
    submit(ASCII, "<>", "<no.null@plain.example>")
    submit(ASCII, "<quiet@elsewhere.example>", "<no@plain.example> NOTIFY=NEVER", "<no.3@plain.example> NOTIFY=SUCCESS",
           "<late.1@slow.example> NOTIFY=FAILURE", "<fine@dsn.example> NOTIFY=SUCCESS", "<fine@plain.example>")


def delays():
    submit(ASCII, "<waits@elsewhere.example> RET=FULL ENVID=w1", "<late.2@slow.example> NOTIFY=DELAY", "<late.3@slow.example>",
           "<late.4@slow.example> NOTIFY=FAILURE")
    [report] = wait_for_reports("waits@elsewhere.example", 1)
    report.is_so(set(report.recipients()) == {"late.2@slow.example", "late.3@slow.example"}, "who hears of a delay (RFC 3461 4.1)")
    report.has("late.3@slow.example", action="delayed", status="4.2.1", diagnostic_code="smtp; 451 4.2.1 mailbox busy")
    report.is_so(report.returned == "text/rfc822-headers", "RET is about failures (RFC 3461 4.3)")
    submit(ASCII, "<ends@elsewhere.example> RET=FULL", "<late@brief.example> NOTIFY=FAILURE")
    [report] = wait_for_reports("ends@elsewhere.example", 1)
    report.has("late@brief.example", action="failed", status="4.2.1", diagnostic_code="smtp; 451 4.2.1 mailbox busy")
    report.is_so(report.returned == "message/rfc822", "RET=FULL (RFC 3461 4.3)")


def successes():
    orcpt = "ORCPT=rfc822;a+2Bb@ward.example"
    submit(ASCII, "<glad@elsewhere.example> RET=FULL ENVID=g+2B1", f"<fine.1@plain.example> NOTIFY=SUCCESS {orcpt}",
           "<fine.2@plain.example>", f"<fine.3@dsn.example> NOTIFY=SUCCESS,FAILURE {orcpt}", "<box@elsewhere.example> NOTIFY=SUCCESS")
    reports = wait_for_reports("glad@elsewhere.example", 2)
    told = {address: one for report in reports for address, one in report.recipients().items()}
    check({address: one["action"] for address, one in told.items()}
          == {"fine.1@plain.example": "relayed", "box@elsewhere.example": "delivered"}, f"who hears of success (RFC 3461 5.2): {told}")
    check(told["fine.1@plain.example"].get("original-recipient") == "rfc822; a+b@ward.example", "Original-Recipient of a success")
    for report in reports:
        report.is_so(report.top["original-envelope-id"] == "g+1", "ENVID (RFC 3464 2.2.1)")
        report.is_so(report.returned == "text/rfc822-headers", "the header alone (RFC 3461 4.3)")
    end = time.monotonic() + 40
    while not any("fine.3@" in line for line in SENT) and time.monotonic() < end:
        time.sleep(0.05)
    passed = [line for line in SENT if "fine.3@" in line] + [line for line in SENT if "MAIL" in line and "ENVID=g+2B1" in line]
    check(len(passed) == 2 and "NOTIFY=SUCCESS,FAILURE" in passed[0] and orcpt in passed[0] and "RET=FULL" in passed[1],
          f"passed on as it came (RFC 3461 5.2.1): {passed}")


def main():
    for port in (PLAIN, DSN):
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        server = socketserver.ThreadingTCPServer(("127.0.0.1", port), NextHop)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    nobody_is_told()
    failures()
    delays()
    successes()
    senders = (MAILDIRS / "elsewhere.example").glob("*/new")
    counts = {folder.parent.name: len(list(folder.glob("*"))) for folder in senders}
    once = {"full", "hdrs", "unsaid", "eight", "utf8", "waits", "ends", "box"}
    check(counts == {"glad": 2} | dict.fromkeys(once, 1), f"each event told once, nobody else told (RFC 3461 4.1): {counts}")
    check(sum("no.null@" in line for line in SENT) == 1, "mail under the null path is tried")
    for fault in FAULTS:
        print(fault)
    print("judged")


main()
