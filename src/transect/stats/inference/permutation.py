"""Permutation tests of maps (layer x head, layer x position; or one number) whose units are runs:
max-T over the cells.

    one sample of units    t_c = mean_c / (sd_c / sqrt n), every unit's whole map times +1 or -1
                           H0: each unit's map is symmetric about 0 (two conditions exchangeable
                           within every unit)
    groups of units        two groups: t_c with the pooled variance; more: F_c. The labels of the units are exchanged
                           H0: the maps of all groups have one distribution (their variance too, not
                           only their mean)
    p_cell(c) = P(|t_c*| >= |t_c|),   p_map(c) = P(max over c' of |t_c'*| >= |t_c|)
p_map: the probability of any false cell in the whole map is at most alpha, whatever the dependence
between cells. Where the number of permutations N is at most `n_draws`, all of them are counted
(exact, p = b / N, the observed one among them); else p = (1 + b) / (1 + n_draws) over random ones.
No p can be below
    signs 1 / 2^n (two-sided 2 / 2^n);   labels 1 / (n! / prod n_g!), times the permutations of groups of one size (two-sided)
which `smallest_p` and `sentence` say: with 5 runs no two-sided p is below 0.0625, however large the
effect. Sources: Fisher (1935); Westfall & Young (1993); Nichols & Holmes (2002), Hum. Brain Mapp.
15; Phipson & Smyth (2010).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial, prod

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest

SIDES = ("two-sided", "greater", "less")
BATCH = 4_000_000  # permuted statistics held at a time
TIE = 1e-9  # relative: permutations that give the same statistic do so up to rounding


@dataclass(frozen=True)
class MapTest:
    """statistic (t, or F of more than two groups), p_cell and p_map have the shape of the map."""

    statistic: np.ndarray
    p_cell: np.ndarray
    p_map: np.ndarray
    n_units: int
    n_permutations: int  # counted
    exact: bool
    smallest_p: float

    @property
    def sentence(self) -> str:
        """How the p values were found, and whether so few units could have shown anything."""
        how = "all" if self.exact else "random"
        text = f"{self.n_units} units, {how} {self.n_permutations} permutations: no p can be below {self.smallest_p:.2g}"
        return f"{text}, so nothing can reach 0.05" if self.smallest_p > 0.05 else text


def unit_maps(
    frame: pd.DataFrame, value: str, unit: str, cells: Sequence[str]
) -> tuple[np.ndarray, pd.Index, pd.DataFrame]:
    """The mean of a column per unit and cell [unit, cell], the units, and the cells' columns (one
    row each).

    Raises InputError for an unknown column, and where a unit lacks a cell that another has.
    """
    for column in (value, unit, *cells):
        if column not in frame:
            raise InputError(
                f"unknown column '{column}'; the table has {', '.join(map(str, frame))}.{nearest(column, frame)}"
            )
    means = frame.groupby([unit, *cells], observed=True)[value].mean().unstack(list(cells))
    lacking = means.isna().sum(axis=1)
    if lacking.any():
        raise InputError(
            f"{int((lacking > 0).sum())} of {len(means)} units of '{unit}' have no '{value}' in some cell, e.g. "
            f"{lacking.idxmax()} in {int(lacking.max())} of {means.shape[1]}; a map test needs the same cells in every unit"
        )
    return (
        means.to_numpy(float),
        means.index,
        means.columns.to_frame(index=False).set_axis(list(cells), axis=1),
    )


def sign_flips(
    maps: np.ndarray, side: str = "two-sided", n_draws: int = 9999, seed: int = 1
) -> MapTest:
    """One sample of units against 0 in every cell: maps [unit, ...]. A cell that is 0 in every unit
    has p = 1.

    Raises InputError for fewer than two units, values that are missing, or an unknown side.
    """
    flat = _flat(maps, side, n_draws)
    n = len(flat)
    length = np.sqrt((flat**2).sum(0))
    scaled = np.divide(flat, length * np.sqrt(n), out=np.zeros_like(flat), where=length > 0)
    # the sum of squares is the same for all signs: t is a monotone function of r = s'x / (|s| |x|),
    # its cosine with the signs
    exact = 2**n <= n_draws
    observed = scaled.sum(0)
    drawn = _sign_batches(n, n_draws, seed, exact, _rows_at_once(scaled))
    b_cell, b_map, counted = _count(observed, (signs @ scaled for signs in drawn), side)
    smallest = (2 if side == "two-sided" else 1) / 2**n
    t = _t(observed, n - 1).reshape(maps.shape[1:])
    return _result(t, b_cell, b_map, n, counted, exact, smallest)


def exchange_labels(
    maps: np.ndarray, groups: Sequence, side: str = "two-sided", n_draws: int = 9999, seed: int = 1
) -> MapTest:
    """Groups of units compared in every cell: maps [unit, ...], groups [unit]. t is of the second
    group minus the first.

    Groups in sorted order; a cell with one value has p = 1. Raises InputError for fewer than two
    groups or three units, missing values, an unknown side, or a side other than two-sided with more
    than two groups.
    """
    flat = _flat(maps, side, n_draws)
    codes, levels = pd.factorize(pd.Series(list(groups)), sort=True)
    if len(codes) != len(flat) or (codes < 0).any():
        raise InputError(f"{len(flat)} maps need a group each; {int((codes >= 0).sum())} are given")
    if not 2 <= len(levels) < len(flat):
        raise InputError(
            f"exchanging labels needs at least 2 groups and more units than groups; {len(levels)} groups of {len(flat)} units"
        )
    if len(levels) > 2 and side != "two-sided":
        raise InputError(
            f"side '{side}' of {len(levels)} groups: an F statistic has no side; leave it out"
        )
    sizes = np.bincount(codes)
    centred = flat - flat.mean(0)
    length = np.sqrt((centred**2).sum(0))
    negligible = length <= 1e-12 * np.sqrt((flat**2).sum(0))
    scaled = np.divide(centred, length, out=np.zeros_like(flat), where=~negligible)
    total = factorial(len(flat)) // prod(factorial(int(k)) for k in sizes)
    exact = total <= n_draws
    observed = _label_statistic(codes[None], scaled, sizes)[0]
    drawn = _label_batches(
        codes, sizes, n_draws, seed, exact, _rows_at_once(scaled) // len(levels) + 1
    )
    b_cell, b_map, counted = _count(
        observed, (_label_statistic(c, scaled, sizes) for c in drawn), side
    )
    same = (
        prod(factorial(k) for k in Counter(sizes.tolist()).values()) if side == "two-sided" else 1
    )
    df = len(flat) - len(levels)
    with np.errstate(divide="ignore"):
        f = observed / (len(levels) - 1) / (np.maximum(1 - observed, 0) / df)
    statistic = _t(observed, df) if len(levels) == 2 else f
    return _result(
        statistic.reshape(maps.shape[1:]), b_cell, b_map, len(flat), counted, exact, same / total
    )


def _flat(maps: np.ndarray, side: str, n_draws: int) -> np.ndarray:
    if side not in SIDES:
        raise InputError(
            f"unknown side '{side}'; allowed: {', '.join(SIDES)}.{nearest(side, SIDES)}"
        )
    if n_draws < 1:
        raise InputError(f"{n_draws} permutations: at least 1 is needed")
    flat = np.asarray(maps, float).reshape(len(maps), -1)
    if len(flat) < 2 or flat.shape[1] < 1:
        raise InputError(
            f"a permutation test needs at least 2 units and 1 cell; there are {flat.shape[0]} and {flat.shape[1]}"
        )
    if not np.isfinite(flat).all():
        raise InputError(
            f"{int((~np.isfinite(flat)).sum())} values of the maps are missing or infinite"
        )
    return flat


def _rows_at_once(scaled: np.ndarray) -> int:
    return max(1, BATCH // scaled.shape[1])


def _sign_batches(n: int, n_draws: int, seed: int, exact: bool, size: int) -> Iterator[np.ndarray]:
    """Rows of +1 and -1 [permutation, unit]: all 2^n, or random ones."""
    rng = np.random.default_rng(seed)
    n_rows = 2**n if exact else n_draws
    for start in range(0, n_rows, size):
        numbers = np.arange(start, min(start + size, n_rows))
        bits = (
            numbers[:, None] >> np.arange(n) & 1 if exact else rng.integers(0, 2, (len(numbers), n))
        )
        yield 1.0 - 2.0 * bits


def _label_batches(
    codes: np.ndarray, sizes: np.ndarray, n_draws: int, seed: int, exact: bool, size: int
) -> Iterator[np.ndarray]:
    """Group codes [permutation, unit]: every assignment to groups of these sizes, or random ones."""
    rng = np.random.default_rng(seed)
    every = _assignments(len(codes), sizes.tolist()) if exact else None
    n_rows = n_draws if every is None else len(every)
    for start in range(0, n_rows, size):
        n_here = min(size, n_rows - start)
        if every is None:
            yield rng.permuted(np.tile(codes, (n_here, 1)), axis=1)
        else:
            yield every[start : start + n_here]


def _assignments(n: int, sizes: Sequence[int]) -> np.ndarray:
    """Every way of giving n units the groups 0, 1, ... of these sizes, [way, unit]."""
    if len(sizes) == 1:
        return np.zeros((1, n), int)
    first = np.array(list(combinations(range(n), sizes[0])))
    others = np.ones((len(first), n), bool)
    others[np.arange(len(first))[:, None], first] = False
    rest = _assignments(n - sizes[0], sizes[1:]) + 1
    ways = np.zeros((len(first), len(rest), n), int)
    ways[np.broadcast_to(others[:, None], ways.shape)] = np.tile(rest.ravel(), len(first))
    return ways.reshape(-1, n)


def _label_statistic(codes: np.ndarray, scaled: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """[permutation, cell] of centred columns of length 1: correlation with the second group; of
    more groups eta squared.
    """
    if len(sizes) == 2:
        n = len(scaled)
        return (codes == 1) @ scaled * np.sqrt(n / (sizes[0] * sizes[1]))
    return sum(((codes == g) @ scaled) ** 2 / sizes[g] for g in range(len(sizes)))


def _count(
    observed: np.ndarray, batches: Iterator[np.ndarray], side: str
) -> tuple[np.ndarray, np.ndarray, int]:
    """Of each cell the permutations at least as extreme in that cell, and in any cell; and how many
    there were.
    """

    def extreme(r: np.ndarray) -> np.ndarray:
        return np.abs(r) if side == "two-sided" else r if side == "greater" else -r

    limit = extreme(observed) - TIE
    b_cell, b_map, counted = np.zeros(len(observed), int), np.zeros(len(observed), int), 0
    for drawn in batches:
        drawn = extreme(drawn)
        b_cell += (drawn >= limit).sum(0)
        largest = np.sort(drawn.max(1))
        b_map += len(largest) - np.searchsorted(largest, limit)
        counted += len(drawn)
    return b_cell, b_map, counted


def _t(r: np.ndarray, df: int) -> np.ndarray:
    """The t of a correlation; infinite where there is no variance left."""
    with np.errstate(divide="ignore"):
        return r * np.sqrt(df / np.maximum(1 - r**2, 0))


def _result(
    statistic: np.ndarray,
    b_cell: np.ndarray,
    b_map: np.ndarray,
    n: int,
    counted: int,
    exact: bool,
    smallest: float,
) -> MapTest:
    if exact:
        p = [b / counted for b in (b_cell, b_map)]
    else:
        p = [(1 + b) / (1 + counted) for b in (b_cell, b_map)]
        smallest = max(smallest, 1 / (1 + counted))
    shape = statistic.shape
    return MapTest(statistic, p[0].reshape(shape), p[1].reshape(shape), n, counted, exact, smallest)
