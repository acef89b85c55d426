"""Binomial mixed models against lme4 and glmmTMB."""

import numpy as np
import pytest

from tests.stats.crossed_data import cbpp
from transect.errors import InputError
from transect.stats.formula import Design, parse
from transect.stats.generalized import GeneralizedFit, fit_binomial
from transect.stats.mixed import grouping

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
    """Coefficients within 1e-2 standard errors, the variance to 1e-3, and a criterion no worse than glmer's."""
    found = _fit()
    assert np.abs((found.beta - BETA) / SE).max() < 1e-2
    assert found.criterion <= 184.053132779061
    assert found.components["variance"][0] == pytest.approx(0.412253792094153, rel=1e-3)


def test_standard_errors_are_those_of_the_curvature() -> None:
    """glmmTMB 1.1's standard errors of the same model (exact Hessian); glmer's own differences are 0.5 to 1.3 % below them."""
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
        fit_binomial(frame["size"] + 1, frame["size"], np.ones((len(frame), 1)), ["(Intercept)"], terms)


def test_the_unit_bounds_the_degrees_of_freedom() -> None:
    """An interval with 13 df is wider than the normal one."""
    found = _fit()
    normal, bounded = (found.contrasts(np.eye(4)[0], df).iloc[0] for df in (np.inf, 13))
    assert bounded["upper"] - bounded["lower"] == pytest.approx(
        (normal["upper"] - normal["lower"]) * 2.160369 / 1.959964
    )
