#!/usr/bin/env python3
"""Measures whole agents: a load generator posts, the agent keeps and forwards, a receiver counts. Prints one table.

    benches/agent/run.py --loadgen PATH [--pythond PATH] [--other NAME,FORMAT,URLPATH,START]... [--only TEXT]
        [--dir DIR]

The load generator is a program with two commands: `sink ADDRESS` takes line protocol over HTTP, counts it and measures
the time from post to arrival by the points' timestamps (`GET /stats`, `GET /reset`); `load ADDRESS URLPATH FORMAT
CONNECTIONS POINTS_PER_POST TOTAL RATE` posts and prints what was acknowledged (formats: `dk` DataKit's JSON, `lp` line
protocol, `flat` flat JSON; rate 0: as fast as it goes).

START is an executable that is called `START DIR LISTEN RECEIVER` and becomes the agent: it listens on LISTEN and sends
line protocol to `http://RECEIVER/write`. pythond acknowledges what is on disk; an agent that acknowledges what is in
memory does less work for its answer.

CPU is user and system time of the agent's process, peak memory its VmHWM; a row ends when everything acknowledged has
arrived. DIR should lie on the disk that is meant to be measured (default: the directory for temporary files).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Agent:
    """A program under test and how it is spoken to."""

    name: str
    format: str
    url_path: str
    command: Callable[[Path, str, str], list[str]]
    """Of directory, own address, receiver's address."""
    arrived: Callable[[Path, str], int]
    """Points that came out, of directory and receiver's address."""
    has_latency: bool = True


@dataclass(frozen=True)
class Load:
    per_post: int
    connections: int
    total: int
    rate: int = 0


LOADS = [
    Load(1, 1, 10_000),
    Load(1, 8, 30_000),
    Load(1, 64, 60_000),
    Load(10, 1, 50_000),
    Load(10, 4, 200_000),
    Load(10, 8, 200_000),
    Load(10, 64, 400_000),
    Load(1000, 1, 500_000),
    Load(1000, 8, 1_000_000),
    Load(1000, 64, 1_000_000),
    Load(10, 4, 50_000, rate=5000),
]


def free_address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def wait(what: str, check: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not check():
        if time.monotonic() > end:
            raise SystemExit(f"waited {PATIENCE:.0f} s in vain for {what}")
        time.sleep(0.01)


def listens(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


@contextlib.contextmanager
def running(command: list[str], address: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program that listens on the address, and ends it."""
    with log.open("wb") as out, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as process:
        try:
            wait(f"{command[0]} (it says: {log})", lambda: process.poll() is not None or listens(address))
            if process.poll() is not None:
                raise SystemExit(f"{shlex.join(command)} ended:\n{log.read_text(errors='replace')}")
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def receiver_stats(address: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{address}/stats", timeout=10) as answer:
        stats: dict[str, float] = json.load(answer)
        return stats


def lines_in(files: Iterator[Path]) -> int:
    count = 0
    for file in files:
        with file.open("rb") as handle:
            while part := handle.read(1 << 20):
                count += part.count(b"\n")
    return count


def pythond(binary: Path, sink: str) -> Agent:
    """The agent of this repository, with one sink."""

    def command(root: Path, listen: str, receiver: str) -> list[str]:
        conf = root / "conf.d"
        conf.mkdir()
        kinds = {
            "http": f'[sinks.influxdb.far]\nurl = "http://{receiver}"\ndatabase = "d"\n',
            "file": '[sinks.file.local]\nmax_file = "8GiB"\n',
        }
        (conf / "agent.conf").write_text(
            f'[http_api]\nlisten = "{listen}"\n[logging]\ndir = "{root}/log"\n{kinds[sink]}'
        )
        return [str(binary), "--root", str(root), "agent"]

    def arrived(root: Path, receiver: str) -> int:
        if sink == "file":
            return lines_in((root / "data/points").glob("metric.lp*"))
        return int(receiver_stats(receiver)["lines"])

    return Agent(f"pythond → {sink}", "dk", "/v1/write/metric", command, arrived, has_latency=sink == "http")


def other(text: str) -> Agent:
    """NAME,FORMAT,URLPATH,START"""
    name, form, url_path, start = text.split(",", 3)
    return Agent(
        name,
        form,
        url_path,
        lambda root, listen, receiver: [start, str(root), listen, receiver],
        lambda _, receiver: int(receiver_stats(receiver)["lines"]),
    )


def measure(agent: Agent, load: Load, loadgen: Path, base: Path) -> list[str]:
    root = Path(tempfile.mkdtemp(prefix="pythond-bench-", dir=base))
    listen, receiver = free_address(), free_address()
    try:
        sink = running([str(loadgen), "sink", receiver], receiver, root / "receiver.log")
        with sink, running(agent.command(root, listen, receiver), listen, root / "agent.log") as process:
            begin = cpu_seconds(process.pid)
            numbers = [load.connections, load.per_post, load.total, load.rate]
            command = [str(loadgen), "load", listen, agent.url_path, agent.format, *map(str, numbers)]
            said = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            wait("the last point", lambda: agent.arrived(root, receiver) >= said["acked"])
            cpu = cpu_seconds(process.pid) - begin
            stats = receiver_stats(receiver)
            return row(agent, load, said, cpu, peak_mib(process.pid), stats)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def row(
    agent: Agent, load: Load, said: dict[str, float], cpu: float, peak: float, stats: dict[str, float]
) -> list[str]:
    points = said["acked"]
    errors = f" ({said['errors']:.0f} errors)" if said["errors"] else ""
    arrival = [f"{stats['p50_ms']:.1f}", f"{stats['p99_ms']:.1f}"] if agent.has_latency else ["", ""]
    return [
        agent.name,
        str(load.per_post),
        str(load.connections),
        f"{load.rate}/s" if load.rate else "max",
        f"{said['points_per_s']:.0f}{errors}",
        f"{points / cpu:.0f}" if cpu else "",
        f"{cpu / points * 1e6:.2f}",
        f"{peak:.1f}",
        f"{said['post_p50_ms']:.2f}",
        f"{said['post_p99_ms']:.2f}",
        *arrival,
    ]


HEADINGS = [
    "agent", "points/post", "connections", "rate", "points/s", "points per CPU-s", "CPU µs/point", "peak MiB",
    "post p50 ms", "post p99 ms", "arrival p50 ms", "arrival p99 ms",
]  # fmt: skip


def binary_of(given: Path | None) -> Path:
    if given:
        return given.resolve()
    subprocess.run(["cargo", "build", "--release"], cwd=REPOSITORY, check=True)
    return REPOSITORY / "target/release/pythond"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loadgen", type=Path, required=True, help="the load generator")
    parser.add_argument("--pythond", type=Path, help="a binary; without it the release binary is built")
    parser.add_argument("--other", type=other, action="append", default=[], help="NAME,FORMAT,URLPATH,START")
    parser.add_argument("--only", default="", help="rows whose `agent points/post connections rate` holds this text")
    parser.add_argument("--dir", type=Path, help="where the agents keep their data")
    args = parser.parse_args()
    binary = binary_of(args.pythond)
    agents = [pythond(binary, "http"), pythond(binary, "file"), *args.other]
    print("| " + " | ".join(HEADINGS) + " |")
    print("|" + "---|" * len(HEADINGS))
    for agent in agents:
        for load in LOADS:
            name = f"{agent.name} {load.per_post} {load.connections} {f'{load.rate}/s' if load.rate else 'max'}"
            if args.only in name:
                cells = measure(agent, load, args.loadgen.resolve(), args.dir)
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
