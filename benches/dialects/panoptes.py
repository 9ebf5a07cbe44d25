#!/usr/bin/env python3
"""Measures Panoptes in a real agent: thousands of resources, one polling plugin, and one that hangs on some of them.

    benches/dialects/panoptes.py [--pythond PATH] [--resources N] [--every SECONDS] [--minutes M] [--hang N] [--wait S]

Each run waits like one that asks a device, and reports when it took place. How late it was is the time from the point
of its resource's grid (table `slot` of the input's state) to that moment; a point of the grid without a run is
late for ever. First nothing hangs for so many minutes; then runs against some resources do, for as long again.

Exit 1 where a run was later than 5 s (10 s beside hanging ones), or agent and worker together had more than 200 MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MAX_LATE = 5.0
MAX_LATE_BESIDE_HANGING = 10.0
MAX_MEMORY = 200 << 20
NEVER = float("inf")
# What a run may take to get from its start to the plugin's first line.
LOOK = 2.0

PLUGIN = """import os
import time

from yahoo_panoptes.framework.metrics import (
    PanoptesMetric,
    PanoptesMetricsGroup,
    PanoptesMetricsGroupSet,
    PanoptesMetricType,
)
from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin


class Poll(PanoptesPollingPlugin):
    def run(self, context):
        began = time.time()
        main = context.config["main"]
        if int(context.data.resource_id[1:]) < int(main["hanging"]) and os.path.exists(main["hang_file"]):
            time.sleep(1e6)
        time.sleep(float(main["wait"]))
        groups = PanoptesMetricsGroupSet()
        group = PanoptesMetricsGroup(context.data, "polled", int(main["execute_frequency"]))
        group.add_metric(PanoptesMetric("began", began, PanoptesMetricType.GAUGE))
        for number in range(4):
            group.add_metric(PanoptesMetric(f"octets_{number}", int(began) * number, PanoptesMetricType.COUNTER))
        groups.add(group)
        return groups
"""
INFO = """[Core]
Name = Poll
Module = poll.py

[main]
execute_frequency = {every}
resource_filter = resource_class = "network"
wait = {wait}
hanging = {hanging}
hang_file = {hang_file}

[transforms]
polled = rate:polled:octets_1,octets_2
"""
POINT = re.compile(rb"^polled,.*resource_endpoint=(d\d+)\.example\.net,.*began__gauge=([\d.e+]+)")


def resource(number: int) -> dict[str, object]:
    return {
        "resource_plugin": "bench",
        "resource_site": "local",
        "resource_class": "network",
        "resource_subclass": "switch",
        "resource_type": "generic",
        "resource_id": f"d{number}",
        "resource_endpoint": f"d{number}.example.net",
        "resource_creation_timestamp": "1512629517.03121",
        "resource_metadata": {"_resource_ttl": "900"},
    }


class Lab:
    """A root directory with its agent."""

    def __init__(self, given: argparse.Namespace, root: Path) -> None:
        self.given = given
        self.root = root
        for folder in ("conf.d", "python.d/polling", "home"):
            (root / folder).mkdir(parents=True)
        (root / "conf.d/pythond.conf").write_text(
            '[http_api]\nlisten = "127.0.0.1:0"\n'
            '[[inputs.panoptes]]\npolling = ["polling"]\nresources = "resources.json"\n'
        )
        resources = [resource(number) for number in range(given.resources)]
        (root / "python.d/resources.json").write_text(json.dumps(resources))
        (root / "python.d/polling/poll.py").write_text(PLUGIN)
        self.hang_file = root / "hang"
        text = INFO.format(every=given.every, wait=given.wait, hanging=given.hang, hang_file=self.hang_file)
        (root / "python.d/polling/poll.panoptes-plugin").write_text(text)
        self.agent = subprocess.Popen(
            [given.pythond, "--root", str(root), "agent"],
            env={**os.environ, "HOME": str(root / "home")},
            stderr=subprocess.DEVNULL,
        )

    def unit(self) -> dict[str, object]:
        """Returns the plugin's row of the status, empty while there is none."""
        done = subprocess.run(
            [self.given.pythond, "--root", str(self.root), "status", "--json"], capture_output=True, check=False
        )
        if done.returncode != 0:
            return {}
        status = json.loads(done.stdout)
        rows = status.get("units", status.get("scripts", []))
        return next((row for row in rows if row["id"] == "panoptes.Poll"), {})

    def slots(self) -> dict[str, float]:
        path = self.root / "data/state/panoptes/panoptes-panoptes.sqlite3"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            rows = connection.execute("SELECT key, at FROM slot").fetchall()
        return {re.search(r"\|id\|(.*?)\|", key)[1]: at for key, at in rows}  # type: ignore[index]

    def runs(self) -> dict[str, list[float]]:
        """Returns when each resource was run against."""
        found: dict[str, list[float]] = {}
        with (self.root / "data/points/metric.lp").open("rb") as file:
            for line in file:
                point = POINT.match(line)
                if point:
                    found.setdefault(point[1].decode(), []).append(float(point[2]))
        return found


def memory(pid: int) -> int:
    """Returns the bytes that a process has for itself, and its part of those that it shares."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) << 10  # type: ignore[index]


def lateness(slot: float, runs: list[float], every: float, begin: float, end: float) -> list[float]:
    """Returns by how much each run was late that was due between two moments; infinity where there was none."""
    late = []
    number = max(0, int((begin - slot) // every))
    while slot + number * every < end:
        due = slot + number * every
        number += 1
        if due < begin:
            continue
        mine = [run - due for run in runs if -0.5 <= run - due < every - 0.5]
        late.append(max(0.0, min(mine)) if mine else NEVER)
    return late


def told(what: str, late: list[float], limit: float) -> bool:
    late.sort()
    p99 = late[int(len(late) * 0.99)]
    good = late[-1] <= limit
    print(f"{what}: {len(late)} runs, late by {late[len(late) // 2]:.2f} s in the middle, {p99:.2f} s at p99, ", end="")
    print(
        f"{late[-1]:.2f} s at most (limit {limit:g} s), {late.count(NEVER)} never: "
        f"{'holds' if good else 'DOES NOT HOLD'}",
        flush=True,
    )
    return good


def watch(lab: Lab, seconds: float) -> tuple[int, int, set[object]]:
    """Waits; returns the most memory that agent and worker had, together and the worker alone, and the processes."""
    most = most_of_worker = 0
    pids: set[object] = set()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        unit = lab.unit()
        pid = unit.get("pid")
        if isinstance(pid, int):
            pids.add(pid)
            worker = memory(pid)
            most = max(most, worker + memory(lab.agent.pid))
            most_of_worker = max(most_of_worker, worker)
        time.sleep(5.0)
    print(f"  status: {unit.get('state')}; {[job['title'] for job in unit.get('jobs', [])]}")  # type: ignore[attr-defined]
    return most, most_of_worker, pids


def built() -> Path:
    """Returns the agent of this tree."""
    release = REPOSITORY / "target/release/pythond"
    return release if release.exists() else REPOSITORY / "target/debug/pythond"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythond", default=str(built()), help="default: the release build, else the debug one")
    parser.add_argument("--resources", type=int, default=5000)
    parser.add_argument("--every", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--hang", type=int, default=5)
    parser.add_argument("--wait", type=float, default=0.05)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(given, Path(folder))
        try:
            return measured(lab)
        finally:
            lab.agent.terminate()
            lab.agent.wait()


def measured(lab: Lab) -> int:
    given = lab.given
    while not lab.unit().get("runs_ok"):
        if lab.agent.poll() is not None:
            print("the agent has ended")
            return 2
        time.sleep(0.5)
    print(
        f"{given.resources} resources every {given.every} s, runs of {given.wait:g} s, "
        f"{os.cpu_count()} CPUs, {given.pythond}"
    )
    # Runs whose moment is not over are not counted.
    begin, seconds = time.time(), given.minutes * 60
    most, of_worker, pids = watch(lab, seconds + LOOK + MAX_LATE_BESIDE_HANGING)
    slots, runs = lab.slots(), lab.runs()
    first = min(slots.values())
    late = [
        one for key in slots for one in lateness(slots[key], runs.get(key, []), given.every, first, begin + seconds)
    ]
    good = told("nothing hangs", late, MAX_LATE)
    hang_begin = time.time()
    lab.hang_file.touch()
    more, more_of_worker, more_pids = watch(lab, seconds + LOOK + MAX_LATE_BESIDE_HANGING)
    runs = lab.runs()
    others = [key for key in slots if int(key[1:]) >= given.hang]
    late = [
        one
        for key in others
        for one in lateness(slots[key], runs.get(key, []), given.every, hang_begin, hang_begin + seconds)
    ]
    good &= told(f"runs against {given.hang} hang, the others", late, MAX_LATE_BESIDE_HANGING)
    print(f"processes of the worker: {len(pids)}, then {len(more_pids | pids) - len(pids)} more")
    peak = max(most, more)
    fits = peak <= MAX_MEMORY
    print(
        f"memory (PSS): {peak / (1 << 20):.0f} MiB for agent and worker, "
        f"{max(of_worker, more_of_worker) / (1 << 20):.0f} MiB "
        f"for the worker (limit {MAX_MEMORY >> 20} MiB): {'holds' if fits else 'DOES NOT HOLD'}"
    )
    return 0 if good and fits else 1


if __name__ == "__main__":
    sys.exit(main())
