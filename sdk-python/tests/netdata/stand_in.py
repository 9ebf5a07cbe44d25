"""A stand-in for the agent: lists and runs the modules of an input in this process, and prints netdata's protocol.

usage: stand_in.py SETTINGS.json [LIBRARY ...]          ends with SIGTERM; messages go to standard error

Libraries that are named are not there for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(os.path.dirname(HERE)), HERE]

sys.modules.update(dict.fromkeys(sys.argv[2:]))

from fake_host import FakeHost, load, serve_all, units_of  # noqa: E402
from pythond import loader  # noqa: E402
from pythond.dialects import netdata  # noqa: E402


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    settings["protocol"] = True
    listing_host = FakeHost(settings)
    units, off, faults = units_of(netdata, listing_host)
    for fault in faults:
        say(f"{fault.severity}[{fault.code}]: {fault.text} --> {fault.file}:{fault.line}:{fault.column}")
    for id, why in off.items():
        say(f"off: {id}: {why}")
    until = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: until.set())
    threads = []
    for told in units.values():
        host = FakeHost(settings)
        try:
            job = load(netdata, told, host)
        except loader.Failure as failure:
            say(f"load-error {told.id}: {failure.frame['code']}: {failure}")
            continue
        threads += serve_all([job], until, say)
    until.wait()


def say(text):
    sys.stderr.write(text + "\n")


main()
