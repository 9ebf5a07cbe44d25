#!/usr/bin/env python3
"""Measures collectd's Python plugins in a real agent, beside collectd itself with its csv writer, in one run.

    benches/dialects/collectd.py [--pythond PATH] [--seconds S] [--series N] [--rounds R] [--queued N]

First one read callback dispatches as fast as it can: values a second that are in the file of the sink, here, and in
the csv files, there; the two take turns, and the medians are compared. Then a plugin with a write callback dispatches
many values before anything can be written: what one that waits costs in memory, on both sides.

Exit 1 where fewer than 60 000 values a second arrive, or a waiting one costs 0.7 kB or more. Debian's `collectd-core`
is needed for the comparison; without it ours is measured alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
COLLECTD = "/usr/sbin/collectd"
LEAST_A_SECOND = 60_000
MOST_BYTES = 700
LIMIT = 120.0

FLOOD = """import collectd

SERIES = [str(number) for number in range({series})]


def read():
    for _ in range({turns}):
        for name in SERIES:
            collectd.Values(type="gauge", plugin="flood", type_instance=name, values=[0.5]).dispatch()


collectd.register_read(read, 0.01)
"""
# Values that are dispatched before the daemon is ready wait until it is.
QUEUED = """import collectd, gc, os, time


def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def dispatch(count):
    for number in range(count):
        collectd.Values(
            type="gauge", plugin="queued", type_instance=str(number % 100), values=[number], host="h", time=1e9 + number
        ).dispatch()


def config(node):
    dispatch(1000)
    gc.collect()
    before = memory()
    dispatch({queued})
    gc.collect()
    with open("{told}", "w") as file:
        file.write(str((memory() - before) / {queued}))


collectd.register_write(lambda values: None)
collectd.register_config(config)
"""
CONF = """Hostname "h"
Interval 1
FQDNLookup false
BaseDir "{dir}"
PIDFile "{dir}/pid"
TypesDB "/usr/share/collectd/types.db"
{more}
LoadPlugin python
<Plugin python>
  ModulePath "{dir}"
  Import "{name}"
  <Module "{name}">
    Any "thing"
  </Module>
</Plugin>
"""
CSV = """LoadPlugin csv
<Plugin csv>
  DataDir "{dir}/csv"
  StoreRates false
</Plugin>"""
ROOT_CONF = """[http_api]
listen = "127.0.0.1:0"
[[inputs.collectd]]
config = "{dir}/collectd.conf"
[sinks.file.local]
"""


class Ours:
    """An agent with the plugin."""

    def __init__(self, pythond: str, folder: Path) -> None:
        for name in ("conf.d", "python.d", "home"):
            (folder / name).mkdir()
        (folder / "conf.d/agent.conf").write_text(ROOT_CONF.format(dir=folder))
        self.folder = folder
        self.command = [pythond, "--root", str(folder), "agent"]
        self.env = {**os.environ, "HOME": str(folder / "home")}

    def arrived(self, offsets: dict[str, int]) -> int:
        return lines_of(offsets, self.folder.glob("data/points/metric*.lp"))


class Theirs:
    """collectd with the plugin and its csv writer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command = [COLLECTD, "-f", "-C", str(folder / "collectd.conf")]
        self.env = dict(os.environ)

    def arrived(self, offsets: dict[str, int]) -> int:
        # Each file begins with a line of names.
        return lines_of(offsets, self.folder.glob("csv/h/flood/*")) - len(offsets)


def lines_of(offsets: dict[str, int], paths: Iterator[Path]) -> int:
    """Counts the lines of files; of those that were counted before, what is new."""
    for path in paths:
        key = str(path)
        with path.open("rb") as file:
            lines, at = divmod(offsets.get(key, 0), 1 << 44)
            file.seek(at)
            while chunk := file.read(1 << 20):
                lines += chunk.count(b"\n")
                at += len(chunk)
        offsets[key] = (lines << 44) + at
    return sum(value >> 44 for value in offsets.values())


@contextlib.contextmanager
def running(side: Ours | Theirs, name: str, source: str, more: str) -> Iterator[None]:
    (side.folder / f"{name}.py").write_text(source)
    (side.folder / "collectd.conf").write_text(CONF.format(dir=side.folder, name=name, more=more))
    with (side.folder / "console").open("w") as console:
        process = subprocess.Popen(side.command, env=side.env, stdout=console, stderr=console, cwd=side.folder)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            # The original waits for a read callback that does not end.
            process.kill()
            process.wait()


def wait(what: str, side: Ours | Theirs, is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT
    while not is_so():
        if time.monotonic() > until:
            raise SystemExit(f"waited in vain for {what}:\n{(side.folder / 'console').read_text()[-3000:]}")
        time.sleep(0.05)


def throughput(side: Ours | Theirs, given: argparse.Namespace, more: str) -> float:
    """Returns how many values a second are in the files while a read callback dispatches without a pause."""
    source = FLOOD.format(series=given.series, turns=max(1, 10_000 // given.series))
    offsets: dict[str, int] = {}
    with running(side, "flood", source, more):
        wait("the first values", side, lambda: side.arrived(offsets) > 0)
        # What the beginning costs is not measured.
        time.sleep(1.0)
        begun, before = time.monotonic(), side.arrived(offsets)
        time.sleep(given.seconds)
        after, ended = side.arrived(offsets), time.monotonic()
    return (after - before) / (ended - begun)


def cost(side: Ours | Theirs, given: argparse.Namespace, more: str) -> float:
    """Returns the bytes that a value costs which waits for a write callback."""
    told = side.folder / "told"
    with running(side, "queued", QUEUED.format(queued=given.queued, told=told), more):
        wait("the cost of a value", side, lambda: told.exists() and told.read_text() != "")
        return float(told.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythond", default=str(REPOSITORY / "target/release/pythond"))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queued", type=int, default=200_000)
    given = parser.parse_args()
    has_original = os.path.exists(COLLECTD)
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} CPUs, load {load:.1f} before anything runs, {given.series} series")
    rates: dict[str, list[float]] = {"pythond": [], "collectd": []}
    for _ in range(given.rounds):
        for name in ["pythond", "collectd"] if has_original else ["pythond"]:
            with side_of(name, given) as (side, more):
                rates[name].append(throughput(side, given, more))
                print(f"  {name}: {rates[name][-1]:,.0f} values a second", flush=True)
    costs = {}
    for name in ["pythond", "collectd"] if has_original else ["pythond"]:
        with side_of(name, given) as (side, more):
            costs[name] = cost(side, given, more)
    return told(rates, costs)


@contextlib.contextmanager
def side_of(name: str, given: argparse.Namespace) -> Iterator[tuple[Ours | Theirs, str]]:
    with tempfile.TemporaryDirectory(prefix=f"{name}-bench-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        side = Ours(given.pythond, place) if name == "pythond" else Theirs(place)
        yield side, CSV.format(dir=place) if name == "collectd" else ""


def told(rates: dict[str, list[float]], costs: dict[str, float]) -> int:
    ours, bytes_ = statistics.median(rates["pythond"]), costs["pythond"]
    beside = besides = ""
    if rates["collectd"]:
        theirs = statistics.median(rates["collectd"])
        beside = f", {ours / theirs:.2f} times the {theirs:,.0f} of collectd's csv writer"
        besides = f", {bytes_ / costs['collectd']:.2f} times the {costs['collectd']:.0f} of collectd"
    is_fast, is_small = ours >= LEAST_A_SECOND, bytes_ < MOST_BYTES
    verdict = {True: "holds", False: "DOES NOT HOLD"}
    print(
        f"values a second from one read callback into the file: {ours:,.0f}{beside} "
        f"(at least {LEAST_A_SECOND:,}): {verdict[is_fast]}"
    )
    print(f"bytes of a waiting value: {bytes_:.0f}{besides} (less than {MOST_BYTES}): {verdict[is_small]}")
    return 0 if is_fast and is_small else 1


if __name__ == "__main__":
    sys.exit(main())
