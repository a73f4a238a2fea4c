"""What counts as a number, and how much of a caller's own words a message repeats."""

from fractions import Fraction

import numpy as np
import pytest

import guidance as g


@pytest.mark.parametrize("value", [0, -1.5, np.float32(2.0), np.int64(3), Fraction(1, 2)], ids=repr)
def test_real_numbers_are_numbers(value):
    assert g.is_number(value)


@pytest.mark.parametrize("value", [None, "7", True, float("nan"), float("inf"), 10**400, [1.0], 1j], ids=str)
def test_nothing_else_is(value):
    assert not g.is_number(value)


def test_a_message_repeats_little_of_a_long_text():
    assert g.quoted("seven") == "'seven'"
    assert len(g.quoted("x" * 100_000)) <= g.MOST_QUOTED + 2
    assert len(g.shortened("x " * 100_000)) <= g.MOST_QUOTED
    assert g.shortened("two\n  lines") == "two lines"


@pytest.mark.parametrize(
    ("value", "words"), [(None, "nothing"), ([], "an empty list"), ([1], "a list"), (7.5, "7.5"), ({}, "a dict")]
)
def test_a_value_is_named_in_words(value, words):
    assert g.quoted(value) == words
