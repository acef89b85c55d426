"""What a summary in R shows of a fitted table beside its effects: information criteria, scaled
residuals, how categories are coded.

    AIC = criterion + 2 k,   BIC = criterion + k log n,   criterion = -2 log (restricted) likelihood
k: coefficients, variances and correlations of the random effects, and the residual's variance
(gaussian), as R counts them. Source: R's AIC and BIC of lmer, glmer, lm and glm (lme4 1.1-31).
"""

from typing import Any

import numpy as np
import pandas as pd

from transect.stats.formula.offsets import less_offset
from transect.stats.mixed.binomial import GeneralizedFit
from transect.stats.mixed.gaussian import MixedFit
from transect.stats.mixed.least_squares import LeastSquaresFit
from transect.stats.mixed.random_effects import residuals
from transect.stats.table.table_model import TableModel

QUANTILES = {"min": 0.0, "q1": 0.25, "median": 0.5, "q3": 0.75, "max": 1.0}


def information(model: TableModel) -> dict[str, float]:
    """log_likelihood, aic, bic, n_parameters, df_residual (rows - parameters)."""
    fit = model.fit
    theta = 0 if isinstance(fit, LeastSquaresFit) else len(fit.theta)
    k = len(fit.beta) + theta + (model.family == "gaussian")
    return {
        "log_likelihood": -float(fit.criterion) / 2,
        "aic": float(fit.criterion) + 2 * k,
        "bic": float(fit.criterion) + k * float(np.log(fit.n)),
        "n_parameters": k,
        "df_residual": fit.n - k,
    }


def scaled_residuals(model: TableModel) -> np.ndarray:
    """[row] residuals over the residual standard deviation; of a binomial model Pearson's."""
    fit = model.fit
    if isinstance(fit, GeneralizedFit):
        return residuals(fit, fit.laplace.successes)
    if isinstance(fit, MixedFit):
        return residuals(fit, less_offset(model.formula, model.rows)) / fit.sigma
    return fit.residuals / fit.sigma


def residual_quantiles(model: TableModel) -> dict[str, float]:
    """min, q1, median, q3 and max of the scaled residuals."""
    found = np.quantile(scaled_residuals(model), list(QUANTILES.values()))
    return dict(zip(QUANTILES, found.tolist(), strict=True))


def codings(model: TableModel) -> list[dict[str, Any]]:
    """Of each category among the fixed effects: factor, coding, reference level ("" where there is
    none), levels.
    """
    design = model.design
    found = []
    for variable, levels in design.levels.items():
        term = next(t for t in design.terms if variable in t)
        names = [n for n, t in zip(design.names, design.term_of, strict=True) if t == (variable,)]
        if variable.endswith(", sum)"):
            coding, reference = "sum", ""
        elif term == (variable,) and len(names) == len(levels):
            coding, reference = "every level", ""
        else:
            coding, reference = "treatment", levels[0]
        found.append(
            {"factor": variable, "coding": coding, "reference": reference, "levels": list(levels)}
        )
    return found


def effect_covariance(model: TableModel) -> pd.DataFrame:
    """The covariance matrix of the effects, [term, term]."""
    return pd.DataFrame(model.fit.vcov, index=model.fit.names, columns=model.fit.names)
