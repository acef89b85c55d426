"""Intervals, tests and predictions of curves: planted truth and simulated error rates (seeded,
reduced counts).
"""

import numpy as np
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from transect.errors import InputError
from transect.stats.curves.forms import fit_curve
from transect.stats.curves.inference import (
    extrapolation_interval,
    leave_groups_out,
    parameter_intervals,
    simplest,
)


def _grouped(
    seed: int, n_groups: int = 12, sd: float = 0.05
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """8 rows of each run on a power law, each run shifted as a whole."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), 8)
    x = 10 ** rng.uniform(6, 11, len(groups))
    return (
        x,
        1.7 + 40 * x**-0.2 + rng.normal(0, sd, n_groups)[groups] + rng.normal(0, 0.01, len(x)),
        groups,
    )


def test_left_out_groups_give_wider_intervals_than_rows() -> None:
    """Runs of one size each, 20 items, shifts five times the noise: the interval of a is at least
    twice that by rows.
    """
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(15), 20)
    x = (10 ** rng.uniform(6, 11, 15))[groups]
    y = 1.7 + 40 * x**-0.2 + rng.normal(0, 0.05, 15)[groups] + rng.normal(0, 0.01, len(x))
    curve = fit_curve("power", x, y)
    by_group, by_row = (
        parameter_intervals(curve, x, y, g).set_index("parameter").loc["a"]
        for g in (groups, np.arange(len(y)))
    )
    assert by_group["upper"] - by_group["lower"] > 2 * (by_row["upper"] - by_row["lower"])


def test_a_balanced_line_has_the_t_interval_of_its_groups() -> None:
    """Groups that share their x: the slope is the mean of the groups' slopes, and its interval
    Student's (statsmodels).
    """
    rng = np.random.default_rng(2)
    x, groups = np.tile(10.0 ** np.arange(6, 11), 7), np.repeat(np.arange(7), 5)
    y = 0.1 * np.log10(x) * (1 + 0.3 * rng.normal(size=7)[groups]) + rng.normal(0, 0.02, 35)
    slopes = [np.polyfit(np.arange(6, 11), part, 1)[0] for part in y.reshape(7, 5)]
    row = (
        parameter_intervals(fit_curve("line", x, y), x, y, groups).set_index("parameter").loc["c1"]
    )
    assert row["estimate"] == pytest.approx(np.mean(slopes))
    assert (row["lower"], row["upper"]) == pytest.approx(
        DescrStatsW(slopes).tconfint_mean(), rel=1e-6
    )


def test_exponents_and_factors_of_a_loss_law_are_not_below_0() -> None:
    """A law whose data part the sizes hardly determine: intervals end at 0, not below."""
    rng = np.random.default_rng(3)
    x = np.column_stack([10 ** rng.uniform(8, 10, 30), 10 ** rng.uniform(10, 10.2, 30)])
    y = (1.7 + 400 * x[:, 0] ** -0.34) * np.exp(rng.normal(0, 0.02, 30))
    found = parameter_intervals(fit_curve("chinchilla", x, y), x, y, np.repeat(np.arange(6), 5))
    assert (found["lower"] >= 0).all() and (found["lower"] <= found["upper"]).all()


def test_intervals_need_three_groups() -> None:
    """A sentence with the number of groups."""
    x, y = 10.0 ** np.arange(4, 12), np.arange(8.0)
    with pytest.raises(InputError, match="at least 3 groups; there are 2"):
        parameter_intervals(fit_curve("line", x, y), x, y, np.repeat([0, 1], 4))


def test_prediction_of_left_out_groups_prefers_what_was_planted() -> None:
    """A logistic curve: the logistic form predicts groups that it did not see better than line and
    power law.
    """
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(8), 6)
    x = 10 ** rng.uniform(6, 11, len(groups))
    y = 0.25 + 0.6 / (1 + np.exp(-3 * (np.log10(x) - 8.5))) + rng.normal(0, 0.02, len(groups))
    found = leave_groups_out(["line", "power", "logistic"], x, y, groups)
    assert found["form"][0] == "logistic"
    assert found["r2"][0] > 0.95


def test_a_new_group_falls_into_the_extrapolation_interval() -> None:
    """40 data sets, each predicting a run of ten times the size: at least 85 % inside a nominal 95
    % interval.
    """
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


def test_the_simplest_form_within_one_standard_error_is_kept() -> None:
    """A line: kept against forms that predict its groups a little better by chance or not at all."""
    rng, groups = np.random.default_rng(3), np.repeat(np.arange(10), 6)
    x = 10 ** rng.uniform(6, 11, 60)
    y = 0.1 * np.log10(x) + rng.normal(0, 0.05, 10)[groups] + rng.normal(0, 0.03, 60)
    assert simplest(leave_groups_out(["line", "segmented", "logistic"], x, y, groups)) == "line"
