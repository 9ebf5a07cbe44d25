from yahoo_panoptes.framework.metrics import (
    PanoptesMetric,
    PanoptesMetricDimension,
    PanoptesMetricsGroup,
    PanoptesMetricsGroupSet,
    PanoptesMetricType,
)
from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin


class InterfaceCounters(PanoptesPollingPlugin):
    def __init__(self):
        self._groups = PanoptesMetricsGroupSet()
        super().__init__()

    def run(self, context):
        every = int(context.config["main"]["execute_frequency"])
        runs = int(context.kv.get("runs") or "0") + 1
        context.kv.set("runs", str(runs))
        for number, name in enumerate(("eth0", "port 1,2")):
            group = PanoptesMetricsGroup(context.data, "interface", every)
            group.add_dimension(PanoptesMetricDimension("name", name))
            group.add_metric(PanoptesMetric("bytes_in", 1000 * runs + number, PanoptesMetricType.COUNTER))
            group.add_metric(PanoptesMetric("bytes_out", 500 * runs, PanoptesMetricType.COUNTER))
            group.add_metric(PanoptesMetric("speed", 1e9, PanoptesMetricType.GAUGE))
            self._groups.add(group)
        context.logger.info("polled {} in run {}".format(context.data.resource_id, runs))
        return self._groups
