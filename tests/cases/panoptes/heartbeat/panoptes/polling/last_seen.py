from yahoo_panoptes.framework.enrichment import PanoptesEnrichmentCacheError
from yahoo_panoptes.framework.metrics import (
    PanoptesMetric,
    PanoptesMetricsGroup,
    PanoptesMetricsGroupSet,
    PanoptesMetricType,
)
from yahoo_panoptes.plugins.polling.utilities.polling_status import PanoptesPollingStatus
from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin


class LastSeen(PanoptesPollingPlugin):
    def run(self, context):
        groups = PanoptesMetricsGroupSet()
        every = int(context.config["main"]["execute_frequency"])
        status = PanoptesPollingStatus(context.data, every, context.logger, ping=False)
        try:
            beat = context.enrichment.get_enrichment_value("self", "heartbeat_ns", "agent")
            group = PanoptesMetricsGroup(context.data, "last_seen", every)
            group.add_metric(PanoptesMetric("seconds", beat["timestamp"], PanoptesMetricType.GAUGE))
            groups.add(group)
            status.handle_success("heartbeat")
        except PanoptesEnrichmentCacheError as error:
            status.handle_exception("heartbeat", error)
        groups.add(status.device_status_metrics_group)
        return groups
