"""Makes netdata's names importable and gives the tests modules of their own."""

import os
import sys
import textwrap

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
CORE = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [CORE, HERE]

from fake_host import FakeHost, load, units_of  # noqa: E402
from pythond.dialects import netdata  # noqa: E402
from pythond.dialects.netdata import link, surroundings  # noqa: E402

surroundings.find_ours()

HEAD = """\
from bases.FrameworkServices.SimpleService import SimpleService
ORDER = ["c"]
CHARTS = {"c": {"options": [None, "t", "u", "f", "x.c", "line"], "lines": [["v"]]}}
"""
SERVICE = (
    HEAD
    + """\
class Service(SimpleService):
    def __init__(self, configuration=None, name=None):
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.order, self.definitions = ORDER, CHARTS
"""
)


def configuration(**more):
    """Returns what a `Service` gets."""
    given = {"job_name": "local", "override_name": "", "update_every": 1, "priority": 60000, "autodetection_retry": 0}
    return {**given, "chart_cleanup": 10, "penalty": True, **more}


@pytest.fixture
def make():
    """Makes a `Service` of a class, linked; what was warned of is in `warned`."""

    def made(cls, print_line=None, fractions=True, **config):
        warned = []
        linked = link.Link("module", lambda code, text: warned.append((code, text)), fractions, print_line)
        with link.making(linked):
            service = cls(configuration=configuration(**config))
        service.warned = warned
        return service

    return made


class Lab:
    """A folder of modules, listed and run by a fake host."""

    def __init__(self, folder):
        self.folder = folder
        self.host = None

    def module(self, text, name="m", conf=None, head=SERVICE):
        """Writes a module: what follows in its class; `conf` beside it."""
        body = textwrap.indent(textwrap.dedent(text), "    ") if head == SERVICE else textwrap.dedent(text)
        (self.folder / f"{name}.chart.py").write_text(head + body)
        if conf is not None:
            (self.folder / f"{name}.conf").write_text(textwrap.dedent(conf))
        return self

    def listed(self, isolation="job", file="", **settings):
        """Lists the folder; returns the units that run, those that are off, and the faults."""
        self.host = FakeHost({"dirs": [str(self.folder)], **settings}, isolation=isolation)
        return units_of(netdata, self.host, file=file)

    def job(self, id="netdata.m", **settings):
        """Loads a unit; returns its job."""
        units, _, faults = self.listed(**settings)
        assert id in units, (list(units), [fault.text for fault in faults])
        return load(netdata, units[id], self.host)

    def run(self, id="netdata.m", times=1, **settings):
        """Checks a job and runs it; returns what the last run put."""
        job = self.job(id, **settings)
        job.check()
        for _ in range(times):
            job.run()
        return self.host.rows[-1]


@pytest.fixture
def lab(tmp_path):
    netdata.forget()
    made = Lab(tmp_path)
    yield made
    netdata.forget()
    surroundings.find_ours()


@pytest.fixture
def needs_yaml():
    if os.environ.get("PYTHOND_REQUIRE_SERVERS"):
        import yaml  # noqa: F401
    else:
        pytest.importorskip("yaml")
