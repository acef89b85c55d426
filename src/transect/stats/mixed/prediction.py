"""New rows predicted from a linear mixed model: mean, standard deviation and degrees of freedom of
each row's prediction.

    mean = x'beta + sum over terms with a known level of z'b_level            b: the conditional modes
    var  = sigma^2 (v' M^-1 v + 1) + sum over terms with a new level of z'Sigma z,   v = (Lambda'z of the known levels, x)
M = the cross-products of (Z Lambda, X) plus the identity of the random effects: v' M^-1 v holds the
uncertainty of beta and b together, given the variances. df for those: Welch-Satterthwaite over
sigma^2 (n - p df) and each new level's variance (levels - rank of the fixed effects that are
constant within them). Sources: Henderson (1975), Biometrics 31 (the mixed model equations);
Satterthwaite (1946).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.linalg as sl

from transect.stats.inference.linear import column_rank
from transect.stats.mixed.crossed_cholesky import Deviance, Grouping, Solution
from transect.stats.mixed.gaussian import MixedFit

BATCH = 20_000  # rows whose dense columns are held at a time


def predict_rows(
    fit: MixedFit, x: np.ndarray, terms: Sequence[Grouping], known: Mapping[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and df of new rows x [row, column], in the response's units.

    terms: those of the fit, in its order (`fit.deviance.terms`), of the new rows; known: for the
    position of each term the level of the fit that a row has, -1 for a new one.
    """
    deviance = fit.deviance
    solution = deviance.solve(fit.theta)
    factors = deviance.factors(fit.theta)
    modes = [
        fit.response.size * u @ t.T
        for u, t in zip(deviance.effects(fit.theta, solution), factors, strict=True)
    ]
    mean, residual = x @ fit.beta, np.full(len(x), fit.sigma**2)
    own, shares = residual.copy(), residual**2 / max(deviance.n - deviance.p, 1)
    for j, (term, factor) in enumerate(zip(terms, factors, strict=True)):
        here = known[j] >= 0
        mean[here] += (modes[j][known[j][here]] * term.columns[here]).sum(1)
        new = np.where(here, 0.0, fit.scale**2 * ((term.columns @ factor) ** 2).sum(1))
        own += new
        shares += new**2 / _level_df(deviance, j)
    columns = [c.rows(t.columns) for c, t in zip(deviance.columns, terms, strict=True)]
    spread = np.concatenate(
        [
            _uncertainty(
                deviance,
                fit.theta,
                solution,
                x[part],
                [t[part] for t in columns],
                [known[j][part] for j in known],
            )
            for part in (slice(start, start + BATCH) for start in range(0, len(x), BATCH))
        ]
    )
    return mean, np.sqrt(own + fit.scale**2 * spread), own**2 / shares


def _uncertainty(
    deviance: Deviance,
    theta: np.ndarray,
    s: Solution,
    x: np.ndarray,
    columns: Sequence[np.ndarray],
    known: Sequence[np.ndarray],
) -> np.ndarray:
    """v' M^-1 v of each row, by the same elimination of the largest term as in `Deviance`;
    `columns` are in its standard units.
    """
    factors = deviance.standard_factors(theta)
    n, m = len(x), deviance.q + deviance.p
    dense = np.zeros((n, m))
    dense[:, deviance.q :] = deviance.fixed.rows(x)
    for span, level, column in zip(deviance.spans, known[1:], columns[1:], strict=True):
        k = column.shape[1]
        rows = np.flatnonzero(level >= 0)
        for a in range(k):
            dense[rows, span.start + level[rows] * k + a] = column[rows, a]
    here = np.flatnonzero(known[0] >= 0)
    largest, first = known[0][here], np.zeros(columns[0].shape)
    first[here] = np.linalg.solve(s.lower[largest], (columns[0][here] @ factors[0])[..., None])[
        ..., 0
    ]
    for a in range(factors[0].shape[0]):
        dense[here] -= s.w[largest, a, :m] * first[here, a, None]
    for span, factor in zip(deviance.spans, factors[1:], strict=True):
        dense[:, span] = (dense[:, span].reshape(-1, len(factor)) @ factor).reshape(n, -1)
    lower = sl.cholesky(s.schur[:m, :m], lower=True)
    return (first**2).sum(1) + (sl.solve_triangular(lower, dense.T, lower=True) ** 2).sum(0)


def _level_df(deviance: Deviance, position: int) -> float:
    """Levels of a term less the rank of the fixed effects that are constant within them, at least
    1.
    """
    codes = deviance.terms[position].codes
    at = deviance.x[np.unique(codes, return_index=True)[1]]
    constant = (deviance.x == at[codes]).all(0)
    rank = column_rank(at[:, constant]) if constant.any() else 0
    return float(max(len(at) - rank, 1))
