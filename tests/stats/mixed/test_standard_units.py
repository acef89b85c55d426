"""No number depends on the unit of a column or of the response: planted changes of units, and
lme4's sleepstudy.
"""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.stats.crossed_data import sleepstudy
from transect.stats.effects.grouped_prediction import predict_left_out
from transect.stats.inference.linear import least_squares, undetermined
from transect.stats.mixed.bootstrap import bootstrap_intervals
from transect.stats.mixed.gaussian import fit_formula
from transect.stats.mixed.profile import profile_intervals
from transect.stats.mixed.standard_units import StandardColumns, StandardResponse, lower_triangle
from transect.stats.table.comparison import compare
from transect.stats.table.influence import influence
from transect.stats.table.table_model import TableModel, fit_table

UNITS = [1e-9, 1e-5, 1e-4, 200.0, 2e4, 1e12]
CRITERIA = {"|": 1743.6282719584, "||": 1743.6692935813}  # of lme4 1.1-31, bobyqa, rhoend 1e-9
ERRORS = {"|": 1.5457889, "||": 1.5595659}
RANDOM = [
    "(x | item) + (1 | run)",
    "(x || item) + (x || run)",
    "(0 + x | item) + (1 | run)",
    "(x + z + w | item) + (1 | run)",
]


@pytest.mark.parametrize("k", UNITS)
@pytest.mark.parametrize("bar", ["|", "||"])
def test_a_slope_of_lme4s_data_is_the_same_in_every_unit(bar: str, k: float) -> None:
    """Criterion - 2 ln k to 1e-6 of lme4's, se x k to 1e-6 relative, df to 1e-4 of those of days; a
    Newton step gains nothing.
    """
    days = fit_formula(f"reaction ~ days + (days {bar} subject)", sleepstudy()).coefficients()
    found = fit_formula(
        f"reaction ~ x + (x {bar} subject)", sleepstudy().assign(x=lambda t: t["days"] * k)
    )
    table = found.coefficients()
    assert found.criterion - 2 * np.log(k) == pytest.approx(CRITERIA[bar], abs=1e-6)
    assert table["se"][1] * k == pytest.approx(ERRORS[bar], rel=1e-6)
    assert table["df"].to_numpy() == pytest.approx(days["df"].to_numpy(), rel=1e-4)
    assert found.left < 1e-9


@cache
def _crossed() -> pd.DataFrame:
    """40 items x 10 runs x 6 sizes; slopes of x vary by item (sd .225) and run (.066)."""
    rng = np.random.default_rng(5)
    item, run, size = (
        g.ravel() for g in np.meshgrid(np.arange(40), np.arange(10), np.arange(6), indexing="ij")
    )
    x = (size - 2.5) / 2
    slope = 0.3 + rng.normal(0, 0.225, 40)[item] + rng.normal(0, 0.066, 10)[run]
    y = (
        1
        + rng.normal(0, 0.5, 40)[item]
        + rng.normal(0, 0.3, 10)[run]
        + slope * x
        + rng.normal(0, 0.7, len(x))
    )
    w = rng.normal(size=len(x))
    return pd.DataFrame(
        {
            "y": y + 0.2 * w * rng.normal(0, 1, 40)[item],
            "hit": (y > 1).astype(int),
            "x": x,
            "z": rng.normal(size=len(x)),
            "w": w,
            "cond": np.where(rng.random(len(x)) < 0.5, "a", "b"),
            "item": [f"i{i}" for i in item],
            "run": [f"r{r}" for r in run],
        }
    )


@cache
def _fit(formula: str, family: str = "gaussian", reml: bool = True, **units: float) -> TableModel:
    frame = _crossed().assign(**{c: _crossed()[c] * k for c, k in units.items()})
    options: dict[str, Any] = {"family": family, "reml": reml}
    return fit_table(frame, formula, allow_pseudoreplication=True, **options)


def _equal(found: TableModel, usual: TableModel, factor: np.ndarray, rel: float = 1e-5) -> None:
    """Estimates and standard errors times `factor`, df, p and notes are those of the usual units."""
    for column in ("estimate", "se", "lower", "upper"):
        assert (found.effects[column] * factor).to_numpy() == pytest.approx(
            usual.effects[column].to_numpy(), rel=rel, abs=rel
        )
    for column in ("df", "p"):
        assert found.effects[column].to_numpy() == pytest.approx(
            usual.effects[column].to_numpy(), rel=10 * rel, abs=1e-12
        )
    assert found.warnings == usual.warnings


@pytest.mark.parametrize("k", [1e-9, 300.0, 1e12])
@pytest.mark.parametrize("random", RANDOM)
def test_a_crossed_table_is_the_same_in_every_unit(random: str, k: float) -> None:
    """REML criterion - 2 ln k to 1e-6; effects and intervals x k to 1e-5; df, p and notes those of
    k = 1.
    """
    found, usual = _fit(f"y ~ x + z + {random}", x=k), _fit(f"y ~ x + z + {random}")
    assert found.fit.criterion - 2 * np.log(k) == pytest.approx(usual.fit.criterion, abs=1e-6)
    _equal(found, usual, np.array([1, k, 1]))


@pytest.mark.parametrize("k", [1e-9, 1e12])
def test_two_predictors_their_interaction_and_a_transform_on_other_scales(k: float) -> None:
    """x in units of k, z of 1 / k^2: five columns scaled; ML's criterion is the same, REML's
    differs by 2 ln of all factors.
    """
    formula = "y ~ x * z + cond:x + poly(w, 2) + (x | item) + (1 | run)"
    for reml in (False, True):
        found, usual = _fit(formula, reml=reml, x=k, z=k**-2, w=k), _fit(formula, reml=reml)
        names = found.design.names
        factor = np.array([k ** (("x" in n.replace("cond", "")) - 2 * ("z" in n)) for n in names])
        more = 2 * np.log(factor).sum() if reml else 0.0
        assert found.fit.criterion - more == pytest.approx(usual.fit.criterion, abs=1e-5)
        _equal(found, usual, factor)


@pytest.mark.parametrize(
    "random, k", [("(x | item)", 1e-9), ("(x || item)", 1e12), ("(0 + x | item)", 1e12)]
)
def test_a_binomial_model_is_the_same_in_every_unit(random: str, k: float) -> None:
    """The criterion to 1e-6, effects and intervals x k to 1e-4, notes those of k = 1."""
    found, usual = (_fit(f"hit ~ x + {random}", "binomial", **units) for units in ({"x": k}, {}))
    assert found.fit.criterion == pytest.approx(usual.fit.criterion, abs=1e-6)
    _equal(found, usual, np.array([1, k]), rel=1e-4)


@pytest.mark.parametrize("scale, offset", [(1e-12, 0.0), (1.0, 1e11), (1e150, 0.0), (1e6, -1e9)])
def test_the_response_has_any_scale_and_offset(scale: float, offset: float) -> None:
    """y from 1e-12 to 1e150 and with an offset of 1e11: slopes, df, p and criterion - 2 (n - 2) ln
    scale to 1e-5 (the offset rounds y).
    """
    usual = _fit("y ~ x + (x | item) + (1 | run)")
    frame = _crossed().assign(y=offset + scale * _crossed()["y"])
    found = fit_table(frame, "y ~ x + (x | item) + (1 | run)", allow_pseudoreplication=True)
    rel = 1e-4 if offset else 1e-8
    for column in ("estimate", "se"):
        assert found.effects[column][1] / scale == pytest.approx(usual.effects[column][1], rel=rel)
    assert found.effects[["df"]].to_numpy() == pytest.approx(
        usual.effects[["df"]].to_numpy(), rel=1e-3
    )
    assert found.effects["p"][1] == pytest.approx(usual.effects["p"][1], rel=1e-3)
    assert found.fit.criterion - 2 * 2398 * np.log(scale) == pytest.approx(
        usual.fit.criterion, abs=0.01
    )
    assert found.fit.components["sd"].to_numpy() / scale == pytest.approx(
        usual.fit.components["sd"].to_numpy(), rel=rel
    )


def test_intervals_are_the_same_in_every_unit() -> None:
    """Profile (to 1e-4) and bootstrap (the same draws, 1e-6): of x times 1e9, the coefficient and
    the sd of its slope over 1e9.
    """
    days = sleepstudy()
    fits = [
        fit_formula("reaction ~ x + (x | subject)", days.assign(x=days["days"] * k))
        for k in (1.0, 1e9)
    ]
    for make, rel in ((profile_intervals, 1e-4), (lambda f: bootstrap_intervals(f, 6), 1e-6)):
        usual, found = (make(f).set_index("parameter") for f in fits)
        factor = np.array([1e9 if name in ("x", "sd subject x") else 1.0 for name in usual.index])
        for column in ("estimate", "lower", "upper"):
            assert found[column].to_numpy() * factor == pytest.approx(
                usual[column].to_numpy(), rel=rel
            )


def test_weights_have_no_unit() -> None:
    """Weights times 1e9: the same effects and variances of items; the residual variance, that of
    weight 1, is 1e9 times as large.
    """
    frame = _crossed().assign(weight=lambda t: 1 + (t["z"] > 0))
    small, large = (
        fit_table(
            frame.assign(weight=frame["weight"] * k),
            "y ~ x + (1 | item)",
            weights="weight",
            allow_pseudoreplication=True,
        )
        for k in (1, 1e9)
    )
    _equal(large, small, np.ones(2))
    assert large.fit.criterion == pytest.approx(small.fit.criterion, abs=1e-6)
    ratio = (
        large.fit.components["variance"].to_numpy() / small.fit.components["variance"].to_numpy()
    )
    assert ratio == pytest.approx([1, 1e9], rel=1e-6)


def test_an_offset_of_a_predictor_with_correlated_slopes_changes_nothing() -> None:
    """Years 2000 to 2009 for days 0 to 9: criterion to 1e-6, slope, se and df to 1e-5, no note."""
    found = fit_table(
        sleepstudy().assign(year=lambda t: 2000 + t["days"]), "reaction ~ year + (year | subject)"
    )
    assert found.fit.criterion == pytest.approx(CRITERIA["|"], abs=1e-6)
    assert found.effects["se"][1] == pytest.approx(ERRORS["|"], rel=1e-5)
    assert found.effects["df"][1] == pytest.approx(17, rel=1e-4)
    assert found.warnings == []


def test_standard_columns_are_orthogonal_and_make_the_given_ones() -> None:
    """standard' standard = n I and standard root = given to 1e-12, of columns on scales 1e-9 to
    1e12 and with an offset of 1e6.
    """
    rng = np.random.default_rng(1)
    given = np.column_stack(
        [
            np.ones(50),
            rng.normal(1e6, 1, 50),
            1e-9 * rng.normal(size=50),
            1e12 * rng.normal(size=50),
        ]
    )
    columns = StandardColumns.of(given)
    assert columns.standard.T @ columns.standard / 50 == pytest.approx(np.eye(4), abs=1e-12)
    assert (columns.standard @ columns.root / columns.spread) == pytest.approx(
        given / columns.spread, abs=1e-12
    )
    assert columns.rows(given) == pytest.approx(columns.standard, abs=1e-7)


def test_a_column_that_others_determine_becomes_nothing() -> None:
    """Twice a column, and a column of 0: standard columns of 0, the others as without them."""
    x = np.random.default_rng(2).normal(size=(20, 2))
    columns = StandardColumns.of(np.column_stack([x[:, 0], 2 * x[:, 0], np.zeros(20), x[:, 1]]))
    assert (columns.standard[:, 1:3] == 0).all()
    assert columns.standard[:, [0, 3]] == pytest.approx(StandardColumns.of(x).standard)


def test_the_response_is_what_least_squares_leaves() -> None:
    """Mean square 1, orthogonal to the columns (1e-9), and fitted + size * standard = y to
    rounding, with an offset of 1e11.
    """
    rng = np.random.default_rng(3)
    fixed = StandardColumns.of(np.column_stack([np.ones(30), rng.normal(size=30)]))
    y = 1e11 + rng.normal(size=30)
    found = StandardResponse.of(y, fixed)
    assert np.mean(found.standard**2) == pytest.approx(1)
    assert fixed.standard.T @ found.standard == pytest.approx(np.zeros(2), abs=1e-9)
    assert fixed.standard @ found.fitted + found.size * found.standard == pytest.approx(y, abs=5e-5)
    assert not found.exact and StandardResponse.of(fixed.given @ np.array([3.0, 2.0]), fixed).exact


def test_the_triangle_of_a_factor_has_its_covariance() -> None:
    """L L' = F F' with a diagonal that is not negative."""
    factor = np.random.default_rng(4).normal(size=(3, 3))
    lower = lower_triangle(factor)
    assert lower @ lower.T == pytest.approx(factor @ factor.T)
    assert (np.triu(lower, 1) == 0).all() and (np.diag(lower) >= 0).all()


@pytest.mark.parametrize("k", [1e-9, 1e14])
def test_tests_and_cross_checks_have_no_unit(k: float) -> None:
    """Another model beside it, single groups left out and held-out runs: x in units of k, the same
    statistics to 1e-5.
    """
    frame = _crossed()
    formula = "y ~ x + cond + (1 | item) + (1 | run)"
    found = []
    for table in (frame, frame.assign(x=frame["x"] * k)):
        model = fit_table(table, formula, allow_pseudoreplication=True)
        compared = compare(table, formula, "y ~ cond + (1 | item) + (1 | run)", n=2)
        left_out = influence(model, table, ["run"]).left_out["p"].to_numpy()
        predicted = [
            predict_left_out(table, f, "run").rows[["predicted", "sd", "df"]]
            for f in (formula, "y ~ x + cond")
        ]
        found.append(
            np.concatenate(
                [[compared["chi2"]], left_out, *(p.to_numpy().ravel() for p in predicted)]
            )
        )
    assert found[1] == pytest.approx(found[0], rel=1e-5)


@pytest.mark.parametrize("k", [1e-13, 1e13])
def test_least_squares_has_no_unit(k: float) -> None:
    """Estimates, se and what is undetermined, of x in units of k beside an intercept and a factor
    whose last two columns are one.
    """
    rng = np.random.default_rng(6)
    x = np.column_stack([np.ones(30), rng.normal(size=30), rng.integers(0, 2, 30)])
    x, y = np.column_stack([x, x[:, 2]]), rng.normal(size=30)
    scaled = x * [1, k, 1, 1]
    for variance in ("pooled", "hc2"):
        usual, found = (
            least_squares(y, m).contrast(np.array([0.0, 1, 0, 0]), variance) for m in (x, scaled)
        )
        for column, factor in (("estimate", k), ("se", k), ("df", 1.0), ("p", 1.0)):
            assert found[column] * factor == pytest.approx(usual[column], rel=1e-6)
    assert [undetermined(e, scaled).any() for e in np.eye(4)] == [False, False, True, True]
