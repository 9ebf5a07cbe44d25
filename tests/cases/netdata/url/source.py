"""Serves the figures of a shop to who knows its password."""

import base64
import http.server
import json
import sys

FIGURES = {"paid": 500, "load1": 1.5, "load5": "0.25", "load15": "high"}
ME = "Basic " + base64.b64encode(b"me:secret").decode()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 404 if self.path != "/stats" else 200 if self.headers["authorization"] == ME else 401
        body = json.dumps(FIGURES).encode() if status == 200 else b"{}"
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
