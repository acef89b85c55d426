"""Profile likelihood intervals of a linear mixed model: the values that a likelihood ratio test
does not reject.

    {v : min over all other parameters of deviance(parameter = v) - min deviance <= chi2(1, level)}      (by ML, as in lme4)
For coefficients, the residual standard deviation, the standard deviations of the random effects and
their correlations. A standard deviation whose deviance at 0 is not rejected has the lower bound 0;
a correlation likewise ends at -1 or 1. A bound is NaN where the deviance could not be minimised on
the way to it: no minimum is no rejection. All is looked for in standard units
(stats/mixed/standard_units.py; a coefficient in its standard errors) and given back in the user's.
Source: Bates et al. (2015), J. Stat. Software 67(1), section 5.1; Venzon & Moolgavkar (1988).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq, minimize

from transect.stats.mixed.crossed_cholesky import Deviance
from transect.stats.mixed.deviance_search import optimise
from transect.stats.mixed.gaussian import MixedFit

FAR = 1e3  # times the estimate, or residual standard deviations: nothing is looked for beyond


def profile_intervals(fit: MixedFit, level: float = 0.95) -> pd.DataFrame:
    """Columns parameter, estimate (by ML), lower, upper: coefficients, then `sd group effect`, `cor
    group ...`, sigma.
    """
    deviance, response = fit.deviance.by_likelihood(), fit.response
    theta = optimise(deviance, np.where(deviance.diagonal, np.maximum(fit.theta, 0.2), fit.theta))
    best, limit = deviance(theta), float(stats.chi2.ppf(level, 1))
    s = deviance.solve(theta)
    sigma = float(np.sqrt(s.rss / deviance.dof))
    beta, centre = deviance.fixed.coefficients(s.beta), deviance.fixed.coefficients(response.fitted)
    se = sigma * np.linalg.norm(np.linalg.inv(s.rx) @ deviance.fixed.inverse.T, axis=0)
    rows = []
    for j, name in enumerate(fit.names):

        def coefficient(v: float, j: int = j) -> float:
            held = deviance.holding(j, beta[j] + v * se[j])
            return (
                held(optimise(held, np.where(deviance.diagonal, np.maximum(theta, 0.05), theta)))
                - best
                - limit
            )

        ends = [
            beta[j] + se[j] * _bound(coefficient, 0.0, side, -np.inf, np.inf)
            for side in (-1.0, 1.0)
        ]
        rows.append((name, *(centre[j] + response.size * v for v in (beta[j], *ends))))
    point = np.append(theta, sigma)
    for name, value, low, high, spread_of in _spreads(deviance):
        unit = 1.0 if name.startswith("cor") else sigma

        def spread(
            v: float, value: Callable[[np.ndarray], float] = value, unit: float = unit
        ) -> float:
            return _constrained(deviance, point, value, v, unit) - best - limit

        estimate = value(point)
        step = 0.1 if name.startswith("cor") else max(0.1 * estimate, 0.02 * sigma)
        given = 1.0 if name.startswith("cor") else response.size / spread_of
        ends = [_bound(spread, estimate, side * step, low, high) for side in (-1, 1)]
        rows.append((name, *(given * v for v in (estimate, *ends))))

    def residual(v: float) -> float:
        return _at_sigma(deviance, theta, v) - best - limit

    ends = [_bound(residual, sigma, side * 0.1 * sigma, 0.0, np.inf) for side in (-1, 1)]
    given = response.size * fit.sigma / fit.scale
    rows.append(("sigma", *(given * v for v in (sigma, *ends))))
    return pd.DataFrame(rows, columns=["parameter", "estimate", "lower", "upper"])


class _NoMinimum(Exception):
    """The deviance with a parameter held could not be minimised."""


def _bound(
    f: Callable[[float], float], centre: float, step: float, low: float, high: float
) -> float:
    """`_cross`, with other steps where a minimum is not found; NaN where it is not found with any
    of them.
    """
    for scale in (1.0, 0.37, 0.11):
        try:
            return _cross(f, centre, scale * step, low, high)
        except _NoMinimum:
            continue
    return float("nan")


def _cross(
    f: Callable[[float], float], centre: float, step: float, low: float, high: float
) -> float:
    """Where f, negative at the centre, becomes 0 in the direction of step; the bound where it stays
    negative up to it.
    """
    inside, bound = centre, low if step < 0 else high
    while abs(step) < 1e12:
        outside = inside + step
        if (outside - bound) * np.sign(step) >= 0:
            if abs(inside - bound) < 1e-9 or f(bound) < 0:
                return bound
            outside = bound
        if f(outside) > 0:
            return float(brentq(f, inside, outside, xtol=1e-6 * max(abs(centre), abs(step))))
        inside, step = outside, 2 * step
    return bound


def _spreads(
    deviance: Deviance,
) -> list[tuple[str, Callable[[np.ndarray], float], float, float, float]]:
    """(name, function of (theta, sigma), lowest, highest, size) of every standard deviation and
    correlation; a standard deviation is that of the given column over its size, the root mean
    square."""
    found: list[tuple[str, Callable[[np.ndarray], float], float, float, float]] = []
    for index, (term, columns) in enumerate(zip(deviance.terms, deviance.columns, strict=True)):
        back = columns.inverse * columns.spread[:, None]

        def factor(z: np.ndarray, index: int = index, back: np.ndarray = back) -> np.ndarray:
            return z[-1] * back @ deviance.standard_factors(z[:-1])[index]

        for i in range(term.k):

            def sd(
                z: np.ndarray, factor: Callable[[np.ndarray], np.ndarray] = factor, i: int = i
            ) -> float:
                return float(np.linalg.norm(factor(z)[i]))

            found.append(
                (f"sd {term.name} {term.effects[i]}", sd, 0.0, np.inf, float(columns.spread[i]))
            )
            for j in range(i):

                def cor(
                    z: np.ndarray,
                    factor: Callable[[np.ndarray], np.ndarray] = factor,
                    i: int = i,
                    j: int = j,
                ) -> float:
                    f = factor(z)
                    size = np.linalg.norm(f[i]) * np.linalg.norm(f[j])
                    return float(f[i] @ f[j] / size) if size > 0 else 0.0

                found.append(
                    (f"cor {term.name} {term.effects[j]} {term.effects[i]}", cor, -1.0, 1.0, 1.0)
                )
    return found


def _constrained(
    deviance: Deviance,
    point: np.ndarray,
    value: Callable[[np.ndarray], float],
    target: float,
    unit: float,
) -> float:
    """The smallest deviance over (theta, sigma) where value(theta, sigma) = target, to 1e-6 units.
    Raises _NoMinimum.
    """
    scale = np.append(np.ones(len(point) - 1), point[-1])

    def both(z: np.ndarray) -> tuple[float, np.ndarray]:
        z = z * scale
        return deviance.with_sigma(z[:-1], z[-1]), deviance.gradient_with_sigma(
            z[:-1], z[-1]
        ) * scale

    start = point / scale
    far = FAR * np.maximum(np.abs(start), 1.0)
    bounds = [(0 if d else -f, f) for d, f in zip(deviance.diagonal, far, strict=False)] + [
        (1 / FAR, far[-1])
    ]

    def short(z: np.ndarray) -> float:
        return (value(z * scale) - target) / unit

    constraint = {"type": "eq", "fun": short}
    diagonal = np.append(deviance.diagonal, False)
    found = []
    for edge in (0.0, 0.2, 1.0):
        first, options = (
            np.where(diagonal, np.maximum(start, edge), start),
            {"ftol": 1e-10, "maxiter": 200},
        )
        try:
            at = minimize(
                both,
                first,
                jac=True,
                method="SLSQP",
                bounds=bounds,
                constraints=[constraint],
                options=options,
            )
        except np.linalg.LinAlgError:  # a step to where rounding leaves no factor
            continue
        if at.success and abs(short(at.x)) < 1e-6 * max(1.0, abs(target) / unit):
            found.append(at.fun)
        if len(found) == 2:  # the last start is for those that fail
            break
    if not found:
        raise _NoMinimum
    return min(found)


def _at_sigma(deviance: Deviance, theta: np.ndarray, sigma: float) -> float:
    """The smallest deviance over theta at one residual standard deviation."""
    bounds = [(0, None) if d else (None, None) for d in deviance.diagonal]

    def both(z: np.ndarray) -> tuple[float, np.ndarray]:
        return deviance.with_sigma(z, sigma), deviance.gradient_with_sigma(z, sigma)[:-1]

    starts = [
        np.where(deviance.diagonal, np.maximum(theta * shrink, 0.01), theta * shrink)
        for shrink in (1.0, 0.3)
    ]
    return min(
        minimize(both, s, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13}).fun
        for s in starts
    )
