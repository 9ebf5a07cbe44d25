"""Files as modules: which run, under which name, who sees whom, and what is said of those that do not."""

import os
import sys

import pytest

from support import CORE, frames_of, one

HEAD = "from datakit_framework import DataKitFramework\n"
BODY = "class A(DataKitFramework):\n    def run(self): pass\n"


def write(folder, name, text, encoding="utf-8"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def names(frames):
    return [job["name"] for job in one(frames, "ready")["jobs"]]


def fatal(path, code, permanent=True, **more):
    """Checks that a script cannot run; returns the frame that says so."""
    frames, status = frames_of(path, **more)
    frame = one(frames, "fatal")
    assert (frame["code"], frame["permanent"], status) == (code, permanent, 1), frame
    assert frames[-1]["t"] == "bye"
    return frame


@pytest.mark.parametrize("stem", ["test", "json", "logging", "sys", "calendar"])
def test_a_script_with_the_name_of_a_standard_module_runs_and_shadows_nobody(tmp_path, stem):
    text = HEAD + (
        "import http.client, json, logging, calendar\n"
        "assert hasattr(json, 'dumps') and hasattr(logging, 'getLogger') and hasattr(calendar, 'monthrange')\n"
        f"assert __name__ == 'mytest.{stem}', __name__\n"
        "import dataclasses, sys\n"
        "assert sys.modules[__name__].__file__ == __file__\n"
        "@dataclasses.dataclass\n"
        "class Value:\n"
        "    a: 'int'\n"
    )
    frames, status = frames_of(write(tmp_path, f"mytest/{stem}.py", text + BODY))
    assert (names(frames), status) == (["A"], 0)
    assert one(frames, "warn")["code"] == "PD0206"


def test_a_sibling_with_the_name_of_a_standard_module_shadows_nobody(tmp_path):
    write(tmp_path, "json.py", "raise RuntimeError('the wrong json')")
    write(tmp_path, "socket.py", "raise RuntimeError('the wrong socket')")
    path = write(tmp_path, "a.py", HEAD + "import json, email.message, http.client\njson.dumps({})\n" + BODY)
    frames, status = frames_of(path)
    assert (names(frames), status) == (["A"], 0)


def test_a_module_beside_the_script_wins_over_an_installed_one(tmp_path):
    write(tmp_path, "installed/helper.py", "where = 'installed'")
    write(tmp_path, "mine/helper.py", "where = 'mine'")
    path = write(tmp_path, "mine/a.py", HEAD + "import helper\nassert helper.where == 'mine'\n" + BODY)
    frames, _ = frames_of(path, env={"PYTHONPATH": str(tmp_path / "installed")})
    assert names(frames) == ["A"]


def test_the_parts_of_the_package_are_no_modules_of_their_own(tmp_path):
    path = write(
        tmp_path,
        "a.py",
        HEAD
        + "import importlib.machinery as m\nimport sys\n"
        + BODY
        + (
            "for name in ('worker', 'logs', 'control', 'guard'):\n"
            "    assert m.PathFinder.find_spec(name) is None, name\n"
            f"assert {os.path.join(CORE, 'pythond')!r} not in sys.path\n"
        ),
    )
    assert names(frames_of(path)[0]) == ["A"]


def test_of_two_files_with_one_stem_the_one_that_is_meant_runs(tmp_path):
    write(tmp_path, "one/disk.py", HEAD + BODY.replace("A", "One"))
    path = write(tmp_path, "two/disk.py", HEAD + BODY.replace("A", "Two"))
    frames, _ = frames_of(path, spec={"roots": [str(tmp_path / "one"), str(tmp_path / "two")]})
    assert names(frames) == ["Two"]


def test_a_file_one_level_down_is_dir_dot_stem_and_imports_relatively(tmp_path):
    write(tmp_path, "root/sub/helper.py", "x = 1")
    text = HEAD + "from . import helper\nfrom sub.helper import x\nassert __name__ == 'sub.a'\n" + BODY
    path = write(tmp_path, "root/sub/a.py", text)
    frames, _ = frames_of(path, spec={"roots": [str(tmp_path / "root")], "module": "sub.a"})
    assert names(frames) == ["A"]


def test_a_folder_with_the_name_of_a_standard_package_works(tmp_path):
    path = write(tmp_path, "root/json/a.py", HEAD + "import json\njson.dumps(1)\n" + BODY)
    frames, _ = frames_of(path, spec={"roots": [str(tmp_path / "root")], "module": "json.a"})
    assert names(frames) == ["A"]


def test_classes_with_a_metaclass_count_and_abstract_ones_do_not(tmp_path):
    text = HEAD + (
        "import abc\n"
        "class Base(DataKitFramework, abc.ABC):\n"
        "    @abc.abstractmethod\n"
        "    def collect(self): ...\n"
        "    def run(self): self.collect()\n"
        "class Real(Base):\n"
        "    def collect(self): pass\n"
    )
    assert names(frames_of(write(tmp_path, "a.py", text))[0]) == ["Real"]


def test_an_alias_runs_once_and_an_imported_base_where_it_was_defined(tmp_path):
    write(tmp_path, "base.py", HEAD + "class Base(DataKitFramework):\n    def run(self): pass\n")
    text = HEAD + "from base import Base\nclass A(Base): pass\nB = A\nclass NoRun(DataKitFramework): pass\n"
    assert names(frames_of(write(tmp_path, "a.py", text))[0]) == ["A"]


def test_the_name_is_the_collectors_own_or_its_class(tmp_path):
    text = HEAD + BODY + "class B(A):\n    name = 'my b'\n"
    ready = one(frames_of(write(tmp_path, "a.py", text))[0], "ready")
    assert [(job["name"], job["class"], job["line"]) for job in ready["jobs"]] == [("A", "A", 2), ("my b", "B", 4)]


@pytest.mark.parametrize(
    "value, seconds, warns",
    [
        (None, 10, False),
        ("0", 10, False),
        ("''", 10, False),
        ("2", 2, False),
        ("0.5", 0.5, False),
        ("'30'", 30, True),
        ("-1", 10, True),
        ("'abc'", 10, True),
        ("True", 10, True),
        ("float('nan')", 10, True),
        ("float('inf')", 10, True),
        ("[1]", 10, True),
        ("property(lambda self: 1 / 0)", 10, True),
    ],
)
def test_intervals(tmp_path, value, seconds, warns):
    text = HEAD + BODY + (f"    interval = {value}\n" if value else "")
    frames, _ = frames_of(write(tmp_path, "a.py", text))
    assert one(frames, "ready")["jobs"][0]["interval"] == seconds
    assert [frame["code"] for frame in frames if frame["t"] == "warn"] == (["PD0209"] if warns else [])


def test_a_syntax_error_has_its_place(tmp_path):
    path = write(tmp_path, "a.py", HEAD + "def f(:\n    pass\n")
    frame = fatal(path, "PD0201")
    assert (frame["phase"], frame["exc"], frame["file"], frame["line"]) == ("import", "SyntaxError", str(path), 2)
    assert frame["src"] == "def f(:"
    assert frame["col"] == 7
    assert frame["end_col"] > frame["col"]


@pytest.mark.parametrize(
    "text, exc",
    [
        ("if True:\n\tx = 1\n        y = 2\n", "TabError"),
        ("if True:\nx = 1\n", "IndentationError"),
        (b"x = '\xff\xfe'\n", "SyntaxError"),
        (b"# -*- coding: nonsense -*-\n", "SyntaxError"),
        (b"x = 1\ny = '\0'\n", "SyntaxError"),
    ],
)
def test_files_that_are_no_python(tmp_path, text, exc):
    frame = fatal(write(tmp_path, "a.py", text), "PD0201")
    assert (frame["exc"], frame["file"]) == (exc, str(tmp_path / "a.py"))


def test_a_syntax_error_in_a_sibling_is_placed_there(tmp_path):
    write(tmp_path, "helper.py", "x = = 1\n")
    frame = fatal(write(tmp_path, "a.py", "import helper\n"), "PD0201")
    assert (frame["file"], frame["line"]) == (str(tmp_path / "helper.py"), 1)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1"])
def test_a_byte_order_mark_and_other_encodings_are_read(tmp_path, encoding):
    head = "# -*- coding: latin-1 -*-\n" if encoding == "latin-1" else ""
    frames, _ = frames_of(write(tmp_path, "a.py", head + HEAD + BODY + "    name = 'café'\n", encoding))
    assert names(frames) == ["café"]


def test_tabs_and_crlf_are_read(tmp_path):
    text = (HEAD + "class A(DataKitFramework):\n\tdef run(self):\n\t\tpass\n").replace("\n", "\r\n")
    assert names(frames_of(write(tmp_path, "a.py", text))[0]) == ["A"]


def test_a_missing_dependency_is_named_where_it_is_imported(tmp_path):
    path = write(tmp_path, "a.py", HEAD + "import no_such_module_x.part\n" + BODY)
    frame = fatal(path, "PD0202")
    assert frame["msg"] == "No module named 'no_such_module_x'"
    assert (frame["file"], frame["line"], frame["src"]) == (str(path), 2, "import no_such_module_x.part")
    assert sys.executable in frame["help"]


def test_a_missing_dependency_of_a_sibling_is_placed_in_the_sibling(tmp_path):
    write(tmp_path, "helper.py", "\nimport no_such_module_x\n")
    frame = fatal(write(tmp_path, "a.py", "import helper\n"), "PD0202")
    assert (frame["file"], frame["line"]) == (str(tmp_path / "helper.py"), 2)


def test_a_missing_name_is_permanent_and_other_exceptions_are_not(tmp_path):
    assert fatal(write(tmp_path, "a.py", "from os import no_such_name\n"), "PD0203")["exc"] == "ImportError"
    frame = fatal(write(tmp_path, "b.py", "x = {}\nx['key']\n"), "PD0203", permanent=False)
    assert (frame["exc"], frame["msg"], frame["line"], frame["src"]) == ("KeyError", "'key'", 2, "x['key']")
    assert "x['key']" in frame["tb"]
    assert "importlib" not in frame["tb"]


@pytest.mark.parametrize("statement", ["import sys; sys.exit(3)", "raise KeyboardInterrupt", "raise GeneratorExit"])
def test_leaving_at_import_is_said(tmp_path, statement):
    frame = fatal(write(tmp_path, "a.py", HEAD + statement + "\n"), "PD0203", permanent=False)
    assert (frame["phase"], frame["line"]) == ("import", 2)


def test_an_exception_whose_text_fails_is_said(tmp_path):
    text = "class E(Exception):\n    def __str__(self): raise SystemExit\nraise E\n"
    assert fatal(write(tmp_path, "a.py", text), "PD0203", permanent=False)["exc"] == "E"


def test_an_empty_file_has_no_collector(tmp_path):
    frame = fatal(write(tmp_path, "a.py", b""), "PD0204")
    assert (frame["phase"], frame["file"]) == ("find", str(tmp_path / "a.py"))


def test_the_classes_that_are_no_collectors_are_listed_with_the_reason(tmp_path):
    write(tmp_path, "base.py", HEAD + "class Base(DataKitFramework):\n    def run(self): pass\n")
    text = HEAD + (
        "import abc\nfrom base import Base\n"
        "class Plain: pass\n"
        "class NoRun(DataKitFramework): pass\n"
        "class Abstract(DataKitFramework, abc.ABC):\n    @abc.abstractmethod\n    def run(self): ...\n"
    )
    assert fatal(write(tmp_path, "a.py", text), "PD0204")["notes"] == [
        "class `Base` is imported from `base` and runs there only",
        "class `Plain` does not inherit `DataKitFramework`",
        "class `NoRun` does not define `run`",
        "class `Abstract` is abstract: `run`",
    ]


def test_a_constructor_that_wants_arguments(tmp_path):
    path = write(tmp_path, "a.py", HEAD + "\n" + BODY + "    def __init__(self, host): pass\n")
    frame = fatal(path, "PD0205")
    assert (frame["phase"], frame["file"], frame["line"]) == ("init", str(path), 3)
    assert "host" in frame["msg"]


def test_a_constructor_that_raises(tmp_path):
    path = write(tmp_path, "a.py", HEAD + BODY + "    def __init__(self): int('x')\n")
    frame = fatal(path, "PD0203", permanent=False)
    assert (frame["phase"], frame["exc"], frame["line"]) == ("init", "ValueError", 4)
    path = write(tmp_path, "b.py", HEAD + BODY + "    def __init__(self): len(1)\n")
    assert fatal(path, "PD0203", permanent=False)["exc"] == "TypeError"


def test_a_class_that_cannot_be_made_does_not_stop_the_others(tmp_path):
    text = HEAD + "class Bad(DataKitFramework):\n    def run(self): pass\n    def __init__(self): 1 / 0\n" + BODY
    frames, status = frames_of(write(tmp_path, "a.py", text))
    assert (names(frames), status) == (["A"], 0)
    warning = one(frames, "warn")
    assert (warning["code"], warning["line"]) == ("PD0203", 4)
    assert "ZeroDivisionError" in warning["msg"]


def test_a_file_that_is_gone(tmp_path):
    assert fatal(tmp_path / "a.py", "PD0203", permanent=False)["exc"] == "FileNotFoundError"


def test_the_file_is_compiled_anew_even_if_saved_twice_in_a_second(tmp_path):
    path = write(tmp_path, "a.py", HEAD + BODY)
    assert names(frames_of(path)[0]) == ["A"]
    stamp = os.stat(path)
    path.write_text((HEAD + BODY).replace("class A", "class B"))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert names(frames_of(path)[0]) == ["B"]


def test_the_dialects_are_the_folders(tmp_path):
    from pythond import dialects

    folder = os.path.dirname(dialects.__file__)
    assert sorted(dialects.NAMES) == sorted(
        name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name)) and name != "__pycache__"
    )
    for name in dialects.NAMES:
        assert os.path.isdir(dialects.get(name).SHADOW)
    with pytest.raises(ValueError, match="it must be one of datakit"):
        dialects.get("os")


def test_a_dialect_claims_a_file_by_looking_at_it(tmp_path):
    from pythond.dialects import datakit

    assert datakit.claims(str(write(tmp_path, "a.py", HEAD + "import sys; sys.exit(1)")))
    assert not datakit.claims(str(write(tmp_path, "b.py", "print(1)")))
    assert not datakit.claims(str(tmp_path / "missing.py"))
