"""Runs our dialect on a case of the original and compares what both printed.

usage: differential.py CASE_FOLDER [--keep] [--python PYTHON] [--without LIBRARY]

A case is a folder as `tests/cases/netdata/README.md` describes it: `case.json`, `etc/`, `custom/`, `setup.sh`,
`expected/canon.json`. Ours runs with the same files and source under `stand_in.py`; `canon.py` beside it compares.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The interpreter that has the libraries of Debian's packages.
PYTHON = "/usr/bin/python3"


def canon_of(case):
    """Returns the module that makes the canonical form, which lies beside the cases."""
    spec = importlib.util.spec_from_file_location("canon", case.parent / "canon.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Run:
    """One run of a case: its scratch folder, its source, and what ours printed."""

    def __init__(self, case, python=PYTHON, without=()):
        self.case = pathlib.Path(case).resolve()
        self.spec = json.loads((self.case / "case.json").read_text())
        self.python = python
        # Libraries that are not there for it.
        self.without = list(without)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="netdata-ours-"))
        self.folder.chmod(0o755)
        self._place = {"CASE": str(self.case), "DIR": str(self.folder)}
        for number in range(1, self.spec.get("ports", 0) + 1):
            self._place[f"PORT{number}"] = str(_free_port())
        self._env = {**self._place, "HOME": str(self.folder), "PATH": f"{self.folder}/bin:{PATH}", "LC_ALL": "C"}

    def _filled(self, text):
        return re.sub(r"@([A-Z0-9]+)@", lambda found: self._place.get(found.group(1), found.group(0)), text)

    def _lay_out(self):
        for name in ("etc", "lib", "bin"):
            (self.folder / name).mkdir()
        for file in (self.case / "etc").rglob("*"):
            if file.is_file():
                to = self.folder / "etc" / file.relative_to(self.case / "etc")
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_text(self._filled(file.read_text()))

    def _start_source(self):
        script = self.case / "setup.sh"
        if not script.exists():
            return None
        source = subprocess.Popen(
            ["bash", str(script)],
            env=self._env,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        while True:
            line = source.stdout.readline()
            if not line or line.strip() == "ready":
                return source

    def _settings(self):
        custom = self.case / "custom"
        dirs = [str(one) for one in (custom, *custom.glob("*")) if one.is_dir()] if custom.is_dir() else []
        settings = {"dirs": dirs, "conf": [f"{self.folder}/etc"]}
        if not dirs:
            settings["install"] = "auto"
        path = self.folder / "settings.json"
        path.write_text(json.dumps(settings))
        return path

    def printed(self):
        """Runs the case; returns what ours printed on both streams, with the places of this run hidden."""
        self._lay_out()
        source = self._start_source()
        env = {**self._env, "PYTHONDONTWRITEBYTECODE": "1"}
        env.update({key: self._filled(value) for key, value in self.spec.get("env", {}).items()})
        out, err = self.folder / "stdout", self.folder / "stderr"
        try:
            with open(out, "wb") as stdout, open(err, "wb") as stderr:
                process = subprocess.Popen(
                    [self.python, str(HERE / "stand_in.py"), str(self._settings()), *self.without],
                    env=env,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                )
                self._wait(process)
        finally:
            if source is not None:
                _end(source)
        return self._hidden(out), self._hidden(err)

    def _wait(self, process):
        began = time.monotonic()
        events = sorted(self.spec.get("events", []))
        while process.poll() is None and time.monotonic() - began < self.spec["seconds"]:
            while events and time.monotonic() - began >= events[0][0]:
                command = self._filled(events.pop(0)[1])
                with open(self.folder / "events", "ab") as log:
                    subprocess.Popen(
                        ["bash", "-c", command],
                        cwd=self.folder,
                        env=self._env,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
            time.sleep(0.02)
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _hidden(self, path):
        text = path.read_text(errors="replace")
        for key, value in sorted(self._place.items(), key=lambda one: -len(one[1])):
            text = text.replace(value, f"@{key}@")
        return text

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _end(source):
    source.stdin.close()
    try:
        source.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(source.pid, signal.SIGKILL)


def differences(case, printed):
    """Returns how what ours printed differs from the original's, by the mode of the case."""
    canon = canon_of(case)
    spec = json.loads((case / "case.json").read_text())
    expected = canon.load(case / "expected/canon.json")
    ours = canon.parse(printed)
    mode = spec["compare"].split()[0]
    if mode not in ("exact", "distinct", "same-dims", "none"):
        mode = "exact"
    return canon.diff(expected, ours, mode), expected, ours


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", type=pathlib.Path)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--python", default=PYTHON)
    parser.add_argument("--without", action="append", default=[])
    given = parser.parse_args()
    run = Run(given.case, given.python, given.without)
    out, err = run.printed()
    found, _, _ = differences(run.case, out)
    sys.stderr.write(err)
    print(*found, f"differences: {len(found)}", sep="\n")
    if given.keep:
        print("kept", run.folder)
    else:
        run.remove()
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
