"""Serves what the management plugin of RabbitMQ says, frozen."""
import http.server, json, os, sys, threading

RATE = {"rate": 2.5}
OVERVIEW = {
    "object_totals": {"channels": 3, "connections": 2, "consumers": 1, "exchanges": 8, "queues": 4},
    "queue_totals": {"messages": 12, "messages_details": RATE, "messages_ready": 10, "messages_ready_details": RATE},
    "message_stats": {"ack": 100, "ack_details": RATE, "publish": 120, "publish_details": {"rate": 0.0}},
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = OVERVIEW if self.path.endswith("/overview") else None
        body = json.dumps(found if found is not None else {"error": "no"}).encode()
        self.answer(200 if found is not None else 404, body)

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        if "/jobs/" in self.path:
            self.answer(200, json.dumps([{"message_count": 7}]).encode())
        else:
            self.answer(404, b"{}")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print("ready", flush=True)
server.serve_forever()
