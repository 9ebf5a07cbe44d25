"""Odd calls of the importable surface: what the original answers, measured on it."""

import json
import time

import pytest
from panoptes_support import HERE  # puts `yahoo_panoptes` on the path
from test_panoptes_golden import R, device

from yahoo_panoptes.framework.enrichment import PanoptesEnrichmentGroup, PanoptesEnrichmentSet
from yahoo_panoptes.framework.metrics import PanoptesMetric, PanoptesMetricDimension, PanoptesMetricsGroup
from yahoo_panoptes.framework.utilities import helpers
from yahoo_panoptes.framework.validators import PanoptesValidators

THINGS = [
    PanoptesMetric("a", 1, 0),
    PanoptesMetricDimension("a", "b"),
    PanoptesMetricsGroup(device(), "g", 60),
    R(5, "p"),
]


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: type(thing).__name__)
def test_nothing_is_before_what_is_of_another_type(thing):
    for other in (None, 1, "a", object()):
        assert not thing < other
        assert thing != other


def test_a_bool_is_the_type_of_a_metric_that_its_number_is():
    assert json.loads(PanoptesMetric("a", 1, True).json)["metric_type"] == "counter"
    for other in (2, -1, "counter", None, [], 0.5):
        with pytest.raises(AssertionError, match="metric_type must be an attribute of PanoptesMetricType"):
            PanoptesMetric("a", 1, other)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: helpers.normalize_plugin_name(None), "plugin_name must be a non-empty str"),
        (lambda: helpers.normalize_plugin_name(""), "plugin_name must be a non-empty str"),
        (lambda: helpers.get_module_mtime(None), "module_path must be a non-empty str"),
        (lambda: helpers.get_calling_module_name("1"), "depth should be an int"),
        (lambda: helpers.convert_kv_str_to_dict(None, "p"), "kv must be a non-empty string"),
        (lambda: helpers.convert_kv_str_to_dict("a|b", 5), "prefix must be a non-empty string"),
        (lambda: helpers.convert_kv_str_to_dict("a|b", "p", ""), "kv_delimiter must be a non-empty string"),
        (lambda: helpers.convert_kv_str_to_dict("a|b", "p", "|", None), "prefix_delimiter must be a non-empty string"),
        (lambda: PanoptesEnrichmentSet("k", None), "enrichment value must be a dict"),
        (lambda: _group().upsert_metadata("k", True), "metadata_value must be any of string / float / integer"),
        (lambda: _group().upsert_metadata("k", ""), "metadata_value must be any of string / float / integer"),
    ],
)
def test_what_is_refused_is_refused_with_the_text_of_the_original(call, text):
    with pytest.raises(AssertionError) as caught:
        call()
    assert str(caught.value) == text


def _group():
    from yahoo_panoptes.enrichment.schema.heartbeat import PanoptesHeartbeatEnrichmentGroup

    group = PanoptesHeartbeatEnrichmentGroup(600, 60)
    assert isinstance(group, PanoptesEnrichmentGroup)
    return group


def test_helpers_give_what_the_original_gives():
    fahrenheit = [helpers.convert_celsius_to_fahrenheit(value) for value in (36.66667, 1.23456, -3.333, 100)]
    assert fahrenheit == [98.0, 34.22, 26.0, 212.0]
    assert helpers.transform_octet_to_mac(b"\x00\xffA") == helpers.transform_octet_to_mac("\x00\xffA") == "00:FF:41"
    assert helpers.get_module_mtime(__file__[: -len(".py")]) == helpers.get_module_mtime(__file__) > 0
    assert helpers.get_module_mtime(HERE) > 0
    assert helpers.get_module_mtime("/none/existent") == 0
    assert helpers.convert_kv_str_to_dict("a|b|c|d", "p") == {"p_a": "b", "p_c": "d"}


def test_a_time_is_valid_within_its_limits_only():
    now = time.time()
    assert PanoptesValidators.valid_timestamp(now)
    assert PanoptesValidators.valid_timestamp(now + 70, max_skew=120)
    for call in ((None,), (True,), (0,), (now + 120,), (now - 604810,), (now, None), (now, 60, None), ("x",)):
        assert not PanoptesValidators.valid_timestamp(*call), call


def test_a_plugins_context_can_be_imported_from_where_its_base_is():
    from yahoo_panoptes.discovery import panoptes_discovery_plugin
    from yahoo_panoptes.enrichment import enrichment_plugin
    from yahoo_panoptes.framework.plugins.context import PanoptesPluginContext
    from yahoo_panoptes.polling import polling_plugin

    for module in (polling_plugin, panoptes_discovery_plugin, enrichment_plugin):
        assert module.PanoptesPluginContext is PanoptesPluginContext


# What Cerberus 1.3 says, measured.
@pytest.mark.parametrize(
    ("rules", "fits", "does_not_fit"),
    [
        ({"type": "integer"}, [1, True], [1.5, "1", None]),
        ({"type": "float"}, [1, 1.5, False], ["1"]),
        ({"type": "number"}, [1, 1.5], [True, "1"]),
        ({"min": 1, "max": 5}, [1, 5, "a", [], float("nan")], [0, 5.5]),
        ({"minlength": 1, "maxlength": 2}, ["a", [1], 5], ["", "abc"]),
        ({"allowed": ["a", 1]}, ["a", 1, ["a"], []], ["b", ["a", "b"]]),
        ({"forbidden": ["a"]}, ["b", ["b"], {"a": 1}], ["a", ["b", "a"]]),
        ({"keysrules": {"type": "string"}, "valuesrules": {"type": "integer"}}, [{"a": 1}, 5], [{1: 1}, {"a": "b"}]),
        ({"anyof": [{"type": "string"}, {"type": "integer"}]}, ["a", 1], [1.5]),
        ({"allof": [{"type": "string"}, {"minlength": 1}]}, ["a"], ["", 1]),
        ({"oneof": [{"type": "integer"}, {"type": "number"}]}, [True, 1.5], [1, "a"]),
        ({"noneof": [{"type": "string"}]}, [1], ["a"]),
    ],
)
def test_a_schema_without_cerberus_means_what_it_means_with_it(rules, fits, does_not_fit):
    from yahoo_panoptes.framework import schemas

    def is_valid(value):
        return schemas._fits_schema({"k": rules}, {"k": value})

    assert [value for value in fits if not is_valid(value)] == []
    assert [value for value in does_not_fit if is_valid(value)] == []


def test_a_validator_refuses_what_is_no_set():
    from yahoo_panoptes.framework.enrichment import PanoptesEnrichmentSchemaValidator

    with pytest.raises(AssertionError, match="element set must be an instance of PanoptesEnrichmentSet"):
        PanoptesEnrichmentSchemaValidator().validate({"k": {}})


def test_the_plugin_for_json_files_has_the_name_that_others_import():
    from yahoo_panoptes.discovery.panoptes_discovery_plugin import PanoptesDiscoveryPlugin
    from yahoo_panoptes.plugins.discovery.plugin_discovery_from_json_file import PluginDiscoveryJSONFile

    assert issubclass(PluginDiscoveryJSONFile, PanoptesDiscoveryPlugin)
