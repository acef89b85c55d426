"""Mixed models against lme4, statsmodels and what can be computed by hand."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from tests.stats.crossed_data import penicillin, simulate, sleepstudy
from transect.errors import InputError
from transect.stats.formula.notation import Random
from transect.stats.mixed.gaussian import fit, fit_formula, grouping
from transect.stats.table.table_model import fit_table

FIXED = "y ~ log_params + arch + log_tokens"
# formula, models, items -> lme4: REML criterion, beta, standard errors, sigma (see crossed_data.py)
LME4 = {
    "intercepts": (
        "(1 | model) + (1 | item) + (1 | family)",
        12,
        40,
        1014.74031960662,
        [
            0.739837532011615,
            0.40560156907841,
            -0.13774961514977,
            -0.457254340476123,
            0.239869337224152,
        ],
        [
            0.259083528570342,
            0.132382915345211,
            0.402684373112972,
            0.357271210121758,
            0.179038264029451,
        ],
        0.602768565644708,
    ),
    "slopes": (
        "(1 | model) + (1 + log_params | item) + (1 | family)",
        12,
        40,
        1002.7043453809,
        [
            0.739837292513889,
            0.405601347862748,
            -0.137749310977436,
            -0.457253912177584,
            0.239869384074954,
        ],
        [
            0.259216527197865,
            0.135254880248319,
            0.402684308519513,
            0.35727118775405,
            0.179038256436238,
        ],
        0.574671483846969,
    ),
    "the boundary trap": (
        "(1 | model) + (1 + log_params | item) + (1 | family)",
        30,
        200,
        11989.5315192387,
        [
            0.500650575327656,
            0.334726365842646,
            0.175237316350989,
            -0.164344703632736,
            0.189073149353159,
        ],
        [
            0.154426082828738,
            0.0568628663422732,
            0.131561734109381,
            0.13692775191425,
            0.0665256068447894,
        ],
        0.601513332211075,
    ),
}


@pytest.mark.parametrize("name", LME4)
def test_crossed_models_agree_with_lme4(name: str) -> None:
    """Criterion to 1e-6, coefficients to 1e-5, standard errors to 1e-5 relative. A descent that
    stops at theta = 0 misses the last by 84.
    """
    random, n_models, n_items, criterion, beta, se, sigma = LME4[name]
    found = fit_formula(f"{FIXED} + {random}", simulate(n_models, n_items))
    table = found.coefficients()
    assert found.criterion == pytest.approx(criterion, abs=1e-6)
    assert table["estimate"].to_numpy() == pytest.approx(beta, rel=1e-5)
    assert table["se"].to_numpy() == pytest.approx(se, rel=1e-5)
    assert found.sigma == pytest.approx(sigma, rel=1e-5)


@pytest.mark.parametrize(
    ("reml", "criterion", "se", "df"),
    [
        (True, 330.860588991086, 0.808573360598727, 5.4871),
        (False, 332.188348668501, 0.744595860597782, None),
    ],
)
def test_penicillin_agrees_with_lme4_and_lmertest(
    reml: bool, criterion: float, se: float, df: float | None
) -> None:
    """Two crossed factors; Satterthwaite df of lmerTest to 1e-3."""
    found = fit_formula("diameter ~ 1 + (1 | plate) + (1 | sample)", penicillin(), reml)
    row = found.coefficients().iloc[0]
    assert found.criterion == pytest.approx(criterion, abs=1e-6)
    assert row["estimate"] == pytest.approx(22.9722222222, abs=1e-8)
    assert row["se"] == pytest.approx(se, rel=1e-5)
    assert df is None or row["df"] == pytest.approx(df, abs=1e-3)


def test_one_factor_agrees_with_statsmodels() -> None:
    """Another program's REML: log likelihood, coefficients and variances of correlated slopes."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(25), 8)
    x = rng.normal(size=200)
    own = rng.multivariate_normal([0, 0], [[1.0, 0.4], [0.4, 0.6]], 25)[group]
    frame = pd.DataFrame(
        {
            "y": 2 + 0.7 * x + own[:, 0] + own[:, 1] * x + rng.normal(0, 0.8, 200),
            "x": x,
            "g": group.astype(str),
        }
    )
    found = fit_formula("y ~ x + (1 + x | g)", frame)
    other = smf.mixedlm("y ~ x", frame, groups="g", re_formula="~x").fit(method="lbfgs")
    assert -found.criterion / 2 == pytest.approx(other.llf, abs=1e-5)
    assert found.beta == pytest.approx(other.fe_params.to_numpy(), abs=1e-5)
    assert found.components["variance"].iloc[:2].to_numpy() == pytest.approx(
        np.diag(other.cov_re), rel=2e-3
    )


def test_balanced_crossed_model_equals_least_squares_on_model_means() -> None:
    """Slope, standard error and df of a model-level predictor: items cancel, models are the units."""
    rng = np.random.default_rng(5)
    x, model = rng.normal(size=14), rng.normal(0, 0.5, 14)
    item = rng.normal(0, 1, 60)
    y = 1 + 0.3 * x[:, None] + model[:, None] + item + rng.normal(0, 0.7, (14, 60))
    frame = pd.DataFrame(
        {
            "y": y.ravel(),
            "x": np.repeat(x, 60),
            "model": np.repeat([f"m{k:02d}" for k in range(14)], 60),
            "item": [f"i{k}" for k in range(60)] * 14,
        }
    )
    row = fit_formula("y ~ x + (1 | model) + (1 | item)", frame).coefficients().iloc[1]
    means = smf.ols("y ~ x", frame.groupby("model")[["y", "x"]].mean()).fit()
    assert row["estimate"] == pytest.approx(means.params["x"], abs=1e-8)
    assert row["se"] == pytest.approx(means.bse["x"], rel=1e-5)
    assert row["df"] == pytest.approx(12, abs=1e-2)


def test_balanced_reml_equals_analysis_of_variance() -> None:
    """Penicillin: REML variances equal (MS - MS_rest) / n."""
    table = penicillin().pivot(index="plate", columns="sample", values="diameter").to_numpy()
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    ms_rest = np.sum(rest**2) / (23 * 5)
    plate, sample = (
        (6 * table.mean(axis=1).var(ddof=1) - ms_rest) / 6,
        (24 * table.mean(axis=0).var(ddof=1) - ms_rest) / 24,
    )
    variance = fit_formula(
        "diameter ~ 1 + (1 | plate) + (1 | sample)", penicillin()
    ).components.set_index("group")["variance"]
    assert variance[["plate", "sample", "residual"]].to_numpy() == pytest.approx(
        [plate, sample, ms_rest], rel=1e-4
    )


def test_a_variance_of_zero_is_found() -> None:
    """Groups that differ less than their noise: the estimate is 0 and the fit equals least squares."""
    y = np.array([1.0, 3.0, 2.0, 1.9, 3.1, 1.0, 2.9, 2.2, 0.9])
    frame = pd.DataFrame({"y": y, "g": list("aaabbbccc")})
    found = fit_formula("y ~ 1 + (1 | g)", frame)
    assert found.components["variance"].iloc[0] == pytest.approx(0, abs=1e-8)
    assert found.coefficients()["se"].iloc[0] == pytest.approx(y.std(ddof=1) / 3, rel=1e-6)


def test_a_refit_from_nearby_agrees() -> None:
    """The short descent of the jackknife reaches the same variances to 1e-3."""
    frame = simulate(12, 40)
    terms = [grouping(Random(((),), (g,)), frame) for g in ("model", "item")]
    y, x = frame["y"].to_numpy(), np.ones((len(frame), 1))
    whole = fit(y, x, ["1"], terms)
    again = fit(y, x, ["1"], terms, near=whole)
    assert again.components["variance"].to_numpy() == pytest.approx(
        whole.components["variance"].to_numpy(), rel=1e-3
    )


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("y ~ x", "no random term"),
        ("y ~ x + z + (1 | g)", "not independent"),
        ("z ~ x + (1 | g)", "exactly"),
    ],
)
def test_what_cannot_be_fitted_is_said(formula: str, message: str) -> None:
    """No random term, collinear columns, nothing left to explain."""
    frame = pd.DataFrame(
        {
            "y": [1.0, 2.0, 4.0, 3.0],
            "x": [0.0, 1.0, 2.0, 3.0],
            "z": [1.0, 3.0, 5.0, 7.0],
            "g": list("aabb"),
        }
    )
    with pytest.raises(InputError, match=message):
        fit_formula(formula, frame)


@pytest.mark.parametrize("seed", range(8))
def test_a_small_variance_is_not_taken_for_none(seed):
    """14 runs x 200 items, SD of runs 0.06 of the residual's: no relative SD on a grid has a
    smaller criterion (within 1e-6).
    """
    rng = np.random.default_rng(seed)
    run, item = (g.ravel() for g in np.meshgrid(np.arange(14), np.arange(200), indexing="ij"))
    y = rng.normal(0, 0.06, 14)[run] + rng.normal(0, 4, 200)[item] + rng.normal(size=len(run))
    fitted = fit_formula(
        "y ~ 1 + (1 | item) + (1 | run)",
        pd.DataFrame({"y": y, "run": run.astype(str), "item": item.astype(str)}),
    )
    at = fitted.theta.copy()
    small = int(np.argmin(at))
    for value in (0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15):
        at[small] = value
        assert fitted.deviance(fitted.theta) <= fitted.deviance(at) + 1e-6


def test_a_category_without_correlations_has_a_variance_for_each_column() -> None:
    """(f || g) is (1 | g) + (0 + b | g) + (0 + c | g) of f's dummies (afex's expand_re): criterion
    1e-8, variances 1e-6; a note says so.
    """
    rng = np.random.default_rng(3)
    g, f = (v.ravel() for v in np.meshgrid(np.arange(12), np.arange(3), indexing="ij"))
    g, f = np.repeat(g, 6), np.repeat(f, 6)
    y = rng.normal(size=12)[g] + rng.normal(size=(12, 3))[g, f] + rng.normal(size=len(g))
    frame = pd.DataFrame(
        {"y": y, "f": np.array(list("abc"))[f], "b": f == 1, "c": f == 2, "g": [f"g{i}" for i in g]}
    )
    frame[["b", "c"]] = frame[["b", "c"]].astype(int)
    found = fit_table(frame, "y ~ f + (f || g)")
    expected = fit_formula("y ~ f + (1 | g) + (0 + b | g) + (0 + c | g)", frame)
    assert found.fit.criterion == pytest.approx(expected.criterion, abs=1e-8)
    assert found.fit.components["variance"].to_numpy() == pytest.approx(
        expected.components["variance"].to_numpy(), rel=1e-6
    )
    assert found.fit.components["effect"].tolist() == ["(Intercept)", "f[b]", "f[c]", ""]
    assert any("lme4 correlates" in note for note in found.warnings)


WEIGHTS = {
    "one of 1e6": (lambda i: np.where(i == 37, 1e6, 1.0), 1785.380938, [251.6281358, 10.28142686]),
    "one of 1e10": (lambda i: np.where(i == 37, 1e10, 1.0), 1785.38094, [251.6286, 10.28141]),
    "every other 1e8": (
        lambda i: np.where(i % 2, 1e8, 1.0),
        3299.995559,
        [253.0042291, 10.42347528],
    ),
    "one of 1e-12": (
        lambda i: np.where(i == 7, 1e-12, 1.0),
        1807.275995,
        [251.2358649, 10.60831925],
    ),
    "1 to 1e8": (lambda i: 10.0 ** (i % 9), 2883.604883, [275.5234407, 6.481116063]),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_far_apart_have_lme4s_optimum(name: str) -> None:
    """lmer(Reaction ~ Days + (1 | Subject), weights = w): REML criterion to 1e-5, coefficients to
    1e-5 relative.
    """
    weights, criterion, beta = WEIGHTS[name]
    frame = sleepstudy().assign(w=weights(np.arange(180)))
    found = fit_table(frame, "reaction ~ days + (1 | subject)", weights="w").fit
    assert found.criterion == pytest.approx(criterion, abs=1e-5)
    assert found.beta.tolist() == pytest.approx(beta, rel=1e-5)


def test_one_weight_that_rounding_cannot_hold_is_refused() -> None:
    """1e14 beside 1: of 16 digits two are left for the other rows."""
    frame = sleepstudy().assign(w=np.where(np.arange(180) == 37, 1e14, 1.0))
    with pytest.raises(InputError, match=r"the weights lie between 1 and 1e\+14, so far apart"):
        fit_table(frame, "reaction ~ days + (1 | subject)", weights="w")
