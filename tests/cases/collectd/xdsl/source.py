"""A modem with a page of tables; the login gives a session."""

import http.server
import sys
import threading

CELLS = [
    ["title"],
    ["39998\xa0KBit/s", "99999\xa0KBit/s", "45000", "120000\xa0KBit/s"],
    [f"{number}.{number % 10}\xa0db" for number in range(18)],
    [str(1000 * number) for number in range(12)],
]


class Modem(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        ok = self.path == "/webng.cgi" and body == b"LoginName=admin&LoginPass=secret"
        self.answer(200 if ok else 403, "", ("set-cookie", "SESSION_ID=abc"))

    def do_GET(self):
        ok = self.path.endswith("renderDslState&evalJS=force&sid=abc")
        rows = ["".join(f"<td>{cell}</td>" for cell in cells) for cells in CELLS]
        page = "".join(f"<table><tr>{row}</tr></table>" for row in rows)
        self.answer(200 if ok else 403, f"<html><meta charset=utf-8>{page}</html>")

    def answer(self, status, text, *headers):
        data = text.encode()
        self.send_response(status)
        for name, value in (("content-type", "text/html; charset=utf-8"), ("content-length", str(len(data))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        """Nobody reads it."""


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Modem)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
