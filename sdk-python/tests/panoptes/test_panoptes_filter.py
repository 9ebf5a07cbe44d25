"""The language of `resource_filter`."""

import pytest
from panoptes_support import resource

from pythond.dialects.panoptes.resource_filter import Filter, FilterError
from yahoo_panoptes.framework.resources import PanoptesResource


def made(id, **more):
    return PanoptesResource.resource_from_dict(resource(id, **more))


ALL = [
    made("a", resource_class="system", metadata={"os": "Linux 6", "n": "1"}),
    made("b", resource_class="Network", resource_site="east", metadata={"os": "linux 5"}),
    made('q"uote', resource_class="network", resource_site="west"),
    made("back\\slash", resource_class="x_y%z"),
]


def ids(query):
    return "".join(one.resource_id[0] for one in ALL if Filter(query).matches(one))


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ('resource_id = "a"', "a"),
        ('RESOURCE_ID="a"', "a"),
        ('resource_id eq "a"', "a"),
        ('resource_id EQ "a"', "a"),
        ('resource_id != "a"', "bqb"),
        ('resource_id ne "a"', "bqb"),
        ('resource_class = "network"', "q"),
        ('resource_class LIKE "network"', "bq"),
        ('resource_class like "NET%"', "bq"),
        ('resource_class LIKE "%e%"', "abq"),
        ('resource_class LIKE "s_stem"', "a"),
        ('resource_class LIKE ""', ""),
        ('resource_class NOT LIKE "net%"', "ab"),
        ('resource_class not like "net%"', "ab"),
        ('resource_id IN ("a")', "a"),
        ('resource_id IN ( "a" , "b" )', "ab"),
        ('resource_id NOT IN ("a", "b")', "qb"),
        ('resource_id in ("A")', ""),
        ('resource_id = "q\\"uote"', "q"),
        ('resource_id = "back\\\\slash"', "b"),
        ('resource_site = "east" OR resource_site = "west"', "bq"),
        ('resource_site = "east" or resource_id = "a" and resource_class = "system"', "ab"),
        ('resource_id = "a" AND resource_class = "system" OR resource_site = "west"', "aq"),
        ('resource_id = "a" AND resource_class = "no" OR resource_site = "west"', "q"),
        ('resource_metadata.os LIKE "linux%"', "ab"),
        ('resource_metadata.os = "Linux 6" OR resource_site = "west"', "aq"),
        ('resource_metadata.os LIKE "l%" AND resource_metadata.n = "1"', "a"),
        ('resource_metadata.n != "2"', "a"),
        ('resource_metadata.n NOT IN ("2")', "a"),
        ('resource_metadata.none NOT LIKE "2"', ""),
        ('RESOURCE_METADATA.os = "linux 5"', "b"),
        ('resource_metadata.OS = "linux 5"', ""),
        ('resource_metadata . os = "linux 5"', "b"),
        ('resource_metadata. os="linux 5" OR resource_metadata .n = "1"', "ab"),
        ('resource_type = "generic"\n  AND resource_id = "a"', "a"),
        ('resource_endpoint = "a" AND resource_subclass = "host" AND resource_site = "local"', "a"),
        ('resource_id = "a OR b"', ""),
    ],
)
def test_a_query_matches(query, wanted):
    assert ids(query) == wanted


@pytest.mark.parametrize(
    ("query", "why", "column"),
    [
        ("", "the filter is empty", 1),
        ("   ", "the filter is empty", 1),
        ("resource_id = 'a'", 'texts stand in double quotes: `"`', 15),
        ('(resource_id = "a")', "there are no parentheses around conditions; AND binds tighter than OR", 1),
        ('resource_id = "a" AND (resource_site = "b")', "there are no parentheses around", 23),
        ('resource_plugin = "x"', "`resource_plugin` is no field; those are resource_site,", 1),
        ('resource_clas = "x"', "`resource_clas` is no field; did you mean `resource_class`?", 1),
        ('resource_metadata = "x"', "`resource_metadata` is no field", 1),
        ('resource_metadata. = "x"', "`resource_metadata.` is no field", 1),
        ('resource_metadata.a-b = "x"', "one of = != eq ne LIKE IN NOT must stand here, not `-b`", 20),
        ('resource_metadata.a.b = "x"', "one of = != eq ne LIKE IN NOT must stand here, not `.b`", 20),
        ('resource_id "a"', 'one of = != eq ne LIKE IN NOT must stand here, not `"a"`', 13),
        ("resource_id", "one of = != eq ne LIKE IN NOT must stand here, but the filter ends", 12),
        ("resource_id =", "a text in double quotes must stand here, but the filter ends", 14),
        ("resource_id = a", "a text in double quotes must stand here, not `a`", 15),
        ('resource_id = "a', "this text has no end", 15),
        ('resource_id = "a" resource_site = "b"', "`AND` or `OR` must stand here, not `resource_site`", 19),
        ('resource_id = "a" AND', "a condition must stand here, but the filter ends", 22),
        ('resource_id NOT = "a"', "`LIKE` or `IN` must stand behind `NOT`", 17),
        ('resource_id IN "a"', '`(` must stand here, not `"a"`', 16),
        ('resource_id IN ("a"', "`)` must stand here, but the filter ends", 20),
        ('resource_id IN ("a" "b")', '`)` must stand here, not `"b"`', 21),
        ("resource_id IN ()", "a text in double quotes must stand here, not `)`", 17),
        ('resource_id > "a"', "`>` is no part of the language", 13),
        ('NOT resource_id = "a"', "`NOT` is no field", 1),
    ],
)
def test_a_wrong_query_is_told_with_its_column(query, why, column):
    with pytest.raises(FilterError) as caught:
        Filter(query)
    assert caught.value.text.startswith(why)
    assert caught.value.column == column


def test_the_caret_stands_below_the_place_of_its_line():
    with pytest.raises(FilterError) as caught:
        Filter('resource_id = "a"\n AND resource_plugin = "b"')
    assert caught.value.pointed() == ' AND resource_plugin = "b"\n     ^'
