"""Equivalence tests against statsmodels, and their error rate at the margin."""

import numpy as np
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from transect.errors import InputError
from transect.stats.inference.equivalence import inside_and_outside, one_sided, tost
from transect.stats.inference.intervals import t_interval


@pytest.mark.parametrize("value", [0.0, 0.05])
def test_p_equals_that_of_statsmodels(value: float) -> None:
    """Two one-sided t tests on one sample."""
    x = np.random.default_rng(0).normal(0.02, 0.2, 30)
    found = tost(x.mean(), x.std(ddof=1) / np.sqrt(30), 29, 0.1, value)
    assert found["p"] == pytest.approx(DescrStatsW(x).ttost_mean(value - 0.1, value + 0.1)[0])


@pytest.mark.parametrize(
    ("estimate", "verdict"),
    [(0.05, "supported"), (0.12, "unresolved"), (0.3, "unresolved"), (0.5, "rejected")],
)
def test_the_verdict_follows_the_interval(estimate: float, verdict: str) -> None:
    """df 10: 90 % half width 0.181, 95 % half width 0.223, margin 0.24."""
    found = tost(estimate, 0.1, 10, 0.24)
    assert found["verdict"] == verdict
    assert (found["p"] < 0.05) == (-0.24 < found["lower90"] and found["upper90"] < 0.24)


def test_the_smallest_margin_is_the_edge_of_support() -> None:
    """Just above it supported, just below not."""
    smallest = float(tost(0.05, 0.1, 10, 1.0)["smallest_margin"])
    verdicts = [tost(0.05, 0.1, 10, smallest * factor)["verdict"] for factor in (1.001, 0.999)]
    assert verdicts == ["supported", "unresolved"]


def test_at_the_margin_at_most_5_percent_are_called_equivalent() -> None:
    """4,000 samples of 8 units whose mean is the margin, where the test is at its level: 5 % + 2 MC
    SE.
    """
    x = np.random.default_rng(1).normal(1.0, 0.5, (4000, 8))
    p = [float(tost(row.mean(), row.std(ddof=1) / np.sqrt(8), 7, 1.0)["p"]) for row in x]
    assert 0.04 < np.mean(np.array(p) < 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 4000)


def test_an_interval_without_a_standard_error_is_read_from_the_facing_side() -> None:
    """A lower bound that is the edge has a one-sided p of 0.025."""
    assert one_sided({"estimate": 2.0, "lower": 1.0, "upper": np.inf}, 1.0) == pytest.approx(0.025)


def test_inside_and_outside_of_an_open_region() -> None:
    """Above 0 without an upper edge: the two p are those of one t test."""
    row = t_interval(1.0, 0.5, 10)
    inside, outside = inside_and_outside(row, 0.0, np.inf)
    assert (2 * inside, 1 - outside) == pytest.approx((row["p"], row["p"] / 2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0.1, 0.1, 10, 0.0), "margin is 0"),
        ((0.1, 0.0, 10, 1.0), "above 0 and df"),
        ((np.nan, 0.1, 10, 1.0), "finite"),
    ],
)
def test_what_cannot_be_tested_is_said(
    given: tuple[float, float, float, float], message: str
) -> None:
    """No margin, no standard error, no estimate."""
    with pytest.raises(InputError, match=message):
        tost(*given)
