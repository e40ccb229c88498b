"""Judges edited messages with Python's email package: one JSON case a line, faults on standard output."""

import base64
import email
import email.policy
import html
import json
import sys


def leaf_text(part):
    """The text as a reader shows it, without white space."""
    octets = part.get_payload(decode=True)
    text = octets.decode(part.get_content_charset("us-ascii"))
    return "".join(html.unescape(text).split())


def faults(case):
    before, after = (
        email.message_from_bytes(base64.b64decode(case[key]), policy=email.policy.compat32)
        for key in ("before", "after")
    )
    old, new = list(before.walk()), list(after.walk())
    if [part.get_content_type() for part in old] != [part.get_content_type() for part in new]:
        yield "another tree"
        return
    for index, (one, other) in enumerate(zip(old, new)):
        if len(other.defects) > len(one.defects):
            yield f"part {index}: {other.defects}"
        if one.is_multipart():
            if (one.preamble, one.epilogue) != (other.preamble, other.epilogue):
                yield f"part {index}: preamble or epilogue changed"
        elif index in case["touched"]:
            kind = "html" if one.get_content_type() == "text/html" else "text"
            footer = "".join(html.unescape(case[kind]).split())
            one, other = leaf_text(one), leaf_text(other)
            if len(other) != len(one) + len(footer) or other.replace(footer, "", 1) != one:
                yield f"part {index}: not the text and the footer"
        elif one.get_payload(decode=True) != other.get_payload(decode=True):
            yield f"part {index}: changed"


def main():
    count = 0
    for count, line in enumerate(sys.stdin, 1):
        for fault in faults(json.loads(line)):
            print(f"case {count}: {fault}")
    print(f"{count} judged")


main()
