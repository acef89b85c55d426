"""What the random effects of a fitted mixed model are: conditional modes with their standard
errors, and explained variance.

    mode_l = T u_l,   se_l^2 = the diagonal of sigma^2 T [(Lambda'Z'WZ Lambda + I)^-1]_ll T'   given beta and the variances
    R2 marginal = v_fixed / (v_fixed + v_random + v_residual),   R2 conditional = (v_fixed + v_random) / the same
with v_fixed the sample variance (n - 1) of X beta over the rows, v_random the mean over the rows of
z' Sigma z, and v_residual sigma^2, or pi^2 / 3 for a logit. Sources: Bates et al. (2015), eq.
56-58; Nakagawa & Schielzeth (2013), Johnson (2014) for slopes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from transect.stats.mixed.binomial import GeneralizedFit
from transect.stats.mixed.crossed_cholesky import Deviance, Grouping
from transect.stats.mixed.gaussian import MixedFit
from transect.stats.mixed.least_squares import LeastSquaresFit

TableFit = MixedFit | GeneralizedFit | LeastSquaresFit


def conditional_modes(fit: MixedFit | GeneralizedFit) -> pd.DataFrame:
    """Columns group, level, effect, mode, se: one row for each random effect of each level."""
    system = _system(fit)
    deviance = system.deviance
    variances = deviance.level_variances(fit.theta, deviance.solve(fit.theta))
    factors = deviance.factors(fit.theta)
    rows = []
    for term, factor, modes, spread in zip(
        deviance.terms, factors, system.modes, variances, strict=True
    ):
        se = system.scale * np.sqrt(np.einsum("ab,qbc,ac->qa", factor, spread, factor))
        labels = term.levels or tuple(map(str, range(term.n_levels)))
        for level, label in enumerate(labels):
            for a, effect in enumerate(term.effects):
                rows.append((term.name, label, effect, modes[level, a], se[level, a]))
    return pd.DataFrame(rows, columns=["group", "level", "effect", "mode", "se"])


def residuals(fit: TableFit, response: np.ndarray) -> np.ndarray:
    """Of the response that was fitted (or successes k): y - X beta - Z b of each row, times the
    root of its weight; binomial, Pearson's (k - n p) / sqrt(n p (1 - p)).
    """
    if isinstance(fit, LeastSquaresFit):
        return fit.residuals
    system = _system(fit)
    deviance = system.deviance
    random = np.zeros(fit.n)
    for term, modes in zip(deviance.terms, system.modes, strict=True):
        random += (modes[term.codes] * term.columns).sum(1)
    if isinstance(fit, GeneralizedFit):
        trials = fit.laplace.trials
        p = expit(fit.fixed_part() + random)
        variance = np.maximum(trials * p * (1 - p), 1e-10)
        return (response - trials * p) / np.sqrt(variance)
    residual = response - deviance.x @ fit.beta - random
    if deviance.weights is None:
        return residual
    return residual * np.sqrt(deviance.weights) * fit.sigma / fit.scale


def modes_of(fit: MixedFit | GeneralizedFit) -> list[np.ndarray]:
    """The conditional modes [level, effect] of each random term, in the order of the fit's terms."""
    return _system(fit).modes


def informative_trials(fit: GeneralizedFit) -> dict[str, float]:
    """Of each grouping, the median over its levels of the sum of n p (1 - p), p with the random
    effects.
    """
    modes = modes_of(fit)
    terms = fit.laplace.terms
    eta = fit.fixed_part()
    for term, mode in zip(terms, modes, strict=True):
        eta = eta + (mode[term.codes] * term.columns).sum(1)
    each = fit.laplace.trials * expit(eta) * (1 - expit(eta))
    by_level = {term.name: np.bincount(term.codes, each, term.n_levels) for term in terms}
    return {name: float(np.median(sums)) for name, sums in by_level.items()}


@dataclass(frozen=True)
class _System:
    """The penalised system at the estimates, b [level, effect] of each of its terms, and the scale
    of u.
    """

    deviance: Deviance
    modes: list[np.ndarray]
    scale: float


def _system(fit: MixedFit | GeneralizedFit) -> _System:
    if isinstance(fit, GeneralizedFit):
        # the weights of this system are those of its last evaluation
        fit.laplace.at(fit.theta, fit.laplace.standard(fit.beta))
        deviance, scale, size = fit.laplace.without, 1.0, 1.0
        u = fit.laplace.u
    else:
        deviance, scale, size = fit.deviance, fit.scale, fit.response.size
        u = deviance.effects(fit.theta, deviance.solve(fit.theta))
    factors = deviance.factors(fit.theta)
    modes = [size * v @ factor.T for v, factor in zip(u, factors, strict=True)]
    return _System(deviance, modes, scale)


def r_squared(fit: TableFit) -> dict[str, float]:
    """marginal and conditional R2, between 0 and 1; of least squares its own."""
    if isinstance(fit, LeastSquaresFit):
        return fit.r_squared
    if isinstance(fit, GeneralizedFit):
        deviance, x, scale, residual = fit.laplace.without, fit.laplace.x, 1.0, np.pi**2 / 3
    else:
        deviance, x, scale, residual = fit.deviance, fit.deviance.x, fit.scale, fit.sigma**2
    random = 0.0
    for term, factor in zip(deviance.terms, deviance.factors(fit.theta), strict=True):
        random += float((((term.columns @ factor) * scale) ** 2).sum(1).mean())
    fixed = float((x @ fit.beta).var(ddof=1))
    total = fixed + random + residual
    return {"marginal": fixed / total, "conditional": (fixed + random) / total}


def correlations(fit: TableFit) -> pd.DataFrame:
    """Columns group, effect, other, correlation of the random effects of one grouping."""
    rows = []
    for term, factor in _random_terms(fit):
        covariance = factor @ factor.T
        sd = np.sqrt(np.diag(covariance))
        for i in range(term.k):
            for j in range(i):
                size = sd[i] * sd[j]
                value = covariance[i, j] / size if size > 0 else np.nan
                pair = term.effects[j], term.effects[i]
                rows.append((term.name, *pair, value))
    return pd.DataFrame(rows, columns=["group", "effect", "other", "correlation"])


def _random_terms(fit: TableFit) -> Iterator[tuple[Grouping, np.ndarray]]:
    """Each random term with the factor of its covariance; none of least squares."""
    if not isinstance(fit, LeastSquaresFit):
        deviance = fit.laplace.without if isinstance(fit, GeneralizedFit) else fit.deviance
        yield from zip(deviance.terms, deviance.factors(fit.theta), strict=True)
