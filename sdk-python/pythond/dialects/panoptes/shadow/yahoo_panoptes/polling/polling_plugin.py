"""The base of polling plugins."""

from __future__ import annotations

import abc

from ..framework.exceptions import PanoptesBaseException
from ..framework.plugins.context import PanoptesPluginContext
from ..framework.plugins.panoptes_base_plugin import (
    PanoptesBasePlugin,
    PanoptesPluginConfigurationError,
    PanoptesPluginInfo,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class PanoptesPollingPluginError(PanoptesBaseException):
    """A polling plugin failed."""


class PanoptesPollingPluginConfigurationError(PanoptesPluginConfigurationError):
    """The configuration of a polling plugin is wrong."""


class PanoptesPollingPluginInfo(PanoptesPluginInfo):
    """A polling plugin's name, folder and configuration."""

    @property
    def resource_filter(self) -> str:
        return self._main("resource_filter", "")


class PanoptesPollingPlugin(PanoptesBasePlugin):
    """What a polling plugin's class inherits."""

    @abc.abstractmethod
    def run(self, context: PanoptesPluginContext) -> Any:
        """Returns a `PanoptesMetricsGroupSet` of the resource `context.data`."""
