"""A formula without random effects, fitted to one table by statsmodels: least squares, or a
logistic regression of counts.

    gaussian   y = X beta + e, Var(e) = sigma^2 / weight
    binomial   successes of trials, logit p = X beta, by maximum likelihood
Rows are the units, so t has n - p df at most; a design in which a coarser column of the table
carries an effect is refused as it is with random terms. Source: Seabold & Perktold (2010),
statsmodels; McCullagh & Nelder (1989).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import statsmodels.api as sm

from transect.errors import InputError
from transect.stats.inference.intervals import t_interval
from transect.stats.mixed.complete_separation import separating_columns
from transect.stats.mixed.df_bound import DfBound


@dataclass(frozen=True)
class LeastSquaresFit:
    """A fitted model; `criterion`: -2 log likelihood; `r_squared`: plain and adjusted (gaussian),
    McFadden's (binomial).
    """

    names: list[str]
    beta: np.ndarray
    vcov: np.ndarray
    sigma: float
    criterion: float
    components: pd.DataFrame
    n: int
    binomial: bool
    r_squared: dict[str, float]
    fitted: np.ndarray = field(repr=False)  # binomial: the probability
    residuals: np.ndarray = field(repr=False)  # times the root of the weight; binomial: Pearson's

    def contrasts(self, weights: np.ndarray, bounds: Sequence[DfBound] = ()) -> pd.DataFrame:
        """One row per row of `weights` [contrast, coefficient]; df: the rows' that are left, or the
        least of `bounds`.
        """
        weights = np.atleast_2d(weights)
        df = min([self.n - len(self.beta), *(bound.df for bound in bounds)])
        se = np.sqrt(np.einsum("ij,jk,ik->i", weights, self.vcov, weights))
        return pd.DataFrame(
            [t_interval(e, s, df) for e, s in zip(weights @ self.beta, se, strict=True)]
        )


def fit_least_squares(
    y: np.ndarray, x: np.ndarray, names: Sequence[str], weights: np.ndarray | None
) -> LeastSquaresFit:
    """Least squares of y [row] on x [row, column], whose columns are independent. Raises InputError
    without df or residuals.
    """
    _refuse_saturated(x)
    size = np.abs(x).max(0)  # statsmodels takes the rank of the columns as they are
    found = (sm.OLS(y, x / size) if weights is None else sm.WLS(y, x / size, weights)).fit()
    if not np.sqrt(found.scale) > 1e-10 * np.ptp(y):
        raise InputError(
            "the fixed effects fit the data exactly: no residual variance can be estimated"
        )
    root = 1.0 if weights is None else np.sqrt(weights)
    return LeastSquaresFit(
        list(names),
        found.params / size,
        found.cov_params() / np.outer(size, size),
        float(np.sqrt(found.scale)),
        -2 * float(found.llf),
        _components(float(found.scale), len(y)),
        len(y),
        False,
        {"r_squared": float(found.rsquared), "adjusted": float(found.rsquared_adj)},
        found.fittedvalues,
        (y - found.fittedvalues) * root,
    )


def fit_logistic(
    successes: np.ndarray,
    trials: np.ndarray,
    x: np.ndarray,
    names: Sequence[str],
    offset: np.ndarray | None = None,
) -> LeastSquaresFit:
    """Logistic regression of successes of trials [row]. Raises InputError for separation, and for a
    response without variation.
    """
    _refuse_saturated(x)
    if successes.sum() in (0, trials.sum()):
        raise InputError(
            "a binomial response that is the same in every trial has nothing to explain"
        )
    if lost := [names[j] for j in separating_columns(successes, trials, x)]:
        raise InputError(
            f"complete separation: {', '.join([n for n in lost if n != '(Intercept)'] or lost)} tell successes from failures "
            "without error in some rows, so their coefficients have no finite estimate; leave them out or merge levels"
        )
    size = np.abs(x).max(0)
    counts = np.column_stack([successes, trials - successes])
    found = sm.GLM(counts, x / size, family=sm.families.Binomial(), offset=offset).fit(tol=1e-12)
    return LeastSquaresFit(
        list(names),
        found.params / size,
        found.cov_params() / np.outer(size, size),
        1.0,
        -2 * float(found.llf),
        _components(None, len(trials)),
        len(trials),
        True,
        {"mcfadden": 1 - float(found.llf / found.llnull)},
        found.fittedvalues,
        found.resid_pearson,
    )


def _refuse_saturated(x: np.ndarray) -> None:
    if len(x) <= x.shape[1]:
        raise InputError(
            f"{x.shape[1]} coefficients need more rows than the {len(x)} complete ones"
        )


def _components(variance: float | None, n: int) -> pd.DataFrame:
    rows = [] if variance is None else [("residual", "", variance, np.sqrt(variance), n)]
    return pd.DataFrame(rows, columns=["group", "effect", "variance", "sd", "n_levels"])
