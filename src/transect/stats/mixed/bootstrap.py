"""Parametric bootstrap of mixed models: new responses from the estimates, fitted again.

    y* = X beta + Z b* + e*,  b* and e* (or binomial counts) drawn anew with the estimated variances
Intervals are percentiles of the refitted estimates. The likelihood ratio test compares the observed
    LR = criterion(reduced) - criterion(full)       (both by maximum likelihood)
with its distribution over responses from the reduced model: p = (1 + #{LR* >= LR}) / (1 + n).
Needed where no degrees of freedom exist (binomial models) and where the chi-squared distribution
misleads (few units; variances at 0). Sources: Davison & Hinkley (1997), ch. 4 and 7; Halekoh &
Højsgaard (2014), J. Stat. Software 59(9).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from transect.errors import InputError
from transect.stats.mixed.binomial import GeneralizedFit, refit_binomial
from transect.stats.mixed.gaussian import MixedFit, refit

Fit = MixedFit | GeneralizedFit


def simulate(fit: Fit, rng: np.random.Generator) -> np.ndarray:
    """One response (or number of successes) of every row, drawn from a fitted model."""
    if isinstance(fit, GeneralizedFit):
        u = [rng.standard_normal(u.shape) for u in fit.laplace.u]
        eta = fit.fixed_part() + fit.laplace.random_part(fit.theta, u)
        return rng.binomial(fit.laplace.trials.astype(int), expit(eta)).astype(float)
    deviance = fit.deviance
    b = [
        fit.scale * rng.standard_normal((term.n_levels, term.k)) @ factor.T
        for term, factor in zip(deviance.terms, deviance.standard_factors(fit.theta), strict=True)
    ]
    scale = 1.0 if deviance.weights is None else 1 / np.sqrt(deviance.weights)
    noise = fit.scale * scale * rng.standard_normal(deviance.n)
    rest = np.concatenate([v.ravel() for v in b[1:]]) if b[1:] else np.empty(0)
    return deviance.x @ fit.beta + deviance.z_first @ b[0].ravel() + deviance.z_rest @ rest + noise


def refits(fit: Fit, n: int, seed: int) -> Iterator[Fit]:
    """n refits to simulated responses; the i-th depends on seed and i only."""
    for i in range(n):
        y = simulate(fit, np.random.default_rng([seed, i]))
        yield _again(fit, y)


def bootstrap_intervals(
    fit: Fit, n: int = 1000, seed: int = 1, level: float = 0.95
) -> pd.DataFrame:
    """Percentile intervals: columns parameter, estimate, lower, upper; coefficients, then standard
    deviations (as profile).
    """
    draws = np.array([_parameters(f) for f in refits(fit, n, seed)])
    edges = [(1 - level) / 2, (1 + level) / 2]
    lower, upper = np.nanquantile(draws, edges, axis=0)
    spreads = fit.components[["group", "effect"]].to_numpy()
    names = [*fit.names, *(f"sd {g} {e}" if e else "sigma" for g, e in spreads)]
    return pd.DataFrame(
        {"parameter": names, "estimate": _parameters(fit), "lower": lower, "upper": upper}
    )


def bootstrap_test(full: Fit, reduced: Fit, n: int = 1000, seed: int = 1) -> dict[str, float]:
    """The likelihood ratio test of nested models of the same rows: lr, df, p_chi2, p (bootstrap),
    n.

    Raises InputError where the fits are not by maximum likelihood or not of the same rows.
    """
    for fit in (full, reduced):
        if isinstance(fit, MixedFit) and fit.deviance.reml:
            raise InputError(
                "a likelihood ratio test needs fits by maximum likelihood (ML), not REML"
            )
    if full.n != reduced.n or type(full) is not type(reduced):
        raise InputError(
            f"the models are of {full.n} and {reduced.n} rows; a test needs the same rows and family"
        )
    observed = reduced.criterion - full.criterion
    drawn = []
    for i in range(n):
        y = simulate(reduced, np.random.default_rng([seed, i]))
        drawn.append(_again(reduced, y).criterion - _again(full, y).criterion)
    df = len(full.beta) + len(full.theta) - len(reduced.beta) - len(reduced.theta)
    # equal up to the optimiser's tolerance counts as not smaller
    larger = int((np.array(drawn) >= observed - 1e-6).sum())
    return {
        "lr": observed,
        "df": df,
        "p_chi2": float(stats.chi2.sf(max(observed, 0.0), df)),
        "p": (1 + larger) / (1 + n),
        "n": n,
    }


def _again(fit: Fit, y: np.ndarray) -> Fit:
    return refit(fit, y) if isinstance(fit, MixedFit) else refit_binomial(fit, y)


def _parameters(fit: Fit) -> np.ndarray:
    return np.concatenate([fit.beta, fit.components["sd"].to_numpy()])
