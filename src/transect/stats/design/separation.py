"""The smallest set of further units that tells a factor from those it is aliased with.

Rows X of the units at hand and of the candidates: an intercept and the columns of the factor A and
of the others S (an indicator per level, or log10 of a number). A contrast c among the levels of A
that the units at hand have is estimable where c lies in the row space of X. With P the projection
on the row space at hand, L = C (I - P) is what is missing of the contrasts C, and a candidate row r
brings w = r (I - P). A set of candidates tells A from S where the rows of L lie in the span of its
w; rank L candidates are needed at least. Levels that only candidates have are columns of their own,
so that a candidate with a new level of everything brings nothing.

Exact up to three candidates (every combination of different directions w, the cheapest candidate of
each); beyond, or where there are too many combinations, the candidate that explains most of what is
missing of L is added until nothing is (`exact` says which). Source: Searle 1987, Linear Models for
Unbalanced Data, 5.3; the rank argument is elementary.
"""

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transect.stats.design.aliasing import coded, known

TOLERANCE = 1e-7
COMBINATIONS = 100_000  # so many sets are looked at in a few seconds
BLOCK = 20_000  # sets at once, for memory


@dataclass(frozen=True)
class Separation:
    """Positions of the chosen candidates (rows of the frame given), in its order. `exact`: no
    smaller or cheaper set does it.
    """

    chosen: tuple[int, ...]
    cost: float
    exact: bool


def separating(
    frame: pd.DataFrame,
    candidates: pd.DataFrame,
    factor: str,
    others: Sequence[str],
    numeric: Collection[str] = (),
    costs: Sequence[float] | None = None,
    largest: int = 3,
) -> Separation | None:
    """The fewest candidates, and of as few the cheapest, that make every contrast of a factor
    estimable beside the others.

    None where all candidates together do not. Rows and candidates in which a value is unknown are
    left out. An empty choice where nothing is missing. `costs`: one number >= 0 per candidate (1
    each).
    """
    names = [factor, *others]
    here = frame[np.logical_and.reduce([known(frame[n]).to_numpy() for n in names])]
    price = np.ones(len(candidates)) if costs is None else np.asarray(costs, float)
    position = _linking(here, candidates, names, numeric, price)
    lacking, brought = _missing(here, candidates.iloc[position], factor, others, numeric)
    if not len(lacking):
        return Separation((), 0.0, True)
    directions = _directions(brought, price[position])
    if not len(directions) or not _spans(lacking, brought[directions][None])[0]:
        return None
    needed = len(lacking)
    for size in range(needed, largest + 1):
        if _combinations(len(directions), size) > COMBINATIONS:
            break
        best = min(_solutions(lacking, brought, directions, size, price[position]), default=None)
        if best is not None:
            return Separation(tuple(sorted(int(position[i]) for i in best[1])), best[0], True)
    chosen = _greedy(lacking, brought, directions, price[position])
    return Separation(
        tuple(sorted(int(position[i]) for i in chosen)), float(price[position][chosen].sum()), False
    )


def _linking(
    here: pd.DataFrame,
    candidates: pd.DataFrame,
    names: Sequence[str],
    numeric: Collection[str],
    price: np.ndarray,
) -> np.ndarray:
    """Positions of the candidates that can link anything, the cheapest of equal ones.

    A level that the units at hand lack needs two different candidates: the first only says what
    that level does.
    """
    pool = candidates[list(names)].reset_index(drop=True).assign(price=price)
    pool = pool[np.logical_and.reduce([known(pool[n]).to_numpy() for n in names])]
    pool = pool.sort_values("price", kind="stable").drop_duplicates(list(names))
    kept = -1
    while kept != len(pool):
        kept = len(pool)
        for name in (n for n in names if n not in set(numeric)):
            fresh = ~pool[name].isin(set(here[name]))
            pool = pool[~fresh | pool[name].duplicated(keep=False)]
    return np.sort(pool.index.to_numpy())


def _missing(
    frame: pd.DataFrame,
    candidates: pd.DataFrame,
    factor: str,
    others: Sequence[str],
    numeric: Collection[str],
) -> tuple[np.ndarray, np.ndarray]:
    """A basis of the contrasts that are missing, [rank L, dimension], and what each candidate
    brings, [candidate, dimension].
    """
    both = pd.concat([frame[[factor, *others]], candidates[[factor, *others]]], ignore_index=True)
    x = np.hstack(
        [
            np.ones((len(both), 1)),
            *(_coded(both[n], n in numeric, len(frame)) for n in (factor, *others)),
        ]
    )
    n = (
        1 if factor in numeric else frame[factor].nunique()
    )  # its columns come first, those of the levels at hand before new ones
    contrasts = np.zeros((n, x.shape[1]))
    contrasts[:, 1 : n + 1] = 1.0 if factor in numeric else np.eye(n) - 1 / n
    here = x[: len(frame)]
    outside = np.eye(x.shape[1]) - np.linalg.pinv(here, rcond=1e-10) @ here
    _, s, rows = np.linalg.svd(contrasts @ outside, full_matrices=False)
    lacking, brought = rows[s > TOLERANCE], x[len(frame) :] @ outside
    # in coordinates of the space that they span, which has fewer dimensions than there are levels
    _, s, rows = np.linalg.svd(np.vstack([lacking, brought]), full_matrices=False)
    space = rows[s > TOLERANCE].T
    return lacking @ space, brought @ space


def _coded(values: pd.Series, numeric: bool, n_here: int) -> np.ndarray:
    """The columns of a factor; a number is centred at the units at hand. Levels stand in the order
    in which they occur.
    """
    if numeric:
        logs = np.log10(values.to_numpy(float))[:, None]
        return np.asarray(logs - logs[:n_here].mean())
    return coded(values, False)


def _directions(brought: np.ndarray, price: np.ndarray) -> np.ndarray:
    """The cheapest candidate of each different direction; those that bring nothing are left out."""
    norms = np.linalg.norm(brought, axis=1)
    kept = np.flatnonzero(norms > TOLERANCE)
    unit = brought[kept] / norms[kept, None]
    first = np.argmax(np.abs(unit) > 1e-6, axis=1)
    unit = unit * np.sign(unit[np.arange(len(unit)), first])[:, None]
    best: dict[bytes, int] = {}
    for i, row in zip(kept, np.round(unit, 6) + 0.0, strict=True):
        key = row.tobytes()
        if key not in best or price[i] < price[best[key]]:
            best[key] = int(i)
    return np.array(sorted(best.values()), dtype=int)


def _combinations(n: int, size: int) -> float:
    return float(np.prod([(n - i) / (i + 1) for i in range(size)]))


def _solutions(
    lacking: np.ndarray, brought: np.ndarray, directions: np.ndarray, size: int, price: np.ndarray
) -> Iterator[tuple[float, tuple[int, ...]]]:
    """(cost, candidates) of the sets of one size that do it."""
    sets = itertools.combinations(directions.tolist(), size)
    while block := list(itertools.islice(sets, BLOCK)):
        chosen = np.array(block)
        for i in np.flatnonzero(_spans(lacking, brought[chosen])):
            yield float(price[chosen[i]].sum()), block[i]


def _spans(lacking: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Of each set of rows, [set, candidate, dimension], whether its span holds all that is missing."""
    _, s, rows = np.linalg.svd(sets, full_matrices=False)
    rows = rows * (s > TOLERANCE)[:, :, None]
    left = lacking[None] - (lacking[None] @ rows.transpose(0, 2, 1)) @ rows
    return np.asarray(np.abs(left).max(axis=(1, 2)) < TOLERANCE * 10)


def _greedy(
    lacking: np.ndarray, brought: np.ndarray, directions: np.ndarray, price: np.ndarray
) -> list[int]:
    """Candidates one by one, each the one that leaves least of L, of equals the cheapest; what
    turns out needless is dropped.
    """
    chosen: list[int] = []
    while not chosen or not _spans(lacking, brought[chosen][None])[0]:
        left = [i for i in directions.tolist() if i not in chosen]
        chosen.append(min(left, key=lambda i: (_left(lacking, brought[[*chosen, i]]), price[i])))
    for i in list(chosen):
        rest = [c for c in chosen if c != i]
        if rest and _spans(lacking, brought[rest][None])[0]:
            chosen = rest
    return chosen


def _left(lacking: np.ndarray, rows: np.ndarray) -> float:
    """The squares of L outside the span of some rows, rounded so that equal sets are equal."""
    _, s, basis = np.linalg.svd(rows, full_matrices=False)
    basis = basis[s > TOLERANCE]
    return round(float(((lacking - lacking @ basis.T @ basis) ** 2).sum()), 9)
