"""What a module's `Service` finds in place of netdata's plugin: its job here.

A `Service` is made by its job (`making`), in the job's thread; one that a module makes by itself, or that is made
outside of an agent, has the link that does nothing.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class Link:
    """The ways of one `Service` to its job."""

    __slots__ = ("data", "fractions", "module", "print_line", "warn")

    def __init__(
        self,
        module: str = "",
        warn: Callable[[str, str], None] | None = None,
        fractions: bool = True,
        print_line: Callable[[str], None] | None = None,
    ) -> None:
        """`module` is the file's name without `.chart.py`; `print_line` takes what netdata would have been told."""
        self.module = module
        self.warn = warn or _ignore
        self.fractions = fractions
        self.print_line = print_line
        # What `get_data` returned last.
        self.data: Any = NOTHING


# No `get_data` was called yet.
NOTHING = object()


def _ignore(code: str, text: str) -> None:
    """Takes warnings where nobody reads them."""


_here = threading.local()


class making:  # reads as a verb in a `with`
    """While it lasts, what is made in this thread belongs to a link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __enter__(self) -> None:
        self._before = getattr(_here, "link", None)
        _here.link = self._link

    def __exit__(self, *error: object) -> None:
        _here.link = self._before


def current() -> Link:
    """Returns the link of what is being made in this thread."""
    return getattr(_here, "link", None) or Link()
