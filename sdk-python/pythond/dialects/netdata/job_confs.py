"""One job as its file has it, and as the listing hands it to the job's worker, which needs no YAML for it."""

from __future__ import annotations

import copy
import json
import os
import re
from collections import OrderedDict

from pythond.dialects.netdata import secrets_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping, Sequence

# What the framework takes out of a job, with what counts where nobody says anything.
BASE: dict[str, Any] = {
    "update_every": 1,
    "priority": 60000,
    "autodetection_retry": 0,
    "chart_cleanup": 10,
    "penalty": True,
}
_SPACE = re.compile(r"\s+")


class JobConf:
    """One job as its file has it."""

    __slots__ = ("column", "conf", "five", "is_stock", "key", "keys", "labels", "line", "override")

    def __init__(self, key: str, conf: str = "", line: int = 0, column: int = 0, is_stock: bool = False) -> None:
        self.key = key
        # `name` of the job.
        self.override = ""
        # All of its own keys, but the five of the framework and `name`.
        self.keys: dict[str, Any] = {}
        self.five: dict[str, Any] = {}
        self.labels: dict[str, str] = {}
        self.conf = conf
        self.line = line
        self.column = column
        self.is_stock = is_stock

    @property
    def actual_name(self) -> str:
        """Jobs of one such name are ways to one source."""
        return self.override or self.key

    def resolved(self, name: str, module_globals: Mapping[str, Any], least_every: float = 0) -> Any:
        """Returns one of the five: the job's, the module's, the base's."""
        value = self.five.get(name)
        if value is None:
            value = module_globals.get(name)
            if name != "penalty" and (isinstance(value, bool) or not isinstance(value, (int, float))):
                value = None
        if value is None:
            value = BASE[name]
        return max(value, whole(least_every)) if name == "update_every" else value

    def configuration(
        self, module_globals: Mapping[str, Any], least_every: float, read: Callable[[str], bytes]
    ) -> dict[str, Any]:
        """Returns what the module gets: a dictionary of its own. Raises `secrets_of.Missing`."""
        # Ordered, as all that comes from a file: modules move keys and take the first one.
        made: OrderedDict[str, Any] = OrderedDict(
            secrets_of.filled(copy.deepcopy(self.keys), os.path.dirname(self.conf), read)
        )
        made["job_name"] = self.key
        made["override_name"] = self.override
        for name in BASE:
            made[name] = self.resolved(name, module_globals, least_every)
        return made


def whole(value: float) -> float:
    return int(value) if value == int(value) else value


# A longer text might not fit into one frame with all that is around it.
_MOST_PACKED = 16 * 1024
_unpack = json.JSONDecoder(object_pairs_hook=OrderedDict).decode


def packed(jobs: Sequence[JobConf]) -> str | None:
    """Returns jobs as a text that `unpacked` reads, so that a worker needs neither the file nor a parser for it.

    None where a value would come back as another one: a date, a key that is no text, bytes.
    """
    plain = [[job.key, job.override, job.keys, job.five, job.labels, job.line, job.column] for job in jobs]
    try:
        text = json.dumps(plain, separators=(",", ":"))
        return text if len(text) <= _MOST_PACKED and _unpack(text) == plain else None
    except (TypeError, ValueError, RecursionError):
        return None


def unpacked(text: str, conf: str, is_stock: bool) -> list[JobConf]:
    """Returns the jobs of a text that `packed` has made."""
    jobs = []
    for key, override, keys, five, labels, line, column in _unpack(text):
        job = JobConf(key, conf, line, column, is_stock)
        job.override = override
        job.keys, job.five, job.labels = dict(keys), dict(five), dict(labels)
        jobs.append(job)
    return jobs


def without_file(module: str, is_stock: bool, given: Mapping[str, Any] | None = None) -> JobConf:
    """Returns the only job of a module without a file, with what the command line has given it."""
    job = JobConf(module, is_stock=is_stock)
    for key, value in (given or {}).items():
        if key == "name":
            job.override = name_of(str(value))
        elif key in BASE:
            job.five[key] = value
        else:
            job.keys[key] = value
    return job


def name_of(text: str) -> str:
    """Returns a name without white space."""
    return _SPACE.sub("_", text)
