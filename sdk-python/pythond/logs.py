"""Standard streams that cannot hurt a collector.

Prints go to the agent line by line. A stream without a reader, closed by a collector or full is never an error in its
`run`: with DataKit, collectors died or stood still of a `print`.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_GONE = (errno.EPIPE, errno.EBADF, errno.EIO, errno.ENOSPC)


class _Pipe(io.RawIOBase):
    """Writes to a descriptor; what nobody can read any more is thrown away."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                # Somebody (asyncio does it) has made the pipe non-blocking.
                select.select([], [self._fd], [], 1.0)
            except OSError as error:
                if error.errno in _GONE:
                    return len(data)
                raise


class _Buffer(io.BufferedWriter):
    """The `buffer` of a stream; stays open when a wrapper that was put around it goes away."""

    def close(self) -> None:
        self.flush()


class Stream(io.TextIOWrapper):
    """A text stream that a collector cannot close for the others."""

    def close(self) -> None:
        self.flush()

    def detach(self) -> Any:
        self.flush()
        return _Buffer(_Pipe(self.fileno()))


def open_stream(fd: int) -> Stream:
    """Opens a line-buffered text stream on a descriptor; what has no UTF-8 form is written with backslashes."""
    return Stream(_Buffer(_Pipe(fd)), encoding="utf-8", errors="backslashreplace", newline="\n", line_buffering=True)


def replace_streams() -> None:
    """Puts the harmless streams in place of `sys.stdout` and `sys.stderr`."""
    reopen_closed()
    flush()
    sys.stdout = open_stream(1)
    sys.stderr = open_stream(2)
    # What a collector falls back on after it has put something else there.
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]


def reopen_closed() -> None:
    """Opens /dev/null in place of a closed standard descriptor, so that the next opened file does not become it."""
    for fd in (0, 1, 2):
        try:
            # Of the calls that fail for a closed one, one that does not let other threads run.
            os.get_inheritable(fd)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
            os.set_inheritable(fd, True)


def flush() -> None:
    """Writes out what the streams still hold; never fails."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            # A collector may have put anything at all in their place.
            pass
