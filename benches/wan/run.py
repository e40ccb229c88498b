#!/usr/bin/env python3
"""Relays over a long line (line.py): run.py [PEERS-FOLDER PEER...], called by benches/relay wan, which says what is measured.

Environment: SIZES (octets, commas), CONNECTIONS and LOSS (blanks), DELAY (ms each way), MESSAGES (per connection), RUNS,
SEED, CONTROL. Prints a line of JSON for each run, then a table of medians; a message that does not arrive ends it with
status 1. With no words it only says whether there can be a line: if not, why, and status 2.
"""
import itertools, json, os, re, shutil, signal, statistics, subprocess, sys, time

sys.dont_write_bytecode = True  # nothing in the checkout
import line as lines

SINK_PORT = "2525"
WAYS = ["kept, chunking", "kept, pipelined", "kept", "new, pipelined", "new"]


def tool(name):
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") or sys.exit(f"{name} not found (package postfix)")


class Sink:
    """smtp-sink at the far end, or one that knows CHUNKING; throws away what comes and counts it."""

    def __init__(self, line, way):
        command = [tool("smtp-sink"), "-u", "root", "-c", "-m", "4000", f"{lines.FAR}:{SINK_PORT}", "4000"]
        command[1:1] = [] if "pipelined" in way else ["-p"]
        if "chunking" in way:
            command = [os.path.join(os.path.dirname(__file__), "chunking-sink.py"), lines.FAR, SINK_PORT]
        self.process = line.run(line.far, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.said, self.count, self.sessions = b"", 0, 0

    def seen(self):
        self.said = (self.said + (self.process.stdout.read() or b""))[-4096:]
        counts = re.findall(rb"sess=\s*(\d+).*?mesg=\s*(\d+)", self.said)
        self.sessions, self.count = map(int, counts[-1]) if counts else (self.sessions, self.count)
        return self.count

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def settings(peer, connections, way):
    """What the peer's start wants in its environment: so many connections at most, kept or not."""
    new = way.startswith("new")
    more = dict(SINK_HOST=lines.FAR, SINK_PORT=SINK_PORT, CONNECTIONS=str(connections))
    if peer.startswith("postfix"):
        more["EXTRA_MAIN"] = "\n".join([
            f"relayhost = [{lines.FAR}]:{SINK_PORT}",
            f"default_destination_concurrency_limit = {connections}",
            f"initial_destination_concurrency = {connections}",  # else it would begin with 5
            "smtp_connection_cache_on_demand = no" if new else f"smtp_connection_cache_destinations = [{lines.FAR}]:{SINK_PORT}",
        ])
    elif new:
        more["ROUTE_MORE"] = "messages-per-connection = 1"
    return {**os.environ, **more}


class Peer:
    """A relay at the near end. Its start is not to be interrupted half way: ^C waits for it."""

    def __init__(self, line, folder, environment):
        self.line, self.folder, self.environment = line, folder, environment
        self.start = line.run(line.near, [f"{folder}/start"], env=environment, start_new_session=True, stdout=subprocess.PIPE, text=True)

    def port(self):
        said = self.start.communicate()[0]
        if self.start.returncode != 0:
            sys.exit(f"{self.folder}: no start")
        return re.search(r"port=(\d+)", said).group(1)

    def close(self):
        self.start.wait()
        self.line.run(self.line.near, [f"{self.folder}/stop"], env=self.environment, start_new_session=True).wait()


def measure(folder, peer, size, connections, loss, way, asked):
    """One run: from the first message accepted to the last one at the far end."""
    messages, source = connections * asked["messages"], None
    line = lines.Line(asked["delay"] / 1e3, loss / 100, asked["seed"], asked["control"])
    sink = relay = None
    try:
        sink = Sink(line, way)
        relay = Peer(line, f"{folder}/{peer}", settings(peer, connections, way))
        port = relay.port()
        began = time.monotonic()
        command = [tool("smtp-source"), "-s", "20", "-m", str(messages), "-l", str(size), "-N", "-f", "sender@sender.example.test",
                   "-t", "user@example.nhs.test", f"127.0.0.1:{port}"]
        source = line.run(line.near, command)
        while sink.seen() < messages and time.monotonic() < began + asked["timeout"]:
            time.sleep(0.002)
        took = time.monotonic() - began
        time.sleep(0.5)  # what comes twice
        arrived, again = sink.seen(), line.retransmitted()
    finally:
        if source:
            source.kill()
            source.wait()
        if relay:
            relay.close()
        if sink:
            sink.close()
        moved = line.close()
    return dict(label=peer, size=size, connections=connections, loss=loss, way=way, messages=messages, lost=max(0, messages - arrived),
                extra=max(0, arrived - messages), per_s=round(messages / took, 1), ms_each=round(1e3 * took * connections / messages),
                closed=sink.sessions, retransmitted=again, **moved)


def table(runs, asked):
    rates = {}
    for run in runs:
        rates.setdefault((run["size"], run["connections"], run["loss"], run["label"], run["way"]), []).append(run["per_s"])
    peers = list(dict.fromkeys(run["label"] for run in runs))
    columns = [(peer, way) for peer in peers for way in WAYS if any(key[3:] == (peer, way) for key in rates)]
    print(f"\nMessages a second over {2 * asked['delay']:g} ms there and back.\n")
    print("| size, connections, loss | " + " | ".join(f"{peer}: {way}" for peer, way in columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for size, connections, loss in dict.fromkeys(key[:3] for key in rates):
        cells = [rates.get((size, connections, loss, *column)) for column in columns]
        cells = [f"{statistics.median(cell):,.1f}" if cell else "-" for cell in cells]
        print(f"| {size // 1024} KB, {connections}, {loss:g} % | " + " | ".join(cells) + " |")


def main():
    if why := lines.missing():
        print(f"benches/relay wan: {why}", file=sys.stderr)
        sys.exit(2)
    if len(sys.argv) < 2:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder, peers = sys.argv[1], sys.argv[2:]
    said = os.environ.get
    asked = dict(delay=float(said("DELAY", "25")), seed=int(said("SEED", "1")), control=said("CONTROL"),
                 messages=int(said("MESSAGES", "20")), timeout=float(said("TIMEOUT", "120")))
    grid = itertools.product(range(int(said("RUNS", "1"))), map(int, said("SIZES", "1024,10240,76800").split(",")),
                             map(int, said("CONNECTIONS", "1 20").split()), map(float, said("LOSS", "0 1").split()), WAYS, peers)
    runs = []
    for _, size, connections, loss, way, peer in grid:
        if "chunking" in way and peer.startswith("postfix"):
            continue  # its client has no BDAT: it would be pipelined once more
        runs.append(measure(folder, peer, size, connections, loss, way, asked))
        print(json.dumps(runs[-1]), flush=True)
    table(runs, asked)
    sys.exit(1 if any(run["lost"] for run in runs) else 0)


try:
    main()
except KeyboardInterrupt:
    sys.exit(130)
