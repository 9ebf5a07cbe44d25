#!/usr/bin/env python3
"""Measures agents with many workers, forked by a zygote and executed one by one, side by side. Prints one table.

    benches/workers/run.py --pythond PATH [--python PATH] [--scripts 1,20,100,300] [--kind light,http,requests]
        [--interval 1] [--seconds 60]

Every script runs once in `--interval` seconds and reports one point, which goes through the buffer (synced to disk)
to a file. Kinds differ in what they import: `light` json, logging and os; `http` also http.client, subprocess,
threading and urllib.request; `requests` also requests, yaml and psutil, which the interpreter must have.

PSS is that of all workers and zygotes (memory shared by n processes counts as 1/n for each). Start is the median from
the start slot to `ready`. Back is the median from `kill -9` of a worker until the next one is ready; it contains the
pause of 0.5 to 1 s after a first failure. Drift is how much later than on its grid of intervals a run begins. Missed
runs are gaps in that grid.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 300.0
TICKS = os.sysconf("SC_CLK_TCK")
KINDS = {
    "light": "json, logging, os",
    "http": "http.client, json, logging, os, re, socket, subprocess, threading, urllib.request",
    "requests": "json, logging, os, psutil, requests, yaml",
}
SCRIPT = """\
import time, {imports}
from datakit_framework import DataKitFramework

class Bench(DataKitFramework):
    interval = {interval}
    def run(self):
        now = time.monotonic()
        load = json.loads(json.dumps({{"load": os.getloadavg()[0]}}))["load"]
        return self.feed_metric(measurement="bench", tags={{"script": __name__}}, fields={{"at": now, "load": load}})
"""


class Agent:
    """An agent at work on a root of its own."""

    def __init__(
        self, binary: str, python: str, kind: str, interval: float, scripts: int, way: str, root: Path
    ) -> None:
        (root / "conf.d").mkdir()
        folder = root / "python.d" / "bench"
        folder.mkdir(parents=True)
        for number in range(scripts):
            (folder / f"s{number}.py").write_text(SCRIPT.format(imports=KINDS[kind], interval=interval))
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        (root / "conf.d" / "bench.conf").write_text(
            f'[[inputs.pythond]]\nname = "bench"\ncmd = "{python}"\ndirs = ["bench"]\n'
            f'[workers]\nzygote = "{way}"\n[http_api]\nlisten = "127.0.0.1:{port}"\n'
            f'[logging]\ndir = "{root}/logs"\n[sinks.file.local]\nmax_file = "1GiB"\n'
        )
        self.root = root
        self.log = (root / "agent.log").open("wb")
        self.port = port
        self.process = subprocess.Popen(
            [binary, "--root", str(root), "agent"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def scripts(self) -> dict[str, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/api/v1/status")
            return {one["id"]: one for one in json.load(connection.getresponse())["units"]}
        finally:
            connection.close()

    def wait(self, what: str, check) -> dict[str, dict]:
        end = time.monotonic() + PATIENCE
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"the agent ended: {(self.root / 'agent.log').read_text()}")
            with contextlib.suppress(OSError):
                scripts = self.scripts()
                if check(scripts):
                    return scripts
            if time.monotonic() > end:
                raise SystemExit(f"waited in vain until {what}: {(self.root / 'agent.log').read_text()[-2000:]}")
            time.sleep(0.02)

    def processes(self) -> list[int]:
        """All that it has started."""
        cookie = f"PYTHOND_RUN={(self.root / 'data/run').resolve()}".encode()
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if cookie in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(int(pid))
        return found


def kib(pid: int, file: str, key: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
    return 0


def cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0


def runs_of(root: Path, since: float, until: float) -> dict[str, list[float]]:
    """When each script ran, by its own clock."""
    found: dict[str, list[float]] = {}
    for file in sorted((root / "data/points").glob("metric*.lp")):
        for line in file.read_text().splitlines():
            match = re.search(r"script=([^, ]+)", line)
            at = re.search(r"[ ,]at=([0-9.e+]+)", line)
            if match and at and since <= float(at[1]) <= until:
                found.setdefault(match[1], []).append(float(at[1]))
    return {name: sorted(times) for name, times in found.items()}


def drift(times: list[float], interval: float) -> tuple[list[float], int]:
    """How late each run was on its grid, in ms, and how many places of the grid have no run."""
    places = [round((at - times[0]) / interval) for at in times]
    offsets = [at - times[0] - place * interval for at, place in zip(times, places, strict=True)]
    return [(offset - min(offsets)) * 1000.0 for offset in offsets], places[-1] - places[0] + 1 - len(set(places))


def measure(agent: Agent, count: int, interval: float, seconds: float) -> dict[str, float]:
    began = time.monotonic()
    scripts = agent.wait(
        "all have run",
        lambda all: sum(one["runs_ok"] > 0 for one in all.values()) == count,
    )
    all_ran = time.monotonic() - began
    starts = [one["start_ms"] for one in scripts.values()]
    time.sleep(3)
    pid = agent.process.pid
    cpu, since = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    agent_cpu, until = cpu_seconds(pid) - cpu, time.monotonic()
    processes = agent.processes()
    row = {
        "all_ran": all_ran,
        "start": statistics.median(starts),
        "pss": sum(kib(one, "smaps_rollup", "Pss") for one in processes) / 1024,
        "rss": kib(pid, "status", "VmRSS") / 1024,
        "cpu": 100.0 * agent_cpu / (until - since),
        "forked": sum(one["started_by"] == "fork" for one in agent.scripts().values()),
    }
    row["back"] = statistics.median(back(agent, name) for name in random.sample(sorted(scripts), min(count, 5)))
    time.sleep(1)  # for the file sink
    late, missed = [], 0
    for times in runs_of(agent.root, since, until).values():
        more, gaps = drift(times, interval)
        late += more
        missed += gaps
    late.sort()
    row.update(
        runs=len(late),
        missed=missed,
        p50=late[len(late) // 2],
        p99=late[int(len(late) * 0.99)],
    )
    return row


def back(agent: Agent, name: str) -> float:
    """Milliseconds from the kill of a worker until the next one is ready."""
    pid = agent.scripts()[name]["pid"]
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    agent.wait(
        "it is back",
        lambda all: all[name]["pid"] not in (None, pid) and all[name]["start_ms"] is not None,
    )
    return (time.monotonic() - began) * 1000.0


@contextlib.contextmanager
def running(arguments: argparse.Namespace, kind: str, count: int, way: str) -> Iterator[Agent]:
    with tempfile.TemporaryDirectory(prefix="workers-", ignore_cleanup_errors=True) as root:
        agent = Agent(arguments.pythond, arguments.python, kind, arguments.interval, count, way, Path(root))
        try:
            yield agent
        finally:
            agent.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythond", required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--scripts", default="1,20,100,300")
    parser.add_argument("--kind", default="light,http")
    parser.add_argument("--ways", default="auto,off")
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    print(f"{arguments.python}, {os.cpu_count()} cores, load before: {os.getloadavg()[0]:.1f}\n")
    print(
        "| scripts | zygote | forked | PSS of workers | each | start median | all ran | back after kill -9 | agent RSS"
        " | agent CPU | drift p50 / p99 | runs missed |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for kind in arguments.kind.split(","):
        for count in map(int, arguments.scripts.split(",")):
            for way in arguments.ways.split(","):
                with running(arguments, kind, count, way) as agent:
                    row = measure(agent, count, arguments.interval, arguments.seconds)
                print(
                    f"| {count} {kind} | {way} | {row['forked']} | {row['pss']:.1f} MiB | {row['pss'] / count:.2f} MiB"
                    f" | {row['start']:.1f} ms | {row['all_ran']:.1f} s | {row['back']:.0f} ms | {row['rss']:.1f} MiB"
                    f" | {row['cpu']:.1f} % | {row['p50']:.1f} / {row['p99']:.1f} ms"
                    f" | {row['missed']} of {row['runs']:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
