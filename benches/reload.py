#!/usr/bin/env python3
"""Measures how long it takes from saving a script until a point of the new version is on disk, with many collectors
running.

    benches/reload.py [--pythond PATH] [--collectors N] [--saves N] [--interval SECONDS] [--max-p95 SECONDS]

Each save changes one script; the time ends when the file sink holds a point with the new version, so it contains the
wait for quiet (0.3 s), the trial of the new version, the end of the old worker, the start of the new one, its first
run, and the delivery. All other workers must keep their processes. Exit 1 if the p95 is above --max-p95, or if another
worker was restarted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE = 120.0

SCRIPT = """from datakit_framework import DataKitFramework


class Collector(DataKitFramework):
    interval = {interval}

    def run(self):
        self.feed_metric(measurement="m{number}", tags={{"version": "{version}"}}, fields={{"value": 1.5}})
"""


class Lab:
    """A root directory with its agent."""

    def __init__(self, pythond: str, root: Path, collectors: int, interval: float) -> None:
        self.pythond = pythond
        self.root = root
        self.interval = interval
        for folder in ("conf.d", "python.d/many", "home"):
            (root / folder).mkdir(parents=True)
        (root / "conf.d/pythond.conf").write_text(
            '[http_api]\nlisten = "127.0.0.1:0"\n[[inputs.pythond]]\nname = "many"\ncmd = "python3"\ndirs = ["many"]\n'
        )
        for number in range(collectors):
            self.save(number, 0)
        self.points = root / "data/points/metric.lp"
        self.agent = subprocess.Popen(
            [pythond, "--root", str(root), "agent"],
            env={**os.environ, "HOME": str(root / "home")},
            stderr=subprocess.DEVNULL,
        )

    def save(self, number: int, version: int) -> None:
        text = SCRIPT.format(number=number, version=version, interval=self.interval)
        (self.root / f"python.d/many/c{number}.py").write_text(text)

    def pids(self) -> dict[str, int]:
        """Returns the process of each script that has run well."""
        done = subprocess.run(
            [self.pythond, "--root", str(self.root), "status", "--json"], capture_output=True, check=False
        )
        scripts = json.loads(done.stdout)["units"] if done.returncode == 0 else []
        return {script["id"]: script["pid"] for script in scripts if script["runs_ok"]}

    def arrives(self, number: int, version: int, seen: int) -> float:
        """Waits for a point of a version behind a place in the file; returns when it was there."""
        wanted = f",version={version} ".encode()
        name = f"m{number},".encode()
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with self.points.open("rb") as file:
                file.seek(seen)
                if any(line.startswith(name) and wanted in line for line in file.read().splitlines()):
                    return time.monotonic()
            time.sleep(0.005)
        sys.exit(f"collector {number} never ran version {version}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythond", default=str(REPOSITORY / "target/release/pythond"))
    parser.add_argument("--collectors", type=int, default=50)
    parser.add_argument("--saves", type=int, default=60)
    parser.add_argument("--interval", type=float, default=10.0)
    parser.add_argument("--max-p95", type=float)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pythond-bench-") as folder:
        lab = Lab(args.pythond, Path(folder), args.collectors, args.interval)
        try:
            times, touched = measure(lab, args.collectors, args.saves)
        finally:
            lab.agent.terminate()
            lab.agent.wait()
    times.sort()
    p50, p95 = times[len(times) // 2], times[min(len(times) - 1, int(len(times) * 0.95))]
    print(f"{'collectors':>10} {'saves':>6} {'p50':>8} {'p95':>8} {'max':>8} {'others restarted':>17}")
    print(f"{args.collectors:>10} {len(times):>6} {p50:>6.3f} s {p95:>6.3f} s {times[-1]:>6.3f} s {touched:>17}")
    if touched or (args.max_p95 is not None and p95 > args.max_p95):
        sys.exit(1)


def measure(lab: Lab, collectors: int, saves: int) -> tuple[list[float], int]:
    until = time.monotonic() + PATIENCE
    while len(lab.pids()) < collectors:
        if time.monotonic() > until:
            sys.exit("the collectors do not run")
        time.sleep(0.1)
    times, touched = [], 0
    before = lab.pids()
    for version in range(1, saves + 1):
        number = random.randrange(collectors)
        # Not in step with the runs.
        time.sleep(random.uniform(0.2, 0.6))
        seen = lab.points.stat().st_size
        start = time.monotonic()
        lab.save(number, version)
        times.append(lab.arrives(number, version, seen) - start)
        after = lab.pids()
        touched += sum(1 for name, pid in before.items() if name != f"many.c{number}" and after.get(name) != pid)
        before = after
    return times, touched


if __name__ == "__main__":
    main()
