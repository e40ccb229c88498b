"""Writes the table of `benches/spam/run.sh`: what Postern was measured at, and what the peers were.

    table.py WORK-FOLDER
"""

import bisect
import json
import pathlib
import sys

# The thresholds of the peers as they ship: `required_score`, `add_header`.
PEERS = (("SpamAssassin", "spamassassin", 5.0), ("rspamd", "rspamd", 6.0))


def figures(spam, ham, threshold):
    """1-AUC, recall at 0.1 % and 1 % false positives, recall and false positives at the threshold, in per cent."""
    ham = sorted(ham)

    def wrong(score):
        below, upto = bisect.bisect_left(ham, score), bisect.bisect_right(ham, score)
        return len(ham) - upto + (upto - below) / 2

    def recall(most):
        bound = ham[-1 - int(len(ham) * most)]
        return 100 * sum(score > bound for score in spam) / len(spam)

    return (
        100 * sum(map(wrong, spam)) / (len(spam) * len(ham)),
        recall(0.001),
        recall(0.01),
        100 * sum(score >= threshold for score in spam) / len(spam),
        100 * sum(score >= threshold for score in ham) / len(ham),
    )


def line(name, corpus, values, rate):
    misordered, strict, loose, caught, wrong = values
    print(f"| {name} | {corpus} | {misordered:.3f} | {strict:.1f} | {loose:.1f} | {caught:.1f} / {wrong:.2f} | {rate} |")


def postern(work, state, corpus):
    said = json.loads((work / f"{state}-{corpus}.json").read_text().splitlines()[-1])
    values = [
        said["misordered"],
        said["recall_at_0.1_percent"],
        said["recall_at_1_percent"],
        said["recall"],
        said["false_positives"],
    ]
    line(f"Postern, {state}", corpus, [100 * value for value in values], round(said["messages_per_second"]))


def peer(work, name, program, threshold, learning, corpus):
    """A line for a peer, if it was run; of a run that was stopped, with the number of messages that it judged."""
    path = work / "peers" / f"{program}{'-bayes' if learning else ''}-{corpus}.tsv"
    if not path.exists():
        return
    scores = {"spam": [], "ham": []}
    for row in path.read_text().splitlines():
        if row.count("\t") == 2:
            kind, _, score = row.split("\t")
            scores[kind].append(float(score))
    if not scores["spam"] or not scores["ham"]:
        return
    of = work / "dev" / corpus / "devtest"
    all_of_them = sum(1 for kind in scores for _ in (of / kind).iterdir())
    judged = len(scores["spam"]) + len(scores["ham"])
    part = "" if judged == all_of_them else f" ({judged} of {all_of_them})"
    rate = "?"
    cpu = pathlib.Path(f"{path}.cpu")
    if cpu.exists():
        runs = [list(map(float, row.split())) for row in cpu.read_text().splitlines()]
        seconds = sum(run[1] for run in runs)
        rate = f"{sum(run[0] for run in runs) / max(seconds, 0.01):.1f}"
    what = "+ Bayes" if learning else "no learning"
    line(f"{name} {what}{part}", corpus, figures(scores["spam"], scores["ham"], threshold), rate)


def main():
    work = pathlib.Path(sys.argv[1])
    print("| system | corpus | 1-AUC % | recall @0.1 % FP | recall @1 % FP | at own threshold: recall / FP % | messages per CPU second |")
    print("|---|---|---|---|---|---|---|")
    for corpus in ("sa", "trec07"):
        for state in ("rules", "shipped", "trained"):
            postern(work, state, corpus)
        for name, program, threshold in PEERS:
            for learning in (False, True):
                peer(work, name, program, threshold, learning, corpus)


if __name__ == "__main__":
    main()
