"""The language of `resource_filter`: which resources a plugin is run against.

    query      = condition { ("AND" | "OR") condition }        AND binds tighter
    condition  = field ("=" | "!=" | "eq" | "ne") text
               | field ["NOT"] "LIKE" text                     % is any text, _ any character; case does not count
               | field ["NOT"] "IN" "(" text { "," text } ")"
    field      = resource_site, _class, _subclass, _type, _id, _endpoint, or resource_metadata.<key>
               (a key is letters, digits and `_`; blanks around its dot do not count)
    text       = in double quotes; a backslash takes the next character as it is

Words and fields are the same in upper and lower case. A resource without a key of metadata meets no condition on it,
also none with `!=` or `NOT`: a missing value is neither equal nor unequal, as in SQL.
"""

from __future__ import annotations

import difflib
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Protocol

    Test = Callable[["Resource"], bool]

    class Resource(Protocol):
        """What is asked of a resource; a `PanoptesResource` has it."""

        @property
        def resource_metadata(self) -> dict[str, str]: ...

    Tokens = List["Token"]

FIELDS = (
    "resource_site",
    "resource_class",
    "resource_subclass",
    "resource_type",
    "resource_id",
    "resource_endpoint",
)
METADATA = "resource_metadata."
_ALIKE = 0.9
_TOKEN = re.compile(
    r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>resource_metadata\s*\.\s*\w+|[\w.\-:]+)|(?P<mark>!=|[=(),])|(?P<other>\S))',
    re.S | re.I,
)
_METADATA = re.compile(r"resource_metadata\s*\.\s*(\w+)\Z", re.I)


class FilterError(ValueError):
    """A query is wrong; `column` counts from 1."""

    def __init__(self, text: str, query: str, column: int) -> None:
        super().__init__(text)
        self.text = text
        self.query = query
        self.column = column

    def pointed(self) -> str:
        """Returns the query with a caret below the place."""
        line_start = self.query.rfind("\n", 0, self.column - 1) + 1
        line = self.query[line_start:].split("\n", 1)[0]
        return f"{line}\n{' ' * (self.column - 1 - line_start)}^"


class Token:
    """A piece of a query: `kind` is text, word, mark or end."""

    __slots__ = ("column", "kind", "text")

    def __init__(self, kind: str, text: str, column: int) -> None:
        self.kind = kind
        self.text = text
        self.column = column

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text.upper() == word


class Filter:
    """A query that has been understood."""

    def __init__(self, query: str) -> None:
        """Raises `FilterError`."""
        self.query = query
        self._matches = _Parser(query).query()

    def matches(self, resource: Resource) -> bool:
        return self._matches(resource)


class _Parser:
    def __init__(self, query: str) -> None:
        self._query = query
        self._tokens = list(self._split())
        self._at = 0

    def _split(self) -> Tokens:
        tokens: Tokens = []
        at = 0
        while True:
            found = _TOKEN.match(self._query, at)
            if found is None:
                tokens.append(Token("end", "", len(self._query.rstrip()) + 1))
                return tokens
            kind = found.lastgroup or ""
            if kind == "other":
                raise self._wrong_character(found["other"], found.start("other") + 1)
            tokens.append(Token(kind, found[kind], found.start(kind) + 1))
            at = found.end()

    def _wrong_character(self, character: str, column: int) -> FilterError:
        if character == "'":
            return self._error('texts stand in double quotes: `"`', column)
        if character == '"':
            return self._error("this text has no end", column)
        return self._error(f"`{character}` is no part of the language", column)

    def _error(self, text: str, column: int) -> FilterError:
        return FilterError(text, self._query, column)

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _take_word(self, word: str) -> bool:
        if self._tokens[self._at].is_word(word):
            self._at += 1
            return True
        return False

    def query(self) -> Test:
        if self._tokens[0].kind == "end":
            raise self._error("the filter is empty", 1)
        ways = [self._all_of()]
        while self._take_word("OR"):
            ways.append(self._all_of())
        rest = self._next()
        if rest.kind != "end":
            raise self._error(f"`AND` or `OR` must stand here, not `{rest.text}`", rest.column)
        return _any(ways)

    def _all_of(self) -> Test:
        conditions = [self._condition()]
        while self._take_word("AND"):
            conditions.append(self._condition())
        return _all(conditions)

    def _condition(self) -> Test:
        value = self._field()
        token = self._next()
        operator = token.text.upper() if token.kind == "word" else token.text
        negated = operator == "NOT"
        if negated:
            token = self._next()
            operator = token.text.upper()
            if operator not in ("LIKE", "IN"):
                raise self._error("`LIKE` or `IN` must stand behind `NOT`", token.column)
        if operator in ("=", "EQ", "!=", "NE"):
            return _equals(value, self._text(), operator in ("!=", "NE"))
        if operator == "LIKE":
            return _like(value, self._text(), negated)
        if operator == "IN":
            return _one_of(value, self._texts(), negated)
        found = f"not `{token.text}`" if token.text else "but the filter ends"
        raise self._error(f"one of = != eq ne LIKE IN NOT must stand here, {found}", token.column)

    def _field(self) -> Callable[[Resource], str | None]:
        token = self._next()
        name = token.text.lower()
        if token.kind == "word" and name in FIELDS:
            return _attribute(name)
        metadata = _METADATA.match(token.text) if token.kind == "word" else None
        if metadata:
            return _metadata(metadata[1])
        if token.kind == "end":
            raise self._error("a condition must stand here, but the filter ends", token.column)
        if token.text == "(":
            raise self._error("there are no parentheses around conditions; AND binds tighter than OR", token.column)
        known = ", ".join(FIELDS)
        near = difflib.get_close_matches(name, FIELDS, 1, _ALIKE)
        meant = f"; did you mean `{near[0]}`?" if near else f"; those are {known}, {METADATA}<key>"
        raise self._error(f"`{token.text}` is no field{meant}", token.column)

    def _text(self) -> str:
        token = self._next()
        if token.kind != "text":
            found = f"not `{token.text}`" if token.text else "but the filter ends"
            raise self._error(f"a text in double quotes must stand here, {found}", token.column)
        return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.S)

    def _texts(self) -> list[str]:
        self._mark("(")
        texts = [self._text()]
        while self._tokens[self._at].text == "," and self._tokens[self._at].kind == "mark":
            self._at += 1
            texts.append(self._text())
        self._mark(")")
        return texts

    def _mark(self, mark: str) -> None:
        token = self._next()
        if token.kind != "mark" or token.text != mark:
            found = f"not `{token.text}`" if token.text else "but the filter ends"
            raise self._error(f"`{mark}` must stand here, {found}", token.column)


def _attribute(name: str) -> Callable[[Resource], str | None]:
    def value(resource: Any) -> str | None:
        found: str = getattr(resource, name)
        return found

    return value


def _metadata(key: str) -> Callable[[Resource], str | None]:
    def value(resource: Resource) -> str | None:
        return resource.resource_metadata.get(key)

    return value


def _equals(value: Callable[[Resource], str | None], text: str, negated: bool) -> Test:
    def test(resource: Resource) -> bool:
        found = value(resource)
        return found is not None and (found == text) is not negated

    return test


def _one_of(value: Callable[[Resource], str | None], texts: list[str], negated: bool) -> Test:
    def test(resource: Resource) -> bool:
        found = value(resource)
        return found is not None and (found in texts) is not negated

    return test


def _like(value: Callable[[Resource], str | None], text: str, negated: bool) -> Test:
    parts = {"%": ".*", "_": "."}
    # SQLite takes only the letters of ASCII for the same in upper and lower case; so does `re.ASCII`.
    pattern = re.compile("".join(parts.get(one) or re.escape(one) for one in text), re.S | re.I | re.A)

    def test(resource: Resource) -> bool:
        found = value(resource)
        return found is not None and (pattern.fullmatch(found) is not None) is not negated

    return test


def _any(ways: list[Test]) -> Test:
    return ways[0] if len(ways) == 1 else lambda resource: any(way(resource) for way in ways)


def _all(conditions: list[Test]) -> Test:
    return conditions[0] if len(conditions) == 1 else lambda resource: all(one(resource) for one in conditions)
