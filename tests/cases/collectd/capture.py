#!/usr/bin/env python3
"""Runs collectd itself (Debian: collectd-core) with what a case says, and notes every value list that its plugins dispatch.

    capture.py CASE [--write]     CASE is a folder with a `case.json`; --write renews what is expected there

`case.json`: `pip` what is installed from PyPI (`no_deps`: without what it needs), `seconds` and `interval` of the run,
`ports` how many, `global` lines of collectd.conf, `load` in place of `LoadPlugin python`, `files` what plugins write,
`rates` and `times`: those are noted as well. `@CASE@`, `@DIR@`, `@PLUGINS@`, `@PORT1@` … stand for the folder of the
case, a scratch folder, what was installed, free ports; `setup.sh` finds them in its environment.
"""

import argparse
import contextlib
import http.server
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
import threading
import time

COLLECTD = "/usr/sbin/collectd"
# Of Debian's collectd; what it runs is installed for this one.
PYTHON = "/usr/bin/python3"
LIMIT = 30.0


class Ground:
    """What both the original and ours run a case on: folders, ports, a data source, a collectd.conf."""

    def __init__(self, folder, scratch, plugins):
        self.folder, self.dir = pathlib.Path(folder), pathlib.Path(scratch)
        self.spec = json.loads((self.folder / "case.json").read_text())
        self.place = {"CASE": str(folder), "DIR": str(scratch), "PLUGINS": plugins}
        self.place.update({f"PORT{n}": str(free_port()) for n in range(1, self.spec.get("ports", 0) + 1)})
        self.env = {**self.place, "HOME": str(scratch), "LANG": "C.UTF-8"}
        self.env["PATH"] = f"{scratch}/bin:{os.environ['PATH']}"

    def fill(self, text):
        return re.sub(r"@([A-Z0-9]+)@", lambda found: self.place[found.group(1)], text)

    def hide(self, text):
        for key, value in self.place.items():
            text = text.replace(value, f"@{key}@")
        return text

    def conf(self, more):
        """Writes collectd.conf; `more` are lines for what a value list or a log line goes to."""
        own_types = self.folder / "types.db"
        types = f'"{own_types}"' if own_types.exists() else ""
        path = self.dir / "collectd.conf"
        path.write_text(f"""Hostname "casehost"
FQDNLookup false
Interval {self.spec["interval"]}
BaseDir "{self.dir}"
TypesDB "/usr/share/collectd/types.db" {types}
{self.fill(self.spec.get("global", ""))}
{more}
{self.spec.get("load", "LoadPlugin python")}
<Plugin python>
{self.fill((self.folder / "python.conf").read_text())}</Plugin>
""")
        return path

    @contextlib.contextmanager
    def source(self):
        """Runs `setup.sh`, from when it says that it is ready."""
        script = self.folder / "setup.sh"
        if not script.exists():
            yield
            return
        env = {**os.environ, **self.env}
        command = ["bash", str(script)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, env=env, start_new_session=True, **pipes)
        try:
            while process.stdout.readline().strip() != "ready":
                assert process.poll() is None, f"{script} has ended"
            yield
        finally:
            process.stdin.close()
            try:
                process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()


class Captured:
    """What came of a run of the original, by the names of the files that are expected."""

    def __init__(self):
        self.texts = {}
        self.value_lists = 0

    def put(self, name, rows):
        self.texts[name] = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)


def capture(ground):
    """Runs the original and returns what came of it."""
    with _sink() as sink, ground.source():
        log, out = ground.dir / "log", ground.dir / "stdout"
        conf = ground.conf(_lines(sink.server_port, log))
        with open(out, "w") as stdout:
            status = _run(conf, ground, stdout)
    captured = Captured()
    captured.value_lists = len(sink.lists)
    captured.put("series.jsonl", _summary(sink.lists, ground))
    captured.put("rates.jsonl", _summary(sink.rates, ground))
    # What plugins print is none of the log; what collectd says before it has a log is.
    said = [line for line in out.read_text(errors="replace").splitlines() if line.startswith(("[", "Error:"))]
    lines = [*(log.read_text(errors="replace") if log.exists() else "").splitlines(), *said]
    lines = [line for line in map(ground.hide, lines) if "plugin_load" not in line]
    captured.texts["log.txt"] = "".join(f"{line}\n" for line in lines)
    captured.texts["exit.txt"] = f"{status}\n"
    for name in ground.spec.get("files", []):
        captured.texts[name] = ground.hide((ground.dir / name).read_text(errors="replace"))
    return captured


def _lines(port, log):
    nodes = "".join(
        f"""  <Node "{name}">
    URL "http://127.0.0.1:{port}/{name}"
    Format "JSON"
    StoreRates {"true" if name == "rates" else "false"}
    BufferSize 65536
  </Node>
"""
        for name in ("lists", "rates")
    )
    return f"""PIDFile "{log.parent}/pid"
LoadPlugin logfile
<Plugin logfile>
  LogLevel info
  File "{log}"
  Timestamp false
  PrintSeverity true
</Plugin>
LoadPlugin write_http
<Plugin write_http>
{nodes}</Plugin>"""


def _run(conf, ground, stdout):
    """Returns how collectd ended before it was asked to; None as it should be."""
    command = [COLLECTD, "-f", "-C", str(conf)]
    where = {"cwd": ground.dir, "env": ground.env, "stdin": subprocess.DEVNULL}
    process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.STDOUT, **where)
    try:
        return process.wait(ground.spec["seconds"])
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(LIMIT)
        return None
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "hung at the stop"


@contextlib.contextmanager
def _sink():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])).decode("utf-8", "replace"))
            (server.rates if self.path == "/rates" else server.lists).extend(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args):
            """Nobody reads it."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.lists, server.rates = [], []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        # What collectd sent last is still being read.
        time.sleep(0.2)
        server.shutdown()
        server.server_close()
        thread.join()


def _summary(lists, ground):
    """Returns each identity with its different values in a row."""
    series = {}
    for one in lists:
        row = {key: ground.hide(one[key]) for key in ("plugin", "plugin_instance", "type", "type_instance", "host")}
        row["ds"] = [f"{name}:{kind}" for name, kind in zip(one["dsnames"], one["dstypes"])]
        row.update(interval=one["interval"], meta=one.get("meta"))
        known = series.setdefault(json.dumps(row, sort_keys=True), {**row, "n": 0, "rows": []})
        known["n"] += 1
        shown = one["values"] + ([one["time"]] if ground.spec.get("times") else [])
        if known["rows"][-1:] != [shown]:
            known["rows"].append(shown)
    return [series[key] for key in sorted(series)]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def installed(spec, target, python=PYTHON, besides=()):
    """Installs what a case has from PyPI, once; returns the folder. Raises `OSError` where that cannot be done."""
    if not spec.get("pip"):
        return "/nowhere"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        # Others may install the same at the same time.
        new = tempfile.mkdtemp(dir=target.parent)
        some = ["--no-deps"] if spec.get("no_deps") else []
        command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", new]
        done = subprocess.run([*command, *some, *spec["pip"], *besides], capture_output=True, text=True)
        try:
            if done.returncode:
                raise OSError(f"cannot install {spec['pip']}: {done.stderr.strip()[-300:]}")
            with contextlib.suppress(OSError):
                os.rename(new, target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return str(target)


def _main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    folder, scratch = args.case.resolve(), tempfile.mkdtemp(prefix="collectd-capture-")
    spec = json.loads((folder / "case.json").read_text())
    cache = pathlib.Path(__file__).resolve().parents[3] / "target" / "collectd-cases"
    ground = Ground(folder, scratch, installed(spec, cache / f"original-{folder.name}"))
    captured = capture(ground)
    series = captured.texts["series.jsonl"].count("\n")
    print(f"{folder.name}: {captured.value_lists} value lists of {series} series, exit {captured.texts['exit.txt']}")
    if not args.write:
        print(captured.texts["log.txt"])
    else:
        (folder / "expected").mkdir(exist_ok=True)
        for name, text in captured.texts.items():
            if name != "rates.jsonl" or spec.get("rates"):
                (folder / "expected" / name).write_text(text)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(_main())
