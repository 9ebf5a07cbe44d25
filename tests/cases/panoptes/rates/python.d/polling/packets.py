from yahoo_panoptes.framework.metrics import (
    PanoptesMetric,
    PanoptesMetricDimension,
    PanoptesMetricsGroup,
    PanoptesMetricsGroupSet,
    PanoptesMetricType,
)
from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin


class Packets(PanoptesPollingPlugin):
    def __init__(self):
        self.groups = PanoptesMetricsGroupSet()

    def run(self, context):
        main = context.config["main"]
        runs = int(context.kv.get(context.data.resource_id) or "0") + 1
        context.kv.set(context.data.resource_id, str(runs))
        group = PanoptesMetricsGroup(context.data, "packets", int(main["execute_frequency"]))
        group.add_dimension(PanoptesMetricDimension("site", context.data.resource_metadata["town"]))
        group.add_metric(PanoptesMetric("sent", runs * int(main["step"]), PanoptesMetricType.COUNTER))
        group.add_metric(PanoptesMetric("still", 5, PanoptesMetricType.COUNTER))
        group.add_metric(PanoptesMetric("lost", float("nan"), PanoptesMetricType.GAUGE))
        self.groups.add(group)
        return self.groups
