"""Predictions of rows against lme4's predict and fitted, statsmodels' intervals, and planted
coverage.
"""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.special import expit

from tests.stats.crossed_data import cbpp, conditions, sleepstudy
from transect.errors import InputError
from transect.stats.table.table_model import fit_table
from transect.stats.table.table_prediction import predictions

FORMULA = "reaction ~ days + (days | subject)"
FITTED = [253.6636703, 273.3299282, 369.4814855]


def test_fitted_values_equal_lme4() -> None:
    """fitted(lmer(Reaction ~ Days + (Days | Subject)))[c(1, 2, 180)] and predict(re.form = NA): to
    1e-3.
    """
    frame = sleepstudy()
    found = predictions(fit_table(frame, FORMULA), frame)
    assert found[".fitted"][[0, 1, 179]].tolist() == pytest.approx(FITTED, abs=2e-3)
    assert found[".fixed"][[0, 9]].tolist() == pytest.approx(
        [251.405105, 251.405105 + 9 * 10.467286], abs=1e-4
    )
    assert (frame["reaction"] - found[".fitted"]).tolist() == pytest.approx(
        found[".residual"].tolist()
    )


def test_a_new_level_has_the_mean_and_a_wider_interval() -> None:
    """Of an unseen subject .fitted is .fixed, and the interval holds the spread of subjects."""
    model = fit_table(sleepstudy(), FORMULA)
    new = pd.DataFrame({"days": [5, 5], "subject": ["s00", "unseen"]})
    found = predictions(model, new)
    width = found[".upper"] - found[".lower"]
    assert (
        found[".fitted"][1] == pytest.approx(found[".fixed"][1]) and found[".residual"].isna().all()
    )
    assert width[1] > 1.5 * width[0]


@pytest.mark.parametrize(
    "formula",
    ["y ~ scale(x) + (1 | g)", "y ~ poly(x, 2) + (1 | g)", "y ~ log10(x) + (1 + log10(x) || g)"],
)
def test_a_row_is_predicted_alike_alone(formula: str) -> None:
    """Transforms keep the mean, spread and polynomials of the rows that were fitted."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.uniform(1, 9, 60), "g": [f"g{i % 6}" for i in range(60)]})
    frame["y"] = np.log(frame["x"]) + rng.normal(size=60) + rng.normal(size=6)[np.arange(60) % 6]
    model = fit_table(frame, formula)
    together, alone = predictions(model, frame), predictions(model, frame[7:8])
    assert alone.iloc[0].tolist() == pytest.approx(together.iloc[7].tolist())


def test_least_squares_has_the_interval_of_statsmodels() -> None:
    """obs_ci of get_prediction."""
    frame = sleepstudy()
    expected = smf.ols("reaction ~ days", frame).fit().get_prediction(frame).summary_frame()
    found = predictions(fit_table(frame, "reaction ~ days", allow_pseudoreplication=True), frame)
    assert found[".lower"].tolist() == pytest.approx(expected["obs_ci_lower"].tolist())
    assert found[".upper"].tolist() == pytest.approx(expected["obs_ci_upper"].tolist())


def test_binomial_predictions_are_probabilities() -> None:
    """Those of a known herd hold its effect; of another, the fixed effects' alone."""
    model = fit_table(
        cbpp(),
        "cbind(incidence, healthy) ~ period + (1 | herd)",
        family="binomial",
        allow_pseudoreplication=True,
    )
    found = predictions(model, cbpp())
    assert (
        found[".fixed"][0] == pytest.approx(expit(model.fit.beta[0]))
        and found[".fitted"].between(0, 1).all()
    )
    assert (
        found[".residual"][0] == pytest.approx(2 / 14 - found[".fitted"][0])
        and found[".lower"].isna().all()
    )
    new = predictions(model, pd.DataFrame({"period": ["1"], "herd": ["unseen"]}))
    assert new[".fitted"][0] == pytest.approx(found[".fixed"][0])


def test_rows_without_a_predictor_are_not_predicted() -> None:
    """NaN there; the others as before."""
    frame = sleepstudy()
    model = fit_table(frame, FORMULA)
    holed = predictions(model, frame.assign(days=frame["days"].where(frame.index != 3)))
    assert holed.iloc[3].isna().all() and holed[".fitted"][4] == pytest.approx(
        predictions(model, frame)[".fitted"][4]
    )


def test_intervals_hold_new_rows_of_new_groups() -> None:
    """60 tables of 12 groups x 6 rows, one new row of a new group each: 95 %, give or take three
    binomial standard errors.
    """
    held = 0
    for seed in range(60):
        rng = np.random.default_rng([2, seed])
        group = np.repeat(np.arange(13), 6)
        frame = pd.DataFrame({"x": rng.normal(size=78), "g": [f"g{g}" for g in group]})
        frame["y"] = 0.5 * frame["x"] + rng.normal(0, 1, 13)[group] + rng.normal(0, 0.7, 78)
        row = predictions(fit_table(frame[:72], "y ~ x + (1 | g)"), frame[72:73]).iloc[0]
        held += row[".lower"] <= frame["y"][72] <= row[".upper"]
    assert held / 60 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 60)


def test_what_the_model_has_not_seen_is_refused() -> None:
    """A level of a fixed effect, with the nearest; a column that is not there."""
    model = fit_table(conditions(), "y ~ arch + log_params + (1 | model) + (1 | item)")
    with pytest.raises(
        InputError,
        match=r"no effect of arch 'mo'; its levels are dense, moe, ssm\. Did you mean 'moe'",
    ):
        predictions(model, conditions().assign(arch="mo"))
    with pytest.raises(InputError, match="the rows to predict have no column 'item'"):
        predictions(model, conditions().drop(columns="item"))


@pytest.mark.parametrize(
    ("value", "said"), [("abc", "holds text, e.g. 'abc'"), (np.inf, "holds infinite values")]
)
@pytest.mark.parametrize("predictor", ["log_params", "scale(log_params)", "poly(log_params, 2)"])
def test_what_is_no_number_in_new_rows_is_refused(predictor: str, value: object, said: str) -> None:
    """Text or infinity where the model has numbers: the column is named."""
    model = fit_table(conditions(), f"y ~ {predictor} + (1 | model) + (1 | item)")
    with pytest.raises(InputError, match=f"'log_params' {said}"):
        predictions(model, conditions().head(3).assign(log_params=value))


def test_levels_are_the_same_where_new_rows_have_no_gap() -> None:
    """A grouping of numbers with a gap in the table (1.0, nan) and none in the new rows (1): the
    level's own effect is used.
    """
    table = conditions().assign(model=lambda t: pd.factorize(t["model"])[0].astype(float))
    table.loc[5, "model"] = np.nan
    new = table.drop(index=5).astype({"model": int}).head(4)
    model = fit_table(table, "y ~ cond + log_params + (1 | model) + (1 | item)")
    assert (
        predictions(model, new)[".fitted"].tolist()
        == predictions(model, table)[".fitted"].head(4).tolist()
    )


def test_a_level_of_rows_that_were_left_out_has_no_prediction() -> None:
    """Of the own table: the kind 'rare' has no response in any row; other rows are predicted, a new
    table with that level is refused.
    """
    frame = conditions().assign(kind=lambda t: np.where(t["item"] < "i00003", "rare", t["cond"]))
    frame.loc[frame["kind"] == "rare", "y"] = np.nan
    model = fit_table(frame, "y ~ kind + (1 | model) + (1 | item)")
    found = predictions(model, frame, own=True)
    assert found[".fitted"].notna().tolist() == (frame["kind"] != "rare").tolist()
    with pytest.raises(InputError, match="the model has no effect of kind 'rare'"):
        predictions(model, frame)
