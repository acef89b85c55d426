"""What an omitted slope costs: lme4's standard errors, and a reduced simulation (`make simulations`
has 500 tables).
"""

import numpy as np
import pandas as pd
import pytest

from simulations.slope_cost import cost
from tests.stats.crossed_data import conditions, sleepstudy
from transect.stats.table.omitted_slopes import omitted_slopes
from transect.stats.table.table_model import fit_table


def test_the_ratio_is_that_of_lme4s_standard_errors() -> None:
    """sleepstudy with (Days || Subject) and with (1 | Subject): 1.5596 and 0.80423."""
    found = omitted_slopes(fit_table(sleepstudy(), "reaction ~ days + (1 | subject)")).iloc[0]
    assert found["remedy"] == "(1 + days | subject)"
    assert found["se_ratio"] == pytest.approx(1.5596 / 0.80423, rel=1e-3)


@pytest.mark.parametrize("k", [1e-9, 1e6])
def test_the_ratio_does_not_depend_on_units(k: float) -> None:
    """Days in other units."""
    frame = sleepstudy().assign(days=lambda t: t["days"] * k)
    found = omitted_slopes(fit_table(frame, "reaction ~ days + (1 | subject)"))
    assert found["se_ratio"][0] == pytest.approx(1.5596 / 0.80423, rel=1e-3)


def test_levels_with_too_few_rows_have_no_remedy() -> None:
    """Pairs of rows leave no room for a slope: no ratio, and nothing that would add one."""
    frame = sleepstudy().assign(pair=[f"p{i // 2}" for i in range(180)])
    found = omitted_slopes(
        fit_table(frame, "reaction ~ days + (1 | pair)", allow_pseudoreplication=True)
    ).iloc[0]
    assert found["remedy"] == "" and np.isnan(found["se_ratio"])


def test_nothing_is_omitted_where_the_formula_has_it() -> None:
    """A slope by subject."""
    assert omitted_slopes(fit_table(sleepstudy(), "reaction ~ days + (days | subject)")).empty


def test_of_a_category_the_largest_ratio_counts() -> None:
    """A condition that differs between models costs more by model than by item, within which it is
    constant.
    """
    found = omitted_slopes(
        fit_table(conditions(), "y ~ cond + log_params + (1 | model) + (1 | item)")
    )
    ratios = found.set_index(["term", "group"])["se_ratio"]
    assert ("cond", "item") not in ratios.index and ratios[("cond", "model")] > 1.05


def test_a_binomial_ratio_is_found() -> None:
    """Successes of a condition whose effect differs between 20 runs (SD 1.5 logits): well above 1."""
    rng = np.random.default_rng(5)
    run, x = np.repeat(np.arange(20), 40), np.tile([0, 1], 400)
    logit = rng.normal(0, 0.5, 20)[run] + x * rng.normal(0.2, 1.5, 20)[run]
    y = (rng.uniform(size=800) < 1 / (1 + np.exp(-logit))).astype(int)
    frame = pd.DataFrame({"y": y, "x": x, "run": [f"r{r}" for r in run]})
    found = omitted_slopes(fit_table(frame, "y ~ x + (1 | run)", family="binomial"))
    assert found["se_ratio"][0] > 1.4


@pytest.mark.slow
def test_the_ratio_tells_what_false_alarms_need() -> None:
    """60 tables: within 20 %, give or take three standard errors of both (0.09 and 0.06 relative)."""
    found = cost(60)
    assert found["told"] == pytest.approx(found["needed"], rel=0.2 + 3 * np.hypot(0.09, 0.06))
