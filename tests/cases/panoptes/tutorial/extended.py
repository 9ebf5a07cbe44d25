from yahoo_panoptes.framework.metrics import (
    PanoptesMetric,
    PanoptesMetricDimension,
    PanoptesMetricsGroup,
    PanoptesMetricsGroupSet,
    PanoptesMetricType,
)
from yahoo_panoptes.polling.polling_plugin import PanoptesPollingPlugin


class Lesson(PanoptesPollingPlugin):
    def __init__(self):
        self._groups = PanoptesMetricsGroupSet()
        self._device = None
        self._every = 0
        super().__init__()

    def fill(self):
        group = PanoptesMetricsGroup(self._device, "page cache", self._every)
        group.add_dimension(PanoptesMetricDimension("disk", "sda 1"))
        group.add_metric(PanoptesMetric("reads", 7000, PanoptesMetricType.COUNTER))
        group.add_metric(PanoptesMetric("reads1", 1, PanoptesMetricType.COUNTER))
        group.add_metric(PanoptesMetric("used", 61.5, PanoptesMetricType.GAUGE))
        self._groups.add(group)

    def run(self, context):
        self._device = context.data
        self._every = int(context.config["main"]["execute_frequency"])
        context.logger.info("asks {}".format(self._device.resource_endpoint))
        self.fill()
        return self._groups
