"""Web servers on OpenSSL (Python's ssl and http.server) that have a policy of MTA-STS, or not quite.

python3 tests/openssl_web.py FOLDER; FOLDER/web.json says which: [{"name", "address", "port", "does", "pem", "policy"}].
Requests go to FOLDER/asked.txt. Says "up" when all listen, and ends with its standard input.
"""
import http.server
import json
import os
import ssl
import sys
import threading
import time

FOLDER = sys.argv[1]
LOCK = threading.Lock()


def note(line):
    with LOCK, open(os.path.join(FOLDER, "asked.txt"), "a") as out:
        out.write(line + "\n")


def handler(site):
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 60

        def do_GET(self):
            note(f"{site['name']} {self.path}")
            does, body = site["does"], site["policy"].encode()
            if does == "redirects":
                self.send_response(301)
                self.send_header("Location", site["to"])
                self.end_headers()
                return
            if does == "has none" or self.path != "/.well-known/mta-sts.txt":
                # With a page, as they are, and no length: it ends where the connection does.
                self.send_response(404)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<p>not here</p>" * 10_000)
                return
            if does == "is too large":
                # It may be cut at any length, and is a policy up to there.
                body += b"x: " + b"y" * 100_000 + b"\n"
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if does == "is a page" else "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if does == "is slow":
                for octet in body:
                    self.wfile.write(bytes([octet]))
                    self.wfile.flush()
                    time.sleep(1)
            else:
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, site):
        super().__init__((site["address"], site["port"]), handler(site))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if site["does"] == "speaks TLS 1.1":
            self.context.set_ciphers("ALL:@SECLEVEL=0")
            self.context.minimum_version = ssl.TLSVersion.TLSv1
            self.context.maximum_version = ssl.TLSVersion.TLSv1_1
        self.context.load_cert_chain(os.path.join(FOLDER, site["pem"]))

    def finish_request(self, request, client_address):
        # In the thread of the connection: a handshake that hangs must not keep the others waiting.
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except (OSError, ssl.SSLError):
            pass


with open(os.path.join(FOLDER, "web.json")) as file:
    SITES = json.load(file)
for one in SITES:
    server = Server(one)
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("up", ssl.OPENSSL_VERSION, flush=True)
sys.stdin.read()
