"""A host of the tests' own for collectd's dialect, and a way to run plugins behind it in a process of their own."""

import collections
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import types

HERE = os.path.dirname(os.path.abspath(__file__))
CORE = os.path.dirname(os.path.dirname(HERE))
SHADOW = os.path.join(CORE, "pythond", "dialects", "collectd", "shadow")
sys.path[:0] = [path for path in (SHADOW, CORE) if path not in sys.path]

from pythond.dialects import Unit  # noqa: E402
from pythond.dialects import collectd as dialect  # noqa: E402
from pythond.dialects.collectd import current, text  # noqa: E402
from pythond.rows import Answer  # noqa: E402

LIMIT = 60.0
# For what a busy machine comes late with.
LATE = 30.0


class Host:
    """Keeps what a dialect sends; `answers` are the statuses of the next puts and posts, then 200."""

    def __init__(self, **settings):
        self.id = self.input = "collectd"
        self.settings = settings
        self.config = {}
        self.state_dir = settings.pop("state_dir", "")
        self.hostname = "machine"
        self.interval = 10.0
        self.isolation = settings.pop("isolation", "auto")
        self.rows, self.events, self.warnings, self.jobs, self.read = [], [], [], [], []
        self.sent = []
        self.looked = []
        self.answers = []
        self.added = lambda job: None

    def put(self, job, rows):
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.rows += rows
            self.sent.append((job, len(rows)))
        return Answer(status, len(rows) if status == 200 else 0, 0, 0, "")

    def post(self, job, category, body, content_type="application/json", method="POST", query=""):
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.events += [(category, point) for point in json.loads(body)]
        return Answer(status, 1, 0, 0, "")

    def reads(self, path):
        with open(path, "rb") as file:
            data = file.read()
        self.read.append(path)
        return data

    def looks(self, folder):
        self.looked.append(folder)
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def add(self, job):
        self.jobs.append(job)
        self.added(job)

    def drop(self, job):
        if job in self.jobs:
            self.jobs.remove(job)

    def warn(self, code, text, file="", line=0, column=0):
        self.warnings.append((code, text, file, line))


@contextlib.contextmanager
def daemon_of(conf="", tmp_path=None, host=None, **keys):
    """Gives a daemon for calls of the module `collectd` from a test, and its host."""
    from pythond.dialects.collectd import settings as settings_
    from pythond.dialects.collectd.daemon import Daemon

    if tmp_path is not None:
        (tmp_path / "collectd.conf").write_text(conf)
        keys["config"] = str(tmp_path / "collectd.conf")
    host = host or Host(**keys)
    daemon = Daemon(host, settings_.read(host, looks=False), "test")
    current.attach(daemon)
    text.names.limit(int(host.settings.get("max_name", 127)))
    try:
        yield daemon
    finally:
        current.attach(None)
        text.names.limit(127)


def plain(row):
    """Returns what a test compares of a row: measurement, tags, fields."""
    return row.measurement, dict(row.tags), {one.field: one.value for one in row.readings}


def run_in_process(
    conf, seconds=0.0, python=sys.executable, env=None, settings=None, runs=0, listing=False, parts=None, enough=None
):
    """Runs what a collectd.conf names, in a process; returns what came of it.

    `runs`: each job so often at once. `parts`: those of a unit that a listing has told. `enough`: how many value
    lists of each plugin are waited for after `seconds`, on a machine that is busy.
    """
    order = {"conf": str(conf), "seconds": seconds, "settings": settings or {}, "runs": runs, "listing": listing}
    order.update(parts=parts, enough=enough or {})
    done = subprocess.run(
        [python, os.path.abspath(__file__), json.dumps(order)],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT + LATE + seconds,
    )
    out = done.stdout.decode()
    assert "\n{" in "\n" + out, (out, done.stderr.decode())
    at = ("\n" + out).rindex("\n{")
    result = types.SimpleNamespace(**json.loads(out[at:]))
    result.printed = out[:at].splitlines()
    result.stderr = done.stderr.decode()
    result.log = log_lines(result.stderr)
    result.status = done.returncode
    return result


def log_lines(stderr):
    """Returns the records of a log as the original shows them: `[level] text`."""
    levels = ("ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
    records = []
    for line in stderr.splitlines():
        level, _, rest = line.partition(" ")
        if level in levels and " : " in rest:
            records.append(f"[{level.lower()}] {rest.partition(' : ')[2]}")
        elif records:
            records[-1] += "\n" + line
    return records


def _main(order):
    """The process of `run_in_process`: a worker that knows one unit."""
    from pythond import loader

    host = Host(config=order["conf"], **order["settings"])
    result = {"lists": [], "rows": [], "events": [], "warnings": [], "failure": None, "jobs": [], "runs": []}
    if order["listing"]:
        from pythond.dialects.collectd import isolation

        isolation.IMPORT_SECONDS = 1.0
        told = dialect.list(Unit("collectd", input="collectd"), host)
        result["units"] = [
            {
                "id": one.id,
                "title": one.title,
                "file": one.file,
                "line": one.line,
                "parts": one.parts,
                "reads": one.reads,
            }
            for one in told.units
        ]
        result["faults"] = [
            [one.code, one.text, one.file, one.line, one.column, one.severity, one.help] for one in told.faults
        ]
        result["looked"] = host.looked
        print("\n" + json.dumps(result))
        return
    stop = threading.Event()
    threads = []
    gate = threading.Event()
    lists = result["lists"]

    def keep(job):
        gate.wait()
        due = time.monotonic()
        while not stop.is_set() and job in host.jobs:
            outcome = once(job)
            pause = job.every if outcome is None else outcome
            due = max(due + pause, time.monotonic())
            while not stop.wait(max(0.0, min(0.2, due - time.monotonic()))) and time.monotonic() < due:
                pass

    def once(job):
        at = time.monotonic()
        try:
            pause = job.run()
            failed = ""
        except BaseException as error:
            pause, failed = None, repr(error)
        result["runs"].append([job.key, round(at - started, 3), failed])
        return pause

    def added(job):
        thread = threading.Thread(target=keep, args=(job,), daemon=True)
        threads.append(thread)
        if not order["runs"]:
            thread.start()

    host.added = added
    started = time.monotonic()
    unit = Unit("collectd.test", order["conf"], "", (), {"imports": order["settings"].pop("imports", None)})
    unit.parts = order["parts"] or (unit.parts if unit.parts["imports"] else {"imports": None})
    try:
        _load(unit, host, lists)
        gate.set()
        for _ in range(order["runs"]):
            for job in list(host.jobs):
                once(job)
        stop.wait(order["seconds"])
        patience = time.monotonic() + LATE
        while time.monotonic() < patience and _is_short(lists, order["enough"]):
            stop.wait(0.02)
        stop.set()
        for thread in threads:
            if thread.ident:
                thread.join(LIMIT)
        result["jobs"] = [[job.key, job.every] for job in host.jobs]
        dialect.close(host)
    except loader.Failure as failure:
        result["failure"] = {
            key: failure.frame.get(key) for key in ("code", "exc", "msg", "file", "line", "help", "notes", "tb")
        }
    for row in host.rows:
        readings = [
            [one.field, _plain(one.value), one.kind, one.out, one.raw_field, one.min, one.max, one.max_gap]
            for one in row.readings
        ]
        result["rows"].append([row.measurement, dict(row.tags), row.time_ns, readings])
    result["events"] = host.events
    result["warnings"] = host.warnings
    result["sent"] = [size for _, size in host.sent]
    sys.stdout.flush()
    print("\n" + json.dumps(result))
    sys.stdout.flush()


def _is_short(lists, enough):
    count = collections.Counter(one["plugin"] for one in list(lists))
    return any(count[plugin] < wanted for plugin, wanted in enough.items())


def _shown(value):
    return text.shown(value) if isinstance(value, bytes) else value


def _plain(value):
    return value if isinstance(value, int) else float(value)


def _load(unit, host, lists):
    """Loads a unit; what it dispatches is noted as a writer of collectd itself would get it."""
    from pythond.dialects.collectd import daemon as daemon_
    from pythond.dialects.collectd import functions

    plain_init = daemon_.Daemon.__init__

    def noting_init(self, *given):
        plain_init(self, *given)
        write = self._writers._write

        def noted(one):
            sets = self.settings.types.sets[one.type]
            names = {
                key: text.shown(getattr(one, key))
                for key in ("plugin", "plugin_instance", "type", "type_instance", "host")
            }
            lists.append(
                {
                    **names,
                    "ds": [f"{source.name}:{source.kind}" for source in sets],
                    "interval": one.interval,
                    "meta": {text.shown(key): _shown(value) for key, value in one.meta.items()} or None,
                    "values": list(one.values),
                    "time": one.at,
                }
            )
            write(one)

        self._writers._write = noted
        plain_has = self.registry.has
        self.registry.has = lambda kind: True if kind == "write" else plain_has(kind)
        self.has_callbacks = lambda: (
            bool(self.read_jobs) or any(plain_has(kind) for kind in functions.KINDS if kind != "read")
        )

    daemon_.Daemon.__init__ = noting_init
    dialect.load(unit, host)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
