"""The files of the user as a worker loads them: from source, told to the agent, and in their last good version."""

import hashlib
import json
import os

from test_loader import BODY, HEAD, fatal, names, write

from pythond.sources import _newest
from support import frames_of, one


def told(frames):
    return {entry["file"]: entry for frame in frames if frame["t"] == "loaded" for entry in frame["files"]}


def sum_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def keep(folder, files):
    """Keeps files as the agent does: path -> (module name, text); returns the manifest."""
    folder.mkdir(exist_ok=True)
    entries = []
    for number, (path, (name, text)) in enumerate(files.items()):
        (folder / f"{number}.py").write_text(text)
        package = path.name == "__init__.py"
        entries.append({"file": str(path), "name": name, "package": package, "copy": f"{number}.py", "sum": "-"})
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"files": entries}))
    return str(manifest)


def test_every_file_of_the_user_is_told_with_its_hash_and_no_other(tmp_path):
    helper = write(tmp_path, "helper.py", "import json\n")
    inside = write(tmp_path, "pack/__init__.py", "from . import inner\n")
    inner = write(tmp_path, "pack/inner.py", "x = 1\n")
    write(tmp_path, "unused.py", "")
    path = write(tmp_path, "script.py", HEAD + "import helper, pack\n" + BODY)
    frames, _ = frames_of(path)
    found = told(frames)
    assert {file: entry["sum"] for file, entry in found.items()} == {
        str(one): sum_of(one) for one in (path, helper, inside, inner)
    }
    assert found[str(inner)]["name"] == "pack.inner" and found[str(inside)]["package"]


def test_what_a_run_loads_later_is_told_at_its_end(tmp_path):
    write(tmp_path, "late.py", "")
    path = write(tmp_path, "script.py", HEAD + "class A(DataKitFramework):\n    def run(self): import late\n")
    frames, _ = frames_of(path, "once")
    kinds = [frame["t"] for frame in frames]
    assert kinds == ["hello", "loaded", "jobs", "ready", "job", "run", "loaded", "end", "bye"]
    assert set(told(frames[5:])) == {str(tmp_path / "late.py")}


LOAD_BY_HAND = """
import importlib.machinery, importlib.util, os, sys, threading
def load(name):
    path = os.path.join(os.path.dirname(__file__), "plugins", name + ".plugin")
    loader = importlib.machinery.SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.modules[name] = module
    loader.exec_module(module)
load("at_load")
"""


def test_what_the_script_loads_in_a_way_of_its_own_is_told_too(tmp_path):
    plugins = [write(tmp_path, f"plugins/{name}.plugin", "x = 1\n") for name in ("at_load", "at_run")]
    path = write(tmp_path, "script.py", HEAD + LOAD_BY_HAND + BODY.replace("pass", "load('at_run')"))
    frames, _ = frames_of(path, "once")
    assert {str(plugin) for plugin in plugins} <= told(frames).keys()


def test_the_newest_modules_are_found_while_others_come_and_go():
    names = {"a": 1, "known": 2, "new": 3}
    assert _newest(names, "known") == ["new"]
    assert _newest(names, "gone") == ["new", "known", "a"]
    assert _newest({}, "") == []
    assert _newest(Restless(a=1, b=2), "gone") == ["a", "b"]


class Restless(dict):
    """Changes whenever it is walked through backwards."""

    def __reversed__(self):
        raise RuntimeError("dictionary changed size during iteration")


def test_a_file_that_breaks_the_load_is_told_too(tmp_path):
    write(tmp_path, "broken.py", "def f(:\n")
    path = write(tmp_path, "script.py", HEAD + "import broken\n" + BODY)
    frames, _ = frames_of(path)
    assert set(told(frames)) == {str(path), str(tmp_path / "broken.py")}
    assert one(frames, "fatal")["file"] == str(tmp_path / "broken.py")


def test_a_helper_saved_twice_in_one_second_runs_as_it_is_now(tmp_path):
    helper = write(tmp_path, "helper.py", "name = 'one'\n")
    path = write(
        tmp_path,
        "script.py",
        HEAD + "import helper\nclass A(DataKitFramework):\n    name = helper.name\n    def run(self): pass\n",
    )
    os.utime(helper, (10**9, 10**9))
    import py_compile

    py_compile.compile(str(helper))
    assert names(frames_of(path)[0]) == ["one"]
    helper.write_text("name = 'two'\n")
    os.utime(helper, (10**9, 10**9))
    assert names(frames_of(path)[0]) == ["two"]


def test_many_files_come_in_several_frames(tmp_path):
    for number in range(1100):
        write(tmp_path, f"module_{number:04}_{'x' * 100}.py", "")
    text = "import importlib\nfor n in range(1100): importlib.import_module(f\"module_{n:04}_{'x' * 100}\")\n"
    path = write(tmp_path, "script.py", HEAD + text + BODY)
    frames, _ = frames_of(path)
    assert len(told(frames)) == 1000
    assert one(frames, "warn")["code"] == "PD0214"


def test_the_last_good_version_runs_under_its_own_names_and_paths(tmp_path):
    root = tmp_path / "my"
    script = write(root, "script.py", "def broken(:\n")
    gone, pack, inner = root / "gone.py", root / "pack" / "__init__.py", root / "pack" / "inner.py"
    spaced = root / "folder" / "deep.py"
    text = HEAD + (
        "import gone, pack.inner, folder.deep\n"
        f"assert __file__ == {str(script)!r} and gone.__file__ == {str(gone)!r}\n"
        "class A(DataKitFramework):\n    name = gone.name + pack.inner.name + folder.deep.name\n"
        "    def run(self): gone.fail()\n"
    )
    manifest = keep(
        tmp_path / "kept",
        {
            script: ("script", text),
            gone: ("gone", "name = 'a'\ndef fail():\n    raise KeyError('x')\n"),
            pack: ("pack", ""),
            inner: ("pack.inner", "name = 'b'\n"),
            spaced: ("folder.deep", "name = 'c'\n"),
        },
    )
    fatal(script, "PD0201")
    frames, _ = frames_of(script, "once", spec={"kept": manifest})
    assert names(frames) == ["abc"]
    end = one(frames, "end")
    assert [place["file"] for place in end["where"]] == [str(gone), str(script)]
    assert f'File "{gone}", line 3, in fail' in end["tb"] and "raise KeyError('x')" in end["tb"]
    found = told(frames)
    assert found[str(script)]["sum"] == hashlib.sha256(text.encode()).hexdigest()[:32], "what runs, not what lies there"


def test_a_manifest_that_cannot_be_read_is_told(tmp_path):
    path = write(tmp_path, "script.py", HEAD + BODY)
    for text in ("", "[]", '{"files": [{}]}'):
        (tmp_path / "m.json").write_text(text)
        frames, status = frames_of(path, spec={"kept": str(tmp_path / "m.json")})
        assert status == 1 and "last good version" in one(frames, "fatal")["msg"]
