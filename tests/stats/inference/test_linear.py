"""Least squares on units: robust variance, refusals."""

import numpy as np
import pytest
from scipy import stats

from transect.stats.inference.linear import (
    column_factor,
    independent_columns,
    least_squares,
    undetermined,
)

X = np.column_stack([np.ones(9), np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])])
Y = np.array([1.0, 1.2, 0.9, 1.1, 3.0, 5.0, 1.0, 4.0, 2.5])
SLOPE = np.array([0.0, 1.0])


def test_hc2_of_two_groups_is_welch() -> None:
    """Estimate and standard error equal scipy's unequal-variance t test."""
    row = least_squares(Y, X).contrast(SLOPE, "hc2")
    welch = stats.ttest_ind(Y[4:], Y[:4], equal_var=False)
    assert row["estimate"] / row["se"] == pytest.approx(welch.statistic)


def test_hc2_df_are_at_most_bell_and_mccaffreys() -> None:
    """Two groups: (1/n + 1/m)^2 / (1/(n^2 (n-1)) + 1/(m^2 (m-1))) where they vary equally, fewer
    where one varies more.
    """
    equal = np.array([1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 3.5])
    most = (1 / 4 + 1 / 5) ** 2 / (1 / (16 * 3) + 1 / (25 * 4))
    assert least_squares(equal, X).contrast(SLOPE, "hc2")["df"] == pytest.approx(most, abs=0.7)
    assert least_squares(Y, X).contrast(SLOPE, "hc2")["df"] < 5


def test_pooled_is_students_t() -> None:
    """p equals scipy's equal-variance t test."""
    row = least_squares(Y, X).contrast(SLOPE, "pooled")
    assert row["p"] == pytest.approx(stats.ttest_ind(Y[4:], Y[:4]).pvalue)
    assert row["df"] == 7


def test_hc2_keeps_its_level_where_groups_vary_differently() -> None:
    """Below 7.5 % of 3000 null samples with sd 0.05 in nine units and 1 in four; the pooled
    variance rejects over 20 %.
    """
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(13), np.arange(13) >= 9])
    sd = np.where(np.arange(13) >= 9, 1.0, 0.05)
    wrong = {"hc2": 0, "pooled": 0}
    for _ in range(3000):
        fit = least_squares(rng.normal(0, sd), x)
        for kind in wrong:
            wrong[kind] += fit.contrast(SLOPE, kind)["p"] < 0.05
    assert 0.035 < wrong["hc2"] / 3000 < 0.075
    assert wrong["pooled"] / 3000 > 0.2


def test_a_level_of_one_unit_falls_back_to_the_pooled_variance() -> None:
    """hc2 does not exist at leverage 1, and the row says which variance was used."""
    x = np.column_stack([np.ones(5), [0, 0, 0, 0, 1]])
    assert (
        least_squares(np.array([1.0, 2, 3, 4, 9]), x).contrast(SLOPE, "hc2")["variance"] == "pooled"
    )


def test_aliased_contrast_is_undetermined() -> None:
    """Two columns that are equal in the sample: neither has an effect, their sum has."""
    x = np.column_stack([np.ones(4), [0, 0, 1, 1], [0, 0, 1, 1]])
    assert undetermined(np.array([0.0, 1, 0]), x).any()
    assert not undetermined(np.array([0.0, 1, 1]), x).any()
    assert independent_columns(x) == [0, 1]


def test_the_column_factor_keeps_what_depends_on_what() -> None:
    """Of 50,000 rows whose third column is the sum of the others, at any scale: the same columns
    are independent.
    """
    a, b = np.random.default_rng(0).normal(size=(2, 50_000))
    for scale in (1e-6, 1.0, 1e6):
        x = np.column_stack([a, scale * b, a + scale * b, np.ones(50_000)])
        assert independent_columns(column_factor(x)) == independent_columns(x) == [0, 1, 3]
