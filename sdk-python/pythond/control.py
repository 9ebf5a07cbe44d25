"""The frames between a worker and its agent: JSON on one socket, a datagram each, or a line each over a stream.

macOS has no sockets that carry datagrams and tell their end. Sending never blocks and never fails: a collector must
not stand still because nobody reads. A frame that does not fit is dropped; its number `n` is then missing from the
sequence, which is how the agent sees the gap.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Sequence

    Frame = Dict[str, Any]

MAX_FRAME = 64 * 1024
MAX_TEXT = 8 * 1024
# Of a list that takes several frames.
PIECE = 32 * 1024


class Closed(Exception):
    """The agent has closed its end, or is gone."""


class Channel:
    """The worker's end of the control socket."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._is_stream = self._socket.type == socket.SOCK_STREAM
        self._unsent = b""
        self._lock = threading.Lock()
        self._number = 0
        self._pid = os.getpid()
        self.dropped = 0

    def own(self) -> None:
        """Makes this the channel of this process, which may have been forked since it was made."""
        self._number = 0
        self._pid = os.getpid()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, kind: str, **fields: Any) -> bool:
        """Sends one frame; says whether it went out."""
        if os.getpid() != self._pid:
            return False  # a child that a collector forked: this socket is not its own
        with self._lock:
            self._number += 1
            data = encode({"t": kind, **fields, "n": self._number})
            try:
                if self._is_stream:
                    self._send_line(data + b"\n")
                else:
                    self._socket.send(data, socket.MSG_DONTWAIT)
            except OSError:
                self.dropped += 1
                return False
        return True

    def _send_line(self, line: bytes) -> None:
        """Sends a line to a stream, which may take a part: what is left goes before the next. Raises `OSError`."""
        while self._unsent:
            self._unsent = self._unsent[self._socket.send(self._unsent, socket.MSG_DONTWAIT) :]
        self._unsent = line[self._socket.send(line, socket.MSG_DONTWAIT) :]

    def wait_for_room(self, seconds: float) -> None:
        """Waits until the agent has read what was sent, at most so long: for frames that come in numbers."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT)
        poll.poll(int(seconds * 1000))

    def receive(self) -> Frame:
        """Waits for the next frame.

        Raises `Closed` at the end of the conversation and `ValueError` for something that is no frame.
        """
        try:
            data = self._receive_line() if self._is_stream else self._socket.recv(MAX_FRAME)
        except OSError as error:
            raise Closed from error
        if not data:
            raise Closed
        frame = json.loads(data.decode("utf-8"))
        if not isinstance(frame, dict):
            raise ValueError("a frame must be a JSON object")
        return frame

    def _receive_line(self) -> bytes:
        """Returns the next line of a stream without its end, and leaves what comes after it for `poll` to see."""
        line = b""
        while len(line) <= MAX_FRAME:
            there = self._socket.recv(MAX_FRAME, socket.MSG_PEEK)
            if not there:
                raise Closed
            end = there.find(b"\n") + 1
            line += self._socket.recv(end or len(there))
            if end:
                return line[:-1]
        raise Closed  # a frame without an end: nothing that follows can be told from it


def encode(frame: Frame) -> bytes:
    """Writes a frame as bytes that fit into one datagram, leaving out the least needed parts of one that does not."""
    data = _bytes(frame)
    for key in ("where", "hint", "notes", "tb", "src", "text"):
        if len(data) <= MAX_FRAME:
            break
        if key in frame:
            frame = {**frame, key: _emptied(frame[key])}
            data = _bytes(frame)
    return data


def in_pieces(entries: Sequence[Any], size: int = PIECE) -> list[list[Any]]:
    """Cuts what is to be told into lists of at most about so many bytes as JSON, one entry at least in each."""
    pieces: list[list[Any]] = []
    room = 0
    for entry in entries:
        cost = len(_bytes(entry)) + 1
        if not pieces or cost > room:
            pieces.append([])
            room = size
        pieces[-1].append(entry)
        room -= cost
    return pieces


def _emptied(value: Any) -> Any:
    return [] if isinstance(value, list) else ""


def _bytes(frame: Any) -> bytes:
    # A lone surrogate (a file name that is no UTF-8) has no JSON form that every reader takes.
    return _to_json(frame).encode("utf-8", "replace")


# `json.dumps` with these options would make an encoder for each frame.
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """Shortens a text in its middle to at most `limit` bytes of UTF-8: both ends of a traceback matter."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return text
    mark = f"\n… {len(data) - limit} bytes left out …\n".encode()
    half = (limit - len(mark)) // 2
    return (data[:half] + mark + data[-half:]).decode("utf-8", "ignore")


def table_of(frame: Frame, key: str) -> dict[str, Any]:
    """Returns an object of the frame, an empty one where it is missing; raises `ValueError` for something else."""
    value = frame.get(key)
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"`{key}` must be an object")
    return value or {}


def number_of(frame: Frame, key: str, default: float) -> float:
    """Returns a number of the frame; raises `ValueError` for something else."""
    value = frame.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"`{key}` must be a number")
    return float(value)


def text_of(frame: Frame, key: str, default: str | None = None) -> str:
    """Returns a text of the frame; raises `ValueError` where it is missing or something else."""
    value = frame.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"`{key}` must be a text")
    return value
