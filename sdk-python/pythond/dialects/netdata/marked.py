"""YAML with the place of each key and value.

PyYAML comes from the interpreter of the input; without it `MISSING` says how to get it. What is read is what the safe
loader reads, with mappings in the order of the file.
"""

from __future__ import annotations

from collections import OrderedDict

from pythond.dialects.netdata import optional

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

yaml: Any = optional.first_of("yaml")

MISSING = "install PyYAML for the interpreter of this input: apt install python3-yaml, or pip install pyyaml"


_UNENDED = "unexpected end of stream"
_INDENTED = "mapping values are not allowed"
_HELP = "indent this line like those around it; a value with `: ` in it needs quotes"


class Unreadable(Exception):
    """A text that is no YAML, with the line and column of what is wrong (from 1; 0 is unknown)."""

    def __init__(self, text: str, line: int, column: int, help: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.line = line
        self.column = column
        self.help = help


class Pair:
    """A key of a mapping with its value, and where both are."""

    __slots__ = ("_node", "column", "is_mapping", "is_text", "key", "line", "value_column", "value_line")

    def __init__(self, key: str, key_node: Any, node: Any) -> None:
        self.key = key
        # Whether the key is text, and no number or the like.
        self.is_text = key_node.tag == "tag:yaml.org,2002:str"
        self.line, self.column = _place(key_node.start_mark)
        self.value_line, self.value_column = _place(node.start_mark)
        # Not a set, which has the same kind of node.
        self.is_mapping = isinstance(node, yaml.MappingNode) and node.tag != "tag:yaml.org,2002:set"
        self._node = node

    def value(self) -> Any:
        """Returns the value. Raises `Unreadable` for what the safe loader does not read."""
        return _constructed(self._node)

    def pairs(self) -> list[Pair]:
        """Returns what the value, a mapping, holds. Raises `Unreadable`."""
        return _pairs(self._node)

    def repeated(self) -> list[tuple[str, Pair, Pair]]:
        """Returns the keys that the value, a mapping, has twice; before `pairs`, which moves keys of others in."""
        return list(_repeated(self._node))

    @property
    def is_empty(self) -> bool:
        """Says whether no value is written."""
        return bool(self._node.tag == "tag:yaml.org,2002:null")

    def text(self) -> str:
        """Returns a simple value as it is written."""
        return str(self._node.value) if isinstance(self._node, yaml.ScalarNode) else ""


class Document:
    """The mapping at the top of a file."""

    def __init__(self, pairs: list[Pair], repeated: list[tuple[str, Pair, Pair]]) -> None:
        """`repeated` are keys that are given twice: which, and the first and the second place."""
        self.pairs = pairs
        self.repeated = repeated


def read(data: bytes) -> Document | None:
    """Reads a file; None for an empty one. Raises `Unreadable`."""
    node = _composed(data)
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"):
        return None
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "one value"
        raise Unreadable(f"is {kind}; it must have keys with values, or jobs with keys", *_place(node.start_mark))
    # Before merging, which moves keys of others in.
    repeated = list(_repeated(node))
    return Document(_pairs(node), repeated)


def _composed(data: bytes) -> Any:
    try:
        fast = getattr(yaml, "CSafeLoader", None)
        # The fast one takes tabs where the other, netdata's, does not.
        if fast is not None and b"\t" not in data:
            try:
                return yaml.compose(data, Loader=fast)
            except yaml.YAMLError:
                # Read again by the slow one, whose words are those that people search for.
                pass
        return yaml.compose(data, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _unreadable(error, data) from error
    except RecursionError as error:
        raise Unreadable("is nested too deeply", 1, 1) from error


def _unreadable(error: Any, data: bytes = b"") -> Unreadable:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        position = getattr(error, "position", None)
        if isinstance(position, int):
            before = data[:position]
            reason = getattr(error, "reason", "cannot be read")
            return Unreadable(f"is no UTF-8: {reason}", before.count(b"\n") + 1, position - before.rfind(b"\n"))
        return Unreadable(str(error), 1, 1)
    problem = str(getattr(error, "problem", None) or error)
    if "'\\t'" in problem or "\t" in problem:
        problem = "YAML does not allow tabs here"
    begin = getattr(error, "context_mark", None)
    context = _context(getattr(error, "context", None), problem, begin, mark)
    if _UNENDED in problem and begin is not None:
        # The end of the file says nothing: what has no end is where it begins.
        mark = begin
    text = f"{context} {problem}" if problem.startswith("but ") else f"{problem} ({context})" if context else problem
    return Unreadable(text, *_place(mark), help=_HELP if _INDENTED in problem else "")


def _context(context: str | None, problem: str, begin: Any, mark: Any) -> str:
    """Returns what was being read where something is wrong, with the line where that begins, if it is another one."""
    if not context or begin is None or context.startswith("expected"):
        return context or ""
    if _UNENDED in problem:
        return f"{context} that begins here"
    return f"{context} that begins in line {begin.line + 1}" if begin.line != mark.line else context


def _place(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _pairs(node: Any) -> list[Pair]:
    """Returns the pairs of a mapping, merged (`<<`), the last one of each key at the place of the first."""
    constructor = _maker()
    try:
        constructor.flatten_mapping(node)
    except yaml.YAMLError as error:
        raise _unreadable(error) from error
    found: dict[str, Pair] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise Unreadable("a key must be a name", *_place(key_node.start_mark))
        key = key_node.value if key_node.tag != "tag:yaml.org,2002:null" else key_node.value or "null"
        found[key] = Pair(key, key_node, value_node)
    return list(found.values())


def _repeated(node: Any) -> Iterator[tuple[str, Pair, Pair]]:
    first: dict[str, Pair] = {}
    for key_node, value_node in node.value:
        if isinstance(key_node, yaml.ScalarNode) and key_node.value != "<<":
            pair = Pair(key_node.value, key_node, value_node)
            if pair.key in first:
                yield pair.key, first[pair.key], pair
            first[pair.key] = pair


def _constructed(node: Any) -> Any:
    try:
        return _maker().construct_document(node)
    except yaml.YAMLError as error:
        raise _unreadable(error) from error
    except (ValueError, OverflowError, RecursionError) as error:
        # E.g. a date that there is not.
        raise Unreadable(str(error), *_place(node.start_mark)) from error


def _maker() -> Any:
    """Returns a safe constructor with mappings that keep their order."""
    global _maker_class
    if _maker_class is None:
        _maker_class = _make_class()
    return _maker_class()


# Made at the first use: PyYAML may not be there.
_maker_class: Any = None


def _make_class() -> Any:
    class Maker(yaml.constructor.SafeConstructor):  # type: ignore[misc]
        def construct_ordered(self, node: Any) -> Any:
            made: Any = OrderedDict()
            yield made
            self.flatten_mapping(node)
            for key_node, value_node in node.value:
                key = self.construct_object(key_node, deep=True)
                try:
                    hash(key)
                except TypeError:
                    place = node.start_mark, "found unhashable key", key_node.start_mark
                    raise yaml.constructor.ConstructorError("while constructing a mapping", *place) from None
                made[key] = self.construct_object(value_node, deep=True)

    Maker.add_constructor("tag:yaml.org,2002:map", Maker.construct_ordered)
    return Maker


def load(text: Any) -> Any:
    """Returns what a text says, None for an empty one. Raises `yaml.YAMLError`, and `ImportError` without PyYAML."""
    if yaml is None:
        raise ImportError(MISSING, name="yaml")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return None if node is None else _maker().construct_document(node)
