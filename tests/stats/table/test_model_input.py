"""What is dropped, rounded, left out or refused before a model is fitted: planted tables, and
values of lme4's documentation.
"""

import re

import numpy as np
import pandas as pd
import pytest

from tests.stats.crossed_data import cbpp, conditions
from transect.errors import InputError
from transect.stats.formula.notation import parse
from transect.stats.table.marginal_means import marginal_means
from transect.stats.table.model_input import counts_of
from transect.stats.table.table_model import fit_table
from transect.stats.table.table_prediction import predictions
from transect.stats.table.term_tests import term_tests

BINOMIAL = "cbind(incidence, healthy) ~ period + (1 | herd)"


def _cells() -> pd.DataFrame:
    """cond x s by item, without a row of cond b at s3."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "cond": rng.choice(list("ab"), 300),
            "s": rng.choice(["s1", "s2", "s3"], 300),
            "item": rng.choice(list("ijklmnopqr"), 300),
        }
    )
    frame["y"] = (
        rng.normal(size=300)
        + (frame["cond"] == "b")
        + rng.normal(size=10)[pd.factorize(frame["item"])[0]]
    )
    frame = frame[(frame["cond"] == "a") | (frame["s"] != "s3")]
    return frame.assign(cell=frame["cond"] + frame["s"])


def test_an_interaction_with_an_empty_cell_is_the_model_of_its_cells() -> None:
    """cond*s with one empty cell and one factor of the five cells: the criterion by ML to 1e-8,
    means of cells and their se to 1e-8.
    """
    whole, cells = (
        fit_table(_cells(), f, reml=False, allow_pseudoreplication=True)
        for f in ("y ~ cond*s + (1 | item)", "y ~ cell + (1 | item)")
    )
    assert whole.fit.names == ["(Intercept)", "cond[b]", "s[s2]", "s[s3]", "cond[b]:s[s2]"]
    assert whole.fit.criterion == pytest.approx(cells.fit.criterion, abs=1e-8)
    found, expected = marginal_means(whole, ["cond:s"])[0], marginal_means(cells, ["cell"])[0]
    known = found["estimate"].notna().to_numpy()
    assert known.tolist() == [True] * 5 + [False]  # the last is cond[b], s[s3]
    for column in ("estimate", "se"):
        assert found.loc[known, column].to_numpy() == pytest.approx(
            expected[column].to_numpy(), rel=1e-8
        )


def test_the_column_of_an_empty_cell_is_named_and_what_needs_it_is_not_estimable() -> None:
    """A note names cond[b]:s[s3]; the mean of cond[b] and the main effect of cond are not
    estimable, cond[a] is.
    """
    model = fit_table(_cells(), "y ~ cond*s + (1 | item)", allow_pseudoreplication=True)
    assert any("cond[b]:s[s3]" in note and "not estimable" in note for note in model.warnings)
    means, differences = marginal_means(model, ["cond"])
    assert means["estimate"].notna().tolist() == [True, False]
    assert differences["estimate"].isna().all()


def test_a_cell_without_rows_is_not_predicted() -> None:
    """Fitted values of the rows equal those of the model of cells (1e-8); a row of the empty cell
    has none.
    """
    frame = _cells()
    whole, cells = (
        fit_table(frame, f, reml=False, allow_pseudoreplication=True)
        for f in ("y ~ cond*s + (1 | item)", "y ~ cell + (1 | item)")
    )
    found, expected = predictions(whole, frame), predictions(cells, frame)
    assert found.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-6, abs=1e-8)
    new = frame.iloc[:2].assign(cond=["b", "a"], s="s3")
    assert predictions(whole, new)[".fitted"].notna().tolist() == [False, True]


def test_terms_with_an_empty_cell_are_tested_as_far_as_the_rows_tell() -> None:
    """cond and s at the levels of the other are lost where a cell is; cond:s has one degree of
    freedom, the F of its only contrast (t^2).
    """
    model = fit_table(_cells(), "y ~ cond*s + (1 | item)", allow_pseudoreplication=True)
    tests = term_tests(model).set_index("term")
    last = model.effects.iloc[-1]
    assert tests.loc["cond:s", "num_df"] == 1
    assert tests.loc["cond:s", "F"] == pytest.approx((last["estimate"] / last["se"]) ** 2, rel=1e-8)
    assert tests.loc["cond", "num_df"] == 0
    assert tests.loc["s", "num_df"] == 1  # s1 against s2


def test_a_factor_that_another_determines_is_still_refused() -> None:
    """A main effect, and an interaction that is lost wholly, can be left out of the formula: no
    column is dropped in silence.
    """
    frame = _cells().assign(other=lambda t: t["cond"].map({"a": "p", "b": "q"}))
    for formula in ("y ~ cond + other + (1 | item)", "y ~ cond + s + cond:other + (1 | item)"):
        with pytest.raises(InputError, match="is aliased"):
            fit_table(frame, formula, allow_pseudoreplication=True)


def test_near_collinearity_is_named() -> None:
    """z = 2 x + 1 but for 1e-9: the sentence names both; with 1e-3 both are fitted."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"x": rng.normal(size=100), "g": np.arange(100) % 10, "y": rng.normal(size=100)}
    )
    noise = rng.normal(size=100)
    with pytest.raises(InputError, match="'z' is nearly collinear with x"):
        fit_table(frame.assign(z=2 * frame["x"] + 1 + 1e-9 * noise), "y ~ x + z + (1 | g)")
    assert (
        len(
            fit_table(
                frame.assign(z=2 * frame["x"] + 1 + 1e-3 * noise), "y ~ x + z + (1 | g)"
            ).effects
        )
        == 3
    )


def test_an_effect_of_every_row_of_a_binomial_model_is_fitted() -> None:
    """lme4's manual, cbpp with (1 | obs): -1.5003, -1.2265, -1.3288, -1.8662; variances .794 and
    .0339; the rows stay the rows.
    """
    frame = cbpp().assign(obs=[f"o{i}" for i in range(56)])
    model = fit_table(frame, BINOMIAL + " + (1 | obs)", family="binomial")
    assert model.effects["estimate"].to_numpy() == pytest.approx(
        [-1.5003, -1.2265, -1.3288, -1.8662], abs=5e-4
    )
    assert model.fit.components["variance"].to_numpy() == pytest.approx([0.794, 0.0339], abs=5e-4)
    assert model.effects["by_rows"].tolist() == [False, True, True, True]


def test_an_effect_of_every_row_needs_several_trials() -> None:
    """0 and 1 by row, and a gaussian response: its variance cannot be told."""
    frame = cbpp().assign(
        obs=[f"o{i}" for i in range(56)], hit=lambda t: (t["incidence"] > 0).astype(int)
    )
    with pytest.raises(InputError, match="as many levels as there are rows"):
        fit_table(frame, "hit ~ period + (1 | obs)", family="binomial")
    with pytest.raises(InputError, match="as many levels as there are rows"):
        fit_table(frame, "incidence ~ period + (1 | obs)")


def test_rows_without_a_trial_are_left_out_and_said() -> None:
    """Two more rows of 0 of 0 change no number; the note counts them."""
    frame = cbpp()
    empty = frame.iloc[:2].assign(incidence=0, healthy=0)
    usual = fit_table(frame, BINOMIAL, family="binomial")
    found = fit_table(pd.concat([empty, frame], ignore_index=True), BINOMIAL, family="binomial")
    assert found.effects["estimate"].to_numpy() == pytest.approx(
        usual.effects["estimate"].to_numpy(), rel=1e-6
    )
    assert found.fit.n == 56
    assert any("2 rows with no trial" in note for note in found.warnings)


def test_rows_of_weight_0_are_left_out_and_said() -> None:
    """As without these rows; a table of nothing else is refused."""
    frame = _cells().assign(weight=1.0)
    frame.loc[frame.index[:7], "weight"] = 0.0
    found = fit_table(frame, "y ~ s + (1 | item)", weights="weight", allow_pseudoreplication=True)
    usual = fit_table(frame.iloc[7:], "y ~ s + (1 | item)", allow_pseudoreplication=True)
    assert found.effects["se"].to_numpy() == pytest.approx(usual.effects["se"].to_numpy(), rel=1e-6)
    assert any("7 rows with a weight of 0" in note for note in found.warnings)
    with pytest.raises(InputError, match="every row has a weight of 0"):
        fit_table(frame.assign(weight=0.0), "y ~ s + (1 | item)", weights="weight")


def test_a_rounded_proportion_is_the_whole_number_that_it_can_only_be() -> None:
    """1/3 as 0.33 of 3 is 1, said; 0.333 of 3001 may be several and is refused; 0.5 of 3 is no
    proportion of whole trials.
    """
    frame = pd.DataFrame({"share": [0.33, 0.67, 1.0, 0.0], "n": [3, 3, 2, 4]})
    found = counts_of(parse("share ~ 1"), frame, "n")
    assert found.successes.tolist() == [1, 2, 2, 0]
    assert "2 proportions" in found.notes[0] and "0.33 of 3" in found.notes[0]
    for share, n in ((0.333, 3001), (0.5, 3)):
        with pytest.raises(InputError, match="nor a proportion of whole trials"):
            counts_of(parse("share ~ 1"), pd.DataFrame({"share": [share, 0.25], "n": [n, 4]}), "n")


def test_a_column_called_as_a_transform_does_not_stand_in_for_it() -> None:
    """log10(p) is computed from p, beside a column of that name, which backticks reach; a note says
    so.
    """
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "p": rng.uniform(1, 1e4, 60),
            "log10(p)": rng.normal(size=60),
            "g": np.arange(60) % 6,
            "y": rng.normal(size=60),
        }
    )
    found = fit_table(frame, "y ~ log10(p) + (1 | g)")
    expected = fit_table(frame.assign(q=np.log10(frame["p"])), "y ~ q + (1 | g)")
    other = fit_table(frame.rename(columns={"log10(p)": "q"}), "y ~ q + (1 | g)")
    assert found.effects["estimate"][1] == pytest.approx(expected.effects["estimate"][1])
    assert fit_table(frame, "y ~ `log10(p)` + (1 | g)").effects["estimate"][1] == pytest.approx(
        other.effects["estimate"][1]
    )
    assert any("computed from p" in note for note in found.warnings)


PLOTS = [
    *(-0.12, 0.94, 0.63, 0.61, 1.51, -1.31, -0.74, -1.43),
    *(0.14, 1.25, 0.23, 0.74, -1.66, 0.39, -0.66, 2.02),
    *(0.65, 0.71, -0.29, 0.38, 0.42, -0.58, -0.73, -0.35),
    *(0.01, 0.03, 0.34, -0.11, 1.39, -0.98, 1.44, -0.01),
    *(-0.47, -1.27, -0.06, -0.17, 0.27, -0.45, 0.17, 1.9),
    *(0.76, -0.22, 1.3, 0.22, 0.95, 0.96, -0.04, -1.58),
]


@pytest.mark.parametrize(
    "name",
    ["plot", "row", "residual", "unit", "all", "group", "self", "index", "Residual", "sigma"],
)
def test_no_name_of_a_column_has_a_meaning(name: str) -> None:
    """lmerTest's 0.2787, se 0.2545, df 4, p 0.3349 of six plots, whatever the grouping is called;
    its unit are its six levels.
    """
    frame = pd.DataFrame(
        {"y": PLOTS, "t": np.repeat([0, 1, 0, 1, 0, 1], 8), name: np.repeat(list("abcdef"), 8)}
    )
    row = fit_table(frame, f"y ~ t + (1 | {name})").effects.iloc[1]
    assert row[["estimate", "se", "df", "p"]].to_numpy(float) == pytest.approx(
        [0.2787, 0.2545, 4, 0.3349], abs=5e-5
    )
    assert (row["unit"], row["n_units"], row["by_rows"]) == (name, 6, False)


def test_a_message_names_a_few_of_many_columns() -> None:
    """Numbers that are read as text give a level for each row: four are named, the rest counted."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "y": rng.normal(size=40),
            "x": [f"{v:.3f}ms" for v in rng.normal(size=40)],
            "a": ["u", "v"] * 20,
        }
    )
    frame = pd.concat([frame, frame]).assign(g=list("pqrs") * 20)
    with pytest.raises(
        InputError, match=r"determined by x\[[^,]*(, x\[[^,]*){3} and \d+ more"
    ) as error:
        fit_table(frame, "y ~ x + a + (1 | g)", allow_pseudoreplication=True)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(("offset", "kept"), [(1.7e9, True), (1.7e12, False)])
def test_numbers_far_from_0_keep_their_effect_or_are_named(offset: float, kept: bool) -> None:
    """Seconds since 1970: the slope, se and criterion of the same numbers near 0 (1e-6); with too
    few digits left the column is named.
    """
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": rng.normal(size=80), "g": list("pqrstuvw") * 10}).assign(
        y=lambda t: t["x"] + rng.normal(size=80)
    )
    near, far = frame, frame.assign(x=frame["x"] + offset)
    if not kept:
        with pytest.raises(InputError, match=r"'x' varies by only \de-13 of its size"):
            fit_table(far, "y ~ x + (1 | g)")
        return
    one, other = (fit_table(t, "y ~ x + (1 | g)") for t in (near, far))
    assert other.fit.criterion == pytest.approx(one.fit.criterion, abs=1e-5)
    assert other.effects.loc[1, ["estimate", "se"]].tolist() == pytest.approx(
        one.effects.loc[1, ["estimate", "se"]].tolist(), rel=1e-6
    )


def test_a_response_of_whole_groups_is_named() -> None:
    """log10(size) by run: nothing is left within the runs, which is said instead of a search that
    fails.
    """
    frame = pd.DataFrame(
        {
            "size": [1.0, 10.0, 1000.0, 50.0] * 8,
            "run": list("pqrs") * 8,
            "x": np.random.default_rng(1).normal(size=32),
        }
    )
    with pytest.raises(
        InputError, match=r"'log10\(size\)' is the same in all rows of each level of run"
    ):
        fit_table(frame, "log10(size) ~ x + (1 | run)")


def test_parts_of_trials_are_said() -> None:
    """cbind of 1.5 successes: fitted as lme4 does, with a note (R: non-integer counts)."""
    table = cbpp().assign(incidence=lambda t: t["incidence"] + 0.5)
    model = fit_table(
        table, "cbind(incidence, healthy) ~ 1 + (1 | herd)", family="binomial", method="nAGQ=0"
    )
    assert any(
        f"{len(table)} rows of cbind" in note and "parts of a trial" in note
        for note in model.warnings
    )


@pytest.mark.parametrize("fixed", ["arch + k", "0 + k", "k:arch", "arch + (0 + k | item)"])
def test_a_category_of_one_level_is_refused(fixed: str) -> None:
    """As in R (contrasts can be applied only to factors with 2 or more levels); its level is named."""
    frame = conditions().assign(k="only")
    with pytest.raises(InputError, match=r"'k'.* has one level in these rows \(only\)"):
        fit_table(frame, f"y ~ {fixed} + (1 | model)", allow_pseudoreplication=True)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"y": 1e-200}, "the response 'y' has no value beyond 1e-152; take another unit"),
        ({"y": 1e200}, "the response 'y' has values beyond 1e"),
        ({"log_params": 1e-150}, "'log_params' has no value beyond 1e-60; take another unit"),
        ({"w": 1e-200}, "the weights 'w' lie between"),
        ({"w": 1e200}, "the weights 'w' lie between"),
    ],
)
@pytest.mark.parametrize("random", ["", " + (1 | model)"])
def test_numbers_whose_squares_are_none_are_refused(
    changed: dict[str, float], sentence: str, random: str
) -> None:
    """A size that no variance can be told of: by column, with and without random terms."""
    frame = conditions().assign(w=1.5)
    frame = frame.assign(**{c: frame[c] * size for c, size in changed.items()})
    with pytest.raises(InputError, match=re.escape(sentence)):
        fit_table(frame, f"y ~ log_params{random}", weights="w", allow_pseudoreplication=True)


def test_an_interaction_of_a_number_far_from_0_is_refused_with_what_helps() -> None:
    """log_params + 1e8 in an interaction: scale() tells them apart, and is fitted."""
    frame = conditions().assign(far=lambda t: t["log_params"] + 1e8)
    with pytest.raises(InputError, match=r"or write scale\(far\) for far, which is far from 0"):
        fit_table(frame, "y ~ far*cond + (1 | model) + (1 | item)")
    assert len(fit_table(frame, "y ~ scale(far)*cond + (1 | model) + (1 | item)").fit.beta) == 4
