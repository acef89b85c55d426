"""The cross-check on unit means: the same quantity as the mixed model's, or none."""

import numpy as np
import pandas as pd
import pytest

from tests.stats.crossed_data import cbpp
from transect.stats.table_model import TableModel, fit_table

SLOPE, DIFFERENCE = 1.0, 2.0  # of size where cond is x; how much steeper it is where cond is y


def _planted(covariate: bool = False) -> pd.DataFrame:
    """30 runs of a size and an age each, 20 rows of two conditions in each; runs with large z have large sizes."""
    rng = np.random.default_rng(3)
    run = np.repeat(np.arange(30), 20)
    frame = pd.DataFrame({"run": [f"r{i}" for i in run], "cond": np.tile(["x", "y"], 300)})
    frame["size"], frame["age"] = rng.normal(size=30)[run], rng.normal(size=30)[run]
    frame["z"] = rng.normal(size=600) + (2 * frame["size"] if covariate else 0)
    slope = SLOPE + DIFFERENCE * (frame["cond"] == "y") * (not covariate)
    shift = rng.normal(0, 0.1, 30)[run] + rng.normal(0, 0.1, 600)
    frame["y"] = slope * frame["size"] + 0.5 * frame["age"] + 3.0 * frame["z"] * covariate + shift
    return frame


def _rows(model: TableModel) -> pd.DataFrame:
    return model.on_means.set_index("term")


def test_a_term_in_an_interaction_within_the_unit_is_left_out() -> None:
    """size at cond = x is 1, on the means 2: no row for it. age, 0.5 at both conditions, keeps its row."""
    found = fit_table(_planted(), "y ~ size*cond + age + (1 | run)")
    assert found.effects.set_index("term").loc["size", "estimate"] == pytest.approx(SLOPE, abs=0.1)
    assert list(_rows(found).index) == ["age"]
    assert _rows(found).loc["age", "estimate"] == pytest.approx(0.5, abs=0.1)


def test_an_unbalanced_interaction_is_left_out_too() -> None:
    """With rows missing at random the means determine size at cond = x, but hardly."""
    frame = _planted().sample(frac=0.8, random_state=1).reset_index(drop=True)
    assert list(_rows(fit_table(frame, "y ~ size*cond + age + (1 | run)")).index) == ["age"]


def test_a_centred_interaction_is_the_same_quantity() -> None:
    """With sum coding size is averaged over the conditions in both: 2, the estimates equal in balanced data."""
    found = fit_table(_planted(), "y ~ size*C(cond, sum) + (1 | run)")
    mixed = found.effects.set_index("term").loc["size"]
    assert _rows(found).loc["size", "estimate"] == pytest.approx(mixed["estimate"], rel=1e-6)
    assert mixed["estimate"] == pytest.approx(SLOPE + DIFFERENCE / 2, abs=0.1)


def test_a_covariate_within_the_unit_is_averaged() -> None:
    """z, whose means go with size, has the coefficient 3: without it size would be 1 + 2 * 3 = 7 on the means."""
    found = _rows(fit_table(_planted(covariate=True), "y ~ size + z + age + (1 | run)"))
    assert list(found.index) == ["size", "age"]
    assert abs(found.loc["size", "estimate"] - SLOPE) < 4 * found.loc["size", "se"]


def test_balanced_effects_between_units_are_the_mixed_model_s() -> None:
    """Estimates, se and df of size and age with a factor within the runs: equal to 1e-4."""
    frame = _planted().query("cond == 'x'").assign(half=lambda t: np.tile(["p", "q"], len(t) // 2))
    found = fit_table(frame.reset_index(drop=True), "y ~ size + age + half + (1 | run)")
    mixed = found.effects.set_index("term").loc[["size", "age"], ["estimate", "se", "df"]].astype(float)
    pd.testing.assert_frame_equal(_rows(found)[["estimate", "se", "df"]].astype(float), mixed, rtol=1e-4)


def test_binomial_models_have_no_row_on_another_scale() -> None:
    """Means of shares are no logits."""
    frame = cbpp().assign(big=lambda t: pd.factorize(t["herd"])[0] % 2 + 0.5)
    found = fit_table(frame, "cbind(incidence, healthy) ~ big + (1 | herd)", family="binomial")
    assert found.on_means.empty
