"""One run of a plugin against one resource: a new module and a new instance, and what becomes of the result."""

from __future__ import annotations

import json
import os

from pythond import codes
from pythond.dialects.panoptes import points, results
from pythond.dialects.panoptes.handover import Handover
from pythond.dialects.panoptes.log import RunLogger, prefix_of
from pythond.dialects.panoptes.modules import SHADOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pythond.dialects import Host, Job
    from pythond.dialects.panoptes.modules import Module
    from pythond.dialects.panoptes.plugin import Plugin
    from pythond.dialects.panoptes.shared import Shared
    from pythond.rows import Row
    from yahoo_panoptes.framework.resources import PanoptesResource

_EMPTY_RUNS = 3


class RunFailed(Exception):
    """A run failed earlier, and since then there was no other against its resource; the text says why."""


class Outcome:
    """How a run went: `told` for the status, `is_empty` where it returned nothing, `named` are the plugins that found
    resources name."""

    __slots__ = ("is_empty", "named", "told")

    def __init__(self, told: str, is_empty: bool, named: frozenset[str] = frozenset()) -> None:
        self.told = told
        self.is_empty = is_empty
        self.named = named


class Execution:
    """Runs one plugin; from any thread, several at once."""

    def __init__(
        self, plugin: Plugin, module: Module, host: Host, shared: Shared, job: Job, prints: bool = False
    ) -> None:
        """With `prints`, metrics groups are printed too."""
        self._plugin = plugin
        self._module = module
        self._host = host
        self._shared = shared
        self._handover = Handover(lambda rows: host.put(job, rows))
        self._prints = prints
        self._empty: dict[str, int] = {}
        # Metrics that no point can hold.
        self.left_out = 0

    def run(self, resource: PanoptesResource | None) -> Outcome:
        """Raises what the plugin raises, and `results.WrongResult` or `NotHandedOver`."""
        instance, name = self._module.instance()
        try:
            result = results.checked(self._plugin.type, instance.run(self._context(resource)), instance)
            return self._take(result, resource)
        finally:
            self._module.forget(name)

    def _context(self, resource: PanoptesResource | None) -> Any:
        from yahoo_panoptes.framework.const import PLUGINS_KEY_VALUE_NAMESPACE
        from yahoo_panoptes.framework.enrichment import PanoptesEnrichmentCache
        from yahoo_panoptes.framework.plugins.context import (
            PanoptesPluginContext,
            PanoptesPluginWithEnrichmentContext,
        )
        from yahoo_panoptes.framework.utilities.key_value_store import PanoptesKeyValueStore
        from yahoo_panoptes.framework.utilities.secrets import PanoptesSecretsStore

        plugin = self._plugin
        prefix = prefix_of(plugin.name, resource.resource_id if resource is not None else None)
        all_plugins = self._shared.context(RunLogger("panoptes", prefix))
        config = plugin.config()
        kv = PanoptesKeyValueStore(all_plugins, PLUGINS_KEY_VALUE_NAMESPACE)
        secrets = PanoptesSecretsStore(all_plugins)
        name = f"{plugin.type}_plugins"
        if resource is None:
            context = PanoptesPluginContext(all_plugins, name, config, kv, secrets)
            if self._module.path.startswith(SHADOW):
                # Our own plugin in place of one that is not there: its files lie beside the info file.
                context.plugin_folder = os.path.dirname(plugin.path)  # type: ignore[attr-defined]
            return context
        enrichment = None
        if "enrichment" in config:
            enrichment = PanoptesEnrichmentCache(all_plugins, config, resource)
        return PanoptesPluginWithEnrichmentContext(all_plugins, name, config, kv, secrets, resource, enrichment)

    def _take(self, result: Any, resource: PanoptesResource | None) -> Outcome:
        if self._plugin.type == "discovery":
            return self._take_resources(result)
        if self._plugin.type == "enrichment":
            groups = results.keep_enrichment(self._shared.context(RunLogger("panoptes", self._plugin.name)), result)
            return Outcome(counted(groups, "enrichment group"), groups == 0)
        return self._take_groups(result, resource)

    def _take_resources(self, found: Any) -> Outcome:
        if not len(found):
            self._note_empty("", "resource")
            return Outcome("no resources", True)
        self._empty.pop("", None)
        change = self._shared.table.replace(found)
        if self._prints:
            print("\n".join(one.json for one in sorted(found)))
        named = frozenset(one.resource_plugin for one in found if one.resource_plugin)
        return Outcome(f"{counted(len(found), 'resource')}, {change.added} new, {change.removed} gone", False, named)

    def _take_groups(self, groups: Any, resource: PanoptesResource | None) -> Outcome:
        key = resource.serialization_key if resource is not None else ""
        metrics = 0
        rows: list[Row] = []
        for group in groups:
            metrics += len(group.metrics)
            if self._prints:
                # A complex number is a metric for Panoptes, and no JSON: what is printed must not fail the run.
                print(json.dumps(group._raw(), indent=4, default=str))
            with_id = bool(self._host.settings.get("resource_id_tag"))
            row, left_out = points.row(group, self._plugin.transforms, with_id, self._warn)
            self.left_out += left_out
            if row is not None:
                rows.append(row)
        if not len(groups):
            self._note_empty(key, "metrics group")
        else:
            self._empty.pop(key, None)
        if rows:
            answer = self._handover.send(rows)
            if not answer.ok and not 400 <= answer.status < 500:
                raise results.NotHandedOver(
                    f"{len(rows)} points were not taken: {answer.status} {answer.text}".rstrip()
                )
        return Outcome(f"{counted(len(groups), 'metrics group')}, {counted(metrics, 'metric')}", not len(groups))

    def _note_empty(self, key: str, what: str) -> None:
        times = self._empty[key] = self._empty.get(key, 0) + 1
        if times == _EMPTY_RUNS:
            self._host.warn(codes.NOTHING_REPORTED, f"produced no {what} in {_EMPTY_RUNS} runs", self._module.path)

    def _warn(self, text: str, line: int) -> None:
        self._host.warn(
            codes.FIELD_LEFT_OUT if not line else codes.FOREIGN_VALUE, text, self._plugin.path if line else "", line
        )


def counted(number: int, what: str) -> str:
    """Returns `1 metric`, `2 metrics`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
