"""`bases.charts`: the whole interface, as modules have seen it."""

import pytest

from bases.charts import Chart, ChartError, DuplicateItemError, ItemTypeError, ItemValueError
from bases.FrameworkServices.SimpleService import SimpleService

CHART_TEXT = (
    "invalid value for 'chart', must be "
    "['type', 'id', 'name', 'title', 'units', 'family', 'context', 'chart_type', 'hidden']"
)
LINE = [None, "t", "u", "f", "ctx", "line"]


@pytest.fixture
def charts(make):
    return make(SimpleService).charts


@pytest.fixture
def printing(make):
    """A service that prints the protocol, and what it printed."""
    lines = []
    return make(SimpleService, print_line=lines.append, chart_cleanup=2, fractions=False), lines


def test_a_chart_has_all_of_its_parameters_as_attributes(charts):
    chart = charts.add_chart(["c", "named", "Title", "u/s", "fam", "ctx", "area"])
    assert chart.params == {
        "type": "module_local",
        "id": "c",
        "name": "named",
        "title": "Title",
        "units": "u/s",
        "family": "fam",
        "context": "ctx",
        "chart_type": "area",
        "hidden": "",
        "update_every": 1,
        "priority": 60000,
        "module_name": "module",
        "actual_job_name": "local",
    }
    assert (chart.name, chart.id, chart.title, str(chart)) == ("module_local.c", "c", "Title", "c")
    chart.params["title"] = "other"
    assert chart.title == "other"
    with pytest.raises(AttributeError, match=r"^'Chart\(c\)' has no attribute 'nothing'$"):
        _ = chart.nothing


@pytest.mark.parametrize("params", [[], ["x"], ["c", None, "t", "u", "f", "ctx"]])
def test_a_chart_with_too_few_parameters_is_refused_in_the_known_words(charts, params):
    with pytest.raises(ItemValueError) as caught:
        charts.add_chart(params)
    assert str(caught.value) == CHART_TEXT
    assert charts.priority == 60000, "it has not used up a place"


def test_a_chart_that_is_no_list_is_a_type_error(charts):
    with pytest.raises(TypeError, match=r'can only concatenate list \(not "str"\) to list'):
        charts.add_chart("x")
    with pytest.raises(ItemTypeError, match="'chart' must be a list type"):
        Chart("x")


def test_empty_parameters_become_empty_texts_and_unknown_types_absolute(charts):
    nothing = charts.add_chart(["a", 0, "", None, [], {}, False])
    assert [nothing.params[key] for key in ("name", "title", "units", "family", "context")] == [""] * 5
    assert nothing.chart_type == "absolute"
    assert charts.add_chart(["b", None, "t", "u", "f", "c", "heatmap"]).chart_type == "absolute"
    assert charts.add_chart(["c", *LINE, "hidden"]).hidden == "hidden"
    assert charts.add_chart(["d", *LINE, "nothidden"]).hidden == ""


def test_charts_are_a_mapping_that_iterates_over_charts(charts):
    assert not charts and len(charts) == 0
    first, second = charts.add_chart(["a", *LINE]), charts.add_chart(["b", *LINE])
    assert charts and len(charts) == 2 and list(charts) == [first, second]
    assert "a" in charts and "x" not in charts and charts["b"] is second and charts.charts["a"] is first
    assert str(charts) == "['a', 'b']" and repr(charts) == "Charts(['a', 'b'])"
    with pytest.raises(KeyError):
        charts["x"]
    second.obsolete()
    assert charts.active_charts() == ["a"] and "b" in charts
    del charts["b"]
    assert len(charts) == 1
    assert (charts.job_name(), charts.actual_job_name, charts.module_name) == ("module_local", "local", "module")
    assert (charts.get_update_every(), charts.cleanup, charts.priority) == (1, 10, 60002)


def test_a_second_chart_of_one_id_replaces_the_first_in_its_place(charts):
    charts.add_chart(["a", *LINE])
    charts.add_chart(["b", *LINE])
    again = charts.add_chart(["a", None, "again", "u", "f", "c", "line"])
    assert [chart.title for chart in charts] == ["again", "t"]
    assert again.priority == 60002


def test_a_dimension_takes_what_is_good_and_defaults_for_the_rest(charts):
    chart = charts.add_chart(["c", *LINE])

    def shape(*params):
        params = chart.add_dimension(list(params)).params
        return tuple(params[key] for key in ("id", "name", "algorithm", "multiplier", "divisor", "hidden"))

    assert shape("a") == ("a", "a", "absolute", 1, 1, "")
    assert shape("b", "n", "incremental", 8, 1000) == ("b", "n", "incremental", 8, 1000, "")
    assert shape("d", "", "bogus", "8", 1.5) == ("d", "d", "absolute", 1, 1, "")
    assert shape("e", None, None, 0, None) == ("e", "e", "absolute", 1, 1, "")
    assert shape("f", "n", "absolute", True, -3, True) == ("f", "n", "absolute", True, -3, True)
    assert shape("g", "n", "percent-of-absolute-row", 1, 1, "hidden", "surplus")[2:] == ("absolute", 1, 1, "hidden")
    assert shape(11, "int") == (11, "int", "absolute", 1, 1, "")
    assert shape(None)[0] == ""


@pytest.mark.parametrize(
    ("params", "kind", "text"),
    [
        (["a"], DuplicateItemError, "'a' already in 'module_local.c' dimensions"),
        ("a", ItemTypeError, "'dimension' must be a list type"),
        (("a",), ItemTypeError, "'dimension' must be a list type"),
        (
            [],
            ItemValueError,
            "invalid value for 'dimension', must be ['id', 'name', 'algorithm', 'multiplier', 'divisor', 'hidden']",
        ),
    ],
)
def test_a_dimension_that_cannot_be_added_says_why(charts, params, kind, text):
    chart = charts.add_chart(["c", *LINE])
    chart.add_dimension(["a"])
    with pytest.raises(kind) as caught:
        chart.add_dimension(params)
    assert str(caught.value) == text
    assert isinstance(caught.value, ChartError)


def test_a_dimension_equals_its_id(charts):
    chart = charts.add_chart(["c", *LINE])
    added = chart.add_dimension(["a"])
    other = chart.add_dimension(["b"])
    assert added == "a" and added != "b" and added != other
    assert "a" in chart and "a" in chart.dimensions and "x" not in chart
    assert list(chart) == ["a", "b"] and (str(added), repr(added)) == ("a", "Dimension(a)")
    with pytest.raises(AttributeError, match=r"'Dimension\(a\)' has no attribute 'nothing'"):
        _ = added.nothing


def test_a_dimension_that_was_deleted_may_come_again(charts):
    chart = charts.add_chart(["c", *LINE])
    for name in ("a", "b"):
        chart.add_dimension([name])
    for dimension in list(chart):
        chart.del_dimension(dimension.id, hide=False)
    assert list(chart) == []
    chart.del_dimension("nobody")
    chart.hide_dimension("nobody")
    chart.add_dimension(["a"])
    chart.hide_dimension("a")
    assert chart.dimensions[0].hidden == "hidden"
    chart.hide_dimension("a", reverse=True)
    assert chart.dimensions[0].hidden == ""


def test_deleting_while_going_through_a_chart_passes_over_the_next(charts):
    chart = charts.add_chart(["c", *LINE])
    for name in ("a", "b", "c"):
        chart.add_dimension([name])
    for dimension in chart:
        chart.del_dimension(dimension.id)
    assert list(chart) == ["b"]


def test_variables_are_a_set_of_ids(charts):
    chart = charts.add_chart(["c", *LINE])
    chart.add_variable(["v"])
    chart.add_variable(["v", 3])
    assert [str(one) for one in chart.variables] == ["v"]
    with pytest.raises(ItemTypeError, match="'variable' must be a list type"):
        chart.add_variable("v")
    with pytest.raises(ItemValueError, match=r"invalid value for 'variable' must be: \['id', 'value'\]"):
        chart.add_variable([])


def test_an_update_takes_what_is_there_and_counts_what_is_not(charts):
    chart = charts.add_chart(["c", *LINE])
    chart.add_dimension(["a"])
    chart.add_dimension([7])
    assert chart.can_be_updated({7: 1}) and not chart.can_be_updated({"7": 1})
    assert chart.update({"a": 1.5, 7: 2, "b": 3}, 5) is True
    assert chart.update({}, 5) is False
    assert (chart.penalty, chart.flags.updated, chart.flags.created, chart.flags.push) == (1, False, True, False)
    (update,) = charts.take()
    assert [(one.id, value) for one, value in update.values] == [("a", 1.5), (7, 2)]
    assert charts.take() == []
    chart.refresh()
    assert (chart.penalty, chart.flags.push, chart.flags.obsoleted) == (0, True, False)


def test_a_definition_is_told_before_values_and_after_each_change(printing):
    service, lines = printing
    chart = service.charts.add_chart(["c", "n", "T", "u", "f", "ctx", "line"])
    chart.add_dimension(["a", None, "incremental", 8, 1000])
    chart.add_variable(["x", 5])
    chart.update({}, 7)
    assert lines == [], "nothing is told of a chart without values"
    chart.update({"a": 1.9}, 7)
    chart.update({"a": 2, "x": "6"}, 7)
    definition = (
        "CHART module_local.c 'n' 'T' 'u' 'f' 'ctx' line 60000 1 '' 'python.d.plugin' 'module'\n"
        "CLABEL '_collect_job' 'local' '0'\nCLABEL_COMMIT\n"
        "DIMENSION 'a' 'a' incremental 8 1000 ' '\nVARIABLE CHART 'x' = 5\n"
    )
    assert lines == [
        definition,
        "BEGIN module_local.c 0\nSET 'a' = 1\nVARIABLE CHART 'x' = 5\nEND\n",
        "BEGIN module_local.c 7\nSET 'a' = 2\nVARIABLE CHART 'x' = 6\nEND\n",
    ]
    del lines[:]
    chart.hide_dimension("a")
    assert lines == []
    chart.update({"a": 3}, 7)
    assert "'hidden '" in lines[0] and len(lines) == 2
    del lines[:]
    chart.del_dimension("a")
    chart.obsolete()
    assert "'hidden obsolete'" in lines[0]
    assert lines[1] == "CHART module_local.c 'n' 'T' 'u' 'f' 'ctx' line 60000 1 ' obsolete'\n"


def test_a_chart_that_was_never_told_ends_in_silence(printing):
    service, lines = printing
    chart = service.charts.add_chart(["c", *LINE])
    chart.obsolete()
    assert lines == [] and chart.flags.obsoleted
