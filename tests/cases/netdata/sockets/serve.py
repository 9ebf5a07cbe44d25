"""Answers as the servers of four modules do; the figures change once the file `later` is there."""

import json
import os
import socketserver
import sys
import threading

LATER, PATH, *PORTS = sys.argv[1:]


def more():
    return 5 if os.path.exists(LATER) else 0


def dovecot(line):
    return f"num_logins\tnum_connected_sessions\tauth_successes\tuser_cpu\n{100 + more()}\t7\t3\t1.5\n\n".encode()


def gearman(line):
    jobs = ["prefix send mail\t%d\t1\t5" % (3 + more()), "idle\t0\t0\t0"]
    jobs.append("gone\t1\t0\t2" if not more() else "come\t4\t2\t2")
    return ("".join(f"{job}\n" for job in jobs) + ".\n").encode()


def hddtemp():
    return f"|/dev/sda|WDC WD10|{30 + more()}|C||/dev/sdb|A B|SLP|*|".encode()


def uwsgi():
    keys = ("requests", "tx", "avg_rt", "rss", "vsz", "exceptions", "harakiri_count", "respawn_count")
    workers = [{"pid": 11, **{key: n * 10 + more() for n, key in enumerate(keys)}}]
    if more():
        workers.append({"pid": 12, **dict.fromkeys(keys, 3)})
    return json.dumps({"workers": workers, "pad": "x" * 9000}).encode()


def asked(answer):
    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(answer(line))

    return Handler


def telling(answer):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall(answer())

    return Handler


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


servers = [Server(("127.0.0.1", int(port)), handler) for port, handler in zip(PORTS, (asked(dovecot), asked(gearman), telling(hddtemp), telling(uwsgi)))]
servers.append(UnixServer(PATH, asked(dovecot)))
threads = [threading.Thread(target=server.serve_forever) for server in servers]
for thread in threads:
    thread.start()
