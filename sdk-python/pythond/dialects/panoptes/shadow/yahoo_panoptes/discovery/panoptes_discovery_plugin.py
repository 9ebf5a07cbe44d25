"""The base of discovery plugins."""

from __future__ import annotations

import abc

from ..framework.exceptions import PanoptesBaseException
from ..framework.plugins.context import PanoptesPluginContext
from ..framework.plugins.panoptes_base_plugin import PanoptesBasePlugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class PanoptesDiscoveryPluginError(PanoptesBaseException):
    """A discovery plugin failed."""


class PanoptesDiscoveryPlugin(PanoptesBasePlugin):
    """What a discovery plugin's class inherits."""

    @abc.abstractmethod
    def run(self, context: PanoptesPluginContext) -> Any:
        """Returns a `PanoptesResourceSet`."""
