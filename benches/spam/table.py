"""Writes the table of `benches/spam/run.sh`: what Postern was measured at, and the peers that are installed."""

import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time


def figures(spam, ham, threshold):
    """1-AUC, recall at 0.1 % and 1 % false positives, recall and false positives at the threshold, in per cent."""
    ham_sorted = sorted(ham, reverse=True)
    wrong = sum(sum(h > s for h in ham) + sum(h == s for h in ham) / 2 for s in spam)

    def recall(most):
        bound = ham_sorted[int(len(ham) * most)]
        return 100 * sum(s > bound for s in spam) / len(spam)

    return (
        100 * wrong / (len(spam) * len(ham)),
        recall(0.001),
        recall(0.01),
        100 * sum(s >= threshold for s in spam) / len(spam),
        100 * sum(h >= threshold for h in ham) / len(ham),
    )


def line(name, corpus, values, rate):
    misordered, strict, loose, caught, wrong = values
    print(f"| {name} | {corpus} | {misordered:.3f} | {strict:.1f} | {loose:.1f} | {caught:.1f} / {wrong:.2f} | {rate:.0f} |")


def postern(work, state, corpus):
    said = json.loads((work / f"{state}-{corpus}.json").read_text().splitlines()[-1])
    values = [
        said["misordered"],
        said["recall_at_0.1_percent"],
        said["recall_at_1_percent"],
        said["recall"],
        said["false_positives"],
    ]
    line(f"Postern, {state}", corpus, [100 * value for value in values], said["messages_per_second"])


def spamassassin(path):
    said = subprocess.run(["spamassassin", "-L", "-t", path], capture_output=True, check=False).stdout.decode("latin1")
    return float(re.search(r"score=(-?[\d.]+)", said).group(1))


def rspamd(path):
    said = subprocess.run(["rspamc", "--json", path], capture_output=True, check=False).stdout
    return float(json.loads(said)["score"])


def peer(name, score, threshold, work, corpus, sample):
    picked = {}
    started, count = time.monotonic(), 0
    try:
        score(str(next((work / "dev" / corpus / "devtest" / "spam").iterdir())))
    except (ValueError, AttributeError, OSError):
        print(f"| {name} | {corpus} | installed, and does not answer | | | | |")
        return
    for kind in ("spam", "ham"):
        files = sorted((work / "dev" / corpus / "devtest" / kind).iterdir())
        random.Random(1).shuffle(files)
        picked[kind] = [score(str(path)) for path in files[:sample]]
        count += len(picked[kind])
    rate = count / (time.monotonic() - started)
    line(f"{name}, no learning, {sample} of each", corpus, figures(picked["spam"], picked["ham"], threshold), rate)


def main():
    work, sample = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    print("| system | corpus | 1-AUC % | recall @0.1 % FP | recall @1 % FP | at own threshold: recall / FP % | messages a second |")
    print("|---|---|---|---|---|---|---|")
    for corpus in ("sa", "trec07"):
        for state in ("rules", "shipped", "trained"):
            postern(work, state, corpus)
        if shutil.which("spamassassin"):
            peer("SpamAssassin", spamassassin, 5.0, work, corpus, sample)
        if shutil.which("rspamc"):
            peer("rspamd", rspamd, 15.0, work, corpus, sample)


if __name__ == "__main__":
    main()
