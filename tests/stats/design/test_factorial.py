"""Designs: coding, aliases and exchange against cases whose answer is known."""

import numpy as np
import pytest

from transect.stats.design import factorial

TWO = {"a": ["-", "+"], "b": ["-", "+"], "c": ["-", "+"]}
HALF = [
    {"a": a, "b": b, "c": "+" if a == b else "-"} for a in "-+" for b in "-+"
]  # the half fraction c = ab


def test_deviation_coding_of_three_levels() -> None:
    """k - 1 columns, the last level -1, every column of a balanced factor sums to 0."""
    runs = [{"f": level} for level in "xyz"]
    assert factorial.columns(runs, "f", {"f": ["x", "y", "z"]}).tolist() == [
        [1, 0],
        [0, 1],
        [-1, -1],
    ]


def test_numeric_factors_are_scaled() -> None:
    """From -1 at the smallest to 1 at the largest level, in proportion."""
    runs = [{"n": n} for n in (32, 48, 96)]
    assert factorial.columns(runs, "n", {"n": [32, 48, 96]}, ["n"]).ravel().tolist() == [
        -1,
        -0.5,
        1,
    ]


def test_full_factorial_is_the_yardstick() -> None:
    """Efficiency 1, nothing aliased, variances 1."""
    report = factorial.describe(factorial.factorial(TWO), ["a", "b", "c", "a:b"], TWO)
    assert report.efficiency == pytest.approx(1) and report.residual_df == 8 - 5
    assert [t.variance for t in report.terms] == pytest.approx([1] * 4)
    assert max(t.aliased_share for t in report.terms + report.others) == pytest.approx(0)


def test_the_half_fraction_aliases_what_it_must() -> None:
    """2^(3-1) with c = ab (Box, Hunter & Hunter 1978, chapter 12): main effects are clear of each
    other, each aliased with an interaction.
    """
    report = factorial.describe(HALF, ["a", "b", "c"], TWO)
    assert (report.residual_df, report.efficiency) == (0, pytest.approx(1))
    assert {t.term: (t.estimable, t.aliased_share) for t in report.others} == {
        "a:b": (0, pytest.approx(1)),
        "a:c": (0, pytest.approx(1)),
        "b:c": (0, pytest.approx(1)),
    }


def test_what_never_varies_apart_is_not_estimable() -> None:
    """Two factors that go together: rank is short, efficiency 0, no estimable column of either
    given the other.
    """
    runs = [{"a": level, "b": level} for level in "-+-+"]
    report = factorial.describe(runs, ["a", "b"], {"a": ["-", "+"], "b": ["-", "+"]})
    assert (report.rank, report.parameters, report.efficiency, report.residual_df) == (2, 3, 0.0, 2)
    assert [(t.estimable, t.variance) for t in report.terms] == [(0, None), (0, None)]


def test_exchange_finds_the_orthogonal_half() -> None:
    """8 of 2^4 runs for main effects: an orthogonal fraction exists, with det(X'X) = 8^5, and the
    search finds one as good.
    """
    factors = {name: ["-", "+"] for name in "abcd"}
    runs = factorial.factorial(factors)
    chosen = factorial.d_optimal(runs, list(factors), factors, 8, seed=0, starts=5)
    matrix = factorial.model_matrix([runs[i] for i in chosen], list(factors), factors)
    assert len(set(chosen)) == 8
    assert np.linalg.det(matrix.T @ matrix) == pytest.approx(8**5)


def test_possible_terms_are_kept_clear() -> None:
    """8 of 2^4 runs: with the interactions as possible terms the search prefers resolution IV,
    where no main effect is aliased with one.
    """
    factors = {name: ["-", "+"] for name in "abcd"}
    runs, main = factorial.factorial(factors), list(factors)
    pairs = ["a:b", "a:c", "a:d", "b:c", "b:d", "c:d"]
    chosen = factorial.d_optimal(runs, main, factors, 8, seed=0, possible=pairs, starts=20)
    report = factorial.describe([runs[i] for i in chosen], main, factors)
    assert report.efficiency == pytest.approx(1)
    assert max(t.aliased_share for t in report.others) == pytest.approx(0)


def test_levels_of_keeps_what_varies() -> None:
    """A factor with one level is no factor of these runs."""
    assert factorial.levels_of([{"a": 1, "b": 2}, {"a": 3, "b": 2}], ["a", "b"]) == {"a": [1, 3]}
