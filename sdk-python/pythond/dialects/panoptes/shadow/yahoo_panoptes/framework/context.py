"""What a host lends to all plugins of a process."""

from __future__ import annotations

import logging

from .const import DEFAULT_ROOT_LOGGER_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Mapping

    from .utilities.key_value_store import Backend

SNMP_DEFAULTS: Mapping[str, Any] = {
    "community": "public",
    "timeout": 5,
    "retries": 1,
    "non_repeaters": 0,
    "max_repetitions": 25,
    "port": 161,
    "proxy_port": 10161,
    "community_string_key": "snmp_community_string",
    "connection_factory_module": "yahoo_panoptes.plugins.helpers.snmp_connections",
    "connection_factory_class": "PanoptesSNMPConnectionFactory",
}


class PanoptesContext:
    """Sites, secrets and the places where things are kept; with nothing given, good for a plugin's own tests."""

    def __init__(
        self,
        backend: Backend | None = None,
        secret: Callable[[str], str | None] | None = None,
        sites: Iterable[str] = ("local",),
        snmp: Mapping[str, Any] | None = None,
        x509: Mapping[str, Any] | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.backend = backend
        self.secret = secret
        self.sites = set(sites)
        self.snmp = {**SNMP_DEFAULTS, **(snmp or {})}
        self.x509 = dict(x509 or {})
        self.logger = logger or logging.getLogger(DEFAULT_ROOT_LOGGER_NAME)
