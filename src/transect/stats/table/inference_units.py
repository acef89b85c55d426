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


def inference_units(
    formula: Formula, design: Design, frame: pd.DataFrame, x: np.ndarray
) -> list[Unit]:
    """One per column of the model matrix x = design.matrix(frame); `frame` holds no missing values."""
    groups = _groups(formula, frame)
    varied = {
        v: pd.factorize(values(v, frame))[0][:, None]
        for v in dict.fromkeys(v for t in design.terms for v in t)
    }
    parts = {name: _varying(x, design, varied, group.codes) for name, group in groups.items()}
    found = []
    for j, term in enumerate(design.term_of):
        covered = [
            name
            for name, g in groups.items()
            if any(parts[name][j] <= e <= (parts[name][j] | set(term)) for e in g.effects)
        ]
        unit = min(covered, key=lambda name: groups[name].n_levels, default=ROW)
        n_units = len(frame) if unit == ROW else groups[unit].n_levels
        df = {
            name: max(g.n_levels - _rank(j, x, parts[name], design, g), 1)
            for name, g in groups.items()
            if name in covered
        }
        if unit == ROW:
            bound = DfBound(max(n_units - column_rank(x), 1))
        elif not parts[unit][j]:
            bound = DfBound(df[unit])
        else:
            others = _crossed(unit, covered, groups, df)
            bound = DfBound(
                df[unit],
                others,
                min((df[name] for name in covered if not parts[name][j]), default=np.inf),
            )
        omitted = [name for name in groups if term and parts[name][j] and name not in covered]
        remedies = [_remedy(term, parts[name][j], name, groups[name], frame) for name in omitted]
        found.append(Unit(unit, n_units, bound, tuple(omitted), tuple(remedies)))
    return found


def _crossed(
    unit: str, covered: Sequence[str], groups: Mapping[str, _Group], df: Mapping[str, float]
) -> tuple[Carrier, ...]:
    """The groupings that carry an effect beside its unit and are not nested in it, each with those
    that are nested in itself.
    """

    def within(inner: str, outer: str) -> bool:
        return inner == outer or _within(groups[inner].codes, groups[outer].codes)

    others = sorted((n for n in covered if not within(n, unit)), key=lambda n: groups[n].n_levels)
    held: dict[str, list[str]] = {}
    for name in others:
        held.setdefault(next((outer for outer in held if within(name, outer)), name), []).append(
            name
        )
    return tuple(Carrier(frozenset(names), df[outer]) for outer, names in held.items())


def _groups(formula: Formula, frame: pd.DataFrame) -> dict[str, _Group]:
    found: dict[str, _Group] = {}
    for random in formula.random:
        name, random_design = _name(random), Design(random.terms, frame)
        codes = codes_of(random.group, frame)
        if codes.max() + 1 == len(
            frame
        ):  # overdispersion of a binomial model: its levels are the rows
            continue
        effects = {frozenset(t) for t in random.terms}
        if () not in random.terms and any(
            all(v in random_design.levels for v in t) for t in random.terms
        ):
            effects.add(
                frozenset()
            )  # the indicators of all levels of a category hold the intercept
        before = found.get(name, _Group(codes, set(), 0))
        found[name] = _Group(
            before.codes, before.effects | effects, before.n_effects + len(random_design.names)
        )
    return found


def _varying(
    x: np.ndarray, design: Design, varied: Mapping[str, np.ndarray], codes: np.ndarray
) -> list[frozenset[str]]:
    """The variables of each column that vary within the levels; none for a column with one value in
    each level.
    """
    constant = constant_columns(x, codes)
    varies = {v for v, levels in varied.items() if not constant_columns(levels, codes)[0]}
    return [
        frozenset() if same else frozenset(term) & varies
        for same, term in zip(constant, design.term_of, strict=True)
    ]


def _rank(j: int, x: np.ndarray, parts: list[frozenset[str]], design: Design, group: _Group) -> int:
    """Coefficients that the units' own intercepts (or slopes) must give beside each other: what
    they cost of the df.
    """
    same = np.array([p == parts[j] for p in parts])
    if not parts[j]:
        return column_rank(x[_firsts(group.codes)][:, same])
    columns = sum(
        frozenset(t) == parts[j] for t in design.term_of
    )  # of the slope itself: one for each level of a category
    return int(np.ceil(same.sum() / max(columns, 1)))


def _remedy(term: Term, part: frozenset[str], name: str, group: _Group, frame: pd.DataFrame) -> str:
    slope = tuple(v for v in term if v in part)
    fewest = (
        group.n_effects + len(Design(((), slope), frame).names) - 1
    )  # a category of 7 levels: 6 more
    if np.bincount(group.codes).max() <= fewest or group.n_levels * fewest >= len(frame):
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
    known = {column_of(v) for term in formula.fixed for v in term} | set(
        formula.counts or (column_of(formula.response),)
    )
    grouped = {column_of(v) for r in formula.random for v in r.group}
    grouping = {_name(r): codes_of(r.group, frame) for r in formula.random}
    own = {name: constant_columns(x, levels) for name, levels in grouping.items()}
    found = []
    for column in frame.columns:
        if column in known or column in grouped or pd.api.types.is_float_dtype(frame[column]):
            continue
        codes, levels = pd.factorize(frame[column])
        if not 2 <= len(levels) < len(frame) or _determined(x, codes):
            continue
        constant, number = constant_columns(x, codes), pd.api.types.is_numeric_dtype(frame[column])
        for j, (term, unit) in enumerate(zip(design.term_of, units, strict=True)):
            renamed = len(np.unique(x[:, j])) == len(levels)
            if not term or not constant[j] or (number and renamed):
                continue
            if unit.unit != ROW and not own[unit.unit][j]:
                carriers = [g for name, g in grouping.items() if name == unit.unit or own[name][j]]
                if not number and not any(_within(codes, g) for g in carriers):
                    found.append(
                        Shared(design.names[j], str(column), len(levels), unit.unit, not renamed)
                    )
            elif len(levels) < unit.n_units and (
                unit.unit == ROW or _within(grouping[unit.unit], codes)
            ):
                found.append(
                    Shared(design.names[j], str(column), len(levels), unit.unit, unit.unit == ROW)
                )
    return found


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
    grouping = {_name(r): codes_of(r.group, frame) for r in formula.random}
    found = []
    for j, (name, unit) in enumerate(zip(design.names, units, strict=True)):
        own = grouping.get(unit.unit)
        df = {}
        for column in (
            s.column
            for s in shared
            if s.term == name and own is not None and s.levels < unit.n_units
        ):
            codes = pd.factorize(frame[column])[0]
            assert own is not None
            if (codes >= 0).all() and _within(own, codes) and constant_columns(x[:, [j]], own)[0]:
                df[column] = _df_of(codes, x)
        found.append(min(df, key=lambda c: df[c], default=""))
    return found


def bounded(
    units: Sequence[Unit], columns: Sequence[str], frame: pd.DataFrame, x: np.ndarray
) -> list[Unit]:
    """The units, each with at most the df of the levels of its column ("": none)."""
    found = []
    for unit, column in zip(units, columns, strict=True):
        if column:
            codes = pd.factorize(frame[column])[0]
            bound = replace(unit.bound, df=min(unit.bound.df, _df_of(codes, x)))
            unit = replace(unit, bound=bound, column=column, n_levels=int(codes.max()) + 1)
        found.append(unit)
    return found


def _df_of(codes: np.ndarray, x: np.ndarray) -> int:
    """Levels - rank of the fixed effects that are constant within them, 1 or more."""
    firsts = _firsts(codes)
    return max(len(firsts) - column_rank(x[firsts][:, constant_columns(x, codes)]), 1)


def refuse_pseudoreplication(found: Sequence[Shared], n_rows: int) -> None:
    """Raise InputError where an effect would be tested against rows although a coarser column
    carries it.
    """
    for term, column, levels, unit, refused in found:
        if refused:
            counted = (
                f"its {n_rows} rows"
                if unit == ROW
                else f"the levels of {unit}, its unit in this formula,"
            )
            raise InputError(
                f"'{term}' does not vary within {column} ({levels} levels), which has no random effect: {counted} "
                f"would count as independent. Add (1 | {quoted(column)}) to the formula, or allow it with "
                "--allow-pseudoreplication."
            )


def _name(random: Random) -> str:
    return ":".join(random.group)


def codes_of(group: tuple[str, ...], frame: pd.DataFrame) -> np.ndarray:
    """The level of each row, 0, 1, ... in the order of their first rows."""
    columns = [column_of(v) for v in group]
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
    found = np.empty(int(codes.max()) + 1, dtype=int)
    found[codes[::-1]] = np.arange(len(codes))[
        ::-1
    ]  # of rows of one level the last assignment stays
    return found


def _determined(x: np.ndarray, codes: np.ndarray) -> bool:
    """Whether the indicators of a column lie in the span of the fixed effects."""
    n_levels = int(codes.max()) + 1
    if n_levels > x.shape[1]:
        return False
    rows = np.unique(np.column_stack([x, codes]), axis=0)
    indicators = np.eye(n_levels)[rows[:, -1].astype(int)]
    return column_rank(np.column_stack([rows[:, :-1], indicators])) == column_rank(x)


def _within(inner: np.ndarray, outer: np.ndarray) -> bool:
    """Whether every level of one grouping lies in one level of another."""
    return bool(constant_columns(outer[:, None], inner)[0])
