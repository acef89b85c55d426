"""Breaks of a slope: planted lines and breaks over few groups, scipy's t test, simulated rates
(seeded, reduced counts).
"""

import numpy as np
import pytest
from scipy import stats

from simulations.curve_rates import families
from transect.errors import InputError
from transect.stats.curves.breakpoints import break_test, breakpoint_interval

SIZES = [70000000, 221359436, 700000000, 2213594362, 7000000000]
LOSS = [
    [2.698, 2.469, 2.297, 2.083, 2.067],
    [2.707, 2.51, 2.439, 2.238, 2.243],
    [2.591, 2.44, 2.22, 2.171, 2.085],
]  # a line, family effects and noise: no break


def test_groups_of_one_design_give_the_t_test_of_their_bends() -> None:
    """scipy's one-sample t test of numpy's square coefficients of three families; far from 0.001,
    which a wild bootstrap gives.
    """
    bends = [np.polyfit(np.log10(SIZES), row, 2)[0] for row in LOSS]
    expected = stats.ttest_1samp(bends, 0)
    found = break_test(np.tile(SIZES, 3), np.ravel(LOSS), np.repeat(["a", "b", "c"], 5))
    assert (found["t"], found["p"]) == pytest.approx(
        (expected.statistic, expected.pvalue), rel=1e-6
    )
    assert found["p"] > 0.01 and found["df"] == 2


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("n_sizes", [5, 9])
@pytest.mark.parametrize("n_families", [3, 4, 5, 6, 8])
def test_lines_of_few_families_are_rarely_called_broken(
    n_families: int, n_sizes: int, falling: bool
) -> None:
    """300 lines at 0.05: 3.5 to 6.5 %, give or take three binomial standard errors (2,000 in
    docs/simulations.md).
    """
    rng = np.random.default_rng([17, n_families, n_sizes, falling])
    false = (
        sum(
            break_test(*families(rng, n_families, n_sizes, falling))["p"] <= 0.05
            for _ in range(300)
        )
        / 300
    )
    slack = 3 * np.sqrt(0.05 * 0.95 / 300)
    assert 0.035 - slack <= false <= 0.065 + slack


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("n_families", [3, 5])
def test_the_interval_holds_the_break_of_few_families(n_families: int, falling: bool) -> None:
    """200 breaks at 9.2 over 9 sizes: 93 to 97 %, give or take three binomial standard errors."""
    rng, held = np.random.default_rng([18, n_families, falling]), 0
    for _ in range(200):
        found = breakpoint_interval(*families(rng, n_families, 9, falling, 0.5))
        held += found["lower"] <= 9.2 <= found["upper"]
    slack = 3 * np.sqrt(0.05 * 0.95 / 200)
    assert 0.93 - slack <= held / 200 <= 0.97 + slack


def test_rows_without_groups_may_have_falling_noise() -> None:
    """300 lines of 40 rows, noise falling tenfold: at most 6.5 % and three binomial standard errors
    are called broken.
    """
    rng, false = np.random.default_rng(9), 0
    for _ in range(300):
        x = 10 ** rng.uniform(6, 11, 40)
        false += (
            break_test(x, 0.1 * np.log10(x) + rng.normal(size=40) * (x / 10**8.5) ** -0.2)["p"]
            <= 0.05
        )
    assert false / 300 <= 0.065 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_groups_with_slopes_of_their_own_are_no_break() -> None:
    """300 lines of 8 groups whose slopes and levels differ: at most 6.5 % and three binomial
    standard errors are called broken.
    """
    rng, groups, false = np.random.default_rng(8), np.repeat(np.arange(8), 8), 0
    for _ in range(300):
        z = rng.uniform(6, 11, 64)
        y = rng.normal(0, 1, 8)[groups] * z + rng.normal(0, 5, 8)[groups] + rng.normal(0, 0.03, 64)
        false += break_test(10**z, y, groups)["p"] <= 0.05
    assert false / 300 <= 0.065 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_a_break_is_found_without_groups() -> None:
    """A change of slope of 0.3 per decade at 8.7 with noise of 0.03."""
    rng = np.random.default_rng(4)
    z = rng.uniform(6, 11, 40)
    y = 0.3 + 0.3 * np.maximum(0, z - 8.7) + rng.normal(0, 0.03, 40)
    found = breakpoint_interval(10**z, y)
    assert break_test(10**z, y)["p"] < 0.001
    assert found["lower"] <= 8.7 <= found["upper"] and found["upper"] - found["lower"] < 1.5


def test_a_break_in_groups_is_found_at_its_place() -> None:
    """A change of slope of 0.2 per decade at 8.7 under shifts of 16 groups: p below 0.001, an
    interval around it.
    """
    rng, groups = np.random.default_rng(8), np.repeat(np.arange(16), 8)
    z = rng.uniform(6, 11, 128)
    y = 0.2 * np.maximum(0, z - 8.7) + rng.normal(0, 0.05, 16)[groups] + rng.normal(0, 0.03, 128)
    found = breakpoint_interval(10**z, y, groups)
    assert break_test(10**z, y, groups)["p"] < 0.001
    assert (
        found["lower"] <= found["psi"] <= found["upper"] and found["lower"] <= 8.7 <= found["upper"]
    )
    assert found["psi"] == pytest.approx(8.7, abs=0.3) and found["upper"] - found["lower"] < 2


def test_breaks_at_two_places_leave_no_interval() -> None:
    """Without noise to speak of, two breaks in every group: no single place stays."""
    z, groups = np.tile(np.linspace(7, 10, 13), 6), np.repeat(np.arange(6), 13)
    y = (
        np.maximum(0, z - 8)
        - np.maximum(0, z - 9)
        + np.random.default_rng(1).normal(0, 1e-4, len(z))
    )
    found = breakpoint_interval(10**z, y, groups)
    assert np.isnan([found["lower"], found["upper"]]).all()


@pytest.mark.parametrize(("y", "scale"), [(1e-9, 1.0), (1e9, 1.0), (1.0, 1e6)])
def test_units_change_nothing(y: float, scale: float) -> None:
    """t, p and the place follow the units of x and y."""
    x, values, groups = families(np.random.default_rng(2), 5, 9, False, 0.5)
    one, other = break_test(x, values, groups), break_test(x * scale, values * y, groups)
    assert (other["t"], other["p"]) == pytest.approx((one["t"], one["p"]), rel=1e-6)
    here, there = (
        breakpoint_interval(x, values, groups),
        breakpoint_interval(x * scale, values * y, groups),
    )
    assert [v - np.log10(scale) for v in there.values()] == pytest.approx(
        list(here.values()), abs=1e-9
    )


def test_too_few_groups_are_refused_with_the_number_that_would_do() -> None:
    """Four families, of which two have three sizes: at least 3 are needed, there are 2."""
    x = np.array([1, 10, 100, 1, 10, 100, 1, 10, 1e3, 1e4]) * 1e6
    with pytest.raises(
        InputError, match="at least 3 groups with three different x or more; there are 2"
    ):
        break_test(x, np.arange(10.0) ** 1.5, np.array(list("aaabbbccdd")))


def test_groups_with_the_same_values_are_refused() -> None:
    """No variance between groups: a sentence instead of a division by 0."""
    with pytest.raises(InputError, match="all groups bend alike"):
        break_test(np.tile(SIZES, 3), np.tile(LOSS[0], 3), np.repeat(["a", "b", "c"], 5))


def test_four_sizes_have_no_place_for_a_break() -> None:
    """A sentence with the number of values."""
    with pytest.raises(InputError, match="at least 5 different values of x; there are 4"):
        breakpoint_interval(
            np.tile(10.0 ** np.arange(6, 10), 4), np.arange(16.0), np.repeat(np.arange(4), 4)
        )
