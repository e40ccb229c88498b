"""Judges messages whose links were taken out or that got a banner, with Python's email package and HTML reader: one JSON
case a line, faults on standard output."""

import base64
import email
import email.policy
import html.parser
import json
import re
import sys

ADDRESS = re.compile(r"(https?://|www\.)[^\s<>\"',]*evil\.example[^\s<>\"',]*")
POLICIES = [email.policy.compat32, email.policy.default]


class Page(html.parser.HTMLParser):
    """What is shown of a page, and its tags without the attributes that lead to the host in question."""

    def __init__(self, text):
        super().__init__()
        self.words, self.tags = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        kept = [(name, value) for name, value in attrs if "evil.example" not in (value or "")]
        self.tags.append((tag, kept))

    def handle_endtag(self, tag):
        self.tags.append(("/" + tag, []))

    def handle_data(self, data):
        self.words.append(data)


def squeezed(text):
    return "".join(text.split())


def text_of(part):
    charset = part.get_content_charset("us-ascii")
    return part.get_payload(decode=True).decode(charset, errors="replace")


def seen(part):
    """Words and tags, as a reader has them."""
    text = text_of(part)
    if part.get_content_type() != "text/html":
        return squeezed(text), []
    page = Page(text)
    return squeezed("".join(page.words)), page.tags


def numbered(message):
    """Every part with its number, as IMAP has them."""

    def walk(part, number):
        yield number, part
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            for index, child in enumerate(part.get_payload(), 1):
                yield from walk(child, f"{number}.{index}" if number else str(index))

    for number, part in walk(message, ""):
        yield number or "1", part


def faults(case, policy):
    before, after = (
        email.message_from_bytes(base64.b64decode(case[key]), policy=policy)
        for key in ("before", "after")
    )
    old, new = list(numbered(before)), list(numbered(after))
    kinds = [[(number, part.get_content_type()) for number, part in one] for one in (old, new)]
    if kinds[0] != kinds[1]:
        yield "another tree"
        return
    banner = squeezed(case["banner"])
    for (number, one), (_, other) in zip(old, new):
        if one.items() != other.items() and number in case["parts"]:
            yield f"part {number}: another header"
        if one.is_multipart():
            if (one.preamble, one.epilogue) != (other.preamble, other.epilogue):
                yield f"part {number}: preamble or epilogue changed"
            if one.get_content_maintype() == "message" and one.as_bytes() != other.as_bytes():
                yield f"part {number}: the attached message changed"
            continue
        if number not in case["parts"]:
            if one.get_payload() != other.get_payload():
                yield f"part {number}: changed"
            continue
        (words, tags), (words_after, tags_after) = seen(one), seen(other)
        if number in case["with_banner"]:
            if words_after.count(banner) != words.count(banner) + 1:
                yield f"part {number}: the banner is not there once"
            words_after = words_after.replace(banner, "", 1)
            for tag in (("div", []), ("br", []), ("/div", [])):
                if tag in tags_after:
                    tags_after.remove(tag)
        if "[linkremoved]" in words_after:
            words = squeezed(ADDRESS.sub("", text_words(one)))
            words_after = words_after.replace("[linkremoved]", "")
        if words != words_after:
            yield f"part {number}: other words: {words!r} {words_after!r}"
        if tags != tags_after:
            yield f"part {number}: other tags: {tags!r} {tags_after!r}"


def text_words(part):
    text = text_of(part)
    return "".join(Page(text).words) if part.get_content_type() == "text/html" else text


def main():
    count = 0
    for count, line in enumerate(sys.stdin, 1):
        case = json.loads(line)
        for policy in POLICIES:
            for fault in faults(case, policy):
                print(f"case {count}: {fault}")
    print(f"{count} judged")


main()
