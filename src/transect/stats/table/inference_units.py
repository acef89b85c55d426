"""The unit of inference of each fixed effect: at which level of the data it varies, and how many
independent units that leaves.

An effect is constant within a grouping when its columns have one value in each level. Its unit is
the coarsest grouping with a random intercept within which it is constant, or with a random slope of
what varies of it (a slope of cond by run is also that of size:cond, size being constant within
runs); without one, the row. df never exceed
    units - rank of the fixed effects that are constant within the unit, the intercept among them
    units - number of fixed effects that are this slope times something constant within the unit     (tested by a slope; where
            another grouping carries the effect too, as far as its variance comes from these units:
            stats/mixed/df_bound.py).
An effect that varies within a grouping that has no slope of it tests the average effect as if every
level had the same one (Barr, Levy, Scheepers & Tily 2013): said as "slope omitted", with the
reason. A column of the table without random effect that holds several units in each level, and
within which the effect is constant (the configuration of runs that differ in seed only), bounds the
df by its levels too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats.formula.notation import Design, Formula, Random, Term, column_of, quoted, values
from transect.stats.inference.linear import column_rank
from transect.stats.mixed.df_bound import Carrier, DfBound

ROW = ""


@dataclass(frozen=True)
class Unit:
    """Of one column of the model matrix. `slopes_omitted` names groupings, `remedies` what would
    add each, if anything could.
    """

    unit: str  # a grouping; ROW, which no column can be called: the rows themselves
    n_units: int
    bound: DfBound
    slopes_omitted: tuple[str, ...]
    remedies: tuple[
        str, ...
    ]  # a random term; "" where the rows of a level are too few to estimate one
    column: str = ""  # a coarser one without random effect, whose `n_levels` bound the df
    n_levels: int = 0


@dataclass(frozen=True)
class _Group:
    """A grouping with random effects: its levels [row], the variables of each of its effects, and
    their number.
    """

    codes: np.ndarray
    effects: set[frozenset[str]]
    n_effects: int

    @property
    def n_levels(self) -> int:
        return int(self.codes.max()) + 1

    def carries(self, term: Term, varying: frozenset[str]) -> bool:
        """Whether one of its effects holds all of a term that varies within its levels, and nothing
        but the term.
        """
        return any(varying <= effect <= (varying | set(term)) for effect in self.effects)


def inference_units(
    formula: Formula, design: Design, frame: pd.DataFrame, x: np.ndarray
) -> list[Unit]:
    """One per column of the model matrix x = design.matrix(frame); `frame` holds no missing values."""
    groups = _groups(formula, frame)
    varying = _varying_in_each(x, design, groups, frame)
    units = []
    for j, term in enumerate(design.term_of):
        parts = {name: of_columns[j] for name, of_columns in varying.items()}
        carriers = [name for name in groups if groups[name].carries(term, parts[name])]
        df = {
            name: max(groups[name].n_levels - _rank(j, x, varying[name], design, groups[name]), 1)
            for name in carriers
        }
        unit = min(carriers, key=lambda name: groups[name].n_levels, default=ROW)
        n_units = len(frame) if unit == ROW else groups[unit].n_levels
        omitted = [name for name in groups if term and parts[name] and name not in carriers]
        remedies = [_remedy(term, parts[name], name, groups[name], frame) for name in omitted]
        bound = _bound(unit, groups, parts, df, x)
        units.append(Unit(unit, n_units, bound, tuple(omitted), tuple(remedies)))
    return units


def _varying_in_each(
    x: np.ndarray, design: Design, groups: Mapping[str, _Group], frame: pd.DataFrame
) -> dict[str, list[frozenset[str]]]:
    """Of each grouping and column the variables that vary within the levels."""
    variables = dict.fromkeys(variable for term in design.terms for variable in term)
    levels = {variable: pd.factorize(values(variable, frame))[0][:, None] for variable in variables}
    return {name: _varying(x, design, levels, group.codes) for name, group in groups.items()}


def _bound(
    unit: str,
    groups: Mapping[str, _Group],
    parts: Mapping[str, frozenset[str]],
    df: Mapping[str, float],
    x: np.ndarray,
) -> DfBound:
    """The bound of one column's df. `df`: of each grouping that carries it; `parts`: what of it
    varies within each grouping.
    """
    if unit == ROW:
        return DfBound(max(len(x) - column_rank(x), 1))
    if not parts[unit]:
        return DfBound(df[unit])
    without_slope = [df[name] for name in df if not parts[name]]
    others = _crossed(unit, groups, df)
    return DfBound(df[unit], others, min(without_slope, default=np.inf))


def _crossed(
    unit: str, groups: Mapping[str, _Group], df: Mapping[str, float]
) -> tuple[Carrier, ...]:
    """The groupings that carry an effect (those of `df`) beside its unit and are not nested in it,
    each with those that are nested in itself.
    """

    def nested(inner: str, outer: str) -> bool:
        return inner == outer or _within(groups[inner].codes, groups[outer].codes)

    others = [name for name in df if not nested(name, unit)]
    others.sort(key=lambda name: groups[name].n_levels)
    members: dict[str, list[str]] = {}
    for name in others:
        outer = next((outer for outer in members if nested(name, outer)), name)
        members.setdefault(outer, []).append(name)
    return tuple(Carrier(frozenset(names), df[outer]) for outer, names in members.items())


def _groups(formula: Formula, frame: pd.DataFrame) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for random in formula.random:
        design, codes = Design(random.terms, frame), codes_of(random.group, frame)
        if codes.max() + 1 == len(frame):
            continue  # overdispersion of a binomial model: its levels are the rows
        before = groups.get(_name(random), _Group(codes, set(), 0))
        groups[_name(random)] = _Group(
            before.codes,
            before.effects | _effects(random, design),
            before.n_effects + len(design.names),
        )
    return groups


def _effects(random: Random, design: Design) -> set[frozenset[str]]:
    """The variables of each effect of a random term; none for an intercept."""
    effects = {frozenset(term) for term in random.terms}
    categories = [term for term in random.terms if all(v in design.levels for v in term)]
    if categories:  # the indicators of all levels of a category hold the intercept
        effects.add(frozenset())
    return effects


def _varying(
    x: np.ndarray, design: Design, levels: Mapping[str, np.ndarray], codes: np.ndarray
) -> list[frozenset[str]]:
    """The variables of each column that vary within the levels; none for a column with one value in
    each level.
    """
    constant = constant_columns(x, codes)
    varies = {v for v, of_variable in levels.items() if not constant_columns(of_variable, codes)[0]}
    return [
        frozenset() if same else frozenset(term) & varies
        for same, term in zip(constant, design.term_of, strict=True)
    ]


def _rank(j: int, x: np.ndarray, parts: list[frozenset[str]], design: Design, group: _Group) -> int:
    """Coefficients that the units' own intercepts (or slopes) must give beside each other: what
    they cost of the df.
    """
    same = np.array([part == parts[j] for part in parts])
    if not parts[j]:
        units = _firsts(group.codes)
        return column_rank(x[units][:, same])
    # of the slope itself: one for each level of a category
    of_slope = [term for term in design.term_of if frozenset(term) == parts[j]]
    return int(np.ceil(same.sum() / max(len(of_slope), 1)))


def _remedy(term: Term, part: frozenset[str], name: str, group: _Group, frame: pd.DataFrame) -> str:
    slope = tuple(v for v in term if v in part)
    added = len(Design(((), slope), frame).names) - 1  # a category of 7 levels: 6
    n_effects = group.n_effects + added
    if np.bincount(group.codes).max() <= n_effects or group.n_levels * n_effects >= len(frame):
        return ""
    return f"(1 + {':'.join(slope)} | {name})"


class Shared(NamedTuple):
    """A term that does not vary within a column's levels, which have no random effect; `refused`:
    nothing stands in for one.
    """

    term: str
    column: str
    levels: int
    unit: str
    refused: bool


@dataclass(frozen=True)
class _Grouping:
    """A grouping of the random terms: its levels [row], and which columns of the model matrix are
    constant within them.
    """

    codes: np.ndarray
    constant: np.ndarray


@dataclass(frozen=True)
class _Column:
    """A column of the table without random effect: its levels [row], their number, whether they are
    numbers, and which columns of the model matrix are constant within them.
    """

    name: str
    codes: np.ndarray
    n_levels: int
    numeric: bool
    constant: np.ndarray

    def renames(self, effect: np.ndarray) -> bool:
        """Whether the column has as many levels as the effect has values."""
        return len(np.unique(effect)) == self.n_levels


def pseudoreplicated(
    formula: Formula, design: Design, frame: pd.DataFrame, x: np.ndarray, units: Sequence[Unit]
) -> list[Shared]:
    """Where a term is constant within a coarser column of the table than its unit.

    Its rows or units are then counted as independent although they share that column's level. A
    column counts when it holds categories (text, or whole numbers that are not just another name of
    the effect's own values), has repeats, and is no function of the fixed effects (else nothing
    would be left to test). A unit that the effect varies in does not stand in for it either (size
    by item, and no run): text columns count that are not nested in it or in another grouping that
    carries the effect, refused where several levels have the same value.
    """
    groupings = {}
    for random in formula.random:
        codes = codes_of(random.group, frame)
        groupings[_name(random)] = _Grouping(codes, constant_columns(x, codes))
    shared = []
    for column in _columns_without_effect(formula, frame, x):
        for j, (term, unit) in enumerate(zip(design.term_of, units, strict=True)):
            renamed = column.renames(x[:, j])
            if not term or not column.constant[j] or (column.numeric and renamed):
                continue
            if unit.unit != ROW and not groupings[unit.unit].constant[j]:
                stands, refused = _replaces_slope(column, j, unit.unit, groupings), not renamed
            else:
                stands, refused = _replaces_unit(column, unit, groupings), unit.unit == ROW
            if stands:
                name = design.names[j]
                shared.append(Shared(name, column.name, column.n_levels, unit.unit, refused))
    return shared


def _columns_without_effect(formula: Formula, frame: pd.DataFrame, x: np.ndarray) -> list[_Column]:
    """The columns that no part of the formula names and that hold categories with repeats, which
    are no function of the fixed effects.
    """
    named = {column_of(v) for term in formula.fixed for v in term}
    named |= set(formula.counts or (column_of(formula.response),))
    named |= {column_of(v) for random in formula.random for v in random.group}
    columns = []
    for name in frame.columns:
        if name in named or pd.api.types.is_float_dtype(frame[name]):
            continue
        codes, levels = pd.factorize(frame[name])
        if 2 <= len(levels) < len(frame) and not _determined(x, codes):
            numeric = pd.api.types.is_numeric_dtype(frame[name])
            constant = constant_columns(x, codes)
            columns.append(_Column(str(name), codes, len(levels), numeric, constant))
    return columns


def _replaces_slope(column: _Column, j: int, unit: str, groupings: Mapping[str, _Grouping]) -> bool:
    """Whether a text column is nested in no grouping that carries an effect which varies within its
    unit.
    """
    carriers = [
        grouping.codes
        for name, grouping in groupings.items()
        if name == unit or grouping.constant[j]
    ]
    return not column.numeric and not any(_within(column.codes, codes) for codes in carriers)


def _replaces_unit(column: _Column, unit: Unit, groupings: Mapping[str, _Grouping]) -> bool:
    """Whether a column is coarser than the unit of an effect that is constant within it."""
    if column.n_levels >= unit.n_units:
        return False
    return unit.unit == ROW or _within(groupings[unit.unit].codes, column.codes)


def coarsest_columns(
    shared: Sequence[Shared],
    formula: Formula,
    design: Design,
    frame: pd.DataFrame,
    x: np.ndarray,
    units: Sequence[Unit],
) -> list[str]:
    """Of each effect that is constant within its unit: the column of `shared` that leaves the
    fewest df of those that hold several units in a level, or "".
    """
    grouping = {_name(random): codes_of(random.group, frame) for random in formula.random}
    coarsest = []
    for j, (name, unit) in enumerate(zip(design.names, units, strict=True)):
        df: dict[str, int] = {}
        own = grouping.get(unit.unit)
        if own is not None and constant_columns(x[:, [j]], own)[0]:
            coarser = [s.column for s in shared if s.term == name and s.levels < unit.n_units]
            df = _df_of_columns(coarser, own, frame, x)
        coarsest.append(min(df, key=lambda column: df[column], default=""))
    return coarsest


def _df_of_columns(
    columns: Sequence[str], unit: np.ndarray, frame: pd.DataFrame, x: np.ndarray
) -> dict[str, int]:
    """The df that each column without missing values leaves in whose levels whole units lie."""
    df = {}
    for column in columns:
        codes = pd.factorize(frame[column])[0]
        if (codes >= 0).all() and _within(unit, codes):
            df[column] = _df_of(codes, x)
    return df


def bounded(
    units: Sequence[Unit], columns: Sequence[str], frame: pd.DataFrame, x: np.ndarray
) -> list[Unit]:
    """The units, each with at most the df of the levels of its column ("": none)."""
    limited = []
    for unit, column in zip(units, columns, strict=True):
        if column:
            codes = pd.factorize(frame[column])[0]
            bound = replace(unit.bound, df=min(unit.bound.df, _df_of(codes, x)))
            unit = replace(unit, bound=bound, column=column, n_levels=int(codes.max()) + 1)
        limited.append(unit)
    return limited


def _df_of(codes: np.ndarray, x: np.ndarray) -> int:
    """Levels - rank of the fixed effects that are constant within them, 1 or more."""
    firsts = _firsts(codes)
    constant = constant_columns(x, codes)
    rank = column_rank(x[firsts][:, constant])
    return max(len(firsts) - rank, 1)


def refuse_pseudoreplication(shared: Sequence[Shared], n_rows: int) -> None:
    """Raise InputError where an effect would be tested against rows although a coarser column
    carries it.
    """
    for term, column, levels, unit, refused in shared:
        if refused:
            counted = f"the levels of {unit}, its unit in this formula,"
            if unit == ROW:
                counted = f"its {n_rows} rows"
            raise InputError(
                f"'{term}' does not vary within {column} ({levels} levels), which has no random effect: {counted} "
                f"would count as independent. Add (1 | {quoted(column)}) to the formula, or allow it with "
                "--allow-pseudoreplication."
            )


def _name(random: Random) -> str:
    return ":".join(random.group)


def codes_of(group: tuple[str, ...], frame: pd.DataFrame) -> np.ndarray:
    """The level of each row, 0, 1, ... in the order of their first rows."""
    columns = [column_of(variable) for variable in group]
    if len(columns) == 1:
        return pd.factorize(frame[columns[0]])[0]
    return frame.groupby(columns, sort=False).ngroup().to_numpy()


def constant_columns(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Of each column, whether it has one value within every level."""
    codes = codes - codes.min()  # -1: missing
    firsts = _firsts(codes)
    return np.array([(column == column[firsts][codes]).all() for column in x.T], dtype=bool)


def _firsts(codes: np.ndarray) -> np.ndarray:
    """The first row of each level, of codes 0, 1, ... that all occur."""
    firsts = np.empty(int(codes.max()) + 1, dtype=int)
    backwards = np.arange(len(codes))[::-1]
    firsts[codes[backwards]] = backwards  # of rows of one level the last assignment stays
    return firsts


def _determined(x: np.ndarray, codes: np.ndarray) -> bool:
    """Whether the indicators of a column lie in the span of the fixed effects."""
    n_levels = int(codes.max()) + 1
    if n_levels > x.shape[1]:
        return False
    rows = np.unique(np.column_stack([x, codes]), axis=0)
    distinct, levels = rows[:, :-1], rows[:, -1].astype(int)
    indicators = np.eye(n_levels)[levels]
    together = np.column_stack([distinct, indicators])
    return column_rank(together) == column_rank(x)


def _within(inner: np.ndarray, outer: np.ndarray) -> bool:
    """Whether every level of one grouping lies in one level of another."""
    return bool(constant_columns(outer[:, None], inner)[0])
