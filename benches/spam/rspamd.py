"""Scores of rspamd for a folder of mail: a daemon of its own on loopback, no DNS, nothing learnt by itself.

    rspamd.py STATE-FOLDER SCORES.TSV TEST-FOLDER [TRAIN-FOLDER]

Both folders have the folders `spam` and `ham`. With a folder to train on, its Bayes filter learns all of that first. Each
score is written as it is found (kind, name, score): a run that was stopped goes on where it was. The processor time of the
scan is added to SCORES.TSV.cpu, with the number of messages.
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

# What asks the network, or remembers earlier mail.
SILENT = (
    "antivirus arc asn aws_s3 bimi clickhouse dcc dkim dkim_signing dmarc elastic external_relay external_services fuzzy_check greylist "
    "history_redis metadata_exporter metric_exporter mx_check neural p0f ratelimit rbl replies reputation rspamd_update spf surbl "
    "url_redirector"
).split()
BAYES = """
backend = "sqlite3";
new_schema = false;
cache {{ type = "sqlite3"; file = "{state}/learnt.sqlite"; }}
statfile {{ symbol = "BAYES_HAM"; spam = false; path = "{state}/bayes.ham.sqlite"; }}
statfile {{ symbol = "BAYES_SPAM"; spam = true; path = "{state}/bayes.spam.sqlite"; }}
autolearn = false;
learn_condition = "return function() return true end";
"""
WORKER = """
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
worker "controller" {{ bind_socket = "127.0.0.1:{learns}"; count = 1; secure_ip = "127.0.0.1"; }}
"""


def configuration(state, port, with_bayes):
    """A copy of what the distribution ships, without network and without the workers that are not needed."""
    folder = state / "config"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree("/etc/rspamd", folder)
    local = folder / "local.d"
    local.mkdir(exist_ok=True)
    for module in SILENT:
        (local / f"{module}.conf").write_text("enabled = false;\n")
    (local / "options.inc").write_text(
        'dns { nameserver = ["127.0.0.1:9"]; timeout = 0.01s; retransmits = 1; }\nfilters = "chartable,regexp";\n'
    )
    statistic = (folder / "statistic.conf").read_text()
    if with_bayes:
        text = 'classifier "bayes" {{ tokenizer {{ name = "osb"; }} min_tokens = 11; min_learns = 200; {} }}\n'
        statistic = text.format(BAYES.format(state=state))
    else:
        statistic = ""
    (folder / "statistic.conf").write_text(statistic)
    whole = (folder / "rspamd.conf").read_text()
    (folder / "rspamd.conf").write_text(whole[: whole.index('worker "normal"')] + WORKER.format(port=port, learns=port + 1))
    return folder


def start(state, port, with_bayes):
    folder = configuration(state, port, with_bayes)
    paths = {"CONFDIR": folder, "LOCAL_CONFDIR": folder, "DBDIR": state, "RUNDIR": state, "LOGDIR": state}
    words = ["rspamd", "-f", "-i", "-u", "root", "-g", "root", "-c", str(folder / "rspamd.conf")]
    words += [f"--var={name}={path}" for name, path in paths.items()]
    daemon = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=(state / "stderr").open("w"), start_new_session=True)
    until = time.monotonic() + 600
    while time.monotonic() < until:
        try:
            if json.loads(ask(port + 1, "GET", "/stat", None)) is not None:
                ask(port, "GET", "/ping", None)
                return daemon
        except (OSError, ValueError, http.client.HTTPException):
            time.sleep(0.5)
    raise SystemExit("rspamd does not answer: see " + str(state / "stderr"))


def ask(port, verb, path, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(verb, path, body=body)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def cpu(group):
    """Processor time of the daemon and its workers so far, in seconds."""
    total = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def main():
    state, scores, test = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
    train = pathlib.Path(sys.argv[4]) if len(sys.argv) > 4 else None
    state.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = min(free.getsockname()[1], 65000)
    daemon = start(state, port, train is not None)
    try:
        mark = state / "learnt"
        if train and not mark.exists():
            for kind in ("spam", "ham"):
                for path in sorted((train / kind).iterdir()):
                    ask(port + 1, "POST", f"/learn{kind}", path.read_bytes())
            mark.write_text(ask(port + 1, "GET", "/stat", None).decode())
        known = set()
        if scores.exists():
            lines = scores.read_text().splitlines()
            known = {tuple(line.split("\t")[:2]) for line in lines if line.count("\t") == 2}
        before, count = cpu(daemon.pid), 0
        with scores.open("a") as out:
            for kind in ("ham", "spam"):
                for path in sorted((test / kind).iterdir()):
                    if (kind, path.name) in known:
                        continue
                    said = json.loads(ask(port, "POST", "/checkv2", path.read_bytes()))
                    out.write(f"{kind}\t{path.name}\t{said['score']:.3f}\n")
                    out.flush()
                    count += 1
        if count:
            with open(f"{scores}.cpu", "a") as out:
                out.write(f"{count}\t{cpu(daemon.pid) - before:.2f}\n")
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait()


if __name__ == "__main__":
    main()
