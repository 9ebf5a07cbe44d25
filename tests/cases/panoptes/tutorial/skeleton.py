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
        # Made with the instance: a host that keeps the instance would send more with each run.
        self._groups = PanoptesMetricsGroupSet()
        self._device = None
        self._every = 0
        super().__init__()

    def fill(self):
        pass

    def run(self, context):
        self._device = context.data
        self._every = int(context.config["main"]["execute_frequency"])
        context.logger.info("asks {}".format(self._device.resource_endpoint))
        self.fill()
        return self._groups
