"""What a plugin gets with each run."""

from __future__ import annotations

from ..context import PanoptesContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any


class PanoptesPluginContext:
    """The plugin's configuration, logger and stores, and the resource it is run against; all to be read only."""

    def __init__(
        self,
        panoptes_context: Any,
        logger_name: str,
        config: dict[str, dict[str, str]],
        key_value_store: Any,
        secrets_store: Any,
        data: Any = None,
    ) -> None:
        assert isinstance(panoptes_context, PanoptesContext), "panoptes_context must be an instance of PanoptesContext"
        self.__logger: logging.Logger = panoptes_context.logger.getChild(logger_name)
        self.__config = config
        self.__kv = key_value_store
        self.__secrets = secrets_store
        self.__data = data
        self.__sites = panoptes_context.sites
        self.__snmp = panoptes_context.snmp
        self.__x509 = panoptes_context.x509

    @property
    def logger(self) -> logging.Logger:
        return self.__logger

    @property
    def config(self) -> dict[str, dict[str, str]]:
        """The info file: section, option in lower case, text."""
        return self.__config

    @property
    def kv(self) -> Any:
        """The key-value store that all plugins of a type share."""
        return self.__kv

    @property
    def secrets(self) -> Any:
        return self.__secrets

    @property
    def data(self) -> Any:
        """The resource that this run is for; None for a discovery plugin."""
        return self.__data

    @property
    def sites(self) -> set[str]:
        return self.__sites

    @property
    def snmp(self) -> dict[str, Any]:
        return self.__snmp

    @property
    def x509(self) -> dict[str, Any]:
        return self.__x509


class PanoptesPluginWithEnrichmentContext(PanoptesPluginContext):
    """The context of polling and enrichment plugins."""

    def __init__(
        self,
        panoptes_context: Any,
        logger_name: str,
        config: dict[str, dict[str, str]],
        key_value_store: Any,
        secrets_store: Any,
        data: Any = None,
        enrichment: Any = None,
    ) -> None:
        super().__init__(panoptes_context, logger_name, config, key_value_store, secrets_store, data)
        self.__enrichment = enrichment

    @property
    def enrichment(self) -> Any:
        """A `PanoptesEnrichmentCache`, where the info file has a section `enrichment`; else None."""
        return self.__enrichment


class PanoptesPluginContextValidators:
    """Questions about contexts."""

    @classmethod
    def valid_panoptes_plugin_context(cls, context: Any) -> bool:
        return isinstance(context, PanoptesPluginContext)
