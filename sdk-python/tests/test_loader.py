"""Files as modules: which run, under which name, who sees whom, and what is said of those that do not."""

import json
import os
import sys

import pytest

from support import CORE, Worker, frames_of, jobs_of, one

HEAD = "from datakit_framework import DataKitFramework\n"
BODY = "class A(DataKitFramework):\n    def run(self): pass\n"


def write(folder, name, text, encoding="utf-8"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def names(frames):
    return [job["title"] or job["key"] for job in jobs_of(frames)]


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


def package(folder, *names):
    """Makes packages, each within the one before, with a module `lib` each; returns the innermost folder."""
    for name in names:
        folder = folder / name
        write(folder, "__init__.py", f"WHO = {name!r}\n")
        write(folder, "lib.py", f"V = {name!r}\n")
    return folder


@pytest.mark.parametrize(
    "packages, root, module, name, imports",
    [
        (["pkg"], "pkg", "collect", "pkg.collect", "from .lib import V; assert V == 'pkg'"),
        (["pkg"], "pkg", "collect", "pkg.collect", "import lib; assert lib.V == 'pkg'"),
        (["pkg"], "pkg", "collect", "pkg.collect", "from . import WHO, lib; assert (WHO, lib.V) == ('pkg', 'pkg')"),
        (["pkg"], "pkg", "collect", "pkg.collect", "from pkg.lib import V; from pkg import lib; assert lib.V == V"),
        (["pkg"], "pkg", "collect", "pkg.collect", "import collect; assert collect.__name__ == 'pkg.collect'"),
        (["out", "pkg"], "out/pkg", "collect", "out.pkg.collect", "from ..lib import V; assert V == 'out'"),
        (["out", "pkg"], "out", "pkg.collect", "out.pkg.collect", "from ..lib import V; assert V == 'out'"),
        (["out", "pkg"], "out", "pkg.collect", "out.pkg.collect", "from pkg.lib import V; assert V == 'pkg'"),
        (["out", "plain"], "out", "plain.collect", "out.plain.collect", "from ..lib import V; assert V == 'out'"),
        (["json"], "json", "collect", "collect", "import json; from .lib import V; json.dumps(V); assert V == 'json'"),
        (["inst"], "inst", "collect", "collect", "import inst; from .lib import V; assert (V, inst.W) == ('inst', 1)"),
        (["datakit_framework"], "datakit_framework", "collect", "collect", "from .lib import V"),
    ],
)
def test_a_folder_with_an_init_is_a_package_for_its_scripts(tmp_path, packages, root, module, name, imports):
    write(tmp_path, "installed/inst/__init__.py", "W = 1\n")
    folder = package(tmp_path / "python.d", *packages)
    if packages[-1] == "plain":
        (folder / "__init__.py").unlink()
    text = HEAD + imports + f"\nassert __name__ == {name!r}, __name__\n" + BODY
    path = write(folder, "collect.py", text)
    roots = [str(tmp_path / "python.d" / root)]
    env = {"PYTHONPATH": str(tmp_path / "installed")}
    frames, _ = frames_of(path, "once", spec={"roots": roots, "module": module}, env=env)
    assert names(frames) == ["A"], frames
    # What is outside of the root and belongs to the package is watched and kept, too.
    loaded = {entry["file"] for frame in frames if frame["t"] == "loaded" for entry in frame["files"]}
    assert {str(tmp_path / "python.d" / packages[0] / "__init__.py"), str(path)} <= loaded


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_child_process_can_import_a_script_of_a_package_by_its_name(tmp_path, agent, method):
    folder = package(tmp_path / "python.d", "out", "pkg")
    text = HEAD + (
        "import multiprocessing, pickle\n"
        "from ..lib import V\n"
        "def work(x): return V * x\n"
        "class A(DataKitFramework):\n"
        "    def run(self):\n"
        "        assert pickle.loads(pickle.dumps(A)) is A\n"
        f"        with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "            self.feed_metric(measurement='m', fields={'v': pool.map(work, [2])[0]})\n"
    )
    path = write(folder, "collect.py", text)
    frames, _ = frames_of(path, "once", agent=agent, spec={"roots": [str(folder)], "module": "collect"})
    assert [frame["ok"] for frame in frames if frame["t"] == "end"] == [True], frames
    assert [point.fields for point in agent.points] == [{"v": "outout"}]


def test_packages_of_two_roots_with_one_name_are_two(tmp_path):
    paths = []
    for root in "ab":
        folder = package(tmp_path / root, "pkg")
        write(folder, "lib.py", f"V = {root!r}\n")
        paths.append(write(folder, "collect.py", HEAD + f"from .lib import V\nassert V == {root!r}\n" + BODY))
    units = [{"id": str(path), "file": str(path), "module": "collect", "token": "t", "must": True} for path in paths]
    with Worker(paths[0], "check", spec={"roots": [str(path.parent) for path in paths], "several": 2}) as worker:
        worker.send(t="units", units=units)
        frames = worker.rest()
    assert len(jobs_of(frames)) == 2, frames


def test_an_init_that_raises_is_placed_there(tmp_path):
    folder = package(tmp_path, "pkg")
    write(folder, "__init__.py", "\nraise RuntimeError('no')\n")
    path = write(folder, "collect.py", HEAD + "from .lib import V\n" + BODY)
    frame = fatal(path, "PD0203", permanent=False, spec={"roots": [str(folder)], "module": "collect"})
    assert (frame["file"], frame["line"], frame["msg"]) == (str(folder / "__init__.py"), 2, "no")


@pytest.mark.parametrize("imports", ["from .lib import V", "from ..lib import V"])
def test_a_relative_import_that_leads_out_of_all_packages_says_what_is_missing(tmp_path, imports):
    folder = tmp_path / "pkg"
    if ".." in imports:
        package(tmp_path, "pkg")
    path = write(folder, "collect.py", HEAD + imports + "\n" + BODY)
    frame = fatal(path, "PD0203", spec={"roots": [str(folder)], "module": "collect"})
    assert frame["line"] == 2
    assert frame["help"] == "only a folder with an `__init__.py` is a package for its scripts"


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
    jobs = jobs_of(frames_of(write(tmp_path, "a.py", text))[0])
    assert [(job["title"], job["key"], job["line"]) for job in jobs] == [("", "A", 2), ("my b", "B", 4)]


@pytest.mark.parametrize(
    "value, seconds, warns",
    [
        (None, 10, False),
        ("0", 10, True),
        ("''", 10, True),
        ("False", 10, True),
        ("None", 10, False),
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
    assert jobs_of(frames)[0]["every"] == seconds
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


@pytest.mark.parametrize(
    "body, line, why",
    [
        ("    def run(self):\n        yield 1\n", 3, "holds a `yield`"),
        ("    async def run(self):\n        yield 1\n", 3, "holds a `yield`"),
        ("    @staticmethod\n    def run(self, host):\n        pass\n", 4, "wants `self`, `host`"),
        ("    def run(self, host, *, port, depth=1):\n        pass\n", 3, "wants `host`, `port`"),
        ("    run = None\n", 2, "is None; it must be a method"),
    ],
)
def test_a_run_whose_body_can_never_run_is_refused_at_load_with_its_place(tmp_path, body, line, why):
    path = write(tmp_path, "a.py", HEAD + "class A(DataKitFramework):\n" + body)
    frame = fatal(path, "PD0204")
    assert (frame["exc"], frame["file"], frame["line"]) == ("NeverRuns", str(path), line)
    assert frame["msg"].startswith(f"`run` of `A` {why}")


def test_a_run_of_its_own_kind_is_called_as_it_is(tmp_path):
    text = HEAD + (
        "import functools\n"
        "class A(DataKitFramework):\n"
        "    @classmethod\n"
        "    def run(cls): pass\n"
        "class B(DataKitFramework):\n"
        "    def __init__(self):\n"
        "        self.run = functools.partial(print, 1)\n"
        "    def run(self): yield\n"
        "class C(DataKitFramework):\n"
        "    def run(self, host='a', *more, port=1, **other): pass\n"
    )
    assert names(frames_of(write(tmp_path, "a.py", text))[0]) == ["A", "B", "C"]


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


def test_every_folder_is_a_dialect_and_no_other_name_is():
    from pythond import dialects

    folder = os.path.dirname(dialects.__file__)
    names = [name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name)) and name != "__pycache__"]
    assert "datakit" in names
    for name in names:
        dialect = dialects.get(name)
        for path in [*dialect.PATH_FIRST, *dialect.PATH_LAST]:
            assert os.path.isdir(path)
        assert dialect.SAMPLE is None or os.path.isfile(dialect.SAMPLE)
        assert all(callable(getattr(dialect, part)) for part in ("list", "load", "close", "forget"))
    for name in ("os", "klingon", "datakit.sample", "", "../datakit"):
        with pytest.raises(ValueError, match=f"`dialect` is `{name}`"):
            dialects.get(name)


@pytest.mark.parametrize(
    ("left_out", "imported", "told"),
    [
        ({"submodules": ["python.d/mytest/sub"]}, "sub.names", "`python.d/mytest/sub` is a submodule"),
        ({"submodules": ["python.d/mytest/vendor/lib"]}, "vendor.lib", "`python.d/mytest/vendor/lib` is a submodule"),
        ({"links": ["python.d/mytest/shared.py"]}, "shared", "`python.d/mytest/shared.py` is a link that leaves"),
        ({"links": ["python.d/mytest/other.py"]}, "shared", "install it for the interpreter"),
        (None, "shared", "install it for the interpreter"),
    ],
)
def test_a_missing_module_that_the_commit_left_out_names_that_cause(tmp_path, left_out, imported, told):
    path = write(tmp_path, "python.d/mytest/a.py", HEAD + f"import {imported}\n" + BODY)
    if left_out is not None:
        write(tmp_path, ".pythond-left-out.json", json.dumps(left_out))
    frame = fatal(path, "PD0202")
    assert told in frame["help"], frame


def test_a_pointer_in_place_of_a_script_is_named(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
    write(tmp_path, ".pythond-left-out.json", json.dumps({"pointers": ["python.d/mytest/a.py"]}))
    frame = fatal(write(tmp_path, "python.d/mytest/a.py", pointer), "PD0201")
    assert frame["help"].startswith("`python.d/mytest/a.py` is a pointer of Git LFS"), frame
