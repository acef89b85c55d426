"""Kinds of values of the command line."""

from collections.abc import Callable
from typing import Any

import pytest

from transect.cli import arguments
from transect.errors import InputError


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "x", "²"])
def test_what_is_no_positive_integer_is_refused(text: str) -> None:
    """Also digits that are no number."""
    with pytest.raises(InputError, match="an integer of at least 1"):
        arguments.positive(text)
    assert arguments.positive("7") == 7


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e999", "x"])
def test_what_is_no_standard_deviation_is_refused(text: str) -> None:
    """It is finite and above 0."""
    with pytest.raises(InputError, match="a number above 0"):
        arguments.above_zero(text)
    assert arguments.above_zero("0.5") == 0.5


@pytest.mark.parametrize(
    ("read", "text", "allowed"),
    [
        (arguments.samples, "99", "at least 100"),
        (arguments.whole, "1.5", "not a whole number"),
        (arguments.whole, "1e3", "not a whole number"),
        (arguments.number, "one", "not a number"),
        (arguments.megabytes, "0.5", "a number of megabytes"),
        (arguments.megabytes, "nan", "a number of megabytes"),
    ],
)
def test_other_numbers_are_refused(read: Callable[[str], Any], text: str, allowed: str) -> None:
    """No number is rounded: the sentence names what was given and what is allowed."""
    with pytest.raises(InputError, match=f"'{text}'.*{allowed}"):
        read(text)


def test_of_options_that_exclude_each_other_one_is_given() -> None:
    """Neither is fine, one is fine, two are named; 0 counts as given."""
    arguments.at_most_one(fast=False, quadrature=None)
    arguments.at_most_one(fast=True, quadrature=None)
    with pytest.raises(InputError, match="--fast and --quadrature exclude each other"):
        arguments.at_most_one(fast=True, quadrature=9)


@pytest.mark.parametrize(
    ("value", "text"), [(True, "on"), (False, "off"), (None, "none"), ((), "none"), (0, "0")]
)
def test_defaults_are_words(value: object, text: str) -> None:
    """0 is a number, not off."""
    assert arguments.default_text(value) == text
