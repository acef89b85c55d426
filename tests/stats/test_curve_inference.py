"""Intervals, tests and predictions of curves: planted truth and simulated error rates (seeded, reduced counts)."""

import numpy as np
import pytest

from transect.errors import InputError
from transect.stats.curve_inference import (
    bootstrap_parameters,
    break_test,
    breakpoint_interval,
    extrapolation_interval,
    leave_groups_out,
)
from transect.stats.curves import fit_curve


def _grouped(seed: int, n_groups: int = 12, sd: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """8 rows of each run on a power law, each run shifted as a whole."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), 8)
    x = 10 ** rng.uniform(6, 11, len(groups))
    return x, 1.7 + 40 * x**-0.2 + rng.normal(0, sd, n_groups)[groups] + rng.normal(0, 0.01, len(x)), groups


def test_resampled_groups_give_wider_intervals_than_rows() -> None:
    """Runs of one size each, 20 items, shifts five times the noise: the interval of a is at least twice that by rows."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(15), 20)
    x = (10 ** rng.uniform(6, 11, 15))[groups]
    y = 1.7 + 40 * x**-0.2 + rng.normal(0, 0.05, 15)[groups] + rng.normal(0, 0.01, len(x))
    curve = fit_curve("power", x, y)
    by_group, by_row = (
        bootstrap_parameters(curve, x, y, g, 200, seed=1).set_index("parameter").loc["a"]
        for g in (groups, np.arange(len(y)))
    )
    assert by_group["upper"] - by_group["lower"] > 2 * (by_row["upper"] - by_row["lower"])


@pytest.mark.slow
def test_the_interval_of_a_breakpoint_holds_it() -> None:
    """95 % nominal over 200 data sets of 40 points: between 91 and 99 %."""
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(200):
        x = 10 ** rng.uniform(6, 11, 40)
        z = np.log10(x)
        found = breakpoint_interval(x, 0.3 + 0.02 * z + 0.1 * np.maximum(0, z - 8.7) + rng.normal(0, 0.03, 40))
        hits += found["lower"] <= 8.7 <= found["upper"]
    assert 0.91 <= hits / 200 <= 0.99


@pytest.mark.slow
def test_a_line_is_rarely_called_broken() -> None:
    """Nominal 5 % over 400 lines: 2.5 to 7.5 %."""
    rng = np.random.default_rng(9)
    false = 0
    for i in range(400):
        x = 10 ** rng.uniform(6, 11, 30)
        false += break_test(x, 0.3 + 0.1 * np.log10(x) + rng.normal(0, 0.05, 30), 199, seed=i)["p"] <= 0.05
    assert 0.025 <= false / 400 <= 0.075


def test_a_break_is_found() -> None:
    """A change of slope of 0.3 per decade with noise of 0.03 has p at its floor."""
    rng = np.random.default_rng(4)
    x = 10 ** rng.uniform(6, 11, 40)
    z = np.log10(x)
    found = break_test(x, 0.3 + 0.3 * np.maximum(0, z - 8.7) + rng.normal(0, 0.03, 40), 199)
    assert found["p"] == pytest.approx(1 / 200)


def test_prediction_of_left_out_groups_prefers_what_was_planted() -> None:
    """A logistic curve: the logistic form predicts groups that it did not see better than line and power law."""
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(8), 6)
    x = 10 ** rng.uniform(6, 11, len(groups))
    y = 0.25 + 0.6 / (1 + np.exp(-3 * (np.log10(x) - 8.5))) + rng.normal(0, 0.02, len(groups))
    found = leave_groups_out(["line", "power", "logistic"], x, y, groups)
    assert found["form"][0] == "logistic"
    assert found["r2"][0] > 0.95


def test_a_new_group_falls_into_the_extrapolation_interval() -> None:
    """40 data sets, each predicting a run of ten times the size: at least 85 % inside a nominal 95 % interval."""
    inside = 0
    for seed in range(40):
        x, y, groups = _grouped(100 + seed)
        curve = fit_curve("power", x, y)
        rng = np.random.default_rng([3, seed])
        truth = 1.7 + 40 * 1e12**-0.2 + rng.normal(0, 0.05) + rng.normal(0, 0.01)
        row = extrapolation_interval(curve, x, y, groups, np.array([1e12]), 100, seed=seed).iloc[0]
        inside += row["lower"] <= truth <= row["upper"]
    assert inside >= 34


def test_two_groups_cannot_be_left_out() -> None:
    """A sentence with the number of groups."""
    with pytest.raises(InputError, match="there are 2"):
        leave_groups_out(["line"], np.arange(1.0, 9), np.arange(8.0), np.repeat([0, 1], 4))
