"""SMTP servers on OpenSSL (Python's ssl) that do well, or break in one way. python3 tests/openssl_next_hop.py FOLDER

FOLDER/hops.json says which: [{"name", "address", "port", "does", "pem"}]; `pem` has the key and the chain, in the order
in which it is shown. What was taken goes to FOLDER/taken.jsonl, what happened to FOLDER/said.txt. Says "up" when all
listen, and ends with its standard input.
"""
import json
import os
import socket
import ssl
import sys
import threading
import time

FOLDER = sys.argv[1]
LOCK = threading.Lock()
# Contexts that serve all connections of a next hop.
SHARED = {}


def note(file, line):
    with LOCK, open(os.path.join(FOLDER, file), "a") as out:
        out.write(line + "\n")


def context(hop):
    if hop["does"] == "changes its certificate":
        return SHARED.setdefault(hop["name"], made_for(hop))
    return made_for(hop)


def made_for(hop):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if hop["does"] in ("tls 1.1", "weak cipher", "weak key"):
        made.set_ciphers("ALL:@SECLEVEL=0")
    made.load_cert_chain(os.path.join(FOLDER, hop["pem"]))
    if hop["does"] == "tls 1.1":
        made.minimum_version, made.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    if hop["does"] == "changes its certificate":
        # Sessions are resumed by ticket (RFC 5077), also after the change: one key for tickets, as many servers have.
        made.maximum_version = ssl.TLSVersion.TLSv1_2
    if hop["does"] == "weak cipher":
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0")
    return made


def endless(connection, octets):
    """Until the other side has had enough."""
    while True:
        connection.sendall(octets)


def wait_for_the_end(connection):
    """Takes what comes, and says nothing."""
    while connection.recv(4096):
        pass


class Talk:
    def __init__(self, hop, connection):
        self.hop, self.does = hop, hop["does"]
        self.use(connection)
        self.tls = None

    def use(self, connection):
        self.connection, self.lines = connection, connection.makefile("rb")

    def say(self, *lines):
        self.connection.sendall("".join(line + "\r\n" for line in lines).encode())

    def serve(self):
        if self.does == "never answers":
            return wait_for_the_end(self.connection)
        if self.does == "an octet a second":
            for octet in b"220 a greeting that takes two minutes" * 4:
                self.connection.sendall(bytes([octet]))
                time.sleep(1)
            return None
        if self.does == "a line without an end":
            return endless(self.connection, b"220 " + b"a" * 4096)
        if self.does == "lines without an end":
            return endless(self.connection, b"220-" + b"a" * 60 + b"\r\n")
        self.say("220 mx ESMTP")
        to = []
        while line := self.lines.readline(4096):
            verb = line.split()[0].upper().decode("latin-1") if line.split() else ""
            if verb == "EHLO":
                offers = [] if self.tls else ["STARTTLS"]
                offers += ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"]
                if self.does == "250 without an end to EHLO":
                    endless(self.connection, b"250-X-" + b"a" * 60 + b"\r\n")
                self.say(*[f"250-{offer}" for offer in ["mx"] + offers[:-1]], f"250 {offers[-1]}")
            elif verb == "STARTTLS":
                if not self.start_tls():
                    return None
            elif verb == "MAIL":
                to = []
                self.say("250 2.1.0 ok")
            elif verb == "RCPT":
                to.append(line.split(b"<")[1].split(b">")[0].decode())
                self.say("250 2.1.5 ok")
            elif verb == "DATA":
                self.say("354 go")
                self.data(to)
                if self.does == "changes its certificate":
                    context(self.hop).load_cert_chain(os.path.join(FOLDER, self.hop["next"]))
                    return None
            elif verb == "QUIT":
                self.say("221 2.0.0 bye")
                return None
            else:
                self.say("250 2.0.0 ok")

    def start_tls(self):
        if self.does == "454 to STARTTLS":
            self.say("454 4.7.0 TLS not available")
            return True
        if self.does == "words after the go-ahead":
            # CVE-2011-0411, the other way round: said in clear, to be taken for something said under TLS.
            self.say("220 go", "250-mx", "250-AUTH PLAIN", "250 REQUIRETLS")
        else:
            self.say("220 go")
        if self.does == "closes in the handshake":
            self.connection.recv(4096)
            return False
        if self.does == "silent in the handshake":
            wait_for_the_end(self.connection)
            return False
        self.use(context(self.hop).wrap_socket(self.connection, server_side=True))
        self.tls = self.connection.version()
        return True

    def data(self, to):
        octets = b""
        while not octets.endswith(b"\r\n.\r\n"):
            line = self.lines.readline()
            if not line:
                return
            octets += line
        reused = bool(self.tls and self.connection.session_reused)
        taken = {"name": self.hop["name"], "to": to, "tls": self.tls, "octets": len(octets), "reused": reused}
        note("taken.jsonl", json.dumps(taken))
        if self.does == "silent after the data":
            wait_for_the_end(self.connection)
        else:
            self.say("250 2.0.0 taken")


def talk(hop, connection):
    note("said.txt", f"{hop['name']}: connected")
    try:
        Talk(hop, connection).serve()
        note("said.txt", f"{hop['name']}: over")
    except (OSError, ssl.SSLError) as error:
        note("said.txt", f"{hop['name']}: {error}")
    finally:
        connection.close()


def listen(hop, listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(hop, connection), daemon=True).start()


with open(os.path.join(FOLDER, "hops.json")) as file:
    HOPS = json.load(file)
for one in HOPS:
    bound = socket.create_server((one["address"], one["port"]))
    threading.Thread(target=listen, args=(one, bound), daemon=True).start()
print("up", ssl.OPENSSL_VERSION, flush=True)
sys.stdin.read()
