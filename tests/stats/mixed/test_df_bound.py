"""How many degrees of freedom the units of an effect leave it."""

import numpy as np
import pandas as pd
import pytest

from transect.stats.mixed.df_bound import Carrier, DfBound
from transect.stats.table.table_model import TableModel, fit_table

ITEMS = Carrier(frozenset({"item"}), 28.0)


def _model(spread_of_items: float, spread_of_slopes: float, formula: str) -> TableModel:
    """10 runs x 30 items, half of the items in each condition; planted standard deviations."""
    rng = np.random.default_rng(3)
    run, item = (g.ravel() for g in np.meshgrid(np.arange(10), np.arange(30), indexing="ij"))
    condition = item % 2
    y = (
        rng.normal(0, spread_of_items, 30)[item]
        + rng.normal(0, spread_of_slopes, 10)[run] * condition
    )
    y += rng.normal(0, 0.5, 10)[run] + rng.normal(size=300)
    labels = {"run": [f"r{r}" for r in run], "item": [f"i{i}" for i in item]}
    return fit_table(pd.DataFrame({"y": y, "condition": condition, **labels}), formula)


def test_each_part_of_the_variance_has_its_own_df() -> None:
    """By hand: V = 4, 3 of it from items: 16 / (9 / 28 + 1 / 9)."""
    assert DfBound(9, (ITEMS,)).of(4.0, {"item": 3.0, "run": 0.5}) == pytest.approx(
        16 / (9 / 28 + 1 / 9)
    )


def test_df_never_exceed_those_of_a_level_within_which_the_effect_is_constant() -> None:
    """Parts of equal size of 9 and 28 df would have 27.2 together; 20 at most."""
    assert DfBound(9, (ITEMS,), most=20).of(2.0, {"item": 1.0}) == pytest.approx(
        min(20, 4 / (1 / 28 + 1 / 9))
    )
    assert DfBound(9, (ITEMS,), most=20).of(1.0, {"item": 0.9}) == 20


def test_an_effect_of_one_unit_has_its_df_whatever_the_variances() -> None:
    """A variance of that unit that is estimated 0 does not free it."""
    assert DfBound(2).of(1.0, {"configuration": 0.0, "item": 1.0}) == 2


def test_the_parts_of_a_variance_are_those_of_balanced_data() -> None:
    """V of the difference between two halves of 30 items, a slope by run: items give 4 / 30 of
    their variance, slopes 1 / 10.
    """
    model = _model(1.0, 0.4, "y ~ condition + (1 | item) + (0 + condition | run) + (1 | run)")
    parts = model.fit.variance_parts(np.eye(2)[1:])  # type: ignore[union-attr]
    variances = model.fit.components.set_index(["group", "effect"])["variance"]
    assert parts["item"][0] == pytest.approx(4 / 30 * variances["item", "(Intercept)"], rel=1e-4)
    assert parts["run"][0] == pytest.approx(variances["run", "condition"] / 10, rel=1e-4)


def test_a_condition_of_items_is_tested_against_items_where_they_make_its_variance() -> None:
    """Between the runs' 9 and the items' 28 df; near 9 where the runs' slopes make it."""
    formula = "y ~ condition + (1 | item) + (1 + condition | run)"
    few, many = (_model(*spreads, formula).effects["df"][1] for spreads in ((0.3, 2.0), (2.0, 0.2)))
    assert few < 12 and 20 < many <= 28
