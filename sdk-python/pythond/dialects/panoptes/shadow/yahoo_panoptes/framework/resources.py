"""Resources: what plugins are run against, and sets of them."""

from __future__ import annotations

import json
import re
import time
from collections import OrderedDict

from .const import RESOURCE_MANAGER_RESOURCE_EXPIRE
from .exceptions import PanoptesBaseException
from .validators import PanoptesValidators

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

NAME_PATTERN = re.compile(r"^[^\d\W]\w*\Z")
NAME_RULE = 'has to match pattern: (letter|"_") (letter | digit | "_")*'
TTL_KEY = "_resource_ttl"


class PanoptesResourceError(PanoptesBaseException):
    """Something is wrong with a resource."""


class PanoptesResourceCacheException(PanoptesResourceError):
    """The resources cannot be had."""


class PanoptesResourceValidators:
    """Questions about resources."""

    @classmethod
    def valid_panoptes_resource(cls, resource: Any) -> bool:
        return isinstance(resource, PanoptesResource)


class PanoptesResource:
    """A device, a host, anything that a plugin is run against."""

    def __init__(
        self,
        resource_site: str,
        resource_class: str,
        resource_subclass: str,
        resource_type: str,
        resource_id: str,
        resource_endpoint: str,
        resource_creation_timestamp: Any = None,
        resource_plugin: str | None = None,
        resource_ttl: int = RESOURCE_MANAGER_RESOURCE_EXPIRE,
    ) -> None:
        """Raises `AssertionError`."""
        is_text = PanoptesValidators.valid_nonempty_string
        assert is_text(resource_site), "resource_site must be a non-empty str"
        assert is_text(resource_class), "resource_class must be a non-empty str"
        assert is_text(resource_subclass), "resource_subclass must be a non-empty"
        assert is_text(resource_type), "resource_type must be a non-empty str"
        assert is_text(resource_id), "resource_id must be a non-empty str"
        assert is_text(resource_endpoint), "resource_endpoint must be a non-empty str"
        assert resource_plugin is None or is_text(resource_plugin), "resource_plugin must be None or a non-empty str"
        assert PanoptesValidators.valid_nonzero_integer(resource_ttl), "resource_ttl must be an integer greater than 0"
        self.__metadata: OrderedDict[str, str] = OrderedDict([(TTL_KEY, str(resource_ttl))])
        self.__key: str | None = None
        self.__site = resource_site
        self.__class = resource_class
        self.__subclass = resource_subclass
        self.__type = resource_type
        self.__id = resource_id
        self.__endpoint = resource_endpoint
        self.__created = resource_creation_timestamp or time.time()
        self.__plugin = resource_plugin

    def add_metadata(self, key: str, value: str) -> None:
        """Adds a pair, or replaces it. Raises `AssertionError` or `ValueError`."""
        assert PanoptesValidators.valid_nonempty_string(key), "key must be a non-empty str or unicode"
        assert PanoptesValidators.valid_nonempty_string(value), "value must be a non-empty str or unicode"
        if not NAME_PATTERN.match(key):
            raise ValueError(f'metadata key "{key}" {NAME_RULE}')
        if "|" in value:
            raise ValueError(f'metadata value "{value}" cannot contain |')
        self.__metadata[key] = value

    @property
    def resource_site(self) -> str:
        return self.__site

    @property
    def resource_class(self) -> str:
        return self.__class

    @property
    def resource_subclass(self) -> str:
        return self.__subclass

    @property
    def resource_type(self) -> str:
        return self.__type

    @property
    def resource_id(self) -> str:
        return self.__id

    @property
    def resource_endpoint(self) -> str:
        return self.__endpoint

    @property
    def resource_ttl(self) -> str:
        return self.__metadata[TTL_KEY]

    @property
    def resource_creation_timestamp(self) -> Any:
        return self.__created

    @property
    def resource_plugin(self) -> str | None:
        return self.__plugin

    @property
    def resource_metadata(self) -> OrderedDict[str, str]:
        return self.__metadata

    @property
    def serialization_key(self) -> str:
        """The resource as one line. Raises `TypeError` where it has no plugin."""
        if self.__key is None:
            parts: list[Any] = ["plugin", self.__plugin, "site", self.__site, "class", self.__class]
            parts += ["subclass", self.__subclass, "type", self.__type, "id", self.__id, "endpoint", self.__endpoint]
            self.__key = "|".join(parts)
        return self.__key

    @property
    def raw(self) -> OrderedDict[str, Any]:
        """The resource as what becomes JSON."""
        return OrderedDict(
            [
                ("resource_site", self.__site),
                ("resource_class", self.__class),
                ("resource_subclass", self.__subclass),
                ("resource_type", self.__type),
                ("resource_id", self.__id),
                ("resource_endpoint", self.__endpoint),
                ("resource_metadata", self.__metadata),
                ("resource_creation_timestamp", self.__created),
                ("resource_plugin", self.__plugin),
            ]
        )

    @property
    def json(self) -> str:
        return json.dumps(self.raw)

    def __repr__(self) -> str:
        return self.serialization_key

    def _identity(self) -> tuple[str, str, str, str, str]:
        return self.__site, self.__class, self.__subclass, self.__type, self.__id

    def __hash__(self) -> int:
        # The endpoint counts here and not for equality, as in the original.
        return hash(str(self))

    def __lt__(self, other: Any) -> bool:
        return isinstance(other, PanoptesResource) and self.__id < other.__id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PanoptesResource) and self._identity() == other._identity()

    @staticmethod
    def resource_from_dict(resource_dict: dict[str, Any]) -> PanoptesResource:
        """Makes a resource of what `raw` gives. Raises `AssertionError`, `KeyError` or `ValueError`."""
        assert isinstance(resource_dict, dict), "resource_dict must be a dict"
        resource = PanoptesResource(
            resource_plugin=resource_dict["resource_plugin"],
            resource_site=resource_dict["resource_site"],
            resource_class=resource_dict["resource_class"],
            resource_subclass=resource_dict["resource_subclass"],
            resource_type=resource_dict["resource_type"],
            resource_id=resource_dict["resource_id"],
            resource_endpoint=resource_dict["resource_endpoint"],
            resource_creation_timestamp=resource_dict["resource_creation_timestamp"],
        )
        for key, value in resource_dict["resource_metadata"].items():
            resource.add_metadata(key, value)
        return resource


class PanoptesResourceSet:
    """What a discovery plugin returns."""

    def __init__(self) -> None:
        self.__resources: set[PanoptesResource] = set()
        self.__created: float = time.time()

    def add(self, resource: PanoptesResource) -> None:
        assert isinstance(resource, PanoptesResource), "resource must an instance of PanoptesResource"
        self.__resources.add(resource)

    def remove(self, resource: PanoptesResource) -> None:
        assert isinstance(resource, PanoptesResource), "resource must an instance of PanoptesResource"
        self.__resources.remove(resource)

    def get_resources_by_site(self) -> dict[str, list[PanoptesResource]]:
        by_site: dict[str, list[PanoptesResource]] = {}
        for resource in self.__resources:
            by_site.setdefault(resource.resource_site, []).append(resource)
        return by_site

    @property
    def resources(self) -> set[PanoptesResource]:
        return self.__resources

    @property
    def resource_set_creation_timestamp(self) -> float:
        return self.__created

    @resource_set_creation_timestamp.setter
    def resource_set_creation_timestamp(self, timestamp: float) -> None:
        assert PanoptesValidators.valid_timestamp(timestamp), (
            "timestamp should be an Unix epoch int|float not more than 7 days old or more than 60 seconds in the future"
        )
        self.__created = timestamp

    @property
    def resource_set_schema_version(self) -> str:
        return "0.1"

    @property
    def json(self) -> str:
        return json.dumps(
            OrderedDict(
                [
                    ("resources", [resource.raw for resource in self.__resources]),
                    ("resource_set_creation_timestamp", self.__created),
                    ("resource_set_schema_version", self.resource_set_schema_version),
                ]
            )
        )

    def __iter__(self) -> Iterator[PanoptesResource]:
        return iter(self.__resources)

    def __next__(self) -> PanoptesResource:
        return next(iter(self.__resources))

    def __repr__(self) -> str:
        return repr(self.__resources)

    def __len__(self) -> int:
        return len(self.__resources)


class PanoptesResourceEncoder(json.JSONEncoder):
    """Writes resources, and sets of them, as JSON."""

    def default(self, o: Any) -> Any:
        if isinstance(o, PanoptesResource):
            return o.raw
        if isinstance(o, (set, PanoptesResourceSet)):
            return list(o)
        return super().default(o)
