"""collectd.conf as collectd reads it, and every fault with its place."""

import pytest

import collectd_lab as lab  # noqa: F401 (puts the SDK on the path)
from pythond.dialects.collectd.grammar import parse


def items(text):
    found, faults = parse(text.encode(), "c.conf")
    assert faults == []
    return found


def values(text):
    (item,), _ = parse(f"Key {text}\n".encode(), "c.conf")
    return item.values


def faults(text):
    return [(one.line, one.column, one.severity, one.text) for one in parse(text.encode(), "c.conf")[1]]


def tree(item):
    return item.key, tuple(item.values), [tree(child) for child in item.children]


def test_the_example_of_the_specification():
    (block,) = items('<Block "x" 5>\n  Key "v"\n  <Inner>\n    A 1\n  </Inner>\n</Block>\n')
    assert tree(block) == ("Block", ("x", 5.0), [("Key", ("v",), []), ("Inner", (), [("A", (1.0,), [])])])


@pytest.mark.parametrize(
    "text, expected",
    [
        ('"a" 1 true b', ["a", 1.0, True, "b"]),
        ("0x10 010 1.5e+3 10s 5", [16.0, 10.0, 1500.0, "10s", 5.0]),
        ("true yes on false no off", [True, True, True, False, False, False]),
        ('"true" "5"', ["true", "5"]),
        ("127.0.0.1 127.0.0.1:80 ::1 fe80::1 [::1]:80", ["127.0.0.1", "127.0.0.1:80", "::1", "fe80::1", "[::1]:80"]),
        (r'"quo\"ted" "a\nb" "\\"', ['quo"ted', "anb", "\\"]),
        ('"one\ntwo" "join\\\n   ed"', ["one\ntwo", "joined"]),
        ("one \\\n  two # comment", ["one", "two"]),
        ('"#no" x#yes', ["#no", "x"]),
        ("-5 +5.5 .5 -.5", [-5.0, 5.5, 0.5, -0.5]),
    ],
)
def test_values_are_those_of_the_original(text, expected):
    assert values(text) == expected


@pytest.mark.parametrize("text", ["zk-collectd", "redis.info", "a:b"])
def test_what_stands_without_quotes_is_split_with_a_warning(text):
    found, told = parse(f"<Module {text}>\nA 1\n</Module>\n".encode(), "c.conf")
    import re

    assert found[0].values == re.findall(r"\w+", text)
    (one,) = told
    assert (one.severity, one.line, one.help) == ("warning", 1, f'write `"{text}"`')


@pytest.mark.parametrize("statement", ["Path /etc/x", "Url http://x/y", "<A /etc/x>\n</A>", "/etc 1"])
def test_a_slash_without_quotes_is_an_error_as_there(statement):
    found, told = parse(f"{statement}\nB 1\n".encode(), "c.conf")
    assert [one.key for one in found] == ["B"]
    assert ("error", 1) in [(one.severity, one.line) for one in told]


def test_blanks_may_stand_in_the_end_of_a_block():
    assert tree(items('<A "x">\nB 1\n< / A >\n')[0]) == ("A", ("x",), [("B", (1.0,), [])])


def test_a_text_that_is_no_utf_8_is_bytes():
    (item,), _ = parse(b'A "\xff" "b"\n', "c.conf")
    assert item.values == [b"\xff", "b"]


def test_a_block_without_arguments_and_content_vanishes():
    (outer,) = items('<A>\n<B>\n</B>\n<C "q">\n</C>\n</A>\n')
    assert tree(outer) == ("A", (), [("C", ("q",), [])])


def test_lines_may_end_as_on_windows():
    (item,) = items('Key "a" \\\r\n "b"\r\n')
    assert item.values == ["a", "b"]


def test_a_last_line_without_newline_is_taken_with_a_warning():
    found, _ = parse(b"A 1", "c.conf")
    assert found[0].values == [1.0]
    told = "the last line has no newline; collectd refuses such a file"
    assert faults("A 1") == [(1, 4, "warning", told)]


def test_a_truth_value_in_capitals_is_a_text_with_a_warning():
    assert values("True") == ["True"]
    assert faults("A True\n") == [(1, 3, "warning", "`True` is a text; only `true` is a truth value")]


@pytest.mark.parametrize(
    "text, told",
    [
        ("Key\n", (1, 1, "error", "`Key` has no argument")),
        ("5 a\n", (1, 1, "error", "a line begins with a key, `5` is none")),
        ("true a\n", (1, 1, "error", "a line begins with a key, `true` is none")),
        ('A 1\n "k" 1\n', (2, 2, "error", 'a line begins with a key, `"k"` is none')),
        ("<A x>\nB 1\n", (1, 2, "error", "block `A` is not closed; the file ends on line 2")),
        ("<A x>\n<B y>\nC 1\n</A>\n", (2, 2, "error", "block `B` is not closed; `</A>` on line 4 comes first")),
        ("<A x>\nC 1\n</a>\n", (3, 1, "error", "`</a>` does not close `<A>` of line 1: case matters here")),
        ("C 1\n</A>\n", (2, 1, "error", "`</A>` closes no block")),
        ("<A x\nB 1\n</A>\n", (1, 4, "error", "`<A` has no `>` on its line")),
        ("<A x></A>\n", (1, 6, "error", "after `<A …>` the line must end")),
        ("A b > c\n", (1, 5, "error", "`>` cannot stand here")),
        ('A "b\nC 1\n', (1, 3, "error", "quoted text has no end")),
        ("<>\n", (1, 2, "error", "a line begins with a key, `>` is none")),
        ("</>\n", (1, 1, "error", "`</` without the name of a block")),
    ],
)
def test_a_fault_has_its_place(text, told):
    assert told in faults(text)


def test_all_faults_are_told_at_once_and_the_rest_is_taken():
    found, told = parse(b"A\nB 1\n<C>\nD\nE 2\n</C>\nF a-b\nG 3", "c.conf")
    assert [tree(one) for one in found] == [
        ("B", (1.0,), []),
        ("C", (), [("E", (2.0,), [])]),
        ("F", ("a", "b"), []),
        ("G", (3.0,), []),
    ]
    assert [one.line for one in told] == [1, 4, 7, 8]
    assert told[1].source == "D"


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\\", b'"', b"<", b"</", b">", b"\xff", b"a \\\n", b"#", b"\0", b"<a>\n" * 500]
)
def test_no_bytes_break_it(data):
    parse(data, "c.conf")
