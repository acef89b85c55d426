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
    here = _all_known(frame, names)
    price = np.ones(len(candidates)) if costs is None else np.asarray(costs, float)
    position = _linking(here, candidates, names, numeric, price)
    gap = _gap(here, candidates.iloc[position], names, numeric, price[position])
    if not len(gap.lacking):
        return Separation((), 0.0, True)
    directions = _directions(gap.brought, gap.price)
    if not len(directions) or not gap.closed_by(directions):
        return None
    for size in range(len(gap.lacking), largest + 1):
        if _combinations(len(directions), size) > COMBINATIONS:
            break
        cheapest = min(_solutions(gap, directions, size), default=None)
        if cheapest is not None:
            cost, chosen = cheapest
            return Separation(tuple(sorted(position[list(chosen)].tolist())), cost, True)
    one_by_one = _greedy(gap, directions)
    cost = float(gap.price[one_by_one].sum())
    return Separation(tuple(sorted(position[one_by_one].tolist())), cost, False)


@dataclass(frozen=True)
class _Gap:
    """A basis of the contrasts that are missing, [rank L, dimension], what each candidate brings,
    [candidate, dimension], and its price.
    """

    lacking: np.ndarray
    brought: np.ndarray
    price: np.ndarray

    def closed_by(self, chosen: Sequence[int] | np.ndarray) -> bool:
        """Whether the span of some candidates holds all that is missing."""
        return bool(_spans(self.lacking, self.brought[chosen][None])[0])


def _all_known(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The rows in which all of the factors are known."""
    return frame[np.logical_and.reduce([known(frame[name]).to_numpy() for name in names])]


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
    pool = _all_known(pool, names)
    pool = pool.sort_values("price", kind="stable").drop_duplicates(list(names))
    categories = [name for name in names if name not in numeric]
    n_before = -1
    while n_before != len(pool):
        n_before = len(pool)
        for name in categories:
            fresh = ~pool[name].isin(set(here[name]))
            repeated = pool[name].duplicated(keep=False)
            pool = pool[~fresh | repeated]
    return np.sort(pool.index.to_numpy())


def _gap(
    frame: pd.DataFrame,
    candidates: pd.DataFrame,
    names: list[str],
    numeric: Collection[str],
    price: np.ndarray,
) -> _Gap:
    """What is missing of the contrasts of the first of `names` beside the others."""
    factor, n_here = names[0], len(frame)
    both = pd.concat([frame[names], candidates[names]], ignore_index=True)
    columns = [_coded(both[name], name in numeric, n_here) for name in names]
    x = np.hstack([np.ones((len(both), 1)), *columns])
    # the factor's columns come first, those of the levels at hand before new ones
    n = 1 if factor in numeric else frame[factor].nunique()
    contrasts = np.zeros((n, x.shape[1]))
    contrasts[:, 1 : n + 1] = 1.0 if factor in numeric else np.eye(n) - 1 / n
    here = x[:n_here]
    outside = np.eye(x.shape[1]) - np.linalg.pinv(here, rcond=1e-10) @ here
    lacking = _basis(contrasts @ outside)
    brought = x[n_here:] @ outside
    # in coordinates of the space that they span, which has fewer dimensions than there are levels
    space = _basis(np.vstack([lacking, brought])).T
    return _Gap(lacking @ space, brought @ space, price)


def _basis(rows: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the row space, [rank, dimension]."""
    _, s, basis = np.linalg.svd(rows, full_matrices=False)
    return basis[s > TOLERANCE]


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
    signs = np.sign(unit[np.arange(len(unit)), first])
    rounded = np.round(unit * signs[:, None], 6) + 0.0
    cheapest: dict[bytes, int] = {}
    for i, row in zip(kept.tolist(), rounded, strict=True):
        direction = row.tobytes()
        if price[i] < price[cheapest.setdefault(direction, i)]:
            cheapest[direction] = i
    return np.array(sorted(cheapest.values()), dtype=int)


def _combinations(n: int, size: int) -> float:
    return float(np.prod([(n - i) / (i + 1) for i in range(size)]))


def _solutions(
    gap: _Gap, directions: np.ndarray, size: int
) -> Iterator[tuple[float, tuple[int, ...]]]:
    """(cost, candidates) of the sets of one size that do it."""
    sets = itertools.combinations(directions.tolist(), size)
    while block := list(itertools.islice(sets, BLOCK)):
        chosen = np.array(block)
        spanning = _spans(gap.lacking, gap.brought[chosen])
        for i in np.flatnonzero(spanning):
            yield float(gap.price[chosen[i]].sum()), block[i]


def _spans(lacking: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Of each set of rows, [set, candidate, dimension], whether its span holds all that is missing."""
    _, s, rows = np.linalg.svd(sets, full_matrices=False)
    basis = rows * (s > TOLERANCE)[:, :, None]
    coordinates = lacking[None] @ basis.transpose(0, 2, 1)
    outside = lacking[None] - coordinates @ basis
    return np.asarray(np.abs(outside).max(axis=(1, 2)) < TOLERANCE * 10)


def _greedy(gap: _Gap, directions: np.ndarray) -> list[int]:
    """Candidates one by one, each the one that leaves least of L, of equals the cheapest; what
    turns out needless is dropped.
    """
    chosen: list[int] = []
    while not chosen or not gap.closed_by(chosen):
        open_ones = [i for i in directions.tolist() if i not in chosen]
        ranked = [
            (_outside(gap.lacking, gap.brought[[*chosen, i]]), gap.price[i], i) for i in open_ones
        ]
        chosen.append(min(ranked)[-1])
    for i in list(chosen):
        rest = [other for other in chosen if other != i]
        if rest and gap.closed_by(rest):
            chosen = rest
    return chosen


def _outside(lacking: np.ndarray, rows: np.ndarray) -> float:
    """The squares of L outside the span of some rows, rounded so that equal sets are equal."""
    basis = _basis(rows)
    missing = lacking - lacking @ basis.T @ basis
    return round(float((missing**2).sum()), 9)
