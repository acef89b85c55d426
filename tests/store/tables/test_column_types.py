"""A column of written cells has one type, and every missing value its sign."""

import numpy as np
import pyarrow as pa
import pytest

from transect.store.tables.column_types import EMPTY, Column, typed


def column(*cells: str | None) -> Column:
    return typed(pa.chunked_array([pa.array(cells, pa.string())]))


def missing(found: Column) -> dict[str, list[int]]:
    return {sign: rows.tolist() for sign, rows in found.missing.items()}


@pytest.mark.parametrize(
    "level", ["None", "nan", "NaN", "null", "N/A", "none", ".", "-", "NULL", "NA"]
)
def test_words_are_levels_of_text(level: str) -> None:
    """In text only an empty cell and NA without quotes (null here) are missing: nan is Min Nan
    Chinese, None no position code.
    """
    found = column("rope", level, "", None)
    assert found.values.tolist()[:2] == ["rope", level]
    assert missing(found) == {EMPTY: [2], "NA": [3]}


@pytest.mark.parametrize(
    "sign",
    ["NA", "nan", "NaN", "N/A", "null", "NULL", "None", ".", "-", "#DIV/0!", "#N/A", "-nan", "?"],
)
def test_signs_are_missing_among_numbers(sign: str) -> None:
    """Those of R, Python, SQL, Excel and SPSS, each under its own name; the numbers stay numbers."""
    found = column("1.5", sign, "2", "")
    assert found.values.dtype == float and np.isnan(found.values[1])
    assert missing(found) == {sign: [1], EMPTY: [3]}


def test_signs_without_any_number_are_words() -> None:
    """A table of runs in Min Nan only: nothing says that nan is a number."""
    assert column("nan", "nan").values.tolist() == ["nan", "nan"]


@pytest.mark.parametrize(
    "cells", [("inf", "None"), ("inf", "-inf", "null"), ("Infinity", "NULL", "None")]
)
def test_infinity_without_a_digit_is_a_word(cells: tuple[str, ...]) -> None:
    """Levels of a setting (no limit, none): nothing says that they are numbers; beside one they
    are.
    """
    assert column(*cells).values.tolist() == list(cells)
    assert column(*cells, "1").values.dtype == float


def test_a_column_has_one_type() -> None:
    """7 and "7" are one level beside x17, wherever in the file x17 comes; 525 levels, as were made."""
    cells = [str(i % 500) for i in range(398_000)]
    cells += [str(i % 500) if i % 2 else f"x{i % 50}" for i in range(2_000)]
    found = column(*cells)
    assert found.values.nunique() == 525 == len(set(cells))
    assert found.note == "it holds numbers, but 'x0' is none, so all of it is read as text"


@pytest.mark.parametrize(
    "cells",
    [
        ("1", "01"),
        ("7", "007", "8"),
        ("9007199254740993", "9007199254740992", ""),
        ("12345678901234567890", "12345678901234567891"),
    ],
)
def test_ids_that_would_become_one_stay_text(cells: tuple[str, ...]) -> None:
    """Leading zeros, and more than 2^53 where a gap (or the size) asks for float64."""
    found = column(*cells)
    assert (
        found.values.dropna().nunique() == sum(c != "" for c in cells)
        and "two of them would become one" in found.note
    )


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (("9007199254740993", "9007199254740992"), [9007199254740993, 9007199254740992]),  # int64
        (("00100", "00200"), [100, 200]),
        (("+1", "1", "-0", "0"), [1, 1, 0, 0]),
        (("602214076000000000000000", "1"), [6.02214076e23, 1.0]),
        (("1e-3", ".5", "5.", " 7 "), [0.001, 0.5, 5.0, 7.0]),
        (
            ("0.1", "0.30000000000000004"),
            [0.1, 0.1 + 0.2],
        ),  # the nearest float64, as Python reads it
        (("\u22121.5", "-2"), [-1.5, -2.0]),  # the minus of typesetters
        (("inf", "-Infinity", "1"), [np.inf, -np.inf, 1.0]),
    ],
)
def test_numbers_are_exact(cells: tuple[str, ...], values: list[float]) -> None:
    """Python's own int and float of the same text."""
    assert column(*cells).values.tolist() == values


@pytest.mark.parametrize("cell", ["0x10", "1_000", "1d5", "1,5", "12 ms", "2024-01-01", "1 000"])
def test_what_is_no_number_is_text(cell: str) -> None:
    """Nothing is guessed."""
    assert column(cell, cell).values.tolist() == [cell, cell]


def test_true_and_false() -> None:
    """As R, Python and JSON write them; with gaps they stay true and false."""
    assert column("TRUE", "FALSE").values.dtype == bool and column(
        "True", "false"
    ).values.tolist() == [True, False]
    found = column("true", "false", "NA", "")
    assert found.values.tolist() == [True, False, None, None] and missing(found) == {
        "NA": [2],
        EMPTY: [3],
    }
    assert column("true", "maybe").values.tolist() == ["true", "maybe"]


def test_blanks_around_text_stay() -> None:
    """ "yes" and "yes " are two levels, as in R."""
    assert column("yes", "yes ").values.nunique() == 2


def test_an_empty_column_is_missing() -> None:
    """All of it."""
    assert missing(column("", "")) == {EMPTY: [0, 1]} and column().values.empty
