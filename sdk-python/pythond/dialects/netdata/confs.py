"""`<module>.conf`: one job or many, and all that can be wrong with them."""

from __future__ import annotations

import os

from pythond.dialects.netdata import faults, marked, secrets_of
from pythond.dialects.netdata.faults import Faults
from pythond.dialects.netdata.job_confs import BASE, JobConf, name_of, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping, Sequence

    from pythond.dialects import Fault
    from pythond.dialects.netdata.marked import Document, Pair

_WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


class ModuleConf:
    """The jobs of a module, and what is wrong with the file that they come from."""

    def __init__(self, jobs: list[JobConf], found: Sequence[Fault] = (), is_unread: bool = False) -> None:
        """`is_unread`: the file has something to say, and there is no PyYAML to read it."""
        self.jobs = jobs
        self.faults = list(found)
        self.is_unread = is_unread


def read(module: str, path: str, is_stock: bool, read_file: Callable[[str], bytes]) -> ModuleConf:
    """Reads the jobs of a module. Raises `OSError`."""
    data = read_file(path)
    if marked.yaml is None:
        is_empty = all(not line.strip() or line.lstrip().startswith(b"#") for line in data.splitlines())
        return ModuleConf([JobConf(module, path, is_stock=is_stock)], is_unread=not is_empty)
    noted = Faults(path, data)
    try:
        document = marked.read(data)
        jobs = [] if document is None else _Reader(module, path, is_stock, noted, read_file).jobs(document)
    except marked.Unreadable as error:
        noted.unreadable(error)
        return ModuleConf([], noted.found)
    if document is None:
        jobs = [JobConf(module, path, is_stock=is_stock)]
    return ModuleConf(jobs, noted.found)


class _Reader:
    """Makes jobs of a file that could be parsed."""

    def __init__(
        self, module: str, path: str, is_stock: bool, noted: Faults, read_file: Callable[[str], bytes]
    ) -> None:
        self._module = module
        self._path = path
        self._is_stock = is_stock
        self._noted = noted
        self._read_file = read_file

    def jobs(self, document: Document) -> list[JobConf]:
        of_jobs = [pair for pair in document.pairs if pair.is_mapping]
        for key, first, second in document.repeated:
            what = f"job {key}" if second.is_mapping else key
            text = f"{what} is given twice: here and in line {first.line}; the last one counts"
            self._noted.warning(faults.VALUE, text, second.line, second.column)
        if not of_jobs:
            place = (document.pairs[0].line, document.pairs[0].column) if document.pairs else (0, 0)
            job = JobConf(self._module, self._path, *place, is_stock=self._is_stock)
            return [job] if self._fill(job, document.pairs, {}) else []
        defaults, bad = self._defaults([pair for pair in document.pairs if not pair.is_mapping])
        found = []
        for pair in of_jobs:
            job = JobConf(self._key(pair), self._path, pair.line, pair.column, self._is_stock)
            for key, first, second in pair.repeated():
                text = f"{key} of job {pair.key} is given twice: here and in line {first.line}; the last one counts"
                self._noted.warning(faults.VALUE, text, second.line, second.column)
            try:
                pairs = pair.pairs()
            except marked.Unreadable as error:
                self._noted.unreadable(error, f"job {pair.key}: ")
                continue
            own = {one.key for one in pairs}
            if self._fill(job, pairs, defaults) and bad <= own:
                found.append(job)
        return found

    def _defaults(self, pairs: Sequence[Pair]) -> tuple[dict[str, Any], set[str]]:
        """Returns the five as the top of the file has them, and which of them nobody can use."""
        defaults: dict[str, Any] = {}
        bad = set()
        for pair in pairs:
            if pair.key not in BASE:
                text = f"{pair.key} is not used: this file has jobs; put it into a job"
                if pair.is_empty:
                    text = f"{pair.key} is not used: a job must have a key, such as `update_every: 1`"
                self._noted.warning(faults.VALUE, text, pair.line, pair.column)
                continue
            is_good, value = self._five(pair)
            if not is_good:
                bad.add(pair.key)
            elif value is not None:
                defaults[pair.key] = value
        return defaults, bad

    def _key(self, pair: Pair) -> str:
        if not pair.is_text:
            text = f"the job key {pair.key} is no text; it is taken as text"
            self._noted.warning(faults.VALUE, text, pair.line, pair.column)
        return name_of(pair.key)

    def _fill(self, job: JobConf, pairs: Sequence[Pair], defaults: Mapping[str, Any]) -> bool:
        """Fills a job; says whether it can run."""
        job.five.update(defaults)
        is_good = True
        for pair in pairs:
            if pair.key in BASE:
                is_good_value, value = self._five(pair)
                is_good &= is_good_value
                if value is not None:
                    job.five[pair.key] = value
            elif pair.key == "name":
                is_good &= self._take_name(job, pair)
            else:
                is_good &= self._take(job, pair)
        return is_good

    def _take_name(self, job: JobConf, pair: Pair) -> bool:
        value = pair.value()
        if isinstance(value, (list, dict)):
            return self._refuse(pair, "`name`", "must be text")
        if value is not None and not isinstance(value, str):
            text = f"`name` is {pair.text()}, which is no text; it is taken as text"
            self._noted.warning(faults.VALUE, text, pair.value_line, pair.value_column)
        job.override = "" if value is None else name_of(pair.text())
        return True

    def _take(self, job: JobConf, pair: Pair) -> bool:
        try:
            value = pair.value()
            secrets_of.filled(value, os.path.dirname(self._path), self._read_file)
        except marked.Unreadable as error:
            self._noted.unreadable(error)
            return False
        except secrets_of.Missing as error:
            return self._refuse(pair, f"`{pair.key}`", f"has no value: {error}")
        key: Any = pair.key if pair.is_text else marked.load(pair.key)
        job.keys[key] = value
        if pair.key == "labels":
            self._take_labels(job, pair, value)
        return True

    def _take_labels(self, job: JobConf, pair: Pair, value: Any) -> None:
        if not isinstance(value, dict) or any(isinstance(one, (list, dict)) for one in value.values()):
            text = "`labels` makes no tags: it must have names with values, such as {dc: eu1}"
            self._noted.warning(faults.VALUE, text, pair.value_line, pair.value_column)
            return
        job.labels = {one.key: one.text() for one in pair.pairs() if one.text()}

    def _five(self, pair: Pair) -> tuple[bool, Any]:
        """Returns whether one of the five can be used, and its value; None where it says nothing."""
        try:
            value = pair.value()
        except marked.Unreadable as error:
            self._noted.unreadable(error)
            return False, None
        if value is None:
            text = f"`{pair.key}` is empty; the default is taken"
            self._noted.warning(faults.VALUE, text, pair.line, pair.column)
            return True, None
        if pair.key == "penalty":
            return self._switch(pair, value)
        number = _number(value)
        if pair.key == "priority":
            if number is None:
                text = f"`priority` is {pair.text() or 'no number'}; {BASE['priority']} is taken"
                self._noted.warning(faults.VALUE, text, pair.value_line, pair.value_column)
                return True, BASE["priority"]
        elif number is None or number < 0 or (number == 0 and pair.key == "update_every"):
            wanted = {
                "update_every": "a number of seconds above 0",
                "autodetection_retry": "a number of seconds, 0 for none of its own",
                "chart_cleanup": "a number of runs, 0 for never",
            }[pair.key]
            return self._refuse(pair, f"`{pair.key}`", f"must be {wanted}"), None
        if isinstance(value, str):
            self._noted.warning(
                faults.VALUE,
                f'`{pair.key}` is "{value}", which is text; taken as {number:g}',
                pair.value_line,
                pair.value_column,
            )
        return True, number

    def _switch(self, pair: Pair, value: Any) -> tuple[bool, Any]:
        if isinstance(value, (bool, int, float)):
            return True, bool(value)
        if isinstance(value, str) and value.lower() in _WORDS:
            taken = _WORDS[value.lower()]
            text = f'`{pair.key}` is "{value}", which is text; taken as {"yes" if taken else "no"}'
            self._noted.warning(faults.VALUE, text, pair.value_line, pair.value_column)
            return True, taken
        return self._refuse(pair, f"`{pair.key}`", "must be yes or no"), None

    def _refuse(self, pair: Pair, what: str, why: str) -> bool:
        shown = f" is {pair.text()}; it" if pair.text() and why.startswith("must") else ""
        self._noted.error(faults.VALUE, f"{what}{shown} {why}", pair.value_line, pair.value_column)
        return False


def _number(value: Any) -> Any:
    """Returns a number, also one in quotes; None for what is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, (int, float)) or not -1e18 < value < 1e18:
        return None
    return whole(value)
