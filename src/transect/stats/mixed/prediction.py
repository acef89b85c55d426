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
from dataclasses import dataclass

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
    effects = deviance.effects(fit.theta, solution)
    mean = x @ fit.beta
    own = np.full(len(x), fit.sigma**2)
    shares = own**2 / max(deviance.n - deviance.p, 1)
    for j, (term, factor, effect) in enumerate(zip(terms, factors, effects, strict=True)):
        modes = fit.response.size * effect @ factor.T
        here = known[j] >= 0
        levels = known[j][here]
        mean[here] += (modes[levels] * term.columns[here]).sum(1)
        of_new_level = fit.scale**2 * ((term.columns @ factor) ** 2).sum(1)
        new = np.where(here, 0.0, of_new_level)
        own += new
        shares += new**2 / _level_df(deviance, j)
    spread = _spread(fit, solution, x, terms, known)
    return mean, np.sqrt(own + fit.scale**2 * spread), own**2 / shares


def _spread(
    fit: MixedFit,
    solution: Solution,
    x: np.ndarray,
    terms: Sequence[Grouping],
    known: Mapping[int, np.ndarray],
) -> np.ndarray:
    """v' M^-1 v of each row, batch by batch."""
    deviance = fit.deviance
    fixed = deviance.fixed
    columns = [
        standard.rows(term.columns) for standard, term in zip(deviance.columns, terms, strict=True)
    ]
    parts = []
    for start in range(0, len(x), BATCH):
        part = slice(start, start + BATCH)
        rows = _Rows(
            fixed.rows(x[part]),
            [column[part] for column in columns],
            [levels[part] for levels in known.values()],
        )
        parts.append(_uncertainty(deviance, fit.theta, solution, rows))
    return np.concatenate(parts)


@dataclass(frozen=True)
class _Rows:
    """New rows: fixed effects [row, column] and the columns of each term [row, column], in standard
    units, and the known level of each term [row], -1 for a new one.
    """

    fixed: np.ndarray
    columns: Sequence[np.ndarray]
    known: Sequence[np.ndarray]


def _uncertainty(deviance: Deviance, theta: np.ndarray, s: Solution, rows: _Rows) -> np.ndarray:
    """v' M^-1 v of each row, by the same elimination of the largest term as in `Deviance`."""
    factors = deviance.standard_factors(theta)
    dense = _dense(deviance, rows)
    n, m = dense.shape
    here = np.flatnonzero(rows.known[0] >= 0)
    largest = rows.known[0][here]
    first = np.zeros(rows.columns[0].shape)
    of_largest = rows.columns[0][here] @ factors[0]
    first[here] = np.linalg.solve(s.lower[largest], of_largest[..., None])[..., 0]
    for a in range(factors[0].shape[0]):
        dense[here] -= s.w[largest, a, :m] * first[here, a, None]
    for span, factor in zip(deviance.spans, factors[1:], strict=True):
        by_level = dense[:, span].reshape(-1, len(factor))
        dense[:, span] = (by_level @ factor).reshape(n, -1)
    lower = sl.cholesky(s.schur[:m, :m], lower=True)
    rest = sl.solve_triangular(lower, dense.T, lower=True)
    return (first**2).sum(1) + (rest**2).sum(0)


def _dense(deviance: Deviance, rows: _Rows) -> np.ndarray:
    """The columns of all terms but the largest, and of the fixed effects, [row, column]."""
    dense = np.zeros((len(rows.fixed), deviance.q + deviance.p))
    dense[:, deviance.q :] = rows.fixed
    for span, level, column in zip(deviance.spans, rows.known[1:], rows.columns[1:], strict=True):
        k = column.shape[1]
        here = np.flatnonzero(level >= 0)
        for a in range(k):
            dense[here, span.start + level[here] * k + a] = column[here, a]
    return dense


def _level_df(deviance: Deviance, position: int) -> float:
    """Levels of a term less the rank of the fixed effects that are constant within them, at least
    1.
    """
    codes = deviance.terms[position].codes
    firsts = np.unique(codes, return_index=True)[1]
    by_level = deviance.x[firsts]
    constant = (deviance.x == by_level[codes]).all(0)
    rank = column_rank(by_level[:, constant]) if constant.any() else 0
    return float(max(len(by_level) - rank, 1))
