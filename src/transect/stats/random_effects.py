"""What the random effects of a fitted mixed model are: conditional modes with their standard errors, and explained variance.

    mode_l = T u_l,   se_l^2 = the diagonal of sigma^2 T [(Lambda'Z'WZ Lambda + I)^-1]_ll T'   given beta and the variances
    R2 marginal = v_fixed / (v_fixed + v_random + v_residual),   R2 conditional = (v_fixed + v_random) / the same
with v_fixed the sample variance (n - 1) of X beta over the rows, v_random the mean over the rows of z' Sigma z, and v_residual sigma^2, or
pi^2 / 3 for a logit. Sources: Bates et al. (2015), eq. 56-58; Nakagawa & Schielzeth (2013), Johnson (2014) for slopes.
"""

import numpy as np
import pandas as pd

from transect.stats.generalized import GeneralizedFit
from transect.stats.mixed import MixedFit


def conditional_modes(fit: MixedFit) -> pd.DataFrame:
    """Columns group, level, effect, mode, se: one row for each random effect of each level."""
    deviance = fit.deviance
    solution = deviance.solve(fit.theta)
    variances = deviance.level_variances(fit.theta, solution)
    rows = []
    for term, factor, u, spread in zip(
        deviance.terms, deviance.factors(fit.theta), deviance.effects(fit.theta, solution), variances, strict=True
    ):
        modes = u @ factor.T
        se = fit.sigma * np.sqrt(np.einsum("ab,qbc,ac->qa", factor, spread, factor))
        labels = term.levels or tuple(map(str, range(term.n_levels)))
        for level, label in enumerate(labels):
            for a, effect in enumerate(term.effects):
                rows.append((term.name, label, effect, modes[level, a], se[level, a]))
    return pd.DataFrame(rows, columns=["group", "level", "effect", "mode", "se"])


def r_squared(fit: MixedFit | GeneralizedFit) -> dict[str, float]:
    """marginal and conditional R2, between 0 and 1."""
    if isinstance(fit, GeneralizedFit):
        deviance, x, scale, residual = fit.laplace.without, fit.laplace.x, 1.0, np.pi**2 / 3
    else:
        deviance, x, scale, residual = fit.deviance, fit.deviance.x, fit.sigma, fit.sigma**2
    random = 0.0
    for term, factor in zip(deviance.terms, deviance.factors(fit.theta), strict=True):
        random += float((((term.columns @ factor) * scale) ** 2).sum(1).mean())
    fixed = float((x @ fit.beta).var(ddof=1))
    total = fixed + random + residual
    return {"marginal": fixed / total, "conditional": (fixed + random) / total}
