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


def known_in_all(frame: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Where the values of all these columns are known [row]."""
    mask: np.ndarray = np.logical_and.reduce([known(frame[name]).to_numpy() for name in names])
    return mask


def factor_reports(
    frame: pd.DataFrame,
    factors: Sequence[str],
    levels: Sequence[str],
    numeric: Collection[str] = (),
) -> list[FactorReport]:
    """One per factor. `levels`: columns that group the rows, from coarse to fine; the row itself is
    the finest (ROW).
    """
    reports = []
    for name in factors:
        rows = frame[known(frame[name])]
        level = _coarsest_level(rows, name, levels)
        units = level
        if rows[name].nunique() < 2 and levels:
            units = levels[-1]
        reports.append(
            FactorReport(
                factor=name,
                numeric=name in numeric,
                level=level,
                n_units=len(rows) if units == ROW else rows[units].nunique(),
                n_levels=rows[name].nunique(),
                unknown=len(frame) - len(rows),
            )
        )
    return reports


def _coarsest_level(rows: pd.DataFrame, name: str, levels: Sequence[str]) -> str:
    """The first of these groupings within whose units a factor is constant, else ROW; ROW for what
    does not vary.
    """
    if rows[name].nunique() < 2:
        return ROW
    for grouping in levels:
        if rows.groupby(grouping)[name].nunique().max() == 1:
            return grouping
    return ROW


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
    columns = _Columns(frame, varying, numeric, _units(frame, reports, levels), near)
    pairs = _Pairs.of(columns, varying)
    everything = list(pairs.aliases.values())
    chosen = pairs.one_of_each_difference(varying)
    for name in chosen:
        others = [other for other in chosen if other != name and not pairs.explained(name, other)]
        if len(others) > 1 and columns.any_alias(name, others):
            everything += _joint(columns, name, others, pairs.of_factor(name, others), largest)
    order = {name: i for i, name in enumerate(varying)}

    def place(alias: Alias) -> tuple[int, int, list[int]]:
        return order[alias.factor], len(alias.others), [order[other] for other in alias.others]

    return sorted(everything, key=place)


@dataclass(frozen=True)
class _Pairs:
    """The aliases of one factor with one other: {(factor, other): alias}."""

    aliases: dict[tuple[str, str], Alias]

    @classmethod
    def of(cls, columns: "_Columns", factors: Sequence[str]) -> "_Pairs":
        judged = {
            (name, other): columns.judge(name, (other,))
            for name, other in itertools.permutations(factors, 2)
        }
        return cls({pair: alias for pair, alias in judged.items() if alias is not None})

    def kind(self, name: str, other: str) -> str:
        """How a factor is aliased with another; '' where it is not."""
        alias = self.aliases.get((name, other))
        return alias.kind if alias else ""

    def explained(self, name: str, other: str) -> bool:
        """Whether the other determines the factor: no set that holds it is a minimal alias."""
        return self.kind(name, other) in ("same", "explained")

    def of_factor(self, name: str, others: Sequence[str]) -> list[Alias]:
        return [self.aliases[name, other] for other in others if (name, other) in self.aliases]

    def one_of_each_difference(self, factors: Sequence[str]) -> list[str]:
        """The factors without those that are a second name of an earlier one."""
        chosen = []
        for i, name in enumerate(factors):
            if all(self.kind(name, earlier) != "same" for earlier in factors[:i]):
                chosen.append(name)
        return chosen


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
    largest: int,
) -> list[Alias]:
    """The minimal sets of two or more that take more of a factor than each of their parts does."""
    minimal = list(own)
    joint: list[Alias] = []
    for size in range(2, min(largest, len(others)) + 1):
        judged = [columns.judge(name, chosen) for chosen in itertools.combinations(others, size)]
        of_size = [a for a in judged if a is not None and _exceeds_parts(a, minimal)]
        coarsest = _without_finer(columns, of_size)
        minimal += coarsest
        joint += coarsest
    return joint


def _exceeds_parts(alias: Alias, smaller: Sequence[Alias]) -> bool:
    """Whether a set takes more of a factor than each part of it does."""
    parts = [part for part in smaller if set(part.others) < set(alias.others)]
    return all(_says_more(alias, part) for part in parts)


def _without_finer(columns: "_Columns", sets: Sequence[Alias]) -> list[Alias]:
    """Of two sets of one size the coarser says more: the finer one explains because it determines
    the coarser.
    """
    kept = []
    for alias in sets:
        rivals = [rival for rival in sets if rival is not alias]
        if not any(columns.coarser(rival.others, alias.others) for rival in rivals):
            kept.append(alias)
    return kept


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
        near: float,
    ):
        self.numeric, self.units, self.near = set(numeric), units, near
        self.bases: dict[tuple[tuple[str, ...], int, bytes], np.ndarray] = {}
        for name in self.numeric & set(factors):
            values = frame.loc[known(frame[name]), name]
            positive = pd.to_numeric(values, errors="coerce") > 0
            if not positive.all():
                raise ValueError(
                    f"the numeric factor {name} needs positive values; it has {values.min()!r}"
                )

    def rows(self, names: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray]:
        """The units of these factors, and in which all of them are known."""
        frame = self.units(names)
        return frame, known_in_all(frame, names)

    def judge(self, name: str, others: tuple[str, ...]) -> Alias | None:
        """The alias of a factor with a set, if there is one; of several the set must leave a
        residual degree of freedom.
        """
        frame, mask = self.rows((name, *others))
        own = self.basis((name,), frame, mask)
        rest = self.basis(others, frame, mask)
        if not own.shape[1] or not rest.shape[1]:
            return None
        n_units, df, rank = int(mask.sum()), own.shape[1], rest.shape[1]
        several = len(others) > 1
        if several and rank >= n_units - 1:
            return None
        squares = np.clip(_squared_correlations(own, rest), 0, 1)
        aliased, share = int((squares > 1 - EXACT).sum()), float(squares.max())
        if not aliased:
            # the share of many columns in few units is large by chance
            judged = 1 - (1 - share) * (n_units - 1) / (n_units - 1 - rank) if several else share
            if judged < self.near:
                return None
        kind = _kind(aliased, df, None if several else rank)
        groups: tuple[tuple[str, ...], ...] = ()
        if kind == "partial" and not several and not self.numeric & {name, *others}:
            groups = linked(frame.loc[mask, name], frame.loc[mask, others[0]])
        unknown = len(frame) - n_units
        return Alias(name, others, kind, share, df, aliased, n_units, unknown, groups)

    def any_alias(self, name: str, others: Sequence[str]) -> bool:
        """Whether all others together take a contrast of a factor, or nearly: else none of their
        sets need be looked at.
        """
        frame, mask = self.rows((name, *others))
        if not mask.all():
            return True  # what the complete units say does not hold for those of a smaller set
        # no basis is empty: both vary
        own = self.basis((name,), frame, mask)
        rest = self.basis(tuple(others), frame, mask)
        return bool(_squared_correlations(own, rest).max() >= self.near)

    def coarser(self, others: tuple[str, ...], than: tuple[str, ...]) -> bool:
        """Whether the columns of one set lie in those of another, which has more."""
        frame, mask = self.rows((*others, *than))
        inner = self.basis(others, frame, mask)
        outer = self.basis(than, frame, mask)
        if not 0 < inner.shape[1] < outer.shape[1]:
            return False
        outside = inner - outer @ (outer.T @ inner)
        return bool(np.abs(outside).max() < np.sqrt(EXACT))

    def basis(self, names: tuple[str, ...], frame: pd.DataFrame, mask: np.ndarray) -> np.ndarray:
        """Orthonormal columns that span the centred ones, [unit, rank]."""
        key = (names, id(frame), mask.tobytes())  # the frames live as long as self.units
        if key not in self.bases:
            parts = [coded(frame.loc[mask, n], n in self.numeric) for n in names]
            self.bases[key] = orthonormal(np.hstack(parts))
        return self.bases[key]


def _squared_correlations(own: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Squared canonical correlations of two orthonormal bases, the largest first."""
    return np.asarray(np.linalg.svd(own.T @ rest, compute_uv=False) ** 2)


def _kind(aliased: int, df: int, rank: int | None) -> str:
    """The kind of an alias of `aliased` of df contrasts; rank: columns of the other factor, None of
    several.
    """
    if not aliased:
        return "near"
    if aliased < df:
        return "partial"
    return "same" if rank == df else "explained"


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
    sizes = np.maximum(1.0, np.abs(x).max(axis=0))
    varying = centred[:, norms > 1e-9 * sizes]
    scaled = varying / np.linalg.norm(varying, axis=0)
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
    components = {id(members): members for members in group.values()}.values()
    groups = [tuple(sorted(map(str, members))) for members in components]
    return tuple(sorted(groups, key=lambda members: (-len(members), members)))


def told_by_form(
    frame: pd.DataFrame, factors: Sequence[str], numeric: Collection[str]
) -> list[tuple[str, str]]:
    """(factor, number): the value of a number determines the factor, so that only the assumed line
    in its log tells them apart.

    Only where the number's values are repeated (two units each, on average): else it determines
    everything.
    """
    categories = [name for name in factors if name not in numeric]
    numbers = [name for name in factors if name in numeric]
    pairs = itertools.product(categories, numbers)
    return [(name, number) for name, number in pairs if _determines(frame, number, name)]


def _determines(frame: pd.DataFrame, number: str, factor: str) -> bool:
    """Whether a factor varies, and not within the values of a number that repeat."""
    rows = frame[known(frame[factor]) & known(frame[number])]
    n_values = rows[number].nunique()
    if rows[factor].nunique() < 2 or not 1 < n_values <= len(rows) / 2:
        return False
    return bool(rows.groupby(number)[factor].nunique().max() == 1)


def alone(frame: pd.DataFrame, factor: str, others: Sequence[str]) -> list[pd.DataFrame]:
    """The groups of rows that differ in a factor and, as far as is known, in none of the others:
    its clean comparisons.
    """
    rows = frame[known(frame[factor])]
    groups = [rows]
    if others:
        values = rows[list(others)]
        keys = values.astype(object).where(values.notna(), "unknown").astype(str)
        grouped = rows.groupby([keys[other] for other in others], sort=False)
        groups = [part for _, part in grouped]
    return [part for part in groups if part[factor].nunique() > 1]
