"""The package is compiled once for each Python, whatever Python is told to keep, and nothing of a script is."""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "pythond"
PROGRAM = """
import os, sys
sys.path[:0] = [{core!r}, {scripts!r}]
from pythond import bytecode
forked, fork = [], os.fork
os.fork = lambda: forked.append(1) or fork()
bytecode.prepare()
import of_the_user
from pythond import worker
print(len(forked), sys.dont_write_bytecode)
"""


class Ground:
    def __init__(self, folder):
        self.core, self.scripts = folder / "core", folder / "scripts"
        shutil.copytree(PACKAGE, self.core / "pythond", ignore=shutil.ignore_patterns("__pycache__"))
        self.scripts.mkdir()
        (self.scripts / "of_the_user.py").write_text("")

    def run(self, no_bytecode="1"):
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": no_bytecode}
        env.pop("PYTHONPYCACHEPREFIX", None)
        program = PROGRAM.format(core=str(self.core), scripts=str(self.scripts))
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        return done.stdout.split()

    def compiled(self):
        return {path: path.stat().st_mtime_ns for path in self.core.rglob("*.pyc")}


@pytest.fixture
def ground(tmp_path):
    return Ground(tmp_path)


def test_the_package_is_compiled_once_and_nothing_of_the_user_is_kept(ground):
    assert ground.run() == ["1", "True"]
    first = ground.compiled()
    assert len(first) == len(list((ground.core / "pythond").rglob("*.py")))
    assert ground.run() == ["0", "True"]
    assert ground.compiled() == first
    assert list(ground.scripts.rglob("*.pyc")) == []


def test_the_framework_beside_the_package_is_compiled_too_and_no_other_file_there(ground):
    for name in ("datakit_framework.py", "of_somebody.py"):
        (ground.core / name).write_text("")
    ground.run()
    assert [path.name.partition(".")[0] for path in (ground.core / "__pycache__").iterdir()] == ["datakit_framework"]


def test_nothing_is_compiled_ahead_in_a_folder_that_is_gone_soon(ground):
    (ground.core / ".pythond-temporary").touch()
    assert ground.run() == ["0", "True"]
    assert ground.compiled() == {}


def test_another_version_is_compiled_anew(ground):
    version = ground.core / ".pythond-files"
    version.write_text("1")
    assert [ground.run()[0], ground.run()[0]] == ["1", "0"]
    version.write_text("22")
    assert [ground.run()[0], ground.run()[0]] == ["1", "0"]


def test_of_many_that_start_at_once_one_compiles(ground):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        forks = [done[0] for done in pool.map(lambda _: ground.run(), range(8))]
    assert sorted(forks) == ["0"] * 7 + ["1"]


def test_scripts_are_compiled_where_nobody_says_no(ground):
    assert ground.run("") == ["1", "False"]
    assert len(list(ground.scripts.rglob("*.pyc"))) == 1


def test_a_folder_that_cannot_be_made_costs_nothing_but_time(ground):
    # A file where the folder would be: also root cannot make it.
    (ground.core / "pythond" / "__pycache__").write_text("")
    assert ground.run() == ["0", "True"]


def test_a_file_that_is_broken_keeps_no_other_from_being_compiled(ground):
    (ground.core / "pythond" / "of_somebody.py").write_text("def")
    assert [ground.run()[0], ground.run()[0]] == ["1", "0"]
    assert len(ground.compiled()) == len(list((ground.core / "pythond").rglob("*.py"))) - 1
