"""SCRAM-SHA-256-PLUS over tls-exporter: the keying material comes from OpenSSL's own program, the sums from Python."""

import base64, importlib.util, subprocess, sys, os

folder = os.path.dirname(os.path.abspath(__file__))
source = open(os.path.join(folder, "client.py")).read().rsplit("main()", 1)[0]
client = {}
exec(source, client)

port, user, secret, tamper = sys.argv[1:5]
openssl = subprocess.Popen(
    ["openssl", "s_client", "-connect", "127.0.0.1:" + port, "-starttls", "smtp", "-crlf", "-nocommands",
     "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def line():
    return openssl.stdout.readline().decode(errors="replace").strip()


def command(text):
    openssl.stdin.write((text + "\n").encode())
    openssl.stdin.flush()
    while True:
        answer = line()
        if answer[:3].isdigit() and answer[3:4] == " ":
            return answer
        if not answer and openssl.poll() is not None:
            return "999 gone"


material = None
while material is None:
    text = line()
    if text.startswith("Keying material:"):
        material = bytes.fromhex(text.split(":")[1].strip())
if tamper == "tampered":
    material = bytes(32)
# OpenSSL swallows the greeting and its own EHLO; a new one follows the handshake.
print("ehlo", command("EHLO client.example"))
gs2 = "p=tls-exporter,,"
nonce, bare = client["scram_first"](user)
answer = command("AUTH SCRAM-SHA-256-PLUS " + client["b64"]((gs2 + bare).encode()))
server_first = base64.b64decode(answer[4:]).decode()
final, expected = client["scram_final"](secret, bare, server_first, gs2, material)
answer = command(client["b64"](final.encode()))
if answer.startswith("334 "):
    assert base64.b64decode(answer[4:]).decode() == expected, "the server does not know the secret"
    answer = command("")
print("auth", answer)
openssl.kill()
