"""Where things lie in the memory that a zygote shares with its workers.

A worker gets a page of its own as soon as it writes to one byte of it, and Python writes to whatever it only reads: it
counts references. So the byte code of the functions that workers run moves to pages of its own, and the rest stays
untouched.
"""

from __future__ import annotations

import gc
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable


def gather(codes: Iterable[int]) -> list[Any]:
    """Gives the functions whose code has one of these `id`s a copy of it, made now, in the order of the `id`s.

    Returns the code that they had: freed, it would be the next gap.
    """
    functions: dict[int, list[types.FunctionType]] = {}
    for one in gc.get_objects():
        if type(one) is types.FunctionType:
            functions.setdefault(id(one.__code__), []).append(one)
    old: list[Any] = []
    for code in codes:
        for function in functions.get(code, ()):
            old.append(function.__code__)
            function.__code__ = _copied(function.__code__)
    return old


def _copied(code: types.CodeType) -> types.CodeType:
    """Returns a copy, also of the functions within."""
    inner = [_copied(one) if isinstance(one, types.CodeType) else one for one in code.co_consts]
    return code.replace(co_consts=tuple(inner))
