"""Influence of single levels: refits equal those from scratch, planted outliers are named, robust
effects are not.
"""

import numpy as np
import pandas as pd
import pytest

from tests.stats.crossed_data import cbpp, penicillin
from transect.errors import InputError
from transect.stats.table.influence import groupings, influence
from transect.stats.table.table_model import fit_table

FORMULA = "y ~ log_size + condition + (1 + condition | run) + (1 | item)"


def _table(seed: int = 1, slope: float = 0.8) -> pd.DataFrame:
    """12 runs of 4 families by 20 items of two conditions; condition adds 1, log_size `slope`."""
    rng = np.random.default_rng(seed)
    run, item = (g.ravel() for g in np.meshgrid(np.arange(12), np.arange(20), indexing="ij"))
    size = np.linspace(-1, 1, 12)[np.random.default_rng(0).permutation(12)]
    own, more = rng.normal(0, 0.2, 12), rng.normal(0, 0.1, 12)
    y = slope * size[run] + (1 + more[run]) * (item % 2) + own[run] + rng.normal(0, 0.5, 20)[item]
    return pd.DataFrame(
        {
            "y": y + rng.normal(0, 0.3, 240),
            "run": [f"r{r:02d}" for r in run],
            "family": [f"f{r % 4}" for r in run],
            "item": [f"i{i:02d}" for i in item],
            "condition": np.array(["a", "b"])[item % 2],
            "log_size": size[run],
        }
    )


def test_refits_equal_fits_from_scratch() -> None:
    """Every run and family: estimates, intervals and p of fit_table on the rows that are left, to
    the optimiser's precision.
    """
    frame = _table()
    found = influence(fit_table(frame, FORMULA), frame, ["run", "family"]).left_out
    assert len(found) == (12 + 4) * 3
    for (group, level), part in found.groupby(["group", "left_out"]):
        alone = fit_table(frame[frame[group] != level], FORMULA).effects
        columns = ["estimate", "lower", "upper", "p"]
        assert part[columns].to_numpy(float) == pytest.approx(
            alone[columns].to_numpy(float), rel=2e-3, abs=1e-6
        )


def test_solid_effects_are_not_fragile() -> None:
    """A slope of 0.8 with a run sd of 0.2, and a condition of 1: no flag, and the range of the
    refits holds the estimate.
    """
    frame = _table()
    terms = (
        influence(fit_table(frame, FORMULA), frame, ["run"])
        .terms.set_index("term")
        .loc[["log_size", "condition[b]"]]
    )
    assert not terms["fragile"].any() and (terms["reason"] == "").all()
    assert (terms["lowest"] < terms["estimate"]).all() and (
        terms["estimate"] < terms["highest"]
    ).all()


def test_an_effect_of_one_run_is_fragile_and_the_run_is_named() -> None:
    """No slope but for the largest run, which lies 6 above the others: sign or verdict hang on it."""
    frame = _table(slope=-0.15)
    largest = frame.loc[frame["log_size"].idxmax(), "run"]
    frame.loc[frame["run"] == largest, "y"] += 2
    found = influence(fit_table(frame, FORMULA), frame, ["run", "family"])
    term = found.terms.set_index("term").loc["log_size"]
    flips = found.left_out.query("term == 'log_size' and sign_flips")
    assert term["fragile"] and f"the sign flips without run {largest}" in term["reason"]
    assert largest in flips["left_out"].tolist()
    assert not found.terms.set_index("term").loc["condition[b]", "fragile"]


def test_a_verdict_that_changes_is_said() -> None:
    """An interval that just excludes 0 with 12 runs and includes it without some of them."""
    frame = _table(seed=5, slope=0.1)
    model = fit_table(frame, FORMULA)
    whole = model.effects.set_index("term").loc["log_size"]
    found = influence(model, frame, ["run"])
    part = found.left_out.query("term == 'log_size'")
    expected = ((part["lower"] > 0) | (part["upper"] < 0)) != (
        whole["lower"] > 0 or whole["upper"] < 0
    )
    assert part["verdict_changes"].tolist() == expected.tolist() and expected.any()
    assert (
        "the 95 % interval includes 0 without run r01, run r06, run r09 and 1 more"
        == found.terms.set_index("term").loc["log_size", "reason"]
    )


def test_an_effect_that_rests_on_one_level_is_fragile() -> None:
    """Only family f3 is 'sparse': without it the effect cannot be estimated, the others can."""
    frame = _table().assign(kind=lambda f: np.where(f["family"] == "f3", "sparse", "dense"))
    found = influence(
        fit_table(frame, "y ~ kind + log_size + (1 | run) + (1 | item)"), frame, ["family"]
    )
    terms = found.terms.set_index("term")
    assert "it cannot be estimated without family f3" in terms.loc["kind[sparse]", "reason"]
    lost = found.left_out.query("left_out == 'f3'").set_index("term")
    assert np.isnan(lost.loc["kind[sparse]", "estimate"]) and np.isfinite(
        lost.loc["log_size", "estimate"]
    )


def test_a_model_that_cannot_be_refitted_says_why() -> None:
    """Two families with a random effect each: without one there is nothing to vary over; no flag
    comes of that.
    """
    frame = _table().query("family in ['f0', 'f1']")
    found = influence(
        fit_table(frame, "y ~ condition + (1 | family) + (1 | item)"), frame, ["family"]
    )
    assert found.left_out["reason"].str.contains("family has one level left").all()
    assert not found.terms["fragile"].any()


def test_weights_and_missing_rows_are_those_of_the_model() -> None:
    """One row without a response; a weight per row: without plate p03 as fitted from scratch."""
    frame = penicillin().assign(w=np.random.default_rng(0).uniform(0.5, 2, 144))
    frame.loc[5, "diameter"] = np.nan
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    found = influence(
        fit_table(frame, formula, weights="w"), frame, ["plate"], weights="w"
    ).left_out
    alone = fit_table(frame[frame["plate"] != "p03"], formula, weights="w").effects.iloc[0]
    assert found.set_index("left_out").loc["p03", "estimate"] == pytest.approx(
        alone["estimate"], rel=1e-6
    )


def test_a_binomial_model_is_refitted_as_one() -> None:
    """Thirds of the herds of cbpp: estimates as from scratch to a hundredth of their standard
    error.
    """
    frame, formula = cbpp(), "cbind(incidence, healthy) ~ period + (1 | herd)"
    frame["third"] = pd.factorize(frame["herd"])[0] // 5
    found = influence(fit_table(frame, formula, family="binomial"), frame, ["third"]).left_out
    alone = fit_table(
        frame[frame["third"] != 2].drop(columns="third"), formula, family="binomial"
    ).effects
    difference = found.query("left_out == 2")["estimate"].to_numpy() - alone["estimate"].to_numpy()
    assert np.abs(difference / alone["se"].to_numpy()).max() < 1e-2


def test_wrong_columns_and_tables_are_explained() -> None:
    """A column that does not exist, one with one level, another table than the model's."""
    frame = _table()
    model = fit_table(frame, FORMULA)
    for given, groups, message in [
        (frame, ["famly"], "Did you mean 'family'"),
        (frame.assign(suite="s"), ["suite"], "'suite' has 1 level"),
        (frame.iloc[20:], ["run"], "not the one that the model was fitted to"),
    ]:
        with pytest.raises(InputError, match=message):
            influence(model, given, groups)


def test_all_is_every_grouping_of_few_levels_and_what_it_is_nested_in() -> None:
    """run, item and family (text, and of runs); not the predictor, not numbers, not the 240 rows'
    names; too many levels are named.
    """
    frame = _table().assign(
        kind="k", cell=[f"c{i}" for i in range(240)], size=lambda f: (10 * f["log_size"]).round()
    )
    assert groupings(fit_table(frame, FORMULA)) == (["run", "item", "family"], [])
    many = pd.concat(
        [frame.assign(item=frame["item"] + f"-{k}", y=frame["y"] + k) for k in range(4)]
    )
    assert groupings(fit_table(many, FORMULA)) == (["run", "family"], ["item"])
    assert groupings(fit_table(frame, "y ~ family + condition + (1 | run) + (1 | item)"))[0] == [
        "run",
        "item",
    ]
