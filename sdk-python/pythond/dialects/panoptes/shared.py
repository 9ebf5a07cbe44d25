"""What the units of an input have in common, as one of them sees it: the file, the resources, secrets, settings."""

from __future__ import annotations

import os
import re

from pythond import codes
from pythond.dialects import Fault
from pythond.dialects.panoptes import resources
from pythond.dialects.panoptes.pairs import Pairs
from pythond.dialects.panoptes.resources import Table
from pythond.dialects.panoptes.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

    from pythond.dialects import Host
    from pythond.dialects.panoptes.log import RunLogger
    from yahoo_panoptes.framework.context import PanoptesContext
    from yahoo_panoptes.framework.resources import PanoptesResource

DEFAULT_SITE = "local"


class Shared:
    """See the top of this file."""

    def __init__(self, host: Host, roots: Sequence[str]) -> None:
        """Raises `store.StoreError`, or `ImportError` for a Python without SQLite."""
        name = re.sub(r"[^\w.\-]", "_", host.input or "panoptes")
        path = os.path.join(host.state_dir or ".", f"panoptes-{name}.sqlite3")
        self.store = Store(path, lambda text: host.warn(codes.NO_SUCH_PATH, text, path))
        self.pairs = Pairs(self.store)
        self.table = Table(self.store)
        # Those of the file `resources`; they are there as long as it is.
        self.given: list[PanoptesResource] = []
        self._host = host
        self._roots = roots

    def read_given(self) -> list[Fault]:
        """Reads the file `resources`, if there is to be one; returns what is wrong with it."""
        self.given, faults = given_resources(self._host, self._roots)
        return faults

    def resources(self) -> list[PanoptesResource]:
        """Returns all resources; one that the file gives wins over the same one of the table."""
        found = {one.serialization_key: one for one in self.table.read()}
        found.update((one.serialization_key, one) for one in self.given)
        return [found[key] for key in sorted(found)]

    def context(self, logger: RunLogger) -> PanoptesContext:
        """Returns what all plugins get; a new one for each run, for they may change it."""
        from yahoo_panoptes.framework.context import PanoptesContext

        settings = self._host.settings
        site = settings.get("site") or DEFAULT_SITE
        return PanoptesContext(
            backend=self.pairs,
            secret=lambda key: secret(settings.get("secrets"), key),
            sites=settings.get("sites") or [site],
            snmp=settings.get("snmp") or {},
            x509=settings.get("x509") or {},
            logger=logger,
        )


def given_resources(host: Host, roots: Sequence[str]) -> tuple[list[PanoptesResource], list[Fault]]:
    """Reads the file `resources` of the settings: absolute, or below the first root that has it."""
    name = host.settings.get("resources")
    if not name:
        return [], []
    tried = [name] if os.path.isabs(name) else [os.path.join(root, name) for root in roots] or [name]
    path = next((one for one in tried if os.path.isfile(one)), tried[0])
    try:
        data = host.reads(path)
    except OSError as error:
        text = f"`resources`: cannot read {' or '.join(tried)}: {error.strerror}"
        return [], [Fault(codes.NO_SUCH_PATH, text)]
    return resources.from_json(data, path)


def secret(source: Any, key: str) -> str | None:
    """Returns a secret of the table or the folder `secrets`, None where there is none.

    In a folder it is the file of that name; where names cannot have a colon, a dot stands for it.
    """
    if isinstance(source, dict):
        return _text(source, key)
    if not isinstance(source, str) or os.sep in key or key.startswith("."):
        return None
    for name in (key, key.replace(":", ".")):
        try:
            with open(os.path.join(source, name), encoding="utf-8") as file:
                return file.read().rstrip("\r\n")
        except FileNotFoundError:
            continue
    return None


def _text(source: Mapping[str, Any], key: str) -> str | None:
    found = source.get(key)
    return None if found is None else str(found)
