#!/usr/bin/env python3
"""What share of the machine's limit each relay reaches, end to end: of-limit.py PEER.jsonl...

The files are results of relaybench.py. Medians of messages a second; in brackets the share of `limit` (peers/limit), the
least that a durable relay can be. `direct` is no relay at all. With Postfix among them, a last column has the bar of
../shared/bench, three times Postfix at one session and five times at more: above 100 % no durable relay can do it on
this machine.
"""
import collections, json, statistics, sys

FIRST = ["direct", "limit"]


def main():
    rates = collections.defaultdict(list)
    for name in sys.argv[1:]:
        for run in map(json.loads, open(name)):
            if run.get("e2e_per_s") is not None:
                rates[run["size"], run["sessions"], run["label"]].append(run["e2e_per_s"])
    rates = {key: statistics.median(runs) for key, runs in rates.items()}
    labels = {label for _, _, label in rates}
    peers = [peer for peer in FIRST if peer in labels] + sorted(labels - set(FIRST))
    postfix = ["3 or 5 x postfix"] if "postfix" in labels else []
    print("| size, sessions | " + " | ".join(peers + postfix) + " |")
    print("|---|" + "---:|" * len(peers + postfix))
    for size, sessions in sorted({key[:2] for key in rates}):
        limit = rates.get((size, sessions, "limit"))
        share = lambda rate: f" ({100 * rate / limit:.0f} %)" if limit else ""
        cells = []
        for peer in peers:
            rate = rates.get((size, sessions, peer))
            cells.append("-" if rate is None else f"{rate:,.0f}" + ("" if peer in FIRST else share(rate)))
        if postfix:
            rate = (3 if sessions == 1 else 5) * rates.get((size, sessions, "postfix"), 0)
            cells.append(f"{rate:,.0f}{share(rate)}" if rate else "-")
        print(f"| {size // 1024} KB, {sessions} | " + " | ".join(cells) + " |")


main()
