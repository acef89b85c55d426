"""Designs of runs: choosing the fraction of a full factorial that says most, and saying what a
given set of runs can tell apart.

Model: y = X b + e, one row of X per run. Categorical factors are coded by deviations from their
mean (k levels, k - 1 columns, the last level -1), numeric ones are scaled to [-1, 1]; an
interaction is the product of its factors' columns. Terms are written "size", "size:corpus".

    residual df          n - rank X                                 what is left to judge the error by
    D-efficiency         (det(X'X / n) / det(F'F / N))^(1 / p)      against the full factorial F of N runs, 1 = as good
    per run aliased share        1 - |W - X X^+ W|^2 / |W - mean W|^2       of a term W that is not in the model: 0 =
    separate from it, 1 = cannot be told from it

Source: Atkinson, Donev & Tobias 2007, Optimum Experimental Designs with SAS, chapters 11-12
(exchange as in Fedorov 1972).
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

Level = str | int | float | bool
Factors = Mapping[str, Sequence[Level]]
Runs = Sequence[Mapping[str, Any]]
RIDGE = 1e-9  # keeps the determinant of a design that is still singular comparable


def factorial(factors: Factors) -> list[dict[str, Level]]:
    """Every combination of levels."""
    return [
        dict(zip(factors, levels, strict=True)) for levels in itertools.product(*factors.values())
    ]


def columns(runs: Runs, term: str, factors: Factors, numeric: Iterable[str] = ()) -> np.ndarray:
    """The columns of one term, [run, df]. Raises KeyError for a factor that is not in `factors`,
    ValueError for a level that is not.
    """
    parts = []
    for name in term.split(":"):
        values = [run[name] for run in runs]
        parts.append(_factor_columns(values, factors[name], name in numeric))
    return reduce(products, parts)


def products(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Every column of one [row, column] times every column of the other, the other's the fastest."""
    return np.einsum("ri,rj->rij", one, other).reshape(len(one), -1)


def _factor_columns(values: Sequence[Any], levels: Sequence[Any], numeric: bool) -> np.ndarray:
    if numeric:
        low, high = min(levels), max(levels)
        return np.array([[2 * (value - low) / (high - low) - 1] for value in values])
    n_contrasts = len(levels) - 1
    coding = np.vstack([np.eye(n_contrasts), -np.ones(n_contrasts)])
    places = [list(levels).index(value) for value in values]
    return coding[places]


def model_matrix(
    runs: Runs, terms: Sequence[str], factors: Factors, numeric: Iterable[str] = ()
) -> np.ndarray:
    """Intercept and all terms, [run, parameter]."""
    return np.hstack(
        [np.ones((len(runs), 1)), *(columns(runs, term, factors, numeric) for term in terms)]
    )


def d_optimal(
    candidates: Runs,
    terms: Sequence[str],
    factors: Factors,
    n: int,
    *,
    seed: int,
    numeric: Iterable[str] = (),
    possible: Sequence[str] = (),
    starts: int = 30,
) -> list[int]:
    """Indices (sorted) of n different candidates with a large det(X'X + K), by exchange from
    `starts` random designs.

    X holds the terms of the model and, after them, `possible` ones that may matter; K is 1 for the
    columns of these and 0 for those of the model, so that possible terms are kept apart from the
    model as far as this is cheap (DuMouchel & Jones 1994; their prior standard deviation is that of
    the error). Each pass replaces every run in turn by the candidate that gains most, until no
    exchange gains. A good design, not provably the best one.
    """
    matrix = model_matrix(candidates, [*terms, *possible], factors, numeric)
    certain = model_matrix(candidates[:1], terms, factors, numeric).shape[1]
    prior = np.diag([RIDGE] * certain + [1.0] * (matrix.shape[1] - certain))
    rng = np.random.default_rng(seed)
    best: tuple[float, list[int]] = (-np.inf, [])
    for _ in range(starts):
        chosen = [int(i) for i in rng.choice(len(candidates), n, replace=False)]
        _exchange(matrix, prior, chosen)
        log_determinant = float(np.linalg.slogdet(matrix[chosen].T @ matrix[chosen] + prior)[1])
        best = max(best, (log_determinant, sorted(chosen)))
    return best[1]


def _exchange(matrix: np.ndarray, prior: np.ndarray, chosen: list[int]) -> None:
    """Improve `chosen` in place: by the determinant lemma a candidate x multiplies det M by 1 + x'
    M^-1 x.
    """
    improved = True
    while improved:
        improved = False
        for k in range(len(chosen)):
            others = matrix[[c for i, c in enumerate(chosen) if i != k]]
            inverse = np.linalg.inv(others.T @ others + prior)
            gain = np.einsum("ij,jk,ik->i", matrix, inverse, matrix)
            gain[[c for i, c in enumerate(chosen) if i != k]] = -1
            new = int(np.argmax(gain))
            if gain[new] > gain[chosen[k]] * (1 + 1e-9) + 1e-9:
                chosen[k], improved = new, True


def d_efficiency(
    runs: Runs, terms: Sequence[str], factors: Factors, numeric: Iterable[str] = ()
) -> float:
    """Per run, against the full factorial of the same levels; 0 where a term cannot be estimated."""
    design = model_matrix(runs, terms, factors, numeric)
    full = model_matrix(factorial(factors), terms, factors, numeric)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return 0.0
    logs = [np.linalg.slogdet(x.T @ x / len(x))[1] for x in (design, full)]
    return float(np.exp((logs[0] - logs[1]) / design.shape[1]))


@dataclass(frozen=True)
class TermReport:
    """What a set of runs says about one term. `estimable` and `df` count its columns; `variance` is
    None for a term outside the model.
    """

    term: str
    df: int
    estimable: int
    aliased_share: float  # with the rest of the model
    variance: (
        float | None
    )  # mean variance of its coefficients, as a multiple of the full factorial's with as many runs


@dataclass(frozen=True)
class Report:
    n_runs: int
    parameters: int
    rank: int
    residual_df: int
    efficiency: float
    terms: list[TermReport]  # of the model
    others: list[TermReport]  # interactions of two factors that are not in the model


def levels_of(runs: Runs, names: Iterable[str]) -> dict[str, list[Any]]:
    """The levels that occur, sorted, of every factor that has at least two; what does not vary
    cannot be a factor.
    """
    found = {
        name: sorted({run[name] for run in runs}, key=lambda v: (str(type(v)), v)) for name in names
    }
    return {name: levels for name, levels in found.items() if len(levels) > 1}


def describe(
    runs: Runs, terms: Sequence[str], factors: Factors, numeric: Iterable[str] = ()
) -> Report:
    """Residual df, efficiency and aliases of any set of runs. For those at hand: `describe(runs,
    terms, levels_of(runs, names))`.
    """
    design = model_matrix(runs, terms, factors, numeric)
    rank = int(np.linalg.matrix_rank(design))
    pairs = [
        f"{a}:{b}"
        for a, b in itertools.combinations(factors, 2)
        if f"{a}:{b}" not in terms and f"{b}:{a}" not in terms
    ]
    outside = [t for t in [*factors, *pairs] if t not in terms]
    variances = (
        _variances(runs, terms, factors, numeric)
        if rank == design.shape[1]
        else dict.fromkeys(terms)
    )
    inside = [
        _against(runs, t, [u for u in terms if u != t], factors, numeric, variances[t])
        for t in terms
    ]
    return Report(
        n_runs=len(runs),
        parameters=design.shape[1],
        rank=rank,
        residual_df=len(runs) - rank,
        efficiency=d_efficiency(runs, terms, factors, numeric),
        terms=inside,
        others=[_against(runs, t, terms, factors, numeric, None) for t in outside],
    )


def _against(
    runs: Runs,
    term: str,
    others: Sequence[str],
    factors: Factors,
    numeric: Iterable[str],
    variance: float | None,
) -> TermReport:
    """How much of a term is left when all of `others` is taken out."""
    base, added = (
        model_matrix(runs, others, factors, numeric),
        columns(runs, term, factors, numeric),
    )
    left = added - base @ np.linalg.lstsq(base, added, rcond=None)[0]
    total = float(((added - added.mean(0)) ** 2).sum())
    estimable = int(np.linalg.matrix_rank(np.hstack([base, added])) - np.linalg.matrix_rank(base))
    share = 1 - float((left**2).sum()) / total if total > 0 else 1.0
    return TermReport(term, added.shape[1], estimable, share, variance)


def _variances(
    runs: Runs, terms: Sequence[str], factors: Factors, numeric: Iterable[str]
) -> dict[str, float | None]:
    """Mean diagonal of (X'X / n)^-1 over the columns of each term, divided by the full factorial's."""
    design, full = (model_matrix(r, terms, factors, numeric) for r in (runs, factorial(factors)))
    here, there = (np.diag(np.linalg.inv(x.T @ x / len(x))) for x in (design, full))
    found: dict[str, float | None] = {}
    start = 1
    for term in terms:
        end = start + columns(runs[:1], term, factors, numeric).shape[1]
        found[term] = float(here[start:end].mean() / there[start:end].mean())
        start = end
    return found
