"""The cross-check on unit means: the same quantity as the mixed model's, or none."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.stats.crossed_data import cbpp
from transect.stats.table.table_model import TableModel, fit_table

SLOPE, DIFFERENCE = 1.0, 2.0  # of size where cond is x; how much steeper it is where cond is y


def _planted(covariate: bool = False) -> pd.DataFrame:
    """30 runs of a size and an age each, 20 rows of two conditions in each; runs with large z have
    large sizes.
    """
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


def test_a_term_in_an_interaction_within_the_unit_is_taken_at_its_reference_level() -> None:
    """size at cond = x is 1, on the means 2: the runs' intercepts have it at x. age is 0.5 at both
    conditions, on the means too.
    """
    found = fit_table(_planted(), "y ~ size*cond + age + (1 | run)")
    assert found.effects.set_index("term").loc["size", "estimate"] == pytest.approx(SLOPE, abs=0.1)
    assert _rows(found)["by"].to_dict() == {"size": "intercepts", "age": "means"}
    assert _rows(found).loc[["size", "age"], "estimate"].to_list() == pytest.approx(
        [SLOPE, 0.5], abs=0.1
    )


def test_an_unbalanced_interaction_is_taken_at_its_reference_level_too() -> None:
    """With rows missing at random the means determine size at cond = x, but hardly: it is not read
    off them.
    """
    frame = _planted().sample(frac=0.8, random_state=1).reset_index(drop=True)
    found = _rows(fit_table(frame, "y ~ size*cond + age + (1 | run)"))
    assert found["by"].to_dict() == {"size": "intercepts", "age": "means"}
    assert found.loc["size", "estimate"] == pytest.approx(SLOPE, abs=0.1)


def test_a_centred_interaction_is_the_same_quantity() -> None:
    """With sum coding size is averaged over the conditions in both: 2, the estimates equal in
    balanced data.
    """
    found = fit_table(_planted(), "y ~ size*C(cond, sum) + (1 | run)")
    mixed = found.effects.set_index("term").loc["size"]
    assert _rows(found).loc["size", "estimate"] == pytest.approx(mixed["estimate"], rel=1e-6)
    assert mixed["estimate"] == pytest.approx(SLOPE + DIFFERENCE / 2, abs=0.1)


def test_a_covariate_within_the_unit_is_averaged() -> None:
    """z, whose means go with size, has the coefficient 3: without it size would be 1 + 2 * 3 = 7 on
    the means.
    """
    found = _rows(fit_table(_planted(covariate=True), "y ~ size + z + age + (1 | run)"))
    assert list(found.index) == ["size", "age"]
    assert abs(found.loc["size", "estimate"] - SLOPE) < 4 * found.loc["size", "se"]


def test_balanced_effects_between_units_are_the_mixed_model_s() -> None:
    """Estimates, se and df of size and age with a factor within the runs: equal to 1e-4."""
    frame = _planted().query("cond == 'x'").assign(half=lambda t: np.tile(["p", "q"], len(t) // 2))
    found = fit_table(frame.reset_index(drop=True), "y ~ size + age + half + (1 | run)")
    mixed = (
        found.effects.set_index("term").loc[["size", "age"], ["estimate", "se", "df"]].astype(float)
    )
    pd.testing.assert_frame_equal(
        _rows(found)[["estimate", "se", "df"]].astype(float), mixed, rtol=1e-4
    )


def _within(noise: float = 0.3) -> pd.DataFrame:
    """20 runs of a size with a slope each on t, the same 8 values of t in every run: 2 + 0.5 size
    on average.
    """
    rng = np.random.default_rng(6)
    run, t = (g.ravel() for g in np.meshgrid(np.arange(20), np.arange(8.0), indexing="ij"))
    size, own = rng.normal(size=20), rng.normal(0, 0.4, 20)
    y = rng.normal(size=20)[run] + (2 + 0.5 * size[run] + own[run]) * t + rng.normal(0, noise, 160)
    return pd.DataFrame({"y": y, "run": [f"r{r:02d}" for r in run], "t": t, "size": size[run]})


def test_a_balanced_slope_is_the_mean_of_the_runs_own_slopes() -> None:
    """The fixed slope, and its t and p those of the one-sample t test of the 20 least-squares
    slopes (scipy), to 1e-4.
    """
    frame = _within()
    slopes = [np.polyfit(part["t"], part["y"], 1)[0] for _, part in frame.groupby("run")]
    tested = stats.ttest_1samp(slopes, 0)
    model = fit_table(frame, "y ~ t + (1 + t | run)")
    effect = model.effects.set_index("term").loc["t"]
    assert effect["estimate"] == pytest.approx(np.mean(slopes), rel=1e-9)
    assert effect["estimate"] / effect["se"] == pytest.approx(tested.statistic, rel=1e-4)
    assert (effect["unit"], effect["df"]) == ("run", pytest.approx(19, rel=1e-4))
    assert effect["p"] == pytest.approx(tested.pvalue, rel=1e-3)
    row = _rows(model).loc["t"]
    assert (row["by"], row["n_units"], row["se"]) == (
        "slopes",
        20,
        pytest.approx(tested.statistic**-1 * np.mean(slopes)),
    )


def test_an_interaction_with_a_slope_is_the_regression_of_the_slopes() -> None:
    """size:t has the runs as units by the slope of t: estimate, se and df (18) as of the runs'
    slopes on size, to 1e-4.
    """
    model = fit_table(_within(), "y ~ size*t + (1 + t | run)")
    mixed = (
        model.effects.set_index("term")
        .loc[["size", "t", "size:t"], ["estimate", "se", "df"]]
        .astype(float)
    )
    assert _rows(model)["by"].to_dict() == {"size": "intercepts", "t": "slopes", "size:t": "slopes"}
    pd.testing.assert_frame_equal(
        _rows(model)[["estimate", "se", "df"]].astype(float), mixed, rtol=1e-4
    )


@pytest.mark.parametrize(("seed", "differs"), [(0, "verdict"), (8, "sign"), (1, "")])
def test_another_sign_or_verdict_is_flagged(seed: int, differs: str) -> None:
    """One of 9 runs has a hundred times the rows of each other: the mixed model weighs them, the
    means do not.
    """
    rng = np.random.default_rng(seed)
    run = np.concatenate([np.repeat(np.arange(8), 2), np.full(200, 8)])
    frame = pd.DataFrame({"run": [f"r{r}" for r in run], "size": np.linspace(-1, 1, 9)[run]})
    frame["y"] = rng.normal(0, 0.2, 9)[run] + 0.35 * frame["size"] + rng.normal(0, 1.5, len(frame))
    found = fit_table(frame, "y ~ size + (1 | run)")
    sides = found.effects.iloc[1], found.on_means.iloc[0]
    expected = {
        "sign": len({np.sign(row["estimate"]) for row in sides}) == 2,
        "verdict": len({bool(row["lower"] > 0 or row["upper"] < 0) for row in sides}) == 2,
    }
    assert (
        found.on_means["differs"].iloc[0]
        == differs
        == ", ".join(k for k, v in expected.items() if v)
    )
    assert any("cross-check: size" in w for w in found.warnings) == bool(differs)


def test_binomial_models_are_checked_on_shares() -> None:
    """The share of every herd, by its trials, on a property of herds: least squares of numpy on the
    15 shares.
    """
    frame = cbpp().assign(big=lambda t: pd.factorize(t["herd"])[0] % 2 + 0.5)
    found = fit_table(frame, "cbind(incidence, healthy) ~ big + (1 | herd)", family="binomial")
    herds = frame.groupby("herd").agg(
        incidence=("incidence", "sum"), size=("size", "sum"), big=("big", "first")
    )
    slope = np.polyfit(herds["big"], herds["incidence"] / herds["size"], 1)[0]
    assert _rows(found).loc["big", "estimate"] == pytest.approx(slope)


def test_columns_in_large_units_are_checked_alike() -> None:
    """size in 1e20ths: estimates and se 1e-20 times those of size."""
    frame = _planted().assign(operations=lambda t: 1e20 * t["size"])
    one, other = (
        _rows(fit_table(frame, f"y ~ {x} + age + (1 | run)")).iloc[0]
        for x in ("size", "operations")
    )
    assert [other["estimate"] * 1e20, other["se"] * 1e20] == pytest.approx(
        [one["estimate"], one["se"]], rel=1e-6
    )
