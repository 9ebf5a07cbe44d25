"""What a run returns, by the type of the plugin: points, resources or enrichment."""

from __future__ import annotations

from pythond.guard import AtFunction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES = {
    "polling": "PanoptesMetricsGroupSet",
    "discovery": "PanoptesResourceSet",
    "enrichment": "PanoptesEnrichmentGroupSet or PanoptesEnrichmentMultiGroupSet",
}


class WrongResult(AtFunction):
    """`run` did not return what it must."""


class NotHandedOver(Exception):
    """The points of a run came nowhere."""


def checked(type: str, result: Any, instance: Any) -> Any:
    """Returns a result that is of the right type. Raises `WrongResult` with the place of `run`."""
    if isinstance(result, _classes(type)):
        return result
    raise WrongResult(f"`run` returned {_told(result)}; it must return a {_TYPES[type]}", instance.run)


def _told(result: Any) -> str:
    return "None" if result is None else f"a `{type(result).__name__}`"


def _classes(type: str) -> Any:
    from yahoo_panoptes.framework import enrichment, metrics, resources

    return {
        "polling": metrics.PanoptesMetricsGroupSet,
        "discovery": resources.PanoptesResourceSet,
        "enrichment": (enrichment.PanoptesEnrichmentGroupSet, enrichment.PanoptesEnrichmentMultiGroupSet),
    }[type]


def keep_enrichment(context: Any, result: Any) -> int:
    """Keeps all groups for their time to live; returns how many there were."""
    from yahoo_panoptes.framework.enrichment import (
        PanoptesEnrichmentCacheKeyValueStore,
        PanoptesEnrichmentMultiGroupSet,
    )

    kept = PanoptesEnrichmentCacheKeyValueStore(context)
    sets = result.enrichment_group_sets if isinstance(result, PanoptesEnrichmentMultiGroupSet) else [result]
    groups = 0
    for one in sets:
        for group in one.enrichment:
            kept.set(f"{one.resource.resource_id}:{group.namespace}", group.serialize(), group.enrichment_ttl)
            groups += 1
    return groups
