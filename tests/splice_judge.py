"""Judges edited messages with Python's email package: one JSON case a line, faults on standard output."""

import base64
import email
import email.policy
import html
import json
import sys


# What the names of these charsets mean to mail programs and browsers (WHATWG Encoding Standard).
SUPERSETS = {
    "big5": "big5hkscs",
    "euc-kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso-8859-1": "cp1252",
    "iso-8859-9": "cp1254",
    "ks_c_5601-1987": "cp949",
    "shift_jis": "cp932",
    "windows-874": "cp874",
}


# Python has two readers of fields: the old tolerant one, and one by the grammar.
POLICIES = {"compat32": email.policy.compat32, "default": email.policy.default}


def leaf_text(part):
    """The text as a reader shows it, without white space."""
    octets = part.get_payload(decode=True)
    charset = part.get_content_charset("us-ascii")
    text = octets.decode(SUPERSETS.get(charset, charset), errors="replace")
    return "".join(html.unescape(text).split())


def faults(case, policy):
    before, after = (
        email.message_from_bytes(base64.b64decode(case[key]), policy=policy)
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
        case = json.loads(line)
        # By the grammar some mail is another message altogether: such an edit is not proved, so not made.
        names = POLICIES if case["proved"] else ["compat32"]
        for name in names:
            policy = POLICIES[name]
            for fault in faults(case, policy):
                print(f"case {count}, policy {name}: {fault}")
    print(f"{count} judged")


main()
