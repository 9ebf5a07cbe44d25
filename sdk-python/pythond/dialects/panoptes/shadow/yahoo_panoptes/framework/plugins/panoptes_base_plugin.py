"""The base of all plugins."""

from __future__ import annotations

import abc

from ..exceptions import PanoptesBaseException

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import PanoptesPluginContext


class PanoptesPluginConfigurationError(PanoptesBaseException):
    """The configuration of a plugin is wrong."""


class PanoptesPluginRuntimeError(PanoptesBaseException):
    """A plugin failed while it ran."""


class PanoptesPluginInfo:
    """A plugin's name, folder and configuration, for what asks for them in a plugin's own tests."""

    def __init__(self, plugin_name: str, plugin_path: str) -> None:
        self.name = plugin_name
        self.path = plugin_path
        self.config: dict[str, dict[str, str]] = {}
        self.data: Any = None

    def _main(self, key: str, default: str) -> str:
        return self.config.get("main", {}).get(key, default)

    @property
    def execute_frequency(self) -> int:
        return int(self._main("execute_frequency", "0"))

    @property
    def results_cache_age(self) -> int:
        return int(self._main("results_cache_age", "0"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}[{self.name}]"


class PanoptesBasePlugin(abc.ABC):
    """What a plugin's class inherits: one instance is made for each run."""

    def __init__(self) -> None:
        self.is_activated = False

    def activate(self) -> None:
        """Called before the first use."""
        self.is_activated = True

    def deactivate(self) -> None:
        """Called when the plugin is taken out of use."""
        self.is_activated = False

    @abc.abstractmethod
    def run(self, context: PanoptesPluginContext) -> Any:
        """Does the plugin's work, once."""


class PanoptesBasePluginValidators:
    """Questions about plugins."""

    @classmethod
    def valid_plugin_class(cls, plugin_class: Any) -> bool:
        return isinstance(plugin_class, type) and issubclass(plugin_class, PanoptesBasePlugin)
