"""What is a number in the data."""

from decimal import Decimal
from fractions import Fraction

import pytest

from pythond.dialects.netdata.values import NotANumber, number


@pytest.mark.parametrize(
    ("value", "exact", "cut"),
    [
        (1, 1, 1),
        (1.9, 1.9, 1),
        (-1.9, -1.9, -1),
        ("12", 12, 12),
        (" 13 ", 13, 13),
        ("1_000", 1000, 1000),
        ("+5", 5, 5),
        ("-6", -6, -6),
        (True, 1, 1),
        (Decimal("7.7"), 7.7, 7),
        (Fraction(9, 2), 4.5, 4),
        (b"8", 8, 8),
        (10**30, 10**30, 10**30),
        (1e20, 1e20, 10**20),
        ("\u0663", 3, 3),
        (2**64 - 1, 2**64 - 1, 2**64 - 1),
        (None, None, None),
        ([1], None, None),
        ({}, None, None),
    ],
)
def test_a_value_is_exact_or_cut_towards_zero(value, exact, cut):
    assert number(value, True) == exact
    assert number(value, False) == cut


@pytest.mark.parametrize("value", ["abc", "", "0x10", float("nan"), float("inf"), -float("inf"), "nan", "inf"])
def test_what_was_meant_as_a_number_and_is_none_is_named(value):
    for fractions in (True, False):
        with pytest.raises(NotANumber, match="is no number"):
            number(value, fractions)


def test_a_module_that_asks_itself_catches_what_int_raises():
    for kind in (ValueError, OverflowError):
        with pytest.raises(kind):
            number("abc", True)


def test_a_fraction_in_a_text_counts_only_with_fractions():
    assert number("1.5", True) == 1.5
    with pytest.raises(NotANumber, match=r"'1\.5' is no number"):
        number("1.5", False)


def test_a_number_that_no_float_can_hold_is_named():
    with pytest.raises(NotANumber):
        number(10**400, True)


def test_a_value_whose_form_cannot_be_made_is_named_by_its_kind():
    class Odd:
        def __float__(self):
            raise ValueError

        def __repr__(self):
            raise RuntimeError

    with pytest.raises(NotANumber, match="a Odd is no number"):
        number(Odd(), True)
