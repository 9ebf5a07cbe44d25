"""Loads and checks every module of an installation once, one process each, and tells what became of it as JSON.

usage: stock_modules.py PREFIX         a line for each unit: its id, `load-error`, `waiting`, `failing` or `ok`, and why
"""

from __future__ import annotations

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(os.path.dirname(HERE)), HERE]

from fake_host import FakeHost, load, units_of  # noqa: E402
from pythond import loader  # noqa: E402
from pythond.dialects import NotYet, netdata  # noqa: E402


def main():
    settings = {"install": sys.argv[1]}
    units, off, faults = units_of(netdata, FakeHost(settings))
    settings["modules"] = sorted({id.split(".")[1].partition(":")[0] for id in [*units, *off]})
    units, _, faults = units_of(netdata, FakeHost(settings))
    for fault in faults:
        tell("fault", fault.severity, f"{fault.file}:{fault.line}: {fault.text}")
    for told in units.values():
        pid = os.fork()
        if not pid:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            tell(told.id, *state_of(told, FakeHost(settings)))
            os._exit(0)
        os.waitpid(pid, 0)


def state_of(told, host):
    try:
        job = load(netdata, told, host)
    except loader.Failure as failure:
        return "load-error", f"{failure.frame['code']}: {failure}"
    try:
        job.check()
    except NotYet as why:
        return "waiting", why.why
    except BaseException as error:
        return "failing", f"{type(error).__name__}: {error}"
    return "ok", ""


def tell(id, state, why):
    sys.stdout.write(json.dumps([id, state, why]) + "\n")
    sys.stdout.flush()


main()
