#!/usr/bin/env python3
"""Measures what scripts that burn a core cost the others: how late the runs of light scripts begin, without and with
burners.

    python3 benches/burners.py --binary target/release/pythond [--scripts 50] [--burners 4] [--seconds 30]

Each light script notes when its run begins; the earliest of them (beside its grid of one second) is its zero, all
others are late by so much. Both tables come from one agent each, one after the other, on the same machine, which should
be idle otherwise.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIGHT = """import time
from datakit_framework import DataKitFramework

class Light(DataKitFramework):
    interval = 1

    def run(self):
        self.feed_metric(measurement='light', tags={'of': __file__}, fields={'at': time.monotonic()})
"""

BURNER = """from datakit_framework import DataKitFramework

class Burner(DataKitFramework):
    interval = 1

    def run(self):
        while True:
            pass
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/pythond")
    parser.add_argument("--scripts", type=int, default=50)
    parser.add_argument("--burners", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=30)
    args = parser.parse_args()
    print(f"{'burners':>8} {'light':>6} {'runs':>6} {'of':>6} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
    for burners in (0, args.burners):
        late, runs, due = measure(args.binary, args.scripts - burners, burners, args.seconds)
        row = [f"{1000 * share(late, part):8.1f}" for part in (0.5, 0.99, 1.0)]
        print(f"{burners:8} {args.scripts - burners:6} {runs:6} {due:6} {' '.join(row)}")


def measure(binary: str, light: int, burners: int, seconds: int) -> tuple[list[float], int, int]:
    """Returns how late each run was, how many there were, and how many were due."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for kind, count, text in (("light", light, LIGHT), ("burner", burners, BURNER)):
            for number in range(count):
                script = root / "python.d" / f"{kind}{number}" / f"{kind}{number}.py"
                script.parent.mkdir(parents=True)
                script.write_text(text)
        dirs = ", ".join(f'"{path.name}"' for path in sorted((root / "python.d").iterdir()))
        (root / "conf.d").mkdir()
        (root / "conf.d/all.conf").write_text(
            f'[[inputs.pythond]]\nname = "all"\ncmd = "{sys.executable}"\ndirs = [{dirs}]\n'
            '[http_api]\nlisten = "127.0.0.1:0"\n'
        )
        agent = subprocess.Popen(
            [binary, "--root", str(root), "agent"],
            env={**os.environ, "HOME": directory},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for_all(root, light)
            settled = time.monotonic() + 3
            time.sleep(seconds + 3)
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.wait()
        series = {name: [at for at in times if at >= settled] for name, times in begins(root).items()}
    late = [lateness for times in series.values() for lateness in lateness_of(times)]
    due = sum(round(times[-1] - times[0]) + 1 for times in series.values() if times)
    return sorted(late), len(late), due


def wait_for_all(root: Path, light: int) -> None:
    until = time.monotonic() + 180
    while len(begins(root)) < light:
        if time.monotonic() > until:
            sys.exit(f"only {len(begins(root))} of {light} scripts run")
        time.sleep(0.5)


def begins(root: Path) -> dict[str, list[float]]:
    """When the runs of each script began."""
    found: dict[str, list[float]] = {}
    path = root / "data/points/metric.lp"
    for line in path.read_text().splitlines() if path.exists() else []:
        match = re.match(r"light,.*\bof=(\S+) at=([0-9.e+]+)", line)
        if match:
            found.setdefault(match[1], []).append(float(match[2]))
    return {name: sorted(times) for name, times in found.items()}


def lateness_of(times: list[float]) -> list[float]:
    """How late each run was against the grid of one second through the most punctual of them."""
    if not times:
        return []
    rests = [at - times[0] - round(at - times[0]) for at in times]
    return [rest - min(rests) for rest in rests]


def share(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(part * len(values)))] if values else 0.0


if __name__ == "__main__":
    main()
