"""Enrichment that says when a resource was last known to live."""

from __future__ import annotations

from ...framework.enrichment import PanoptesEnrichmentGroup, PanoptesEnrichmentSchemaValidator

HEARTBEAT_SCHEMA_NAMESPACE = "heartbeat_ns"


class PanoptesHeartbeatEnrichmentSchemaValidator(PanoptesEnrichmentSchemaValidator):
    """A time in seconds."""

    schema = {"enrichment_label": {"type": "dict", "schema": {"timestamp": {"type": "float"}}}}


class PanoptesHeartbeatEnrichmentGroup(PanoptesEnrichmentGroup):
    """Heartbeats, by what sends them."""

    def __init__(self, enrichment_ttl: int, execute_frequency: int) -> None:
        validator = PanoptesHeartbeatEnrichmentSchemaValidator()
        super().__init__(HEARTBEAT_SCHEMA_NAMESPACE, validator, enrichment_ttl, execute_frequency)
