"""Tests of leaving out single runs, configurations, families and suites."""

import numpy as np
import pandas as pd
import pytest

from transect.stats.effects.attribution import attribute

GROUPS = ["run", "configuration", "family"]


def configurations(outlier: float = 0.0, effect: float = 1.0, n: int = 12) -> pd.DataFrame:
    """n configurations of one run, half of them b, in four families; `outlier` is added to the last
    one.
    """
    rng = np.random.default_rng(5)
    factor = np.tile(["a", "b"], n // 2)
    value = effect * (factor == "b") + rng.normal(0, 0.3, n)
    value[-1] += outlier
    names = [f"c{i:02d}" for i in range(n)]
    return pd.DataFrame(
        {
            "run": names,
            "configuration": names,
            "family": [f"f{i // 3}" for i in range(n)],
            "factor": factor,
            "value": value,
        }
    )


def test_each_refit_equals_the_model_without_those_rows() -> None:
    """Every removal of the table, fitted again from scratch."""
    frame = configurations()
    found = attribute(frame, ["factor"], influence=GROUPS)["influence"]
    assert found.groupby("group").size().to_dict() == {
        "run": 12,
        "family": 4,
    }  # configurations are these runs
    for row in found.itertuples():
        again = attribute(frame[frame[row.group] != row.left_out], ["factor"])["effects"].iloc[0]
        assert (row.estimate, row.lower, row.upper) == pytest.approx(
            tuple(again[["estimate", "lower", "upper"]]), abs=1e-10
        )


def test_a_strong_effect_is_not_fragile() -> None:
    """1 with sd 0.3 on 6 against 6: no removal changes anything, the range holds the estimate."""
    row = attribute(configurations(), ["factor"], influence=GROUPS)["effects"].iloc[0]
    assert (
        not row["fragile"]
        and row["flips"] == ""
        and row["lowest"] < row["estimate"] < row["highest"]
    )


def test_an_effect_that_rests_on_one_run_is_fragile() -> None:
    """No effect but one run of +4: its removal changes the sign or brings 0 into the interval, and
    is named.
    """
    row = attribute(configurations(outlier=4.0, effect=-0.2), ["factor"], influence=GROUPS)[
        "effects"
    ].iloc[0]
    assert row["fragile"] and "another sign without run c11" in row["flips"]


def test_an_effect_that_one_family_carries_cannot_be_estimated_without_it() -> None:
    """A level that only one family has: `flips` says that nothing is left."""
    frame = configurations().assign(factor=lambda t: np.where(t["family"] == "f0", "b", "a"))
    row = attribute(frame, ["factor"], influence=GROUPS)["effects"].iloc[0]
    assert row["fragile"] and "no estimate without family f0" in row["flips"]


def test_two_levels_are_not_left_out() -> None:
    """Without one of two suites one is left, which is another question."""
    frame = configurations().assign(suite=lambda t: np.where(t.index < 6, "s", "t"))
    assert attribute(frame, ["factor"], influence=["suite"])["influence"].empty


def test_item_models_are_refitted_too() -> None:
    """A mixed model over items without one configuration equals that fit alone, to the optimiser's
    1e-4.
    """
    rng = np.random.default_rng(2)
    items = pd.DataFrame({"item": [f"i{k}" for k in range(12)], "level": rng.normal(0, 1, 12)})
    frame = configurations(n=8).rename(columns={"value": "base"}).merge(items, how="cross")
    frame["value"] = frame["base"] + frame["level"] + rng.normal(0, 0.5, len(frame))
    frame = frame.drop(index=0)  # unbalanced: the mixed model is what answers
    found = attribute(frame, ["factor"], items=True, influence=["configuration"])[
        "influence"
    ].set_index("left_out")
    again = attribute(frame[frame["configuration"] != "c03"], ["factor"], items=True)[
        "effects"
    ].iloc[0]
    assert found.loc["c03", "estimate"] == pytest.approx(again["estimate"], abs=1e-4)
    assert found.loc["c03", "lower"] == pytest.approx(again["lower"], abs=1e-3)
