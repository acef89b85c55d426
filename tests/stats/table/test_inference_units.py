"""At which level an effect varies, and what that leaves of degrees of freedom."""

import numpy as np
import pandas as pd
import pytest

from transect.errors import InputError
from transect.stats.formula.notation import Design, Formula, parse
from transect.stats.table.inference_units import (
    ROW,
    Shared,
    inference_units,
    pseudoreplicated,
    refuse_pseudoreplication,
)
from transect.stats.table.table_model import fit_table


def _table() -> pd.DataFrame:
    """4 sizes x 3 seeds = 12 runs, in 2 families, by 10 items of two conditions."""
    run = np.repeat(np.arange(12), 10)
    return pd.DataFrame(
        {
            "y": np.random.default_rng(1).normal(size=120),
            "run": [f"r{i}" for i in run],
            "log_size": (run // 3).astype(float),
            "size": [f"s{i // 3}" for i in run],
            "family": [f"f{i // 6}" for i in run],
            "item": np.tile([f"i{i}" for i in range(10)], 12),
            "condition": np.tile(["a", "b"], 60),
        }
    )


def _shared(formula: Formula, design: Design, frame: pd.DataFrame) -> list[Shared]:
    x = design.matrix(frame)
    return pseudoreplicated(formula, design, frame, x, inference_units(formula, design, frame, x))


def _units(text: str) -> dict[str, tuple[str, int, float]]:
    formula, frame = parse(text), _table()
    design = Design(formula.fixed, frame)
    found = inference_units(formula, design, frame, design.matrix(frame))
    return {
        name: (u.unit, u.n_units, u.bound.df) for name, u in zip(design.names, found, strict=True)
    }


def test_a_property_of_runs_has_runs_as_units() -> None:
    """12 runs, intercept and slope: at most 10 df."""
    assert _units("y ~ log_size + (1 | run) + (1 | item)")["log_size"] == ("run", 12, 10)


def test_the_coarsest_grouping_is_the_unit() -> None:
    """With an effect of size, the slope on size has the 4 sizes as units: 2 df, however many seeds
    there are.
    """
    assert _units("y ~ log_size + (1 | run) + (1 | size)")["log_size"] == ("size", 4, 2)


def test_a_slope_makes_its_grouping_the_unit() -> None:
    """condition varies within runs and has a slope by run: 11 df."""
    assert _units("y ~ condition + (1 + condition | run)")["condition[b]"] == ("run", 12, 11)


def test_an_omitted_slope_is_said() -> None:
    """condition varies within runs; without a slope by run the row is its unit."""
    formula, frame = parse("y ~ condition + (1 | run)"), _table()
    design = Design(formula.fixed, frame)
    unit = inference_units(formula, design, frame, design.matrix(frame))[1]
    assert (unit.unit, unit.slopes_omitted) == (ROW, ("run",))


def test_a_run_level_effect_without_a_run_effect_is_refused() -> None:
    """The sentence names effect, column and remedy."""
    formula, frame = parse("y ~ log_size + (1 | item)"), _table()
    with pytest.raises(
        InputError, match=r"'log_size' does not vary within run \(12 levels\).*Add \(1 \| run\)"
    ):
        refuse_pseudoreplication(_shared(formula, Design(formula.fixed, frame), frame), len(frame))


def test_seeds_of_one_size_are_told_from_sizes() -> None:
    """With (1 | run) alone the 3 seeds of a size would count as independent: the coarser column is
    named.
    """
    formula, frame = parse("y ~ log_size + (1 | run) + (1 | item)"), _table()
    assert ("log_size", "size", 4, "run", False) in _shared(
        formula, Design(formula.fixed, frame), frame
    )


def test_names_of_cells_are_no_units() -> None:
    """run x item, within the run whose slope carries the condition: nothing to say, though
    conditions do not vary in them.
    """
    formula, frame = parse("y ~ condition + (1 + condition | run) + (1 | item)"), _table()
    frame = (
        pd.concat([frame, frame]).assign(cell=lambda f: f["run"] + f["item"]).reset_index(drop=True)
    )
    assert _shared(formula, Design(formula.fixed, frame), frame) == []


def test_a_label_of_the_effect_itself_is_no_unit() -> None:
    """A second name of the factor's own levels says nothing more than the factor."""
    formula, frame = (
        parse("y ~ family + (1 | run)"),
        _table().assign(label=lambda f: f["family"].str.upper()),
    )
    columns = [found[1] for found in _shared(formula, Design(formula.fixed, frame), frame)]
    assert "label" not in columns


def test_a_slope_covers_its_interactions_with_what_is_constant_in_the_unit() -> None:
    """log_size:condition has the 12 runs as units by the slope of condition: intercept and log_size
    cost 2 of its df.
    """
    found = _units("y ~ log_size*condition + (1 + condition | run)")
    assert found["log_size:condition[b]"] == ("run", 12, 10)
    assert found["condition[b]"] == ("run", 12, 10)


def test_indicators_of_all_levels_hold_the_intercept() -> None:
    """(0 + condition | run) is (1 + condition | run) in other words: the same units."""
    one, other = (_units(f"y ~ log_size*condition + ({x} + condition | run)") for x in ("0", "1"))
    assert one == other


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("y ~ condition + (1 | run)", "(1 + condition | run)"),
        ("y ~ condition + (1 | run:item)", ""),
        ("y ~ number + (1 | pair)", ""),
    ],
)
def test_an_omitted_slope_has_its_remedy(text: str, remedy: str) -> None:
    """Not in the formula, though it could be; not to be estimated; nothing omitted."""
    formula, frame = parse(text), _table()
    frame = frame.assign(pair=[f"p{i // 2}" for i in range(120)], number=np.arange(120) % 7)
    design = Design(formula.fixed, frame)
    unit = inference_units(formula, design, frame, design.matrix(frame))[1]
    assert "".join(unit.remedies) == remedy


def test_a_slope_by_item_does_not_stand_in_for_the_run() -> None:
    """log_size by item, and no run: 12 runs of 4 sizes would count as none. Refused; with one run
    per size, said.
    """
    formula, frame = parse("y ~ log_size + (1 + log_size | item)"), _table()
    design = Design(formula.fixed, frame)
    with pytest.raises(
        InputError, match=r"'log_size' does not vary within run .* the levels of item, its unit"
    ):
        refuse_pseudoreplication(_shared(formula, design, frame), len(frame))
    single = frame[frame["run"].isin(["r0", "r3", "r6", "r9"])].reset_index(drop=True)
    refuse_pseudoreplication(_shared(formula, design, single), len(single))
    assert ("log_size", "run", 4, "item", False) in _shared(formula, design, single)


def test_a_slope_of_many_columns_is_not_advised_where_it_would_be_saturated() -> None:
    """12 runs of 10 rows: a condition of 2 levels has room for a slope by run, one of 10 levels has
    none.
    """
    formula, frame = parse("y ~ item + (1 | run)"), _table()
    design = Design(formula.fixed, frame)
    unit = inference_units(formula, design, frame, design.matrix(frame))[1]
    assert unit.slopes_omitted == ("run",) and unit.remedies == ("",)


def test_seeds_of_one_size_leave_the_df_of_sizes() -> None:
    """12 runs of 4 sizes, a column that the formula leaves out: 4 - 2 df, named beside the effect;
    --allow-pseudoreplication has runs.
    """
    frame, formula = _table(), "y ~ log_size + (1 | run)"
    frame["y"] += np.repeat(np.random.default_rng(2).normal(size=12), 10)
    capped, allowed = (fit_table(frame, formula, allow_pseudoreplication=a) for a in (False, True))
    assert capped.effects.loc[1, ["unit", "n_units"]].tolist() == ["size", 4]
    assert capped.effects.loc[1, "df"] <= 2 < 5 < allowed.effects.loc[1, "df"]
    assert allowed.effects.loc[1, "unit"] == "run"
    assert any("add (1 | size)" in w for w in capped.warnings)
    bare = fit_table(frame.drop(columns="size"), formula)
    assert bare.effects.loc[1, "df"] == allowed.effects.loc[1, "df"]
