"""Means of units x items tables."""

import numpy as np
import pandas as pd
import pytest

from transect.stats.inference.crossed_mean import crossed_mean
from transect.stats.mixed.gaussian import fit_formula


def _sample(rng: np.random.Generator, n=6, k=20, sd=(0.3, 0.5, 1.0), mean=0.0) -> pd.DataFrame:
    y = (
        mean
        + rng.normal(0, sd[0], n)[:, None]
        + rng.normal(0, sd[1], k)
        + rng.normal(0, sd[2], (n, k))
    )
    return pd.DataFrame(
        {"run": np.repeat(np.arange(n), k), "item": np.tile(np.arange(k), n), "value": y.ravel()}
    )


def test_one_stratum_equals_the_crossed_mixed_model() -> None:
    """Standard error and Satterthwaite df of the intercept of y ~ 1 + (1 | run) + (1 | item), REML."""
    frame = _sample(np.random.default_rng(0), n=12, k=40).astype({"run": str, "item": str})
    row, model = (
        crossed_mean(frame, "run"),
        fit_formula("value ~ 1 + (1 | run) + (1 | item)", frame).coefficients().iloc[0],
    )
    assert [row["estimate"], row["se"]] == pytest.approx([model["estimate"], model["se"]], rel=1e-4)
    assert row["df"] == pytest.approx(min(model["df"], row["n_units"] - 1), rel=0.02)


def test_intervals_hold_the_population_mean() -> None:
    """95 +- 3 % of 500 samples with new runs and new items each."""
    rng = np.random.default_rng(1)
    rows = [crossed_mean(_sample(rng), "run") for _ in range(500)]
    assert np.mean([r["lower"] <= 0 <= r["upper"] for r in rows]) == pytest.approx(0.95, abs=0.03)


def test_halves_count_equally_whatever_their_size() -> None:
    """Three singular items at 1 and one plural at 0: balanced 0.5, not 0.75."""
    frame = pd.DataFrame(
        [
            {"run": r, "item": i, "half": h, "value": v}
            for r in range(3)
            for i, h, v in ((0, "s", 1.0), (1, "s", 1.0), (2, "s", 1.0), (3, "p", 0.0))
        ]
    )
    assert crossed_mean(frame, "run", "half")["estimate"] == pytest.approx(0.5)


def test_weights_make_a_difference_of_sets() -> None:
    """A planted difference of 2 between sets."""
    a, b = (
        _sample(np.random.default_rng(s), mean=m).assign(set=name)
        for s, m, name in ((2, 3.0, "a"), (3, 1.0, "b"))
    )
    row = crossed_mean(
        pd.concat([a, b.assign(item=b["item"] + 100)]), "run", "set", {"a": 1.0, "b": -1.0}
    )
    assert row["lower"] < 2 < row["upper"]


def test_two_units_have_no_interval() -> None:
    """The mean is given, the interval is not."""
    row = crossed_mean(_sample(np.random.default_rng(4), n=2), "run")
    assert np.isfinite(row["estimate"]) and np.isnan(row["lower"])


def test_without_variance_an_item_counts_once() -> None:
    """Three runs that are right in all of 40 items: as 40 trials, since an item that is easy for
    one run is for all.
    """
    frame = _sample(np.random.default_rng(5), n=3, k=40).assign(value=1.0)
    row = crossed_mean(frame, "run", bounds=(0.0, 1.0))
    assert (row["n_effective"], row["upper"]) == (40, 1)


def test_a_difference_of_shares_is_cut_at_1() -> None:
    """Sets of accuracies near 1 and near 0: at most 1 apart."""
    rng = np.random.default_rng(6)
    a, b = (_sample(rng, n=3, k=4).assign(set=name) for name in "ab")
    both = pd.concat(
        [a.assign(value=1.0), b.assign(value=[1.0, *[0.0] * 11], item=b["item"] + 100)]
    )
    row = crossed_mean(both, "run", "set", {"a": 1.0, "b": -1.0}, (0.0, 1.0))
    assert (row["upper"], row["cut"]) == (1.0, "upper")
    assert "cut" not in crossed_mean(both, "run", "set", {"a": 1.0, "b": -1.0})
