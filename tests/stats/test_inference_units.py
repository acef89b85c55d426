"""At which level an effect varies, and what that leaves of degrees of freedom."""

import numpy as np
import pandas as pd
import pytest

from transect.errors import InputError
from transect.stats.formula import Design, parse
from transect.stats.inference_units import inference_units, pseudoreplicated, refuse_pseudoreplication


def _table() -> pd.DataFrame:
    """4 sizes x 3 seeds = 12 runs, in 2 families, by 10 items of two conditions."""
    run = np.repeat(np.arange(12), 10)
    return pd.DataFrame({
        "y": np.random.default_rng(1).normal(size=120),
        "run": [f"r{i}" for i in run],
        "log_size": (run // 3).astype(float),
        "size": [f"s{i // 3}" for i in run],
        "family": [f"f{i // 6}" for i in run],
        "item": np.tile([f"i{i}" for i in range(10)], 12),
        "condition": np.tile(["a", "b"], 60),
    })  # fmt: skip


def _units(text: str) -> dict[str, tuple[str, int, float]]:
    formula, frame = parse(text), _table()
    design = Design(formula.fixed, frame)
    found = inference_units(formula, design, frame)
    return {name: (u.unit, u.n_units, u.max_df) for name, u in zip(design.names, found, strict=True)}


def test_a_property_of_runs_has_runs_as_units() -> None:
    """12 runs, intercept and slope: at most 10 df."""
    assert _units("y ~ log_size + (1 | run) + (1 | item)")["log_size"] == ("run", 12, 10)


def test_the_coarsest_grouping_is_the_unit() -> None:
    """With an effect of size, the slope on size has the 4 sizes as units: 2 df, however many seeds there are."""
    assert _units("y ~ log_size + (1 | run) + (1 | size)")["log_size"] == ("size", 4, 2)


def test_a_slope_makes_its_grouping_the_unit() -> None:
    """condition varies within runs and has a slope by run: 11 df."""
    assert _units("y ~ condition + (1 + condition | run)")["condition[b]"] == ("run", 12, 11)


def test_an_omitted_slope_is_said() -> None:
    """condition varies within runs; without a slope by run the row is its unit."""
    formula, frame = parse("y ~ condition + (1 | run)"), _table()
    unit = inference_units(formula, Design(formula.fixed, frame), frame)[1]
    assert (unit.unit, unit.slopes_omitted) == ("row", ("run",))


def test_a_run_level_effect_without_a_run_effect_is_refused() -> None:
    """The sentence names effect, column and remedy."""
    formula, frame = parse("y ~ log_size + (1 | item)"), _table()
    with pytest.raises(InputError, match=r"'log_size' does not vary within run \(12 levels\).*Add \(1 \| run\)"):
        refuse_pseudoreplication(formula, Design(formula.fixed, frame), frame)


def test_seeds_of_one_size_are_told_from_sizes() -> None:
    """With (1 | run) alone the 3 seeds of a size would count as independent: the coarser column is named."""
    formula, frame = parse("y ~ log_size + (1 | run) + (1 | item)"), _table()
    assert ("log_size", "size", 4, "run") in pseudoreplicated(formula, Design(formula.fixed, frame), frame)


def test_a_label_of_the_effect_itself_is_no_unit() -> None:
    """A second name of the factor's own levels says nothing more than the factor."""
    formula, frame = parse("y ~ family + (1 | run)"), _table().assign(label=lambda f: f["family"].str.upper())
    columns = [found[1] for found in pseudoreplicated(formula, Design(formula.fixed, frame), frame)]
    assert "label" not in columns
