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
    columns = means.columns.to_frame(index=False).set_axis(list(cells), axis=1)
    return means.to_numpy(float), means.index, columns


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
    observed = scaled.sum(0)
    exact = 2**n <= n_draws
    batches = _sign_batches(n, n_draws, seed, exact, _rows_at_once(scaled))
    counts = _count(observed, (signs @ scaled for signs in batches), side)
    symmetric = 2 if side == "two-sided" else 1
    t = _t(observed, n - 1).reshape(maps.shape[1:])
    return _result(t, counts, n, exact, symmetric / 2**n)


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
    n = len(flat)
    codes = _group_codes(groups, n, side)
    sizes = np.bincount(codes)
    scaled = _centred_and_scaled(flat)
    total = factorial(n) // prod(factorial(int(size)) for size in sizes)
    exact = total <= n_draws
    observed = _label_statistic(codes[None], scaled, sizes)[0]
    at_once = _rows_at_once(scaled) // len(sizes) + 1
    batches = _label_batches(codes, sizes, n_draws, seed, exact, at_once)
    counts = _count(observed, (_label_statistic(c, scaled, sizes) for c in batches), side)
    same = 1
    if side == "two-sided":  # groups of one size can change places
        same = prod(factorial(k) for k in Counter(sizes.tolist()).values())
    df = n - len(sizes)
    statistic = _t(observed, df) if len(sizes) == 2 else _f(observed, len(sizes) - 1, df)
    return _result(statistic.reshape(maps.shape[1:]), counts, n, exact, same / total)


def _group_codes(groups: Sequence, n: int, side: str) -> np.ndarray:
    """The group of each unit, 0, 1, ... in sorted order. Raises InputError for what cannot be
    compared.
    """
    codes, levels = pd.factorize(pd.Series(list(groups)), sort=True)
    if len(codes) != n or (codes < 0).any():
        raise InputError(f"{n} maps need a group each; {int((codes >= 0).sum())} are given")
    if not 2 <= len(levels) < n:
        raise InputError(
            f"exchanging labels needs at least 2 groups and more units than groups; {len(levels)} groups of {n} units"
        )
    if len(levels) > 2 and side != "two-sided":
        raise InputError(
            f"side '{side}' of {len(levels)} groups: an F statistic has no side; leave it out"
        )
    return codes


def _centred_and_scaled(flat: np.ndarray) -> np.ndarray:
    """Each column less its mean, of length 1; 0 where it has one value."""
    centred = flat - flat.mean(0)
    length = np.sqrt((centred**2).sum(0))
    negligible = length <= 1e-12 * np.sqrt((flat**2).sum(0))
    return np.divide(centred, length, out=np.zeros_like(flat), where=~negligible)


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
        if exact:
            bits = numbers[:, None] >> np.arange(n) & 1
        else:
            bits = rng.integers(0, 2, (len(numbers), n))
        yield 1.0 - 2.0 * bits


def _label_batches(
    codes: np.ndarray, sizes: np.ndarray, n_draws: int, seed: int, exact: bool, size: int
) -> Iterator[np.ndarray]:
    """Group codes [permutation, unit]: every assignment to groups of these sizes, or random ones."""
    if exact:
        every = _assignments(len(codes), sizes.tolist())
        for start in range(0, len(every), size):
            yield every[start : start + size]
        return
    rng = np.random.default_rng(seed)
    for start in range(0, n_draws, size):
        n_here = min(size, n_draws - start)
        yield rng.permuted(np.tile(codes, (n_here, 1)), axis=1)


def _assignments(n: int, sizes: Sequence[int]) -> np.ndarray:
    """Every way of giving n units the groups 0, 1, ... of these sizes, [way, unit]."""
    if len(sizes) == 1:
        return np.zeros((1, n), int)
    first = np.array(list(combinations(range(n), sizes[0])))
    n_first = len(first)
    others = np.ones((n_first, n), bool)
    others[np.arange(n_first)[:, None], first] = False
    rest = _assignments(n - sizes[0], sizes[1:]) + 1
    ways = np.zeros((n_first, len(rest), n), int)
    of_others = np.broadcast_to(others[:, None], ways.shape)
    ways[of_others] = np.tile(rest.ravel(), n_first)
    return ways.reshape(-1, n)


def _label_statistic(codes: np.ndarray, scaled: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """[permutation, cell] of centred columns of length 1: correlation with the second group; of
    more groups eta squared.
    """
    if len(sizes) == 2:
        n = len(scaled)
        return (codes == 1) @ scaled * np.sqrt(n / (sizes[0] * sizes[1]))
    between = [((codes == group) @ scaled) ** 2 / size for group, size in enumerate(sizes)]
    return sum(between)


@dataclass(frozen=True)
class _Counts:
    """Of each cell the permutations at least as extreme in that cell, and in any cell; and how many
    there were.
    """

    cell: np.ndarray
    map: np.ndarray
    total: int


def _count(observed: np.ndarray, batches: Iterator[np.ndarray], side: str) -> _Counts:
    limit = _extremity(observed, side) - TIE
    cell = np.zeros(len(observed), int)
    whole = np.zeros(len(observed), int)
    total = 0
    for batch in batches:
        permuted = _extremity(batch, side)
        cell += (permuted >= limit).sum(0)
        largest = np.sort(permuted.max(1))
        whole += len(largest) - np.searchsorted(largest, limit)
        total += len(permuted)
    return _Counts(cell, whole, total)


def _extremity(r: np.ndarray, side: str) -> np.ndarray:
    """How far a statistic lies to the side that is tested."""
    if side == "two-sided":
        return np.abs(r)
    return r if side == "greater" else -r


def _t(r: np.ndarray, df: int) -> np.ndarray:
    """The t of a correlation; infinite where there is no variance left."""
    unexplained = np.maximum(1 - r**2, 0)
    with np.errstate(divide="ignore"):
        return r * np.sqrt(df / unexplained)


def _f(eta_squared: np.ndarray, between: int, within: int) -> np.ndarray:
    """The F with these df; infinite where there is no variance left."""
    unexplained = np.maximum(1 - eta_squared, 0)
    with np.errstate(divide="ignore"):
        return eta_squared / between / (unexplained / within)


def _result(
    statistic: np.ndarray, counts: _Counts, n: int, exact: bool, smallest: float
) -> MapTest:
    # of random permutations the observed one is counted too
    observed = 0 if exact else 1
    total = observed + counts.total
    if not exact:
        smallest = max(smallest, 1 / total)
    shape = statistic.shape
    return MapTest(
        statistic,
        p_cell=((observed + counts.cell) / total).reshape(shape),
        p_map=((observed + counts.map) / total).reshape(shape),
        n_units=n,
        n_permutations=counts.total,
        exact=exact,
        smallest_p=smallest,
    )
