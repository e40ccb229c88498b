#!/usr/bin/env python3
"""The lines of latency.rs as a table of medians, in milliseconds: table.py < LINES"""
import collections, json, statistics, sys

runs = collections.defaultdict(list)
for run in map(json.loads, sys.stdin):
    runs[run["size"], run["sessions"], run["label"]].append(run)
peers = list(dict.fromkeys(label for _, _, label in runs))
print("From the final dot to its 250, ms: median; 99 of 100 (from connecting: median; 99 of 100)\n")
print("| size, sessions | " + " | ".join(peers) + " |")
print("|---|" + "---:|" * len(peers))
for size, sessions in sorted({key[:2] for key in runs}):
    cells = []
    for peer in peers:
        mine = runs.get((size, sessions, peer))
        of = lambda key: f"{statistics.median(run[key] for run in mine):,.1f}"
        never = max((run["not_served"] for run in mine or []), default=0)
        never = f", {never} of {mine[0]['messages']:,} not served" if never else ""
        cells.append(f"{of('p50_ms')}; {of('p99_ms')} ({of('whole_p50_ms')}; {of('whole_p99_ms')}){never}" if mine else "-")
    print(f"| {size // 1024} KB, {sessions} | " + " | ".join(cells) + " |")
