"""The base of all exceptions of Panoptes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class PanoptesBaseException(Exception):
    """As in the original, its first argument is the exception itself: its text is `(Name(...), 'what was said')`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(self, *args, **kwargs)

    def __str__(self) -> str:
        # The original never returns from making this text.
        return f"{type(self).__name__}()" if len(self.args) < 2 else super().__str__()
