"""An https server for git: `git http-backend` behind basic auth, and the ways in which a server can be wrong.

Arguments: certificate, key (`-`: plain http), folder with repositories, file for the log. Prints its port, then serves until it is killed.
`/NAME.git/...` wants the login of the file NAME.git/login where there is one; `/html/`, `/hang/`, `/status/503/` and
`/away/URL` misbehave; `/cut/NAME.git/` breaks off in the middle of a pack, `/digest/` wants another kind of login, `/files/NAME.git/` hands
out the files only. The log has one line a request: method, path, login.
"""

import base64
import http.server
import os
import ssl
import subprocess
import sys
import threading
import time

CERT, KEY, ROOT, LOG = sys.argv[1:5]
LOCK = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    is_cut = False

    def login(self) -> str:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(value).decode() if kind == "Basic" else "-"

    def plain(self, status: int, body: bytes, headers: dict) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        with LOCK, open(LOG, "a") as log:
            log.write(f"{self.command} {self.path} {self.login()}\n")
        path, _, query = self.path.partition("?")
        parts = path.strip("/").split("/")
        if parts[0] == "html":
            self.plain(200, b"<html>\n<body>Sign in</body>\n</html>\n", {"Content-Type": "text/html"})
        elif parts[0] == "hang":
            time.sleep(3600)
        elif parts[0] == "status":
            self.plain(int(parts[1]), b"no", {"Content-Type": "text/plain"})
        elif parts[0] == "away":
            target = open(os.path.join(ROOT, "away")).read().strip()
            self.plain(302, b"", {"Location": f"{target}/{'/'.join(parts[1:])}?{query}"})
        elif parts[0] == "digest":
            self.plain(401, b"", {"WWW-Authenticate": 'Digest realm="collectors", nonce="x"'})
        elif parts[0] == "files":
            self.files(os.path.join(ROOT, *parts[1:]))
        elif parts[0] == "cut":
            self.is_cut = self.command == "POST"
            self.repository("/" + "/".join(parts[1:]), query, parts[1])
        else:
            self.repository(path, query, parts[0])

    do_POST = do_GET

    def files(self, name: str) -> None:
        try:
            self.plain(200, open(name, "rb").read(), {"Content-Type": "text/plain"})
        except OSError:
            self.plain(404, b"", {})

    def repository(self, path: str, query: str, name: str) -> None:
        wanted = os.path.join(ROOT, name, "login")
        if os.path.exists(wanted) and open(wanted).read().strip() != self.login():
            return self.plain(401, b"who are you?", {"WWW-Authenticate": 'Basic realm="collectors"'})
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_PROJECT_ROOT": ROOT,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "test",
            "REMOTE_ADDR": "127.0.0.1",
        }
        answer = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE).stdout
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200 OK").split()[0])
        if self.is_cut:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.plain(status, body, headers)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # A client that does not trust the certificate goes away.

    def finish_request(self, request: object, client_address: object) -> None:
        # The handshake belongs into the thread of the connection: one that hangs must not stop the others.
        if CERT != "-":
            request = CONTEXT.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
        super().finish_request(request, client_address)


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
if CERT != "-":
    CONTEXT.load_cert_chain(CERT, KEY)
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
