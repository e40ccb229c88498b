"""Verifies every signature of the messages named with dkimpy: one line a message, `pass s1 s2` or `fail s1`.

Arguments: a file with one `name<TAB>record` a line, then messages. With `--arc` first, the ARC chain is judged
(`arc pass 1`) as well.
"""

import re
import sys

try:
    import dkim
except ImportError:
    print("no dkimpy")
    sys.exit(0)


def main():
    arguments = sys.argv[1:]
    arc = arguments[0] == "--arc"
    records, *files = arguments[arc:]
    with open(records) as lines:
        known = dict(line.rstrip("\n").split("\t") for line in lines)

    def dns(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        return known.get(name, "").encode() or None

    for file in files:
        with open(file, "rb") as octets:
            message = octets.read()
        said = []
        judge = dkim.DKIM(message)
        fields = [value for name, value in judge.headers if name.lower() == b"dkim-signature"]
        for at, field in enumerate(fields):
            judge = dkim.DKIM(message)
            try:
                holds = judge.verify(idx=at, dnsfunc=dns)
            except dkim.DKIMException:
                holds = False
            selector = re.search(rb"[;\s]s=\s*([^;\s]+)", field)[1].decode()
            said.append(("" if holds else "not-") + selector)
        if arc:
            result, sets, reason = dkim.arc_verify(message, dnsfunc=dns)
            said.append(f"arc {result.decode()} {len(sets)}" if result else f"arc none {reason}")
        print(" ".join(said))


main()
