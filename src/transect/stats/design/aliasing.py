"""Which factors a set of units can tell apart, from a table with one row per unit and one column
per factor.

Columns of a factor: a categorical one has an indicator per level, a numeric one is log10 of its
(positive) values; all are centred. For a factor A and a set S of others, r_1 >= r_2 >= ... are the
canonical correlations of their columns, over the units in which all of them are known.

    aliased contrasts of A    how many r_i^2 = 1: no unit tells them from S
    share                     the largest r_i^2: what S takes of that contrast of A which it takes most of; near from 0.9 on
    variance inflation        1 / (1 - share);     effective units = units x (1 - share)

    same        both ways: A and S are two names of one difference
    explained   S determines A (A is constant within the levels of S, or a linear function of it)
    partial     some contrasts of A are aliased: S never links these groups of A's levels
    near        none is, but share >= 0.9

A set is named where no smaller one does as much, and a set of several not where a coarser one of
its size does. Sets of several are built of one factor of each group of `same`, and must leave a
residual degree of freedom: with as many columns as units anything is explained. A value that is
None, NaN or "unknown" is not known: nothing is concluded from it.

Sources: Weisberg 2014, Applied Linear Regression, 10 (variance inflation; 10 as the customary
bound, share 0.9); Searle 1987, Linear Models for Unbalanced Data, 5.3 (connectedness); Montgomery
2017, Design and Analysis of Experiments, 8 (aliases).
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

NEAR = 0.9
EXACT = 1e-8  # of a squared correlation, below 1
LARGEST = 3  # factors in a set
ROW = ""  # the finest level, which no column can be called: the rows themselves


@dataclass(frozen=True)
class FactorReport:
    """How one factor varies. `level` is the coarsest grouping within whose units it is constant, or
    ROW; ROW where it does not vary, too.
    """

    factor: str
    numeric: bool
    level: str
    n_units: int  # of that level, in which it is known
    n_levels: int  # different known values
    unknown: int  # rows in which it is not known

    @property
    def varies(self) -> bool:
        return self.n_levels > 1


@dataclass(frozen=True)
class Alias:
    """What a set of others takes of a factor; see the head of this file."""

    factor: str
    others: tuple[str, ...]
    kind: str  # same | explained | partial | near
    share: float
    df: int  # contrasts of the factor, in the units judged
    aliased: int  # of them, those that nothing tells from the others
    n_units: int  # judged: all of the factors are known
    unknown: int  # left out
    groups: tuple[
        tuple[str, ...], ...
    ] = ()  # partial, one other: levels of the factor that it links with each other

    @property
    def inflation(self) -> float:
        return 1 / (1 - self.share) if self.share < 1 - EXACT else float("inf")

    @property
    def effective_units(self) -> float:
        return self.n_units * (1 - self.share) if self.share < 1 - EXACT else 0.0


def known(values: pd.Series) -> pd.Series:
    """Where a value is known: neither None nor NaN nor the word unknown."""
    return values.notna() & (values.astype(object) != "unknown")


def factor_reports(
    frame: pd.DataFrame,
    factors: Sequence[str],
    levels: Sequence[str],
    numeric: Collection[str] = (),
) -> list[FactorReport]:
    """One per factor. `levels`: columns that group the rows, from coarse to fine; the row itself is
    the finest (ROW).
    """
    found = []
    for name in factors:
        rows = frame[known(frame[name])]
        n_levels = rows[name].nunique()
        level, n_units = ROW, rows[levels[-1]].nunique() if levels and n_levels < 2 else len(rows)
        for grouping in levels if n_levels > 1 else ():
            if rows.groupby(grouping)[name].nunique().max() == 1:
                level, n_units = grouping, rows[grouping].nunique()
                break
        found.append(
            FactorReport(name, name in numeric, level, n_units, n_levels, len(frame) - len(rows))
        )
    return found


def aliases(
    frame: pd.DataFrame,
    factors: Sequence[str],
    numeric: Collection[str] = (),
    *,
    near: float = NEAR,
    largest: int = LARGEST,
    levels: Sequence[str] = (),
) -> list[Alias]:
    """Every minimal alias among the factors that vary, in their order; pairs before larger sets.

    With `levels` (columns, from coarse to fine) a set is judged on the units of the finest level at
    which one of its factors varies, so that many seeds of one configuration do not count as many
    configurations; without them every row is a unit. Raises ValueError for a numeric factor with a
    value that has no logarithm.
    """
    reports = {r.factor: r for r in factor_reports(frame, factors, levels, numeric)}
    varying = [name for name in factors if reports[name].varies]
    columns = _Columns(frame, varying, numeric, _units(frame, reports, levels))
    pairs = {
        (a, b): alias
        for a, b in itertools.permutations(varying, 2)
        if (alias := columns.judge(a, (b,), near))
    }
    chosen = [
        n
        for i, n in enumerate(varying)
        if not any((n, m) in pairs and pairs[n, m].kind == "same" for m in varying[:i])
    ]
    found = list(pairs.values())
    for name in chosen:
        # a set with a factor that explains by itself is not minimal
        others = [
            m
            for m in chosen
            if m != name
            and not ((name, m) in pairs and pairs[name, m].kind in ("same", "explained"))
        ]
        own = [pairs[name, m] for m in others if (name, m) in pairs]
        if len(others) > 1 and columns.any_alias(name, others, near):
            found += _joint(columns, name, others, own, near, largest)
    order = {name: i for i, name in enumerate(varying)}
    return sorted(
        found, key=lambda f: (order[f.factor], len(f.others), [order[o] for o in f.others])
    )


def _units(
    frame: pd.DataFrame, reports: dict[str, FactorReport], levels: Sequence[str]
) -> Callable[[Iterable[str]], pd.DataFrame]:
    """From names of factors to one row per unit of the finest level at which one of them varies."""
    order = [*levels, ROW]
    tables: dict[str, pd.DataFrame] = {}

    def units(names: Iterable[str]) -> pd.DataFrame:
        level = max((reports[n].level for n in names), key=order.index)
        if level == ROW:
            return frame
        if level not in tables:  # the known value where the rows of a unit have one
            tables[level] = (
                frame.where(frame != "unknown")
                .groupby(level, sort=False, dropna=False)
                .first()
                .reset_index()
            )
        return tables[level]

    return units


def _joint(
    columns: "_Columns",
    name: str,
    others: Sequence[str],
    own: Iterable[Alias],
    near: float,
    largest: int,
) -> list[Alias]:
    """The minimal sets of two or more that take more of a factor than each of their parts does."""
    found = list(own)
    new: list[Alias] = []
    for size in range(2, min(largest, len(others)) + 1):
        step = []
        for others_in in itertools.combinations(others, size):
            alias = columns.judge(name, others_in, near)
            parts = [f for f in found if set(f.others) < set(others_in)]
            if alias is not None and all(_says_more(alias, part) for part in parts):
                step.append(alias)
        # of two sets of one size the coarser says more: the finer one explains because it
        # determines the coarser
        step = [
            a
            for a in step
            if not any(b is not a and columns.coarser(b.others, a.others) for b in step)
        ]
        found, new = found + step, new + step
    return new


def _says_more(alias: Alias, part: Alias) -> bool:
    return alias.aliased > part.aliased or (alias.kind != "near" and part.kind == "near")


class _Columns:
    """The centred, orthonormal columns of sets of factors, made once for each set of units."""

    def __init__(
        self,
        frame: pd.DataFrame,
        factors: Sequence[str],
        numeric: Collection[str],
        units: Callable[[Iterable[str]], pd.DataFrame],
    ):
        self.numeric, self.units = set(numeric), units
        self.bases: dict[tuple[tuple[str, ...], int, bytes], np.ndarray] = {}
        for name in self.numeric & set(factors):
            rows = frame[known(frame[name])]
            if not (pd.to_numeric(rows[name], errors="coerce") > 0).all():
                raise ValueError(
                    f"the numeric factor {name} needs positive values; it has {rows[name].min()!r}"
                )

    def rows(self, names: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray]:
        """The units of these factors, and in which all of them are known."""
        frame = self.units(names)
        return frame, np.logical_and.reduce([known(frame[n]).to_numpy() for n in names])

    def judge(self, name: str, others: tuple[str, ...], near: float) -> Alias | None:
        """The alias of a factor with a set, if there is one; of several the set must leave a
        residual degree of freedom.
        """
        frame, mask = self.rows((name, *others))
        own, rest = self.basis((name,), frame, mask), self.basis(others, frame, mask)
        if not own.shape[1] or not rest.shape[1]:
            return None
        n, df, rank = int(mask.sum()), own.shape[1], rest.shape[1]
        if len(others) > 1 and rank >= n - 1:
            return None
        squares = np.clip(np.linalg.svd(own.T @ rest, compute_uv=False) ** 2, 0, 1)
        aliased, share = int((squares > 1 - EXACT).sum()), float(squares.max())
        if (
            not aliased
            and (share if len(others) == 1 else 1 - (1 - share) * (n - 1) / (n - 1 - rank)) < near
        ):
            return None
        same = len(others) == 1 and aliased == df == rank
        kind = (
            "same" if same else "explained" if aliased == df else "partial" if aliased else "near"
        )
        groups: tuple[tuple[str, ...], ...] = ()
        if kind == "partial" and len(others) == 1 and not self.numeric & {name, *others}:
            groups = linked(frame.loc[mask, name], frame.loc[mask, others[0]])
        return Alias(name, others, kind, share, df, aliased, n, len(frame) - n, groups)

    def any_alias(self, name: str, others: Sequence[str], near: float) -> bool:
        """Whether all others together take a contrast of a factor, or nearly: else none of their
        sets need be looked at.
        """
        frame, mask = self.rows((name, *others))
        if not mask.all():
            return True  # what the complete units say does not hold for those of a smaller set
        own, rest = (
            self.basis((name,), frame, mask),
            self.basis(tuple(others), frame, mask),
        )  # none is empty: both vary
        return bool((np.linalg.svd(own.T @ rest, compute_uv=False) ** 2).max() >= near)

    def coarser(self, others: tuple[str, ...], than: tuple[str, ...]) -> bool:
        """Whether the columns of one set lie in those of another, which has more."""
        frame, mask = self.rows((*others, *than))
        inner, outer = self.basis(others, frame, mask), self.basis(than, frame, mask)
        if not 0 < inner.shape[1] < outer.shape[1]:
            return False
        return bool(np.abs(inner - outer @ (outer.T @ inner)).max() < np.sqrt(EXACT))

    def basis(self, names: tuple[str, ...], frame: pd.DataFrame, mask: np.ndarray) -> np.ndarray:
        """Orthonormal columns that span the centred ones, [unit, rank]."""
        key = (names, id(frame), mask.tobytes())  # the frames live as long as self.units
        if key not in self.bases:
            parts = [coded(frame.loc[mask, n], n in self.numeric) for n in names]
            self.bases[key] = orthonormal(np.hstack(parts))
        return self.bases[key]


def coded(values: pd.Series, numeric: bool) -> np.ndarray:
    """The columns of a factor, [row, column]: log10, or an indicator per level."""
    if numeric:
        return np.log10(values.to_numpy(float))[:, None]
    codes, levels = pd.factorize(values.astype(object))
    return np.eye(len(levels))[codes]


def orthonormal(x: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the centred columns, [row, rank]."""
    if not len(x):
        return np.zeros((0, 0))
    centred = x - x.mean(axis=0)
    norms = np.linalg.norm(centred, axis=0)
    scaled = centred[:, norms > 1e-9 * np.maximum(1.0, np.abs(x).max(axis=0))]
    scaled = scaled / np.linalg.norm(scaled, axis=0)
    u, s, _ = np.linalg.svd(scaled, full_matrices=False)
    return u[:, s > 1e-9]


def linked(factor: pd.Series, other: pd.Series) -> tuple[tuple[str, ...], ...]:
    """The levels of a factor, in groups that some level of the other links (the components of the
    bipartite graph of levels).
    """
    group = {level: {level} for level in pd.unique(factor)}
    for _, levels in factor.groupby(other.astype(object).astype(str), sort=False):
        merged = set().union(*(group[level] for level in levels))
        group |= dict.fromkeys(merged, merged)
    components = {id(g): g for g in group.values()}.values()
    return tuple(
        sorted((tuple(sorted(map(str, g))) for g in components), key=lambda g: (-len(g), g))
    )


def told_by_form(
    frame: pd.DataFrame, factors: Sequence[str], numeric: Collection[str]
) -> list[tuple[str, str]]:
    """(factor, number): the value of a number determines the factor, so that only the assumed line
    in its log tells them apart.

    Only where the number's values are repeated (two units each, on average): else it determines
    everything.
    """
    found = []
    for name, number in itertools.product(
        [f for f in factors if f not in set(numeric)], [f for f in factors if f in set(numeric)]
    ):
        rows = frame[known(frame[name]) & known(frame[number])]
        values = rows[number].nunique()
        if (
            rows[name].nunique() > 1
            and 1 < values <= len(rows) / 2
            and rows.groupby(number)[name].nunique().max() == 1
        ):
            found.append((name, number))
    return found


def alone(frame: pd.DataFrame, factor: str, others: Sequence[str]) -> list[pd.DataFrame]:
    """The groups of rows that differ in a factor and, as far as is known, in none of the others:
    its clean comparisons.
    """
    rows = frame[known(frame[factor])]
    keys = (
        rows[list(others)].astype(object).where(rows[list(others)].notna(), "unknown").astype(str)
    )
    groups = (
        [part for _, part in rows.groupby([keys[o] for o in others], sort=False)]
        if others
        else [rows]
    )
    return [part for part in groups if part[factor].nunique() > 1]
