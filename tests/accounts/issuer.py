"""An issuer of tokens over HTTPS: serves FOLDER/keys.json as it is at the moment. While FOLDER/slow is there it says
nothing, while FOLDER/keys.json is not there it says 503. Prints its port."""

import http.server, os, ssl, sys, time

folder, certificate = sys.argv[1:3]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        open(os.path.join(folder, "asked"), "a").write(self.path + "\n")
        if os.path.exists(os.path.join(folder, "slow")):
            time.sleep(600)
        try:
            body = open(os.path.join(folder, "keys.json"), "rb").read()
        except OSError:
            return self.send_error(503)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
