"""The integral of a binomial mixed model: numerical integration, and lme4's nAGQ = 9 of cbpp."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import binom, norm

from tests.stats.crossed_data import cbpp
from transect.errors import InputError
from transect.stats.mixed.crossed_cholesky import Grouping
from transect.stats.mixed.laplace import Laplace
from transect.stats.table.table_model import fit_table

FORMULA = "cbind(incidence, healthy) ~ period + (1 | herd)"


def test_quadrature_equals_numerical_integration() -> None:
    """-2 log likelihood of 6 groups of 4 rows of 0 to 3 successes at one theta and beta, by scipy's
    quad: to 1e-7, Laplace 0.01 off.
    """
    rng = np.random.default_rng(1)
    codes, x = np.repeat(np.arange(6), 4), np.column_stack([np.ones(24), rng.normal(size=24)])
    y = rng.binomial(3, expit(x[:, 1] + 1.5 * rng.normal(size=6)[codes])).astype(float)
    beta, sd, trials = np.array([0.2, 0.7]), 1.4, np.full(24, 3.0)

    def density(u: float, group: int) -> float:
        at = codes == group
        return float(norm.pdf(u) * binom.pmf(y[at], 3, expit(x[at] @ beta + sd * u)).prod())

    exact = -2 * sum(np.log(quad(density, -10, 10, (g,), epsabs=1e-14)[0]) for g in range(6))
    terms = [Grouping("g", codes, 6, np.ones((24, 1)), ("(Intercept)",))]
    quadrature, laplace = (Laplace(y, trials, x, terms, points) for points in (40, 1))
    at = (np.array([sd]), quadrature.standard(beta))
    assert quadrature.at(*at) == pytest.approx(exact, abs=1e-7)
    assert abs(laplace.at(*at) - exact) > 0.01


def test_one_point_is_the_laplace_approximation() -> None:
    """The integral at one point equals the approximation to 1e-9."""
    codes, y = np.repeat(np.arange(5), 3), np.array([0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 1.0])
    terms = [Grouping("g", codes, 5, np.ones((15, 1)), ("(Intercept)",))]
    model = Laplace(y, np.ones(15), np.ones((15, 1)), terms)
    theta, beta = np.array([0.9]), np.array([0.1])
    expected, solution = model._iterate(model.without, theta, beta)
    assert model._integral(theta, beta, solution.lower[:, 0, 0]) == pytest.approx(
        expected, abs=1e-9
    )


def test_nine_points_equal_lme4() -> None:
    """cbpp, lme4 1.1-31, nAGQ = 9: coefficients to 2e-4 standard errors, variance .41928 to 1e-4,
    standard errors 1e-4.
    """
    found = fit_table(cbpp(), FORMULA, family="binomial", method="nAGQ=9")
    beta = np.array([-1.399219443863, -0.991408657432876, -1.12781283713846, -1.57948777358161])
    se = np.array([0.233510632703351, 0.306767852076479, 0.326767150745614, 0.427596207828656])
    assert np.abs((found.effects["estimate"].to_numpy() - beta) / se).max() < 2e-4
    assert found.effects["se"].to_numpy() == pytest.approx(se, rel=1e-4)
    assert found.fit.components["variance"][0] == pytest.approx(0.41928, abs=1e-4)
    assert found.method == "adaptive Gauss-Hermite quadrature (nAGQ = 9)"


@pytest.mark.parametrize(
    "formula, family, method, message",
    [
        (FORMULA + " + (1 | period)", "binomial", "nAGQ=9", "for one random effect"),
        (FORMULA, "binomial", "nAGQ=101", "nAGQ=2 to nAGQ=100"),
        (
            "incidence ~ period + (1 | herd)",
            "gaussian",
            "nAGQ=9",
            "binomial models with a random term",
        ),
    ],
)
def test_what_has_no_quadrature_is_refused(
    formula: str, family: str, method: str, message: str
) -> None:
    """Two groupings, too many points, a gaussian response: one sentence."""
    with pytest.raises(InputError, match=message):
        fit_table(cbpp(), formula, family=family, method=method)
