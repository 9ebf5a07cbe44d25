"""A host that keeps what it is given, plugin folders, and the documents of the original where they are."""

import os
import re
import sys
import textwrap
import threading
import time

import pytest

from pythond import dialects, rows
from pythond.dialects import panoptes

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
CASES = os.path.join(REPOSITORY, "tests", "cases", "panoptes")
sys.path.insert(0, panoptes.PATH_FIRST[0])
SHARED = os.path.join(os.path.dirname(REPOSITORY), "shared")
LIMIT = 30.0


def golden():
    """The lines of the original's output."""
    path = os.path.join(SHARED, "cases", "panoptes", "golden.txt")
    if not os.path.exists(path):
        pytest.skip("the original's output is not beside the repository (../shared/cases/panoptes)")
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def section(name):
    """The lines of one part of the original's output."""
    lines = golden()
    start = lines.index(f"--- {name}") + 1
    end = next((at for at in range(start, len(lines)) if lines[at].startswith("--- ")), len(lines))
    return lines[start:end]


def tutorial():
    """The text about writing a plugin."""
    folder = os.path.join(SHARED, "seeds")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = file.read()
        if "Writing a Panoptes Polling Plugin" in text:
            return text
    pytest.skip("the tutorial is not beside the repository (../shared/seeds)")


def blocks(text):
    """The listings of a document, without the indentation of where they stand."""
    found = re.findall(r"^[ ]*```\w*\n(.*?)^[ ]*```", text, re.S | re.M)
    return [textwrap.dedent(block) for block in found]


class Host:
    """What the worker lends, for one unit."""

    def __init__(self, folder, id="panoptes.X", mode="worker", **settings):
        self.id = id
        self.input = "panoptes"
        self.settings = settings
        self.config = {}
        self.state_dir = os.path.join(str(folder), "state")
        self.hostname = "here"
        self.interval = 10.0
        self.isolation = "plugin"
        self.mode = mode
        self.is_user = lambda path: False
        self.rows = []
        self.jobs = []
        self.warnings = []
        self.read = []
        self.looked = []
        self.answer = rows.Answer(200, 1, 0, 0, "")
        self.came = threading.Condition()

    def put(self, job, some):
        with self.came:
            self.rows += some
            self.came.notify_all()
        return self.answer

    def reads(self, path):
        self.read.append(path)
        with open(path, "rb") as file:
            return file.read()

    def looks(self, folder):
        self.looked.append(folder)
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def add(self, job):
        self.jobs.append(job)

    def drop(self, job):
        self.jobs.remove(job)

    def warn(self, code, text, file="", line=0, column=0):
        if (code, text) not in [(one[0], one[1]) for one in self.warnings]:
            self.warnings.append((code, text, file, line))

    def replace(self, why):
        self.replaced = why

    def wait_for_rows(self, count):
        with self.came:
            assert self.came.wait_for(lambda: len(self.rows) >= count, LIMIT), self.rows


def write(path, text):
    """Writes a file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


RESOURCE = {
    "resource_plugin": "p",
    "resource_site": "local",
    "resource_class": "system",
    "resource_subclass": "host",
    "resource_type": "generic",
    "resource_id": "a",
    "resource_endpoint": "localhost",
    "resource_creation_timestamp": "1512629517.03121",
    "resource_metadata": {"_resource_ttl": "900"},
}


def resource(id="a", ttl=900, metadata=None, **more):
    """A resource as a dict."""
    made = {**RESOURCE, "resource_id": id, "resource_endpoint": id, **more}
    return {**made, "resource_metadata": {"_resource_ttl": str(ttl), **(metadata or {})}}


def info(name="X", module="x.py", every=60, query='resource_site = "local"', more=""):
    """An info file."""
    wanted = f"resource_filter = {query}\n" if query else ""
    core = f"[Core]\nName = {name}\nModule = {module}\n"
    return f"{core}[main]\nexecute_frequency = {every}\n{wanted}{textwrap.dedent(more)}"


POLLING = """
from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin
from yahoo_panoptes.framework.metrics import *


class X(PanoptesPollingPlugin):
    def run(self, context):
        groups = PanoptesMetricsGroupSet()
        group = PanoptesMetricsGroup(context.data, "g", 60)
        group.add_metric(PanoptesMetric("v", 1, PanoptesMetricType.GAUGE))
        groups.add(group)
        return groups
"""


def unit(path, type="polling", id="panoptes.X", roots=()):
    return dialects.Unit(
        id, str(path), roots=roots or [os.path.dirname(str(path))], parts={"type": type}, input="panoptes"
    )


def loaded(path, host, type="polling"):
    """Loads a unit and returns its job."""
    panoptes.load(unit(path, type, host.id), host)
    (job,) = host.jobs
    return job


def checked(path, host, type="polling"):
    """Loads a unit, and checks its job, which goes well."""
    job = loaded(path, host, type)
    job.check()
    return job


def until(condition, why=""):
    """Waits until something is so."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, why
        time.sleep(0.005)
