"""Reports to the agent: HTTP/1.1 over its Unix socket (or TCP), written by hand.

A post costs 16 µs of CPU this way, 72 with `http.client`, and a worker does not carry `email`, `ssl` and `http` in its
memory. Each thread keeps one connection alive.

`Agent.post` delivers *at least once*: a connection that fails before the answer is complete leaves it unknown whether
the agent has the report, and then it is sent again. Three things are tried again until the deadline: no connection or
no whole answer, 429, 503; the last two after the time that the agent asks for.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Tuple, Union

    Address = Union[str, Tuple[str, int]]

ANSWER_TIMEOUT = 10.0
# The header of an answer that says what was changed or left out.
REPAIRED = "x-pythond-repaired"
_MAX_HEAD = 64 * 1024
_MAX_BODY = 16 * 1024 * 1024
_JOIN_BELOW = 64 * 1024
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class Reply:
    """What became of a post: the agent's answer, or status 0 and the reason why there is none."""

    __slots__ = ("repaired", "retry_after", "status", "text", "told")

    def __init__(
        self, status: int, text: str, retry_after: float | None = None, repaired: str = "", told: Any = None
    ) -> None:
        """`repaired` is what the agent changed in what it took, as JSON; `told` is the text as JSON, where it is read
        already."""
        self.told = told
        self.status = status
        self.text = text
        self.retry_after = retry_after
        self.repaired = repaired

    @property
    def is_worth_retrying(self) -> bool:
        return self.status in (0, 429, 503)


def pause_before_retry(tries: int, retry_after: float | None) -> float:
    """Returns how many seconds to wait after `tries` failures: what the agent asks for, else 0.1 s doubling to 5 s."""
    if retry_after is not None:
        return retry_after
    return min(_FIRST_PAUSE * 2.0 ** min(tries, 16), _LONGEST_PAUSE)


class Agent:
    """The agent as seen by one worker."""

    def __init__(
        self,
        address: Address,
        token: str = "",
        wait: Callable[[float], bool] | None = None,
        timeout: float = ANSWER_TIMEOUT,
    ) -> None:
        """`wait` sleeps and says whether the worker is to stop, which ends the retries."""
        self._address = address
        self._wait = wait or _sleep
        self._timeout = timeout
        self.token = token
        self._head = f"X-Pythond-Worker: {token}\r\n" if token else ""
        self._local = threading.local()

    def post(self, path: str, content_type: str, body: bytes, deadline: float) -> Reply:
        """Posts a report; returns the agent's answer, or the last failure once `deadline` (monotonic) is too near."""
        return self.request("POST", path, content_type, body, deadline)

    def request(self, method: str, path: str, content_type: str, body: bytes, deadline: float) -> Reply:
        """Sends any request the way `post` does."""
        kind = f"Content-Type: {content_type}\r\n" if content_type else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{self._head}{kind}Content-Length: {len(body)}\r\n\r\n"
        data = head.encode("ascii")
        tries = 0
        stopping = False
        while True:
            reply = self._once(data, body)
            if stopping or not reply.is_worth_retrying:
                return reply
            pause = pause_before_retry(tries, reply.retry_after)
            if time.monotonic() + pause > deadline:
                return reply
            stopping = self._wait(pause)
            tries += 1

    def rest(self) -> None:
        """Closes this thread's connection: an open one costs the agent 20 KB, and nothing will be sent for a while."""
        connection: Connection | None = self._local.__dict__.get("connection")
        if connection is not None:
            connection.close()

    def _once(self, head: bytes, body: bytes) -> Reply:
        connection = self._connection()
        try:
            try:
                return connection.exchange(head, body)
            except Stale:
                return connection.exchange(head, body)
        except (OSError, Broken) as error:
            connection.close()
            return Reply(0, f"agent at {_name(self._address)}: {_reason(error)}")

    def _connection(self) -> Connection:
        local = self._local.__dict__
        # A forked child must not speak on the connection of its parent.
        if local.get("pid") != os.getpid():
            local["pid"] = os.getpid()
            local["connection"] = Connection(self._address, self._timeout)
        connection: Connection = local["connection"]
        return connection


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


class Broken(Exception):
    """The connection ended, or what came over it is no HTTP."""


class Stale(Broken):
    """The peer had closed a kept-alive connection before this request reached it: sending again is safe."""


class Connection:
    """One connection, opened when needed and kept."""

    def __init__(self, address: Address, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._until = 0.0
        # Whether the kernel knows the time-out.
        self._is_limited = False

    def exchange(self, head: bytes, body: bytes) -> Reply:
        """Sends one request and reads its answer.

        Raises `Stale` (send it again), `Broken` and `OSError`; the connection is closed then.
        """
        self._until = time.monotonic() + self._timeout
        reused = self._socket is not None
        try:
            if self._socket is None:
                self._socket = self._open()
            send_error = self._send(head, body)
            try:
                return self._read_reply()
            except Broken as error:
                raise send_error or error from error
        except (OSError, Broken) as error:
            silent = not self._buffer
            self.close()
            if reused and silent and not isinstance(error, socket.timeout):
                raise Stale(_reason(error)) from error
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._is_limited = False
        self._buffer = b""

    def _open(self) -> socket.socket:
        if isinstance(self._address, str):
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                opened.settimeout(self._timeout)
                opened.connect(self._address)
                self._limit(opened)
            except BaseException:
                opened.close()
                raise
            return opened
        opened = socket.create_connection(self._address, self._timeout)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def _limit(self, opened: socket.socket) -> None:
        """Has the kernel limit each step of a local socket: Python asks it three times for one with a time-out.

        Each time the other threads of the worker may run, and this one has to wait for its turn.
        """
        if sys.platform == "linux" and struct.calcsize("l") == 8:
            whole, part = divmod(self._timeout, 1.0)
            limit = struct.pack("ll", int(whole), int(part * 1e6))
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            opened.settimeout(None)
            self._is_limited = True

    def _prepare(self) -> None:
        """Limits the next step to what is left. Raises `socket.timeout` where nothing is."""
        left = self._left()
        if self._is_limited and left < self._timeout / 2:
            # So much has passed already: the exact way.
            self._is_limited = False
        if not self._is_limited:
            assert self._socket is not None
            self._socket.settimeout(left)

    def _send(self, head: bytes, body: bytes) -> OSError | None:
        """Sends; a failure is returned, for an agent that refuses early may have answered before it closed."""
        assert self._socket is not None
        try:
            self._prepare()
            if len(body) < _JOIN_BELOW:
                self._socket.sendall(head + body)
            else:
                self._socket.sendall(head)
                self._socket.sendall(body)
        except (BrokenPipeError, ConnectionResetError) as error:
            return error
        except BlockingIOError as error:
            raise socket.timeout("timed out") from error
        return None

    def _read_reply(self) -> Reply:
        while True:
            status, headers = _parse_head(self._take_until(b"\r\n\r\n", _MAX_HEAD))
            if status >= 200:
                break
        closes = "close" in headers.get("connection", "").lower()
        if status in (204, 304):
            body = b""
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            body = self._take_chunks()
        elif "content-length" in headers:
            body = self._take(_length(headers["content-length"], 10))
        else:
            body, closes = self._take_rest(), True
        if closes or self._buffer:  # bytes that nobody asked for: the next answer could not be told from them
            self.close()
        text = body.decode("utf-8", "replace")
        return Reply(status, text, _seconds(headers.get("retry-after")), headers.get(REPAIRED, ""))

    def _take_chunks(self) -> bytes:
        body = b""
        while True:
            size = _length(self._take_until(b"\r\n", _MAX_HEAD).split(b";")[0].decode("latin-1"), 16)
            if size == 0:
                break
            if len(body) + size > _MAX_BODY:
                raise Broken("the answer is too long")
            body += self._take(size)
            if self._take(2) != b"\r\n":
                raise Broken("the answer is no HTTP: a chunk does not end where it should")
        while self._take_until(b"\r\n", _MAX_HEAD):
            pass
        return body

    def _take_until(self, mark: bytes, limit: int) -> bytes:
        while mark not in self._buffer:
            if len(self._buffer) > limit:
                raise Broken("the answer is no HTTP: its head does not end")
            if not self._fill():
                raise Broken("the connection was closed before the answer was complete")
        taken, self._buffer = self._buffer.split(mark, 1)
        return taken

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._fill():
                raise Broken("the connection was closed before the answer was complete")
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _take_rest(self) -> bytes:
        while self._fill():
            if len(self._buffer) > _MAX_BODY:
                raise Broken("the answer is too long")
        taken, self._buffer = self._buffer, b""
        return taken

    def _fill(self) -> bool:
        assert self._socket is not None
        self._prepare()
        try:
            data = self._socket.recv(65536)
        except BlockingIOError as error:
            raise socket.timeout("timed out") from error
        self._buffer += data
        return bool(data)

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        return left


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ", 2)
    if not parts[0].startswith("HTTP/1.") or len(parts) < 2 or not (parts[1].isdigit() and len(parts[1]) == 3):
        raise Broken(f"the answer is no HTTP: it begins with {first[:40]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(parts[1]), headers


def _length(text: str, base: int) -> int:
    try:
        size = int(text.strip(), base)
    except ValueError:
        size = -1
    if not 0 <= size <= _MAX_BODY:
        raise Broken(f"the answer is no HTTP: its length is {text[:20]!r}")
    return size


def _seconds(text: str | None) -> float | None:
    """Reads a `Retry-After` in seconds; the form with a date is treated as if nothing was asked for."""
    return float(text) if text is not None and text.isdigit() else None


def _name(address: Address) -> str:
    return address if isinstance(address, str) else f"{address[0]}:{address[1]}"


def _reason(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, socket.timeout) else str(error) or type(error).__name__
