from yahoo_panoptes.framework.enrichment import PanoptesEnrichmentCacheError
from yahoo_panoptes.framework.metrics import PanoptesMetric, PanoptesMetricsGroup, PanoptesMetricsGroupSet, PanoptesMetricType
from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin


class Door(PanoptesPollingPlugin):
    """Reports once it has all that the others give."""

    def run(self, context):
        groups = PanoptesMetricsGroupSet()
        try:
            beat = context.enrichment.get_enrichment_value("self", "heartbeat_ns", "agent")
        except PanoptesEnrichmentCacheError:
            return groups
        group = PanoptesMetricsGroup(context.data, "door state", 1)
        group.add_metric(PanoptesMetric("beat", beat["timestamp"], PanoptesMetricType.GAUGE))
        group.add_metric(PanoptesMetric("letters", len(context.secrets.get_by_site("door", "north")), PanoptesMetricType.GAUGE))
        groups.add(group)
        return groups
