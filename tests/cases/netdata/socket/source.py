"""Answers `stats` as a cache does: of what was read it tells more each time."""

import socketserver
import sys


class Cache(socketserver.StreamRequestHandler):
    read = 0

    def handle(self):
        for line in self.rfile:
            Cache.read += 1000
            stats = {"limit_maxbytes": 64 << 20, "bytes": 16 << 20, "bytes_read": Cache.read, "still": 5, "get_hits": 3, "get_misses": 1}
            text = "".join(f"STAT {key} {value}\r\n" for key, value in stats.items())
            self.wfile.write(f"{text}END\r\n".encode() if line == b"stats\r\n" else b"ERROR\r\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


server = Server(("127.0.0.1", int(sys.argv[1])), Cache)
print("ready", flush=True)
server.serve_forever()
