"""Intervals that keep the bounds of their outcome."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from simulations.bounded_rates import coverage_of_a_share
from transect.stats.inference.bounded import bounded, bounded_mean, cut, cut_rows, trials_of
from transect.stats.inference.intervals import mean_interval, t_interval

SHARE, POSITIVE, NEGATIVE = (0.0, 1.0), (0.0, np.inf), (-np.inf, 0.0)


def test_far_from_the_bounds_it_is_students_interval() -> None:
    """20 units around 0.5 with sd 0.02: both limits within 1 % of the half-width of t (scipy)."""
    values = 0.5 + 0.02 * np.random.default_rng(1).standard_normal(20)
    row = mean_interval(values, SHARE)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (row["lower"], row["upper"]) == pytest.approx((low, high), abs=0.01 * (high - low) / 2)


def test_independent_trials_have_jeffreys_interval() -> None:
    """50 of 60 right and df without end: the beta quantiles of Brown, Cai & DasGupta (2001)."""
    se = np.sqrt(50 / 60 * 10 / 60 / 60)
    row = bounded(t_interval(50 / 60, se, 1e9), SHARE, trials=60)
    jeffreys = stats.beta.ppf([0.025, 0.975], 50.5, 10.5)
    assert (row["lower"], row["upper"]) == pytest.approx(tuple(jeffreys), abs=1e-6)


def test_a_positive_mean_has_a_gamma_interval_of_its_standard_error() -> None:
    """With m = 3.5, s = 1.3: theta = sqrt(m^2 + 2 s^2) - m, shape m / theta + 1/2, whose sd is 1.3
    (scipy).
    """
    row = bounded(t_interval(3.5, 1.3, 1e9), POSITIVE)
    theta = np.sqrt(3.5**2 + 2 * 1.3**2) - 3.5
    gamma = stats.gamma(3.5 / theta + 0.5, scale=theta)
    assert gamma.std() == pytest.approx(1.3)
    assert (row["lower"], row["upper"]) == pytest.approx(tuple(gamma.ppf([0.025, 0.975])), abs=1e-6)


@pytest.mark.parametrize("bounds", [SHARE, POSITIVE, NEGATIVE, (-1.0, 1.0), (0.2, 0.9)])
def test_no_limit_leaves_the_bounds_and_each_holds_the_estimate(
    bounds: tuple[float, float],
) -> None:
    """Also of a model's mean that lies outside: it is cut, and the row says so."""
    estimates = [-2.0, -0.999, -1e-6, 0.0, 1e-6, 0.2, 0.5, 0.9, 0.9999, 1.0, 1.3]
    for estimate, se, df in product(estimates, [0.0, 1e-9, 1e-3, 0.1, 5.0], [0.6, 2.0, 11.0]):
        row = bounded(t_interval(estimate, se, df), bounds, at_bound=df + 1)
        limits = [row[c] for c in ("lower", "lower90", "estimate", "upper90", "upper")]
        assert (np.diff([max(bounds[0], -1e9), *limits, min(bounds[1], 1e9)]) >= 0).all(), (
            estimate,
            se,
            df,
        )
        assert (row["cut"] == "estimate") == (not bounds[0] <= estimate <= bounds[1])


def test_the_upper_end_mirrors_the_lower() -> None:
    """The interval of 1 - y is 1 minus that of y; of -y minus that of y."""
    row, other = (bounded(t_interval(v, 0.02, 4), SHARE, 200) for v in (0.96, 0.04))
    assert (other["lower"], other["upper90"]) == pytest.approx(
        (1 - row["upper"], 1 - row["lower90"])
    )
    above, below = (
        bounded(t_interval(2, 0.5, 4), POSITIVE),
        bounded(t_interval(-2, 0.5, 4), NEGATIVE),
    )
    assert (below["lower"], below["upper"]) == pytest.approx((-above["upper"], -above["lower"]))


def test_at_a_bound_without_variance_the_trials_count() -> None:
    """4 units, all right in each of 100 trials: the limit at the bound is 1, the other that of 400
    trials, and the row says so.
    """
    row = mean_interval([1.0] * 4, SHARE, trials=400)
    tail = stats.norm.cdf(-stats.t.ppf(0.975, 3))
    assert row["upper"] == 1
    assert row["lower"] == pytest.approx(stats.beta.ppf(tail, 400.5, 0.5))
    assert row["reason"].startswith("no variance: every unit lies at the bound 1;")


def test_without_known_trials_units_at_a_bound_count_once() -> None:
    """5 units at 0 of which nothing else is known: each is one trial."""
    assert mean_interval([0.0] * 5, SHARE)["n_effective"] == 5


def test_zeros_and_ones_vary_though_their_units_agree() -> None:
    """Three units with 9 of 10 right each: no variance between them, and an interval as of 30
    trials.
    """
    row = mean_interval([0.9] * 3, SHARE, trials=30)
    assert row["n_effective"] == 30
    assert row["lower"] < 0.8


def test_the_interval_and_the_test_agree() -> None:
    """One-sided p at the lower 95 % limit is 0.025, at the upper 90 % limit 0.95, of shares and of
    positive numbers.
    """
    for row in (
        bounded(t_interval(0.97, 0.02, 5), SHARE),
        bounded(t_interval(0.3, 0.2, 5), POSITIVE),
    ):
        mean = bounded_mean(row)
        assert mean is not None
        assert mean.one_sided(row["lower"]) == pytest.approx(0.025, abs=1e-9)
        assert mean.one_sided(row["upper90"]) == pytest.approx(0.95, abs=1e-9)
        assert (mean.one_sided(-0.1), mean.one_sided(np.inf)) == (0.0, 1.0)


def test_a_contrast_is_cut_and_says_where() -> None:
    """0.9 with a t interval to 1.2 can be 1 at most."""
    row = cut(t_interval(0.9, 0.1, 4), -1, 1)
    assert (row["upper"], row["cut"]) == (1.0, "upper")
    assert cut(t_interval(0.5, 0.1, 4), -1, 1)["cut"] == ""


def test_predictions_are_cut_row_by_row() -> None:
    """A row without limits stays without."""
    table = pd.DataFrame(
        {"estimate": [1.1, 0.5, 0.7], "lower": [0.8, 0.2, np.nan], "upper": [1.4, 0.8, np.nan]}
    )
    found = cut_rows(table, SHARE)
    assert list(found["cut"]) == ["estimate, upper", "", ""]
    assert found["upper"].isna().tolist() == [False, False, True]


def test_right_wrong_and_ties_are_trials() -> None:
    """0, 1/2 and 1 count; any other value does not."""
    assert trials_of([0, 1, 0.5, 1], SHARE) == 4
    assert trials_of([0, 1, 0.3], SHARE) == np.inf
    assert trials_of([0, 1], POSITIVE) == np.inf


@pytest.mark.parametrize(
    ("truth", "n_units"), [(0.5, 3), (0.9, 12), (0.99, 3), (0.99, 8), (0.999, 5), (1.0, 3)]
)
def test_coverage_with_few_units(truth: float, n_units: int) -> None:
    """300 tables of units (sd 0.5 logits) x 100 items: at least .93 less 3 Monte Carlo standard
    errors (Student's: .26 at .999).
    """
    event = coverage_of_a_share(truth, n_units)
    held = np.mean([event(np.random.default_rng([n_units, i])) for i in range(300)])
    assert held >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / 300)


def test_the_limit_far_from_the_near_bound_is_further_out_where_units_are_skewed() -> None:
    """8 units of mean .95 and s .02: c by hand from scipy's skewness of F; the limit near the bound
    and a pooled s have none.
    """
    row, df = t_interval(0.95, 0.02, 7), 7
    own, pooled = bounded(row, SHARE, own_se=True), bounded(row, SHARE)
    n = own["n_effective"]
    f = stats.beta(0.95 * n + 0.5, 0.05 * n + 0.5)
    c = 0.4 * (1 - 2 / 8) * float(f.stats("s")) * n / (n + 8)
    t = stats.t.ppf(0.975, df)
    assert own["stretch"] == pytest.approx(c)
    assert own["lower"] == pytest.approx(f.ppf(stats.norm.cdf(-t + c * t**2)))
    assert own["upper"] == pooled["upper"] == pytest.approx(f.ppf(stats.norm.cdf(t)))
    assert (pooled["stretch"], pooled["lower"]) == (0, pytest.approx(f.ppf(stats.norm.cdf(-t))))


@pytest.mark.parametrize("value", [0.96, 0.04])
def test_a_stretched_interval_and_its_test_agree(value: float) -> None:
    """One-sided p at each limit is that of the limit, on the side that is stretched and on the
    other.
    """
    row = bounded(t_interval(value, 0.02, 5), SHARE, 400, own_se=True)
    mean = bounded_mean(row)
    assert mean is not None
    assert mean.stretch * (value - 0.5) < 0
    found = [mean.one_sided(row[c]) for c in ("lower", "lower90", "upper90", "upper")]
    assert found == pytest.approx([0.025, 0.05, 0.95, 0.975], abs=1e-9)


def test_coverage_where_few_units_lie_far_from_the_bound() -> None:
    """300 tables of 12 units of sd 1.5 logits, mean .99: .93 less 3 Monte Carlo standard errors
    (without the stretch .85).
    """
    event = coverage_of_a_share(0.99, 12, 1.5)
    held = np.mean([event(np.random.default_rng([12, i])) for i in range(300)])
    assert held >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / 300)
