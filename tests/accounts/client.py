"""A submission client of its own: says what it is told, prints each reply as `step code text`.

SCRAM is written here from RFC 5802 and RFC 7677 alone, so that the gateway's reading of them is held against another.
"""

import argparse, base64, hashlib, hmac, os, smtplib, ssl, sys


def b64(octets):
    return base64.b64encode(octets).decode()


def scram_first(user):
    nonce = b64(os.urandom(18))
    return nonce, "n=%s,r=%s" % (user.replace("=", "=3D").replace(",", "=2C"), nonce)


def scram_final(secret, first_bare, server_first, gs2, bound=b""):
    fields = dict(part.split("=", 1) for part in server_first.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    key = hmac.new(salted, b"Client Key", "sha256").digest()
    without = "c=%s,r=%s" % (b64(gs2.encode() + bound), fields["r"])
    auth = ("%s,%s,%s" % (first_bare, server_first, without)).encode()
    mac = hmac.new(hashlib.sha256(key).digest(), auth, "sha256").digest()
    proof = bytes(a ^ b for a, b in zip(key, mac))
    server = hmac.new(salted, b"Server Key", "sha256").digest()
    expected = "v=" + b64(hmac.new(server, auth, "sha256").digest())
    return "%s,p=%s" % (without, b64(proof)), expected


def authenticate(smtp, mech, user, secret):
    if mech == "PLAIN":
        return smtp.docmd("AUTH", "PLAIN " + b64(("\0%s\0%s" % (user, secret)).encode()))
    if mech == "LOGIN":
        smtp.docmd("AUTH", "LOGIN")
        smtp.docmd(b64(user.encode()))
        return smtp.docmd(b64(secret.encode()))
    if mech == "OAUTHBEARER":
        text = "n,a=%s,\1host=localhost\1auth=Bearer %s\1\1" % (user, secret)
        return after_token(smtp, smtp.docmd("AUTH", "OAUTHBEARER " + b64(text.encode())))
    if mech == "XOAUTH2":
        text = "user=%s\1auth=Bearer %s\1\1" % (user, secret)
        return after_token(smtp, smtp.docmd("AUTH", "XOAUTH2 " + b64(text.encode())))
    if mech == "EXTERNAL":
        return smtp.docmd("AUTH", "EXTERNAL " + (b64(user.encode()) or "="))
    if mech == "EXTERNAL-ASKED":
        code, text = smtp.docmd("AUTH", "EXTERNAL")
        return smtp.docmd(b64(user.encode())) if code == 334 else (code, text)
    nonce, bare = scram_first(user)
    code, text = smtp.docmd("AUTH", "SCRAM-SHA-256 " + b64(("n,," + bare).encode()))
    if code != 334:
        return code, text
    server_first = base64.b64decode(text).decode()
    if not server_first.startswith("r=" + nonce):
        return 999, b"the nonce is not ours"
    final, expected = scram_final(secret, bare, server_first, "n,,")
    code, text = smtp.docmd(b64(final.encode()))
    if code != 334:
        return code, text
    if base64.b64decode(text).decode() != expected:
        return 999, b"the server does not know the secret"
    return smtp.docmd("")


def after_token(smtp, answer):
    return smtp.docmd(b64(b"\1")) if answer[0] == 334 else answer


def say(step, answer):
    code, text = answer
    print(step, code, text.decode(errors="replace").replace("\n", " / "))
    return code


def submit(smtp, args, message):
    if say("mail", smtp.docmd("MAIL", "FROM:<%s>" % args.sender)) != 250:
        return
    for to in args.to:
        say("rcpt", smtp.docmd("RCPT", "TO:<%s>" % to))
    code = say("data", smtp.docmd("DATA"))
    if code == 354:
        octets = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        smtp.send(octets + (b"" if octets.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        say("sent", smtp.getreply())
    else:
        smtp.docmd("RSET")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--mech")
    parser.add_argument("--user", default="")
    parser.add_argument("--secret", default="")
    parser.add_argument("--sender", default="")
    parser.add_argument("--to", action="append", default=[])
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--clear", action="store_true")
    parser.add_argument("--implicit", action="store_true")
    parser.add_argument("--cert")
    parser.add_argument("--tls12", action="store_true")
    args = parser.parse_args()
    message = sys.stdin.buffer.read()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if args.cert:
        context.load_cert_chain(args.cert)
    if args.tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if args.implicit:
        smtp = smtplib.SMTP_SSL("127.0.0.1", args.port, timeout=60, context=context)
    else:
        smtp = smtplib.SMTP("127.0.0.1", args.port, timeout=60)
    if not args.clear and not args.implicit:
        smtp.starttls(context=context)
    smtp.ehlo()
    print("offers", smtp.esmtp_features.get("auth", "").strip())
    if args.mech:
        if say("auth", authenticate(smtp, args.mech, args.user, args.secret)) != 235:
            return
    for _ in range(args.times if args.to else 0):
        submit(smtp, args, message)
    smtp.close()


main()
