#!/usr/bin/env python3
"""Measures netdata's dialect beside the original, `python.d.plugin` of Debian's netdata-plugins-python, in one run.

    benches/dialects/netdata.py memory [--pythond PATH] [--jobs 50] [--python PATH]
    benches/dialects/netdata.py cpu    [--pythond PATH] [--jobs 200] [--seconds 60] [--isolation job,module,input]
    benches/dialects/netdata.py reload [--pythond PATH] [--jobs 20] [--times 10]

All run the stock module `example` once a second: four random numbers. The original gets the same configuration and
writes to /dev/null; ours writes each point to disk, twice (buffer and file sink).

memory: PSS of the worker that has all jobs of one module, over the original's process (goal 1.2); and of as many
modules, each in a process that the zygote has forked (goal 2.5 MiB each, the zygote's own part among them).
cpu: run time by the kernel's scheduler of agent, zygote and workers together, over the original's (goal 1.5, for all
jobs in one process, which is how the original runs them). The processes take turns in the same seconds.
reload: from the rename of a changed `.conf` to the time in the first point of its new job (goal 1 s), and whether
another job has started anew.

Exit 1 where a goal is missed. CPU wants a release build.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PLUGIN = Path("/usr/lib/netdata/plugins.d/python.d.plugin")
MODULE = Path("/usr/lib/netdata/python.d/example.chart.py")
STOCK = "/usr/lib/netdata/conf.d"
PATIENCE = 120.0
MIB = 1 << 20
MOST_OF_MODULE = 1.2
MOST_EACH = 2.5 * MIB
MOST_CPU = 1.5
MOST_RELOAD = 1.0


class Original:
    """The original at work on so many jobs."""

    def __init__(self, root: Path, jobs: int) -> None:
        conf = configured(root / "original", {"example": jobs})
        self.process = subprocess.Popen(
            [str(PLUGIN), "example"],
            env={
                **os.environ,
                "NETDATA_USER_CONFIG_DIR": str(conf),
                "NETDATA_STOCK_CONFIG_DIR": STOCK,
                "NETDATA_PLUGINS_DIR": str(PLUGIN.parent),
                "NETDATA_LIB_DIR": str(root),
                "NETDATA_LOCK_DIR": str(root),
                "NETDATA_UPDATE_EVERY": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pids = {self.process.pid}
        # One thread for each job, and the main one.
        tasks = Path(f"/proc/{self.process.pid}/task")
        try:
            until("the original runs all jobs", lambda: len(list(tasks.iterdir())) > jobs)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Ours:
    """An agent at work on a root of its own."""

    def __init__(self, given: argparse.Namespace, root: Path, name: str, modules: dict[str, int], isolation: str):
        self.root = root / name
        self.conf = configured(self.root / "etc", modules)
        (self.root / "conf.d").mkdir(parents=True)
        (self.root / "modules").mkdir()
        for module in modules:
            shutil.copy(MODULE, self.root / "modules" / f"{module}.chart.py")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        (self.root / "conf.d/pythond.conf").write_text(
            f'[http_api]\nlisten = "127.0.0.1:{self.port}"\n[logging]\ndir = "{self.root}/logs"\n'
            f'[sinks.file.local]\nmax_file = "1GiB"\n'
            f'[[inputs.netdata]]\ncmd = "{given.python}"\nisolation = "{isolation}"\n'
            f'dirs = ["{self.root}/modules"]\nconf = ["{self.conf}"]\n'
        )
        self.process = subprocess.Popen(
            [given.pythond, "--root", str(self.root), "agent"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wanted = sum(modules.values())
        try:
            until(f"{wanted} jobs of {name} run", lambda: self.running() == wanted)
        except BaseException:
            self.stop()
            raise

    def units(self) -> list[dict[str, Any]]:
        if self.process.poll() is not None:
            raise SystemExit(f"the agent of {self.root} has ended")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/api/v1/status")
            found: list[dict[str, Any]] = json.load(connection.getresponse())["units"]
            return found
        return []

    def running(self) -> int:
        return sum(unit["state"] == "ok" and unit["runs_ok"] > 0 for unit in self.units())

    def workers(self) -> set[int]:
        return {unit["pid"] for unit in self.units() if unit["pid"]}

    @property
    def pids(self) -> set[int]:
        """Returns the agent with all that it has started."""
        found = {self.process.pid}
        cookie = f"PYTHOND_RUN={(self.root / 'data/run').resolve()}".encode()
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                if cookie in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.add(pid)
        return found

    def first_point(self, job: str) -> float:
        """Returns when the first point of a job was made, by the wall clock; 0 before it is in the file."""
        with contextlib.suppress(OSError), (self.root / "data/points/metric.lp").open() as file:
            for line in file:
                if f",job={job}," in line and line.endswith("\n"):
                    return int(line.rsplit(" ", 1)[1]) / 1e9
        return 0.0

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def configured(folder: Path, modules: dict[str, int]) -> Path:
    """Writes what `/etc/netdata` would hold: so many jobs for each module."""
    (folder / "python.d").mkdir(parents=True)
    (folder / "python.d.conf").write_text("".join(f"{module}: yes\n" for module in modules))
    for module, jobs in modules.items():
        (folder / "python.d" / f"{module}.conf").write_text(
            "".join(f"{job(number)}:\n  update_every: 1\n" for number in range(jobs))
        )
    return folder


def job(number: int) -> str:
    return f"job{number:03}"


def until(what: str, is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain until {what}")
        time.sleep(0.05)


def pss(pids: set[int]) -> int:
    """Returns the bytes that processes have for themselves, with their parts of what is shared."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) << 10  # type: ignore[index]
    return total


def run_time(pids: set[int]) -> float:
    """Returns the seconds that processes have run, to the nanosecond: ticks of 10 ms are more than most runs take."""
    total = 0
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(path.read_text().split()[0])
    return total / 1e9


@contextlib.contextmanager
def at_work(one: Any) -> Iterator[Any]:
    try:
        yield one
    finally:
        one.stop()


def verdict(holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"


def memory(given: argparse.Namespace, root: Path) -> bool:
    count = given.jobs or 50
    with contextlib.ExitStack() as stack:
        original = stack.enter_context(at_work(Original(root, count)))
        module = stack.enter_context(at_work(Ours(given, root, "module", {"example": count}, "module")))
        modules = {f"mod{number:03}": 1 for number in range(count)}
        forked = stack.enter_context(at_work(Ours(given, root, "forked", modules, "job")))
        time.sleep(10)
        theirs, workers = pss(original.pids), module.workers()
        one, agent = pss(workers), pss({module.process.pid})
        pids = forked.pids - {forked.process.pid}
        each = pss(pids) / count
        own = statistics.median(pss({pid}) for pid in forked.workers())
    good = one / theirs <= MOST_OF_MODULE
    print(
        f"{count} jobs of one module: original {theirs / MIB:.1f} MiB, our worker {one / MIB:.1f} MiB "
        f"({one / theirs:.2f}, goal {MOST_OF_MODULE}: {verdict(good)}); the agent {agent / MIB:.1f} MiB"
    )
    small = each <= MOST_EACH
    print(
        f"{count} modules, {len(pids)} processes of the zygote: {each / MIB:.2f} MiB each with its part of the zygote, "
        f"{own / MIB:.2f} without (goal {MOST_EACH / MIB:g}: {verdict(small)})"
    )
    return good and small


def cpu(given: argparse.Namespace, root: Path) -> bool:
    count = given.jobs or 200
    good = True
    with at_work(Original(root, count)) as original:
        for isolation in given.isolation.split(","):
            with at_work(Ours(given, root, isolation, {"example": count}, isolation)) as ours:
                time.sleep(5)
                pids = ours.pids
                agent = {ours.process.pid}
                before = run_time(original.pids), run_time(pids), run_time(agent)
                time.sleep(given.seconds)
                after = run_time(original.pids), run_time(pids), run_time(agent)
                theirs, mine, of_agent = (late - early for late, early in zip(after, before, strict=True))
            runs = count * given.seconds
            line = (
                f"{count} jobs, isolation {isolation}: original {theirs / runs * 1e6:.0f} µs a run, "
                f"ours {mine / runs * 1e6:.0f} µs (agent {of_agent / runs * 1e6:.0f}, "
                f"workers {(mine - of_agent) / runs * 1e6:.0f}): {mine / theirs:.2f} times"
            )
            if isolation == "job":
                print(line)
                continue
            good &= mine / theirs <= MOST_CPU
            print(f"{line} (goal {MOST_CPU}: {verdict(mine / theirs <= MOST_CPU)})", flush=True)
    return good


def reload(given: argparse.Namespace, root: Path) -> bool:
    count = given.jobs or 20
    took = []
    with at_work(Ours(given, root, "reload", {"example": count, "other": 1}, "job")) as ours:
        other = {unit["id"]: unit["pid"] for unit in ours.units()}["netdata.other:job000"]
        path = ours.conf / "python.d/example.conf"
        for number in range(given.times):
            new = f"new{number:03}"
            text = path.read_text() + f"{new}:\n  update_every: 1\n"
            beside = path.with_suffix(".new")
            beside.write_text(text)
            began = time.time()
            beside.rename(path)
            until(f"{new} has run", lambda new=new: ours.first_point(new) > 0)  # type: ignore[misc]
            took.append(ours.first_point(new) - began)
        kept = {unit["id"]: unit["pid"] for unit in ours.units()}["netdata.other:job000"] == other
    took.sort()
    good = kept and took[-1] <= MOST_RELOAD
    print(
        f"a job added to a file of {count}: it has run after {took[len(took) // 2]:.2f} s in the middle, "
        f"{took[-1]:.2f} s at most (goal {MOST_RELOAD:g} s), another module "
        f"{'went on' if kept else 'WAS STARTED ANEW'}: {verdict(good)}"
    )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("memory", "cpu", "reload"), nargs="+")
    parser.add_argument("--pythond", default=str(REPOSITORY / "target/release/pythond"))
    parser.add_argument("--python", default="/usr/bin/python3", help="the interpreter; the original has this one")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--isolation", default="job,module,input")
    parser.add_argument("--times", type=int, default=10)
    given = parser.parse_args()
    if not PLUGIN.exists():
        raise SystemExit(f"{PLUGIN} is not there: apt install netdata-plugins-python")
    print(f"{given.pythond}, {given.python}, {os.cpu_count()} CPUs, load before: {os.getloadavg()[0]:.1f}")
    good = True
    for what in given.what:
        with tempfile.TemporaryDirectory(prefix="netdata-", ignore_cleanup_errors=True) as folder:
            good &= {"memory": memory, "cpu": cpu, "reload": reload}[what](given, Path(folder))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
