"""Power against other programs' formulas and against what is realised in simulated studies."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from transect.stats.design.power import noncentrality, power, sd_interval, t_power, unit_sd
from transect.stats.inference import linear


def two_groups(n1: int, n2: int) -> np.ndarray:
    return np.column_stack([np.ones(n1 + n2), np.r_[np.zeros(n1), np.ones(n2)]])


@pytest.mark.parametrize(("n1", "n2", "d"), [(5, 5, 1.0), (3, 12, 0.8), (2, 2, 2.0), (40, 40, 0.5)])
def test_two_groups_as_statsmodels(n1: int, n2: int, d: float) -> None:
    """TTestIndPower of statsmodels, to 6 decimals (one-sided both ways: its two-sided power is NaN
    where a tail is small).
    """
    larger, smaller = (
        TTestIndPower().power(s * d, n1, 0.025, n2 / n1, alternative="larger") for s in (1, -1)
    )
    expected = larger + (0 if np.isnan(smaller) else smaller)
    assert power(two_groups(n1, n2), [0, 1], d, 1.0).power == pytest.approx(expected, abs=1e-6)


def test_a_slope_as_the_f_test() -> None:
    """A slope over 10 units: by integrating over the distribution of the estimated variance (no
    function of scipy's).
    """
    x = np.column_stack([np.ones(10), np.arange(10.0)])
    delta = 0.2 * np.sqrt(((x[:, 1] - 4.5) ** 2).sum())
    u = (np.arange(200_000) + 0.5) / 200_000
    bound = stats.t.ppf(0.975, 8) * np.sqrt(stats.chi2.ppf(u, 8) / 8)
    expected = np.mean(stats.norm.sf(bound - delta) + stats.norm.cdf(-bound - delta))
    assert power(x, [0, 1], 0.2, 1.0).power == pytest.approx(expected, abs=1e-5)


def test_the_detectable_effect_has_the_power_wanted() -> None:
    """At the detectable effect the power is 0.8; also with one degree of freedom, and with no
    effect it is alpha.
    """
    for n in (2, 3, 20):
        found = power(two_groups(n, n - 1), [0, 1], 1.0, 0.3)
        assert power(two_groups(n, n - 1), [0, 1], found.detectable, 0.3).power == pytest.approx(
            0.8, abs=1e-6
        )
    assert t_power(0.0, 7) == pytest.approx(0.05) and t_power(
        noncentrality(0.9, 1), 1
    ) == pytest.approx(0.9, abs=1e-6)


def test_no_degree_of_freedom_no_test() -> None:
    """One unit on each side: nothing to judge the error by."""
    found = power(two_groups(1, 1), [0, 1], 1.0, 1.0)
    assert found.df == 0 and np.isnan(found.power)


def test_an_aliased_contrast_has_no_power() -> None:
    """Two columns that are one: refused."""
    x = np.column_stack([two_groups(3, 3), two_groups(3, 3)[:, 1]])
    with pytest.raises(ValueError, match="aliased"):
        power(x, [0, 1, 0], 1.0, 1.0)
    with pytest.raises(ValueError, match="must be positive"):
        power(two_groups(3, 3), [0, 1], 1.0, 0.0)


def test_collinearity_costs_power() -> None:
    """A near alias of share s inflates the standard error by 1 / sqrt(1 - s)."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=50)
    x = np.column_stack([np.ones(50), z, z + 0.5 * rng.normal(size=50)])
    r = np.corrcoef(x[:, 1], x[:, 2])[0, 1]
    single = power(x[:, :2], [0, 1], 1.0, 1.0)
    assert power(x, [0, 1, 0], 1.0, 1.0).se == pytest.approx(single.se / np.sqrt(1 - r**2))


@pytest.mark.parametrize(
    ("n1", "n2", "seeds", "items", "effect"), [(4, 4, 3, 20, 0.9), (3, 8, 1, 10, 1.0)]
)
def test_planned_power_is_realised(n1: int, n2: int, seeds: int, items: int, effect: float) -> None:
    """Within 3 points of the share of 2,500 simulated studies (configurations, seeds, shared items)
    whose test is significant.
    """
    rng = np.random.default_rng(1)
    configuration, run, item = 0.25, 0.09, 1.0
    planned = power(
        two_groups(n1, n2),
        [0, 1],
        effect,
        unit_sd(configuration, run, item, runs=seeds, items=items),
    ).power
    x, n, hits = two_groups(n1, n2), n1 + n2, 0
    for _ in range(2500):
        y = (
            rng.normal(0, 0.5, (n, 1, 1))
            + rng.normal(0, 0.3, (n, seeds, 1))
            + rng.normal(0, 1, (n, seeds, items))
        )
        y += rng.normal(0, 2, items)  # items are shared: their effects cancel
        means = y.mean(axis=(1, 2)) + effect * x[:, 1]
        hits += linear.least_squares(means, x).contrast(np.array([0.0, 1.0]), "pooled")["p"] < 0.05
    assert abs(hits / 2500 - planned) < 0.03


def test_an_sd_from_few_units_is_uncertain() -> None:
    """95 % of intervals hold the true sd (10,000 samples of 6; 1 point)."""
    rng = np.random.default_rng(2)
    samples = pd.DataFrame(rng.normal(0, 2, (10_000, 6))).std(axis=1)
    covered = np.mean([low < 2 < high for low, high in (sd_interval(s, 5) for s in samples)])
    assert abs(covered - 0.95) < 0.01
