"""The status of a device, from how its polling went."""

from __future__ import annotations

import sys
import traceback
from urllib.error import URLError

from ....framework.enrichment import PanoptesEnrichmentCacheError
from ....framework.metrics import (
    PanoptesMetric,
    PanoptesMetricsGroup,
    PanoptesMetricsNullException,
    PanoptesMetricType,
)
from ....framework.resources import PanoptesResource
from ....framework.utilities.ping import PanoptesPing, PanoptesPingException
from ....framework.validators import PanoptesValidators

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging


class DEVICE_METRICS_STATES:
    """What the metric `status` says."""

    SUCCESS = 0
    AUTHENTICATION_FAILURE = 1
    NETWORK_FAILURE = 2
    TIMEOUT = 3
    PARTIAL_METRIC_FAILURE = 4
    INTERNAL_FAILURE = 5
    MISSING_METRICS = 6
    PING_FAILURE = 7
    ENRICHMENT_FAILURE = 8


_STATES: tuple[tuple[type[BaseException], int], ...] = (
    (PanoptesPingException, DEVICE_METRICS_STATES.PING_FAILURE),
    (PanoptesMetricsNullException, DEVICE_METRICS_STATES.MISSING_METRICS),
    (PanoptesEnrichmentCacheError, DEVICE_METRICS_STATES.ENRICHMENT_FAILURE),
    (URLError, DEVICE_METRICS_STATES.NETWORK_FAILURE),
)
# Of packages that a plugin may have imported: module, exception, state; the first that fits counts.
_STATES_OF_OTHERS = (
    ("requests.exceptions", "ConnectTimeout", DEVICE_METRICS_STATES.TIMEOUT),
    ("urllib3.exceptions", "ConnectTimeoutError", DEVICE_METRICS_STATES.TIMEOUT),
    ("requests.exceptions", "ConnectionError", DEVICE_METRICS_STATES.NETWORK_FAILURE),
)
_PINGED = (DEVICE_METRICS_STATES.TIMEOUT, DEVICE_METRICS_STATES.NETWORK_FAILURE)


class PanoptesPollingStatus:
    """Notes what went well and what did not, and makes a metrics group of it."""

    def __init__(
        self,
        resource: PanoptesResource,
        execute_frequency: int,
        logger: logging.Logger,
        ping: bool = True,
        metrics_group_type_name: str = "status",
        metric_name: str = "status",
    ) -> None:
        """With `ping`, a device that did not answer is pinged before its status is told."""
        assert isinstance(resource, PanoptesResource), "resource must be an instance of PanoptesResource"
        assert PanoptesValidators.valid_nonzero_integer(execute_frequency), "execute_frequency must be integer > 0"
        assert PanoptesValidators.valid_logger(logger), "logger must be an instance of logging.Logger"
        self._resource = resource
        self._logger = logger
        self._ping = ping
        self._metric_name = metric_name
        self._group = PanoptesMetricsGroup(resource, metrics_group_type_name, execute_frequency)
        self._went_well = False
        self._first_failure: int | None = None

    @property
    def device_status_metrics_group(self) -> PanoptesMetricsGroup:
        """The group with the status in it. Raises `KeyError` when it is asked for again, as the original does."""
        self._set_device_status()
        status = PanoptesMetric(self._metric_name, self.device_status, PanoptesMetricType.GAUGE)
        self._group.add_metric(status)
        return self._group

    @property
    def device_status(self) -> int:
        if self._first_failure is None:
            return DEVICE_METRICS_STATES.SUCCESS
        return DEVICE_METRICS_STATES.PARTIAL_METRIC_FAILURE if self._went_well else self._first_failure

    @property
    def device_name(self) -> str:
        return self._resource.resource_endpoint

    @property
    def device_type(self) -> str:
        return ":".join((self._resource.resource_class, self._resource.resource_subclass, self._resource.resource_type))

    @property
    def logger(self) -> logging.Logger:
        return self._logger

    def handle_success(self, k: str) -> None:
        """Notes that polling `k` went well."""
        self._went_well = True

    def handle_exception(self, k: str, e: BaseException) -> None:
        """Notes, and logs, why polling `k` failed."""
        if self._first_failure is None:
            self._first_failure = _state_of(e)
        trace = "".join(traceback.format_exception(type(e), e, e.__traceback__))
        name, kind = self.device_name, self.device_type
        self._logger.error(f'Error while trying to poll "{name}" ({kind}) for "{k}": {e!r} - {trace}')

    def _set_device_status(self) -> None:
        if not self._ping or self.device_status not in _PINGED:
            return
        try:
            PanoptesPing(hostname=self._resource.resource_endpoint)
        except PanoptesPingException:
            self._first_failure = DEVICE_METRICS_STATES.PING_FAILURE


def _state_of(error: BaseException) -> int:
    for module, name, state in _STATES_OF_OTHERS:
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and isinstance(error, kind):
            return state
    for kind, state in _STATES:
        if isinstance(error, kind):
            return state
    return DEVICE_METRICS_STATES.INTERNAL_FAILURE
