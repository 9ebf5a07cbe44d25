"""Answers as a message broker (HTTP), a game server (RCON) and BOINC's client do; the figures change once the file `later` is there."""

import http.server
import json
import os
import socketserver
import struct
import sys
import threading

LATER = sys.argv[4]


def answers(late):
    rates = {"ack": 4, "deliver": 3 + late, "publish": 9}
    vhosts = [{"name": "/", "message_stats": rates}, {"name": "idle"}]
    queues = [{"vhost": "/", "name": "mails", "messages": 5 + late, "messages_ready": 5, "message_stats": {"ack": 1}}]
    if late:
        vhosts.append({"name": "new", "message_stats": {"get": 1}})
        queues.append({"vhost": "idle", "name": "nobody", "messages": 1})
    totals = {"channels": 2, "consumers": 1 + late, "connections": 3, "queues": 1, "exchanges": 7}
    churn = {"connection_created_details": {"rate": 0.4}, "queue_declared_details": {"rate": 1.6}}
    overview = {"node": "rabbit@one", "object_totals": totals, "queue_totals": {"messages_ready": 5}}
    overview.update(message_stats=rates, churn_rates=churn)
    node = {"fd_used": 40, "mem_used": 1 << 27, "sockets_used": 2, "proc_used": 300 + late, "disk_free": "disk_free_monitoring_disabled"}
    node["run_queue"] = 0
    return {"/api/overview": overview, "/api/nodes/rabbit@one": node, "/api/vhosts": vhosts, "/api/queues": queues}


class Broker(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *what):
        pass

    def do_GET(self):
        found = answers(int(os.path.exists(LATER))).get(self.path)
        body = json.dumps(found).encode()
        self.send_response(200 if found is not None and self.headers.get("Authorization") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Game(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            head = self.rfile.read(4)
            if len(head) < 4:
                return
            body = self.rfile.read(struct.unpack("<i", head)[0])
            id, kind = struct.unpack("<ii", body[:8])
            word = body[8:-2].decode()
            users = 4 if os.path.exists(LATER) else 2
            text = {"tps": "TPS from last 1m, 5m, 15m: 20.0, 19.95, 18.5", "list": "There are %d of a max of 20 players online" % users}
            data = struct.pack("<ii", id, 0) + text.get(word, "").encode() + b"\0\0"
            self.wfile.write(struct.pack("<i", len(data)) + data)


TASK = "<result><name>t</name><state>%d</state>%s</result>"
ACTIVE = "<active_task><active_task_state>1</active_task_state><scheduler_state>%d</scheduler_state></active_task>"


class Boinc(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            asked = b""
            while not asked.endswith(b"\003"):
                more = self.rfile.read(1)
                if not more:
                    return
                asked += more
            if b"auth1" in asked:
                said = "<nonce>17.5</nonce>"
            elif b"auth2" in asked:
                said = "<authorized/>"
            elif b"exchange_versions" in asked:
                said = "<server_version><major>7</major><minor>1</minor><release>0</release></server_version>"
            else:
                late = os.path.exists(LATER)
                tasks = [TASK % (2, ACTIVE % 2), TASK % (0, ""), TASK % (5, "")] + [TASK % (2, ACTIVE % 1)] * late
                said = "<results>%s</results>" % "".join(tasks)
            self.wfile.write(b"<boinc_gui_rpc_reply>\n%s\n</boinc_gui_rpc_reply>\n\003" % said.encode())


http.server.ThreadingHTTPServer.daemon_threads = socketserver.ThreadingTCPServer.daemon_threads = True
broker = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Broker)
threading.Thread(target=broker.serve_forever, daemon=True).start()
boinc = socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[3])), Boinc)
threading.Thread(target=boinc.serve_forever, daemon=True).start()
socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[2])), Game).serve_forever()
