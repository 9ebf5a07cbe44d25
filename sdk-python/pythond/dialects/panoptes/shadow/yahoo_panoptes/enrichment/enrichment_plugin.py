"""The base of enrichment plugins."""

from __future__ import annotations

import abc

from ..framework.plugins.context import PanoptesPluginContext
from ..polling.polling_plugin import (
    PanoptesPollingPlugin,
    PanoptesPollingPluginConfigurationError,
    PanoptesPollingPluginError,
    PanoptesPollingPluginInfo,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class PanoptesEnrichmentPluginError(PanoptesPollingPluginError):
    """An enrichment plugin failed."""


class PanoptesEnrichmentPluginConfigurationError(PanoptesPollingPluginConfigurationError):
    """The configuration of an enrichment plugin is wrong."""


class PanoptesEnrichmentPluginInfo(PanoptesPollingPluginInfo):
    """An enrichment plugin's name, folder and configuration."""


class PanoptesEnrichmentPlugin(PanoptesPollingPlugin):
    """What an enrichment plugin's class inherits."""

    @abc.abstractmethod
    def run(self, context: PanoptesPluginContext) -> Any:
        """Returns a `PanoptesEnrichmentGroupSet`, or a `PanoptesEnrichmentMultiGroupSet`."""
