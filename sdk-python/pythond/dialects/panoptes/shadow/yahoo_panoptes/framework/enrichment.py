"""Enrichment: what one plugin finds out about a resource for others, and how those get at it."""

from __future__ import annotations

import json
import time

from . import schemas
from .exceptions import PanoptesBaseException
from .resources import PanoptesResource
from .utilities.key_value_store import PanoptesKeyValueStore, escaped
from .validators import PanoptesValidators

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ENRICHMENT_NAMESPACE = "panoptes:enrichment"
# Copied where it is used, never changed.
_EMPTY: dict[str, Any] = {}


class PanoptesEnrichmentException(PanoptesBaseException):
    """Something is wrong with enrichment."""


class PanoptesEnrichmentCacheError(PanoptesBaseException):
    """There is no such enrichment."""


class PanoptesEnrichmentCacheKeyValueStore(PanoptesKeyValueStore):
    """Where enrichment is kept, as JSON, by `resource_id:namespace`."""

    def __init__(self, panoptes_context: Any) -> None:
        super().__init__(panoptes_context, ENRICHMENT_NAMESPACE)


class PanoptesEnrichmentSchemaValidator:
    """Checks sets against `schema`, a Cerberus schema whose `enrichment_label` stands for the key of each set."""

    schema: dict[str, Any] = {}

    def validate(self, enrichment_set_data: PanoptesEnrichmentSet) -> bool:
        assert isinstance(enrichment_set_data, PanoptesEnrichmentSet), (
            "element set must be an instance of PanoptesEnrichmentSet"
        )
        rules = self.schema.get("enrichment_label")
        if not isinstance(rules, dict):
            raise schemas.SchemaError(f"`schema` of {type(self).__name__} has no dict `enrichment_label`")
        return schemas.is_valid({enrichment_set_data.key: rules}, enrichment_set_data._raw_data)


class PanoptesEnrichmentSet:
    """What is known of one thing: a key and a dict."""

    def __init__(self, key: str, value: dict[str, Any] = _EMPTY) -> None:
        assert PanoptesValidators.valid_nonempty_string(key), "enrichment key must be a string"
        assert isinstance(value, dict), "enrichment value must be a dict"
        self._key = key
        # A copy: a default that all sets share would be the original's way.
        self._value: dict[str, Any] = dict(value)

    @property
    def key(self) -> str:
        return self._key

    @property
    def value(self) -> dict[str, Any]:
        return self._value

    @property
    def _raw_data(self) -> dict[str, Any]:
        return {self._key: self._value}

    def add(self, enrichment_key: str, enrichment_value: Any) -> None:
        self._value[enrichment_key] = enrichment_value

    def json(self) -> str:
        return json.dumps(self._raw_data, sort_keys=True)

    def __repr__(self) -> str:
        pairs = ",".join(f"{key}:{value}" for key, value in sorted(self._value.items()))
        return f"PanoptesEnrichmentSet[{self._key}[{pairs}]]"

    def __hash__(self) -> int:
        return hash(self._key)

    def __len__(self) -> int:
        return len(self._value)

    def __lt__(self, other: Any) -> bool:
        if not isinstance(other, PanoptesEnrichmentSet):
            return NotImplemented
        return self._key < other._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PanoptesEnrichmentSet) and self._key == other._key


class PanoptesEnrichmentGroup:
    """Sets of one namespace, which live for so many seconds."""

    def __init__(
        self,
        namespace: str,
        schema_validator: PanoptesEnrichmentSchemaValidator,
        enrichment_ttl: int,
        execute_frequency: int,
    ) -> None:
        is_above_zero = PanoptesValidators.valid_nonzero_integer
        assert PanoptesValidators.valid_nonempty_string(namespace), "enrichment namespace must be a string"
        assert isinstance(schema_validator, PanoptesEnrichmentSchemaValidator), (
            "schema_validator must be an instance of PanoptesEnrichmentSchemaValidator"
        )
        assert is_above_zero(enrichment_ttl), "enrichment_ttl must be a valid nonzero integer"
        assert is_above_zero(execute_frequency), "execute_frequency must be a valid nonzero integer"
        self.__namespace = namespace
        self.__validator = schema_validator
        self.__sets: dict[str, PanoptesEnrichmentSet] = {}
        self.__metadata: dict[str, Any] = {
            "_enrichment_group_creation_timestamp": time.time(),
            "_enrichment_ttl": enrichment_ttl,
            "_execute_frequency": execute_frequency,
        }

    @property
    def enrichment_schema(self) -> dict[str, Any]:
        return self.__validator.schema

    @property
    def validator(self) -> PanoptesEnrichmentSchemaValidator:
        return self.__validator

    @property
    def namespace(self) -> str:
        return self.__namespace

    @property
    def data(self) -> set[PanoptesEnrichmentSet]:
        return set(self.__sets.values())

    @property
    def _raw_data(self) -> dict[str, Any]:
        return {"metadata": self.__metadata, "namespace": self.__namespace, "data": self.data}

    @property
    def metadata(self) -> dict[str, Any]:
        return self.__metadata

    @property
    def enrichment_ttl(self) -> int:
        return int(self.__metadata["_enrichment_ttl"])

    @property
    def execute_frequency(self) -> int:
        return int(self.__metadata["_execute_frequency"])

    @property
    def enrichment_group_creation_timestamp(self) -> float:
        return float(self.__metadata["_enrichment_group_creation_timestamp"])

    def add_enrichment_set(self, enrichment_set: PanoptesEnrichmentSet) -> None:
        """Adds a set, or replaces the one of its key. Raises `AssertionError` for one that the schema refuses."""
        assert isinstance(enrichment_set, PanoptesEnrichmentSet), (
            "enrichment set must be an instance of PanoptesEnrichmentSet"
        )
        assert self.__validator.validate(enrichment_set), "schema validation failed for enrichment_set data"
        self.__sets[enrichment_set.key] = enrichment_set

    def upsert_metadata(self, metadata_key: str, metadata_value: Any) -> None:
        """Adds a pair, or replaces it. Raises `AssertionError`, or `ValueError` for a key that begins with `_`."""
        assert PanoptesValidators.valid_nonempty_string(metadata_key), "metadata_key must be a string"
        is_fit = PanoptesValidators.valid_nonempty_string(metadata_value) or type(metadata_value) in (int, float)
        assert is_fit, "metadata_value must be any of string / float / integer"
        if metadata_key.startswith("_"):
            raise ValueError("Failed to update reserved metadata")
        self.__metadata[metadata_key] = metadata_value

    def bulk_add_enrichment_set(self) -> None:
        """Does nothing, as in the original."""

    def _sorted(self) -> list[PanoptesEnrichmentSet]:
        return sorted(self.__sets.values())

    def _listed(self) -> dict[str, Any]:
        data = [one._raw_data for one in self._sorted()]
        return {"data": data, "metadata": self.__metadata, "namespace": self.__namespace}

    def json(self) -> str:
        return json.dumps(self._listed(), sort_keys=True)

    def serialize_data(self) -> str:
        return json.dumps(self._by_key(), sort_keys=True)

    def serialize(self) -> str:
        """Returns the JSON in which a group is kept."""
        return json.dumps({"data": self._by_key(), "metadata": self.__metadata}, sort_keys=True)

    def _by_key(self) -> dict[str, Any]:
        return {one.key: one.value for one in self._sorted()}

    def __repr__(self) -> str:
        sets = "".join(f",{one!r}" for one in self._sorted())
        return (
            f"{type(self).__name__}[namespace:{self.__namespace},enrichment_ttl:{self.enrichment_ttl},"
            f"execute_frequency:{self.execute_frequency},"
            f"enrichment_group_creation_timestamp:{self.enrichment_group_creation_timestamp}{sets}]"
        )

    def __len__(self) -> int:
        return len(self.__sets)

    def __hash__(self) -> int:
        return hash(self.__namespace)

    def __lt__(self, other: Any) -> bool:
        if not isinstance(other, PanoptesEnrichmentGroup):
            return NotImplemented
        return self.__namespace < other.__namespace

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PanoptesEnrichmentGroup) and self.__namespace == other.__namespace


class PanoptesEnrichmentGroupSet:
    """Groups of one resource: what an enrichment plugin returns."""

    def __init__(self, resource: PanoptesResource) -> None:
        assert isinstance(resource, PanoptesResource), "resource must be an instance of PanoptesResource"
        self.__resource = resource
        self.__groups: dict[str, PanoptesEnrichmentGroup] = {}
        self.__created = time.time()

    @property
    def resource(self) -> PanoptesResource:
        return self.__resource

    @property
    def enrichment(self) -> set[PanoptesEnrichmentGroup]:
        return set(self.__groups.values())

    @property
    def enrichment_group_set_creation_timestamp(self) -> float:
        return self.__created

    @property
    def _raw_data(self) -> dict[str, Any]:
        return {
            "resource": self.__resource,
            "enrichment_group_set_creation_timestamp": self.__created,
            "enrichment": self.enrichment,
        }

    def add_enrichment_group(self, enrichment_group: PanoptesEnrichmentGroup) -> None:
        assert isinstance(enrichment_group, PanoptesEnrichmentGroup), (
            "enrichment_group must be an instance of PanoptesEnrichmentGroup"
        )
        assert len(enrichment_group) > 0, "enrichment_group must hold at least one data set"
        self.__groups[enrichment_group.namespace] = enrichment_group

    def bulk_add_enrichment_group(self) -> None:
        """Does nothing, as in the original."""

    def _sorted(self) -> list[PanoptesEnrichmentGroup]:
        return sorted(self.__groups.values())

    def _listed(self) -> dict[str, Any]:
        return {
            "resource": self.__resource.raw,
            "enrichment_group_set_creation_timestamp": self.__created,
            "enrichment": [group._listed() for group in self._sorted()],
        }

    def json(self) -> str:
        return json.dumps(self._listed(), sort_keys=True)

    def __repr__(self) -> str:
        groups = "".join(f",{group!r}" for group in self._sorted())
        return (
            f"PanoptesEnrichmentGroupSet[resource:{self.__resource!r},"
            f"enrichment_group_set_creation_timestamp:{self.__created}{groups}]"
        )

    def __len__(self) -> int:
        return len(self.__groups)

    def __hash__(self) -> int:
        return hash((self.__resource, frozenset(self.__groups)))

    def __lt__(self, other: Any) -> bool:
        if not isinstance(other, PanoptesEnrichmentGroupSet):
            return NotImplemented
        return self.__resource < other.__resource

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PanoptesEnrichmentGroupSet):
            return False
        return self.__resource == other.__resource and self.__groups == other.__groups


class PanoptesEnrichmentMultiGroupSet:
    """Group sets of several resources: what an enrichment plugin may return as well."""

    def __init__(self) -> None:
        self.__sets: list[PanoptesEnrichmentGroupSet] = []

    def add_enrichment_group_set(self, enrichment_group_set: PanoptesEnrichmentGroupSet) -> None:
        assert isinstance(enrichment_group_set, PanoptesEnrichmentGroupSet), (
            "enrichment_group_set must be an instance of PanoptesEnrichmentGroupSet"
        )
        assert len(enrichment_group_set) > 0, "enrichment_group_set must hold at least one data set"
        if enrichment_group_set not in self.__sets:
            self.__sets.append(enrichment_group_set)

    @property
    def enrichment_group_sets(self) -> set[PanoptesEnrichmentGroupSet]:
        return set(self.__sets)

    def __len__(self) -> int:
        return len(self.__sets)

    def __repr__(self) -> str:
        return f"PanoptesEnrichmentMultiGroupSet[{','.join(map(repr, self.__sets))}]"

    def json(self) -> str:
        return json.dumps({"group_sets": [one._listed() for one in self.__sets]}, sort_keys=True)


class PanoptesEnrichmentEncoder(json.JSONEncoder):
    """Writes enrichment as JSON."""

    def default(self, o: Any) -> Any:
        if isinstance(o, (PanoptesEnrichmentGroup, PanoptesEnrichmentGroupSet)):
            return o._listed()
        if isinstance(o, PanoptesEnrichmentSet):
            return o._raw_data
        if isinstance(o, PanoptesResource):
            return o.raw
        if isinstance(o, (set, frozenset)):
            return sorted(o)
        return super().default(o)


class PanoptesEnrichmentCache:
    """What a plugin sees of enrichment: what `preload` names is read at once, anything else when it is asked for."""

    def __init__(
        self, panoptes_context: Any, plugin_conf: dict[str, dict[str, str]], resource: PanoptesResource
    ) -> None:
        """Raises `PanoptesEnrichmentCacheError` for a `preload` that is not `resource:namespace[, …]`."""
        self._plugin_name = plugin_conf["Core"]["name"]
        self._plugin_conf = plugin_conf["enrichment"]
        self._resource_id = resource.resource_id
        self._logger = panoptes_context.logger
        self._kv = PanoptesEnrichmentCacheKeyValueStore(panoptes_context)
        self._found: dict[str, dict[str, Any]] = {}
        for resource_id, namespace in self._parse_conf():
            for one in self._namespaces(resource_id) if namespace == "*" else [namespace]:
                self._preload_data(resource_id, one)

    def get_enrichment(self, resource_id: str, namespace: str) -> Any:
        """Returns all sets of a namespace by their keys. Raises `PanoptesEnrichmentCacheError`."""
        resource_id = self._look(resource_id, namespace)
        try:
            return self._found[resource_id][namespace]
        except KeyError as error:
            raise PanoptesEnrichmentCacheError(
                f"Failed to get data for resource {resource_id} namespace {namespace} "
                f"from enrichment resource object: {error!r} plugin_name: {self._plugin_name}"
            ) from error

    def get_enrichment_value(self, resource_id: str, namespace: str, enrichment_key: str) -> Any:
        """Returns one set of a namespace. Raises `PanoptesEnrichmentCacheError`."""
        assert PanoptesValidators.valid_nonempty_string(enrichment_key), "enrichment_key must be a string"
        resource_id = self._look(resource_id, namespace, enrichment_key)
        try:
            return self._found[resource_id][namespace][enrichment_key]
        except KeyError as error:
            raise PanoptesEnrichmentCacheError(
                f"Failed to get data for resource {resource_id} namespace {namespace} enrichment_key {enrichment_key} "
                f"from enrichment cache object: {error!r} plugin_name: {self._plugin_name}"
            ) from error

    def get_enrichment_keys(self, resource_id: str, namespace: str) -> list[str]:
        """Returns the keys of a namespace. Raises `PanoptesEnrichmentCacheError`."""
        resource_id = self._look(resource_id, namespace)
        try:
            return list(self._found[resource_id][namespace])
        except KeyError as error:
            raise PanoptesEnrichmentCacheError(
                f"Failed to get data for resource {resource_id} namespace {namespace} "
                f"from enrichment cache object: {error!r} plugin_name: {self._plugin_name}"
            ) from error

    def _look(self, resource_id: str, namespace: str, key: str | None = None) -> str:
        """Reads what is not known yet; returns the resource that is meant."""
        assert PanoptesValidators.valid_nonempty_string(resource_id), "resource_id must be a string"
        assert PanoptesValidators.valid_nonempty_string(namespace), "enrichment namespace must be a string"
        resource_id = self._resource_id if resource_id == "self" else resource_id
        known = self._found.get(resource_id, {})
        if namespace not in known or (key is not None and key not in known[namespace]):
            self._preload_data(resource_id, namespace)
        return resource_id

    def _namespaces(self, resource_id: str) -> list[str]:
        names = self._kv.find_keys(escaped(f"{resource_id}:") + "*")
        return [name[len(resource_id) + 1 :] for name in names]

    def _preload_data(self, resource_id: str, namespace: str) -> None:
        key = f"{resource_id}:{namespace}"
        kept = self._kv.get(key)
        if kept is None:
            self._logger.warning(
                f"No enrichment data found on KV store for plugin {self._plugin_name} resource {resource_id} "
                f"namespace {namespace} using key {key}"
            )
            return
        self._found.setdefault(resource_id, {})[namespace] = json.loads(kept)["data"]

    def _parse_conf(self) -> list[tuple[str, str]]:
        wanted = []
        try:
            for one in self._plugin_conf["preload"].split(","):
                resource_id, namespace = one.strip().split(":")[:2]
                wanted.append((self._resource_id if resource_id == "self" else resource_id, namespace.strip()))
        except (KeyError, ValueError) as error:
            raise PanoptesEnrichmentCacheError(
                f"Failed while parsing preload enrichment configuration from plugin conf for plugin "
                f"{self._plugin_name}: {error!r}"
            ) from error
        return wanted
