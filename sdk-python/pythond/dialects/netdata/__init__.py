"""netdata's dialect: python.d modules (`*.chart.py`) with their YAML files, as they are.

A unit is a job of a module, with all its ways to one source (jobs of one name). `list` tells them (`listing`), `load`
imports the module and adds the unit's only job (`life`). `shadow` holds what modules import: `bases`, written anew.
With the setting `protocol` a job prints netdata's protocol to standard output and sends no rows (`protocol`); what
modules print goes to standard error then.
"""

from __future__ import annotations

import os
import sys
import threading

from pythond import codes, loader
from pythond.dialects.netdata import job_confs
from pythond.dialects.netdata.life import ModuleJob, Sweeper, Way
from pythond.dialects.netdata.link import Link
from pythond.dialects.netdata.places import SUFFIX, ModuleFile, Places
from pythond.dialects.netdata.settings import Settings
from pythond.dialects.netdata.surroundings import SHADOW, arrange
from pythond.dialects.netdata.surroundings import forget as forget_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable, Sequence

    from pythond.dialects import Host, Listing, Unit
    from pythond.dialects.netdata.job_confs import JobConf

PATH_FIRST: Sequence[str] = ()
PATH_LAST: Sequence[str] = (SHADOW,)
SAMPLE: str | None = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sample.chart.py")

_DEFAULT_GC = 300.0
_sweeper: Sweeper | None = None
# By module. It is run anew for each of its ways, in their jobs' threads, and known under one name meanwhile.
_importing: dict[str, threading.RLock] = {}


def list(given: Unit, host: Host) -> Listing:  # the window's name
    """Tells the jobs of all modules of an input, or of the only file that is given."""
    # Here, as all that reads YAML: the workers need none of it.
    from pythond.dialects.netdata import listing

    return listing.find(given, host)


def load(unit: Unit, host: Host) -> None:
    """Imports a module and adds the job of the unit; of a file without a listing, one for each of its jobs.

    Raises `loader.Failure`.
    """
    settings = Settings(host.settings)
    places = Places(settings, unit.roots, host, "" if unit.parts else os.path.abspath(unit.file))
    arrange(places, settings.update_every, host)
    _be_talkative(settings.debug)
    module = _module_of(unit, places)
    jobs = _jobs_of(unit, module, places, settings, host)
    first: ModuleType | None = _imported(module, unit)
    print_line = _protocol_printer() if settings.protocol else None
    sweep = _sweeper_of(unit)

    def load_module() -> ModuleType:
        # The one that was tried at load serves the first way; `CHARTS` is never shared between two.
        nonlocal first
        taken, first = first, None
        return taken if taken is not None else _imported(module, unit)

    ways: dict[str, Any] = {}
    for job in jobs:
        warn = _warner(host, job)
        link = Link(module.name, warn, settings.fractions, print_line)
        ways.setdefault(job.actual_name, []).append(Way(job, link, load_module))
    for name, of_name in ways.items():
        host.add(ModuleJob(host, name, of_name, settings, sweep))


def close(host: Host) -> None:
    """There is nothing that outlives the jobs."""


def forget() -> None:
    """Has the names of netdata's modules be nobody's again."""
    global _sweeper
    _sweeper = None
    forget_names()
    for name in [name for name in sys.modules if name.startswith("pythond_")]:
        del sys.modules[name]


def _module_of(unit: Unit, places: Places) -> ModuleFile:
    path = os.path.abspath(unit.file)
    name = os.path.basename(path)
    name = name[: -len(SUFFIX)] if name.endswith(SUFFIX) else os.path.splitext(name)[0]
    return ModuleFile(name, path, places.is_stock(path))


def _jobs_of(unit: Unit, module: ModuleFile, places: Places, settings: Settings, host: Host) -> Sequence[JobConf]:
    """Returns the jobs of a unit, the ways to its source in their order. Raises `loader.Failure`.

    Those that the listing told whole are no business of the file any more: a change of another job leaves them alone.
    """
    parts = unit.parts or {}
    path = parts["conf"] if "conf" in parts else places.conf_of(module)
    if not path or settings.given is not None:
        return [job_confs.without_file(module.name, module.is_stock, settings.given)]
    if "ways" in parts:
        return job_confs.unpacked(parts["ways"], path, places.is_stock(path))
    return _read_jobs(module, path, parts.get("jobs"), places, host)


def _read_jobs(
    module: ModuleFile, path: str, wanted: Sequence[str] | None, places: Places, host: Host
) -> Sequence[JobConf]:
    """Returns the jobs of a file, those that are wanted. Raises `loader.Failure`."""
    from pythond.dialects.netdata import confs, marked

    try:
        conf = confs.read(module.name, path, places.is_stock(path), host.reads)
    except OSError as error:
        raise _failure(codes.FOREIGN_SYNTAX, f"{path} cannot be read: {error.strerror}", path) from error
    if conf.is_unread:
        raise _failure(
            codes.MISSING_MODULE, f"No module named 'yaml', which {path} needs", module.path, help=marked.MISSING
        )
    jobs = [job for job in conf.jobs if wanted is None or job.key in wanted]
    if not jobs:
        errors = [fault for fault in conf.faults if fault.severity == "error"]
        if errors:
            one = errors[0]
            raise _failure(one.code, one.text, one.file, line=one.line, col=one.column, src=one.source)
        raise _failure(codes.FOREIGN_VALUE, f"{path} has no job {', '.join(wanted or ()) or 'at all'}", path)
    return jobs


def _imported(module: ModuleFile, unit: Unit) -> ModuleType:
    """Returns the module, run anew. Raises `loader.Failure`."""
    try:
        with _importing.setdefault(module.path, threading.RLock()):
            made = loader.run_as(f"pythond_{module.name}", module.path, unit.files)
    except BaseException as error:
        raise loader.load_failure(error, unit.files.is_user, "import") from error
    if not callable(getattr(made, "Service", None)):
        text = f"no class `Service` in {os.path.basename(module.path)}"
        raise _failure(codes.NOTHING_TO_RUN, text, module.path, help=_age(made))
    return made


def _age(module: ModuleType) -> str:
    """Says what a module of before 2017 would need."""
    if hasattr(module, "chart") or hasattr(module, "get_data"):
        return "modules have a class `Service` since netdata 1.6 (2017)"
    return ""


def _failure(code: str, text: str, file: str, **more: Any) -> loader.Failure:
    return loader.Failure(
        "load", code, "", text, True, file=file, **{key: value for key, value in more.items() if value}
    )


def _warner(host: Host, job: JobConf) -> Callable[[str, str], None]:
    """Returns what warns of a job with its place, once for each dimension: values change."""
    told: set[tuple[str, str]] = set()

    def warn(code: str, text: str) -> None:
        what = (code, text.partition(": ")[0])
        if what not in told:
            told.add(what)
            host.warn(code, text, job.conf, job.line, job.column)

    return warn


def _sweeper_of(unit: Unit) -> Sweeper:
    global _sweeper
    if _sweeper is None:
        _sweeper = Sweeper((unit.parts or {}).get("gc", _DEFAULT_GC))
    return _sweeper


def _be_talkative(debug: bool) -> None:
    from bases.loggers import PythonDLogger

    PythonDLogger._LOG_DEBUG = debug


def _protocol_printer() -> Callable[[str], None]:
    """Returns what writes to standard output, which is the protocol's alone from now on."""
    out = sys.stdout
    if out is not sys.stderr:
        sys.stdout = sys.stderr
        _protocol_out.append(out)
    stream = _protocol_out[-1]

    def print_line(text: str) -> None:
        stream.write(text)
        stream.flush()

    return print_line


_protocol_out: Any = []
