"""Binomial mixed models against lme4 and glmmTMB."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from tests.stats.crossed_data import cbpp
from transect.errors import InputError
from transect.stats.formula.notation import Design, parse
from transect.stats.mixed import binomial
from transect.stats.mixed.binomial import GeneralizedFit, _left, fit_binomial
from transect.stats.mixed.crossed_cholesky import Grouping
from transect.stats.mixed.df_bound import DfBound
from transect.stats.mixed.gaussian import grouping
from transect.stats.table.table_model import fit_table

FORMULA = "cbind(incidence, healthy) ~ period + (1 | herd)"

# lme4 1.1-31: glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), binomial)
BETA = [-1.39834286447115, -0.991924974975739, -1.12821621594334, -1.57974541364919]
SE = np.array([0.231214048099463, 0.303150644541277, 0.32283015322584, 0.422049159426317])


def _fit(method: str = "Laplace") -> GeneralizedFit:
    frame = cbpp()
    parsed = parse("incidence ~ period + (1 | herd)")
    design = Design(parsed.fixed, frame)
    terms = [grouping(r, frame) for r in parsed.random]
    counts = frame["incidence"].to_numpy(), frame["size"].to_numpy()
    return fit_binomial(*counts, design.matrix(frame), design.names, terms, method)


def test_laplace_equals_glmer() -> None:
    """Coefficients within 1e-2 standard errors, the variance to 1e-3, and a criterion no worse than
    glmer's.
    """
    found = _fit()
    assert np.abs((found.beta - BETA) / SE).max() < 1e-2
    assert found.criterion <= 184.053132779061
    assert found.components["variance"][0] == pytest.approx(0.412253792094153, rel=1e-3)


def test_standard_errors_are_those_of_the_curvature() -> None:
    """glmmTMB 1.1's standard errors of the same model (exact Hessian); glmer's own differences are
    0.5 to 1.3 % below them.
    """
    found = np.sqrt(np.diag(_fit().vcov))
    assert found == pytest.approx(SE, rel=0.015)
    assert found[0] == pytest.approx(0.23246, abs=5e-5)


def test_naqg_0_is_nearer_to_zero_and_said() -> None:
    """glmer with nAGQ = 0: herd variance 0.411956731132375; the fit says which method it is."""
    found = _fit("nAGQ=0")
    assert found.method == "nAGQ=0"
    assert found.components["variance"][0] == pytest.approx(0.411956731132375, rel=1e-3)


def test_a_response_that_never_varies_is_refused() -> None:
    """All successes: the maximum lies at infinity."""
    frame = cbpp()
    terms = [grouping(r, frame) for r in parse("incidence ~ 1 + (1 | herd)").random]
    size = frame["size"].to_numpy()
    with pytest.raises(InputError, match="same in every trial"):
        fit_binomial(size, size, np.ones((len(frame), 1)), ["(Intercept)"], terms)


def test_counts_beyond_the_trials_are_refused() -> None:
    """Successes must not exceed trials."""
    frame = cbpp()
    terms = [grouping(r, frame) for r in parse("incidence ~ 1 + (1 | herd)").random]
    with pytest.raises(InputError, match="0 <= successes <= trials"):
        fit_binomial(
            frame["size"] + 1, frame["size"], np.ones((len(frame), 1)), ["(Intercept)"], terms
        )


def test_the_unit_bounds_the_degrees_of_freedom() -> None:
    """An interval with 13 df is wider than the normal one."""
    found = _fit()
    normal, bounded = (
        found.contrasts(np.eye(4)[0], bounds).iloc[0] for bounds in ((), [DfBound(13)])
    )
    assert bounded["upper"] - bounded["lower"] == pytest.approx(
        (normal["upper"] - normal["lower"]) * 2.160369 / 1.959964
    )


def test_complete_separation_is_said() -> None:
    """No case in the fourth period: glmer prints -20 with a standard error of 100 or more; here a
    sentence with the column.
    """
    frame = cbpp().assign(incidence=lambda t: t["incidence"].where(t["period"] != "4", 0))
    with pytest.raises(InputError, match=r"complete separation: period\[4\]"):
        fit_table(
            frame.assign(healthy=frame["size"] - frame["incidence"]), FORMULA, family="binomial"
        )


@pytest.mark.parametrize("method", ["Laplace", "nAGQ=0"])
def test_estimates_are_a_minimum(method: str) -> None:
    """No step of 0.05 (of standard errors) along any parameter lowers the deviance; a Newton step
    gains less than 1e-5.
    """
    fitted = _fit(method)
    assert fitted.left < 1e-5
    for j in range(4 if method == "Laplace" else 0):
        step = 0.05 * np.sqrt(fitted.vcov[j, j]) * np.eye(4)[j]
        for side in (-1, 1):
            beta = fitted.laplace.standard(fitted.beta + side * step)
            assert fitted.laplace.at(fitted.theta, beta) > fitted.criterion
    for change in (-0.02, 0.02):
        at = (
            fitted.laplace.joint(fitted.theta + change)
            if method == "nAGQ=0"
            else fitted.laplace.at(fitted.theta + change, fitted.laplace.standard(fitted.beta))
        )
        assert at > fitted.criterion


def test_a_fit_that_does_not_converge_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a Newton step would gain more than is allowed (here: than nothing), a sentence instead
    of numbers.
    """
    monkeypatch.setattr(binomial, "LEFT", 0.0)
    with pytest.raises(InputError, match="did not converge"):
        fit_table(cbpp(), FORMULA, family="binomial")


@pytest.mark.parametrize(("scale", "left"), [(1.0, 0.5), (-1.0, np.inf)])
def test_what_is_no_bowl_has_not_converged(scale: float, left: float) -> None:
    """A quadratic at one standard error from its minimum would gain 0.5 x 2 / 2; on a hill there is
    no minimum.
    """
    assert _left(scale * np.array([1.0, 0.0]), scale * np.eye(2))[0] == left


@pytest.mark.parametrize(("method", "sd"), [("Laplace", 0.02827907), ("nAGQ=0", None)])
def test_a_small_variance_by_many_trials_is_no_failure(method: str, sd: float | None) -> None:
    """960,000 trials in 480 rows, a standard deviation of 0.03 by unit: lme4 1.1-31 converges, and
    so does this, to 1e-3 of it.
    """
    rng = np.random.default_rng(7)
    unit, task = np.divmod(np.arange(480), 40)
    predictor = unit % 6 - 2.5
    eta = -0.5 + 0.3 * predictor + rng.normal(0, 0.05, 12)[unit] + rng.normal(0, 0.5, 40)[task]
    k = rng.binomial(2000, 1 / (1 + np.exp(-eta)))
    frame = pd.DataFrame({"unit": unit, "task": task, "x": predictor, "k": k, "miss": 2000 - k})
    fit = fit_table(
        frame, "cbind(k, miss) ~ x + (1 | task) + (1 | unit)", family="binomial", method=method
    ).fit
    assert fit.components["sd"][0] == pytest.approx(0.47319198, rel=1e-3)
    if sd:
        assert fit.components["sd"][1] == pytest.approx(sd, rel=1e-3)
        assert fit.beta == pytest.approx([-0.67807274, 0.29309477], abs=5e-5)
        assert np.sqrt(np.diag(fit.vcov)) == pytest.approx([0.0752970502, 0.0049703169], rel=1e-3)


@pytest.mark.parametrize("seed, sd", [(1, 0.168), (4, 0.306)])
def test_a_small_variance_of_few_trials_is_not_taken_for_none(seed: int, sd: float) -> None:
    """80 levels of 2 rows: no sd on a grid, coefficients at their own best, has a lower deviance
    (1e-4); at 0 it is stationary.
    """
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(80), 2)
    x = np.column_stack([np.ones(160), rng.normal(size=160)])
    hit = rng.random(160) < expit(0.5 + 1.5 * rng.normal(size=80)[codes] + x[:, 1])
    found = fit_binomial(
        hit, np.ones(160), x, ["1", "x"], [Grouping("g", codes, 80, np.ones((160, 1)), ("1",))]
    )
    model, beta = found.laplace, found.laplace.standard(found.beta)
    for at in (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6):
        lowest = minimize(
            lambda b, at=at: model.at(np.array([at]), b), beta, method="Nelder-Mead"
        ).fun
        assert found.criterion <= lowest + 1e-4
    assert found.theta[0] == pytest.approx(sd, abs=0.005)
