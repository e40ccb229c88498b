"""Signs a message with dkimpy, as senders and mailing lists do, and writes it to the standard output.

`signed_mail.py dkim DOMAIN SELECTOR KEY < MESSAGE` puts a DKIM signature on top; `signed_mail.py arc DOMAIN SELECTOR KEY
< MESSAGE` a set of ARC with what the newest Authentication-Results of DOMAIN say. Says `no dkimpy` where a module is
missing.
"""

import sys

try:
    import authres  # noqa: F401  what ARC is made of
    import dkim
except ImportError:
    print("no dkimpy")
    sys.exit(0)

what, domain, selector, key = sys.argv[1:]
message = sys.stdin.buffer.read()
with open(key, "rb") as file:
    key = file.read()
names = selector.encode(), domain.encode()
if what == "arc":
    fields = b"".join(dkim.arc_sign(message, *names, key, domain.encode()))
else:
    fields = dkim.sign(
        message,
        *names,
        key,
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=[b"from", b"to", b"subject", b"date", b"message-id"],
    )
sys.stdout.buffer.write(fields + message)
