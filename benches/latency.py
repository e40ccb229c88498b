#!/usr/bin/env python3
"""How long a client waits for its 250: latency.py --port P [--sessions N] [--messages M] [--size OCTETS] [--label L]

Each of N processes sends its share of M messages, one connection for each as smtp-source does, and takes the time from
the final dot to the reply. Prints JSON with the median and the 99th of a hundred, in milliseconds.
"""
import argparse, json, multiprocessing, socket, time


def send(port, messages, body, waits):
    mine = []
    for _ in range(messages):
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            replies = client.makefile("rb")

            def said(code):
                while True:
                    line = replies.readline()
                    assert line[:3] == code, line
                    if line[3:4] != b"-":
                        return

            said(b"220")
            for command, code in [
                (b"EHLO source.example.test", b"250"),
                (b"MAIL FROM:<sender@sender.example.test>", b"250"),
                (b"RCPT TO:<user@example.nhs.test>", b"250"),
                (b"DATA", b"354"),
            ]:
                client.sendall(command + b"\r\n")
                said(code)
            client.sendall(body)
            began = time.perf_counter()
            client.sendall(b".\r\n")
            said(b"250")
            mine.append(time.perf_counter() - began)
            client.sendall(b"QUIT\r\n")
            said(b"221")
    waits.put(mine)


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--port", type=int, required=True)
    asked.add_argument("--sessions", type=int, default=1)
    asked.add_argument("--messages", type=int, default=1000)
    asked.add_argument("--size", type=int, default=10240)
    asked.add_argument("--label", default="")
    asked = asked.parse_args()
    line = b"The order of 14 November came in full; two boxes were short-dated (batch 45012).\r\n"
    body = b"From: sender@sender.example.test\r\nSubject: stock\r\n\r\n" + line * (asked.size // len(line))
    waits, each = multiprocessing.Queue(), max(1, asked.messages // asked.sessions)
    began = time.perf_counter()
    processes = [multiprocessing.Process(target=send, args=(asked.port, each, body, waits)) for _ in range(asked.sessions)]
    for process in processes:
        process.start()
    all_waits = sorted(wait for _ in processes for wait in waits.get())
    took = time.perf_counter() - began
    at = lambda share: round(1e3 * all_waits[min(len(all_waits) - 1, int(share * len(all_waits)))], 2)
    print(json.dumps({"label": asked.label, "sessions": asked.sessions, "size": asked.size, "messages": len(all_waits),
                      "p50_ms": at(0.5), "p99_ms": at(0.99), "per_s": round(len(all_waits) / took, 1)}), flush=True)


main()
