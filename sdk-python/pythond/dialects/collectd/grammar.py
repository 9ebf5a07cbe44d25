"""The grammar of collectd.conf, with the place of every fault; one pass tells all of them.

    statement = Key argument… end-of-line
    block     = <Key argument…> end-of-line, statements and blocks, </Key> end-of-line

Tokens are taken as collectd takes them: the longest match wins, and of two of one length the kind that comes first in
`_longest`. What fits no kind is left out, as there, where `zk-collectd` becomes two arguments; here it is a warning.
"""

from __future__ import annotations

import re
import socket

from pythond import codes
from pythond.dialects import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence, Union

    # Numbers are always floats. Bytes: a text that is no UTF-8.
    Value = Union[str, bytes, float, bool]

TRUE = ("true", "yes", "on")
FALSE = ("false", "no", "off")
_BLANKS = re.compile(r"[ \t\b]+|\\\r?\n|#[^\n]*")
_CLOSES = re.compile(r"<(?:[ \t\b]|\\\r?\n)*/")
_END = re.compile(r"\r?\n")
_WORD = re.compile(r"[0-9A-Za-z_]+")
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]+|[+-]?[0-9]*\.[0-9]+(?:[eE][+-][0-9]+)?|[+-]?[0-9]+")
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_PORT = r"(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_IPV4 = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}(?::{_PORT})?")
_LIKE_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")
_IN_BRACKETS = re.compile(rf"\[([0-9A-Fa-f:.]+)\](?::{_PORT})?")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_JOINED = re.compile(r"\\\r?\n[ \t]*")
_UNTIL_BLANK = re.compile(r'[^ \t\r\n#"<>]+')
_FOREIGN = re.compile(r"[^0-9A-Za-z_\s]")


class Item:
    """A statement or block, with its place; `columns` are those of its values."""

    __slots__ = ("children", "column", "columns", "end_line", "file", "is_block", "key", "line", "values")

    def __init__(self, key: str, file: str, line: int, column: int, is_block: bool) -> None:
        self.key = key
        self.values: list[Value] = []
        self.columns: list[int] = []
        self.children: list[Item] = []
        self.file = file
        self.line = line
        self.end_line = line
        self.column = column
        self.is_block = is_block

    def named(self, key: str) -> bool:
        """Says whether this is what a reader of collectd.conf knows under a key; case does not matter."""
        return self.key.lower() == key.lower()

    def text(self) -> str | None:
        """Returns the only argument, where it is one text."""
        value = self.values[0] if len(self.values) == 1 else None
        return value if isinstance(value, str) else None


class _Token:
    __slots__ = ("at", "end", "kind", "value")

    def __init__(self, kind: str, value: Value, at: int, end: int) -> None:
        self.kind = kind
        self.value = value
        self.at = at
        self.end = end


def parse(data: bytes, file: str) -> tuple[list[Item], list[Fault]]:
    """Reads a file. What is wrong is left out of the items and told as a fault."""
    parser = _Parser(data.decode("utf-8", "surrogateescape"), file)
    parser.run()
    return parser.items, parser.faults


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._line_starts = [0, *(found.end() for found in re.finditer(r"\n", text))]
        self._open: list[Item] = []
        self.items: list[Item] = []
        self.faults: list[Fault] = []
        # Where the last warning of characters that fit no kind ended.
        self._told_until = 0

    def run(self) -> None:
        at = 0
        while at < len(self._text):
            tokens, at = self._line(at)
            if tokens:
                self._take(tokens)
        if self._text and not self._text.endswith("\n"):
            text = "the last line has no newline; collectd refuses such a file"
            self._tell(text, len(self._text), "warning", help="end the file with a newline")
        for item in reversed(self._open):
            end = self._place(max(0, len(self._text.rstrip()) - 1))[0]
            text = f"block `{item.key}` is not closed; the file ends on line {end}"
            self._tell_at(text, item.line, item.column, help=f"add `</{item.key}>`")
            self._leave(item, len(self._text))
        self._open.clear()

    def _line(self, at: int) -> tuple[list[_Token], int]:
        """Returns the tokens up to the next end of a line outside of quotes, and where the next line begins."""
        tokens: list[_Token] = []
        text = self._text
        while at < len(text):
            found = _END.match(text, at)
            if found:
                return tokens, found.end()
            found = _BLANKS.match(text, at)
            if found:
                at = found.end()
                continue
            token = self._token(at)
            if token is None:
                self._warn_of_foreign(at)
                at += 1
                continue
            tokens.append(token)
            at = token.end
        return tokens, at

    def _token(self, at: int) -> _Token | None:
        text = self._text
        if text[at] in "<>":
            closes = _CLOSES.match(text, at)
            return _Token("</", "", at, closes.end()) if closes else _Token(text[at], "", at, at + 1)
        if text[at] == "/":
            return _Token("/", "", at, at + 1)
        if text[at] == '"':
            return self._quoted(at)
        return _longest(text, at)

    def _quoted(self, at: int) -> _Token:
        found = _QUOTED.match(self._text, at)
        if found is None:
            # To the end of the line only, so that one forgotten quote does not hide the rest of the file.
            end = self._text.find("\n", at)
            end = len(self._text) if end < 0 else end
            self._tell("quoted text has no end", at, help='add `"`')
            return _Token("quoted", _bytes_or_text(self._text[at + 1 : end].rstrip("\r")), at, end)
        inner = _JOINED.sub("", found.group()[1:-1])
        return _Token("quoted", _bytes_or_text(re.sub(r"\\(.)", r"\1", inner, flags=re.DOTALL)), at, found.end())

    def _take(self, tokens: list[_Token]) -> None:
        first = tokens[0]
        if first.kind == "</":
            self._close(tokens)
        elif first.kind == "<":
            self._begin_block(tokens)
        elif self._is_key(first):
            self._add_statement(tokens)

    def _is_key(self, token: _Token) -> bool:
        if token.kind == "word":
            return True
        shown = self._text[token.at : token.end]
        self._tell(f"a line begins with a key, `{shown}` is none", token.at, help="a key has letters, digits and `_`")
        return False

    def _add_statement(self, tokens: list[_Token]) -> None:
        item = self._item(tokens[0], is_block=False)
        if len(tokens) == 1:
            self._tell(f"`{item.key}` has no argument", tokens[0].at, help=f"write `{item.key} VALUE`, or leave it out")
            return
        if self._fill(item, tokens[1:]):
            self._into().append(item)

    def _begin_block(self, tokens: list[_Token]) -> None:
        if len(tokens) < 2 or not self._is_key(tokens[1]):
            if len(tokens) < 2:
                self._tell("`<` without the name of a block", tokens[0].at, help="write `<Name ARGUMENT>`")
            return
        item = self._item(tokens[1], is_block=True)
        closing = next((number for number, token in enumerate(tokens) if token.kind == ">"), len(tokens))
        if closing == len(tokens):
            self._tell(f"`<{item.key}` has no `>` on its line", tokens[-1].end - 1, help="add `>`")
        self._fill(item, tokens[2:closing])
        self._open.append(item)
        rest = tokens[closing + 1 :]
        if rest:
            self._tell(
                f"after `<{item.key} …>` the line must end", rest[0].at, help="put what follows on a line of its own"
            )
            self._take(rest)

    def _close(self, tokens: list[_Token]) -> None:
        if len(tokens) < 2 or tokens[1].kind != "word":
            self._tell("`</` without the name of a block", tokens[0].at, help="write `</Name>`")
            return
        if len(tokens) != 3 or tokens[2].kind != ">":
            at = tokens[2].at if len(tokens) > 2 and tokens[2].kind != ">" else tokens[-1].end
            self._tell(f"after `</{tokens[1].value!s}` only `>` may come", at)
        key = str(tokens[1].value)
        names = [item.key for item in self._open]
        if key not in names:
            self._tell_no_block(key, tokens[0])
            return
        while self._open[-1].key != key:
            inner = self._open.pop()
            line = self._place(tokens[0].at)[0]
            text = f"block `{inner.key}` is not closed; `</{key}>` on line {line} comes first"
            self._tell_at(text, inner.line, inner.column, help=f"add `</{inner.key}>`")
            self._leave(inner, tokens[0].at)
        self._leave(self._open.pop(), tokens[0].at)

    def _tell_no_block(self, key: str, token: _Token) -> None:
        """Says that nothing is open under this name; if the innermost block differs in case only, that it is meant."""
        if not self._open or self._open[-1].key.lower() != key.lower():
            self._tell(f"`</{key}>` closes no block", token.at, help="remove it, or add the block's first line")
            return
        item = self._open.pop()
        text = f"`</{key}>` does not close `<{item.key}>` of line {item.line}: case matters here"
        self._tell(text, token.at, help=f"write `</{item.key}>`")
        self._leave(item, token.at)

    def _leave(self, item: Item, at: int) -> None:
        """Hangs a finished block into what encloses it; one without arguments and content vanishes."""
        item.end_line = self._place(at)[0]
        if not item.values and not item.children:
            return
        depth = self._open.index(item) if item in self._open else len(self._open)
        (self._open[depth - 1].children if depth else self.items).append(item)

    def _into(self) -> list[Item]:
        return self._open[-1].children if self._open else self.items

    def _item(self, token: _Token, is_block: bool) -> Item:
        line, column = self._place(token.at)
        return Item(str(token.value), self._file, line, column, is_block)

    def _fill(self, item: Item, tokens: Sequence[_Token]) -> bool:
        """Gives an item its arguments; says whether they are arguments all."""
        for token in tokens:
            if token.kind in ("<", "</", ">", "/"):
                self._tell(f"`{token.kind}` cannot stand here", token.at, help="put it in quotes")
                return False
            if token.kind == "word" and str(token.value).lower() in TRUE + FALSE:
                text = f"`{token.value!s}` is a text; only `{str(token.value).lower()}` is a truth value"
                self._tell(
                    text, token.at, "warning", code=codes.FOREIGN_VALUE, help=f"write `{str(token.value).lower()}`"
                )
            item.values.append(token.value)
            item.columns.append(self._place(token.at)[1])
        return True

    # --- faults ---

    def _warn_of_foreign(self, at: int) -> None:
        """Warns once of each run of characters in which some cannot stand without quotes."""
        if at < self._told_until:
            return
        start = at
        while start and _UNTIL_BLANK.match(self._text, start - 1) and self._text[start - 1] not in '"<>#':
            start -= 1
        found = _UNTIL_BLANK.match(self._text, start)
        end = found.end() if found else at + 1
        self._told_until = max(end, at + 1)
        run = self._text[start:end]
        left = " ".join(_FOREIGN.sub(" ", run).split()) or "nothing"
        text = f"`{self._text[at]}` is left out here, as collectd does: `{run}` is read as `{left}`"
        self._tell(text, at, "warning", help=f'write `"{run}"`')

    def _tell(
        self, text: str, at: int, severity: str = "error", code: str = codes.FOREIGN_SYNTAX, help: str = ""
    ) -> None:
        line, column = self._place(at)
        self._tell_at(text, line, column, severity, code, help)

    def _tell_at(
        self,
        text: str,
        line: int,
        column: int,
        severity: str = "error",
        code: str = codes.FOREIGN_SYNTAX,
        help: str = "",
    ) -> None:
        self.faults.append(Fault(code, text, self._file, line, column, severity, self._source(line), help))

    def _place(self, at: int) -> tuple[int, int]:
        """Returns line and column of an offset, from 1."""
        low, high = 0, len(self._line_starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._line_starts[middle] <= at else (low, middle)
        return low + 1, at - self._line_starts[low] + 1

    def _source(self, line: int) -> str:
        start = self._line_starts[line - 1]
        end = self._text.find("\n", start)
        text = self._text[start : len(self._text) if end < 0 else end].rstrip("\r")
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _longest(text: str, at: int) -> _Token | None:
    """Returns the longest token without quotes, of equally long ones the first kind."""
    best: _Token | None = None
    for kind, value, end in _matches(text, at):
        if best is None or end > best.end:
            best = _Token(kind, value, at, end)
    return best


def _matches(text: str, at: int) -> Iterator[tuple[str, Value, int]]:
    word = _WORD.match(text, at)
    if word and word.group() in TRUE + FALSE:
        yield "truth", word.group() in TRUE, word.end()
    end = _end_of_address(text, at)
    if end:
        yield "address", text[at:end], end
    number = _NUMBER.match(text, at)
    if number:
        shown = number.group()
        yield "number", float(int(shown, 16)) if shown[:2] in ("0x", "0X") else float(shown), number.end()
    if word:
        yield "word", word.group(), word.end()


def _end_of_address(text: str, at: int) -> int:
    """Returns where an IP address that begins here ends, 0 where none does."""
    ends = [0]
    found = _IPV4.match(text, at)
    if found:
        ends.append(found.end())
    found = _IN_BRACKETS.match(text, at)
    if found and _is_ipv6(found.group(1)):
        ends.append(found.end())
    found = _LIKE_IPV6.match(text, at)
    if found and found.group().count(":") > 1:
        end = found.end()
        while end > at + 1 and not _is_ipv6(text[at:end]):
            end -= 1
        ends.append(end if end > at + 1 else 0)
    return max(ends)


def _is_ipv6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True


def _bytes_or_text(text: str) -> Value:
    """Returns a text as plugins get it: bytes where it is no UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return text
