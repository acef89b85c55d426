"""Tests of the cross-check on unit means."""

import numpy as np
import pandas as pd
import pytest

from transect.stats.effects.attribution import attribute


def runs(n_items: int = 1, seed: int = 3) -> pd.DataFrame:
    """Twelve configurations of two runs: value = 1 [b] + configuration + run + item noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(12):
        level = (k % 2) * 1.0 + rng.normal(0, 0.5)
        for s in range(2):
            run = level + rng.normal(0, 0.2)
            rows += [
                {
                    "configuration": f"c{k}",
                    "run": f"c{k}s{s}",
                    "factor": "ab"[k % 2],
                    "item": f"i{i}",
                    "cond": "xy"[i % 2],
                    "value": run + rng.normal(),
                }
                for i in range(n_items)
            ]
    return pd.DataFrame(rows)


def test_equals_the_pooled_t_test_on_configurations() -> None:
    """Two groups of six means: scipy's t test."""
    from scipy import stats

    frame = runs()
    row = attribute(frame, ["factor"])["effects"].iloc[0]
    means = frame.groupby(["factor", "configuration"])["value"].mean()
    tested = stats.ttest_ind(means["b"], means["a"])
    assert row["ols_p"] == pytest.approx(tested.pvalue, abs=1e-10)
    assert (row["ols_lower"], row["ols_upper"]) == pytest.approx(
        tuple(tested.confidence_interval()), abs=1e-10
    )


def test_balanced_item_models_agree_with_their_cross_check() -> None:
    """Balanced: the mixed model's effect of a design factor is that of the means."""
    effects = attribute(runs(n_items=10), ["factor", "cond"], items=True)["effects"].set_index(
        "term"
    )
    row = effects.loc["factor[b - a]"]
    assert row["ols_estimate"] == pytest.approx(row["estimate"], abs=1e-8)
    assert row["ols_lower"] == pytest.approx(row["lower"], abs=1e-6)


def test_what_varies_within_runs_has_none() -> None:
    """A condition of the items has runs as units."""
    effects = attribute(runs(n_items=10), ["factor", "cond"], items=True)["effects"].set_index(
        "term"
    )
    assert np.isnan(effects.loc["cond[y - x]", "ols_estimate"])
