"""The unit of inference of each fixed effect: at which level of the data it varies, and how many independent units that leaves.

An effect is constant within a grouping when its columns have one value in each level. Its unit is the coarsest grouping with
a random intercept within which it is constant, or with a random slope of what varies of it (a slope of cond by run is also that
of size:cond, size being constant within runs); without one, the row. df never exceed
    units - rank of the fixed effects that are constant within the unit, the intercept among them
    units - number of fixed effects that are this slope times something constant within the unit     (tested by a slope).
An effect that varies within a grouping that has no slope of it tests the average effect as if every level had the same one
(Barr, Levy, Scheepers & Tily 2013): said as "slope omitted", with the reason.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats.formula import Design, Formula, Random, Term, column_of, values
from transect.stats.linear import column_rank


@dataclass(frozen=True)
class Unit:
    """Of one column of the model matrix. `slopes_omitted` names groupings, `reasons` says why for each of them."""

    unit: str  # a grouping, or "row"
    n_units: int
    max_df: float
    slopes_omitted: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Group:
    """A grouping with random effects: its levels [row], the variables of each of its effects, and their number."""

    codes: np.ndarray
    effects: set[frozenset[str]]
    n_effects: int

    @property
    def n_levels(self) -> int:
        return int(self.codes.max()) + 1


def inference_units(formula: Formula, design: Design, frame: pd.DataFrame) -> list[Unit]:
    """One per column of the model matrix; `frame` holds no missing values."""
    x = design.matrix(frame)
    groups = _groups(formula, frame)
    parts = {name: _varying(x, design, frame, group.codes) for name, group in groups.items()}
    found = []
    for j, term in enumerate(design.term_of):
        covered = [
            name
            for name, g in groups.items()
            if any(parts[name][j] <= e <= (parts[name][j] | set(term)) for e in g.effects)
        ]
        unit = min(covered, key=lambda name: groups[name].n_levels, default="row")
        if unit == "row":
            n_units, rank = len(frame), column_rank(x)
        else:
            n_units, rank = groups[unit].n_levels, _rank(j, x, parts[unit], design, groups[unit])
        omitted = [name for name in groups if term and parts[name][j] and name not in covered]
        reasons = [_reason(term, parts[name][j], name, groups[name], x.shape[0]) for name in omitted]
        found.append(Unit(unit, n_units, max(n_units - rank, 1), tuple(omitted), tuple(reasons)))
    return found


def _groups(formula: Formula, frame: pd.DataFrame) -> dict[str, _Group]:
    found: dict[str, _Group] = {}
    for random in formula.random:
        name, random_design = _name(random), Design(random.terms, frame)
        effects = {frozenset(t) for t in random.terms}
        if () not in random.terms and any(all(v in random_design.levels for v in t) for t in random.terms):
            effects.add(frozenset())  # the indicators of all levels of a category hold the intercept
        before = found.get(name, _Group(_codes(random.group, frame), set(), 0))
        found[name] = _Group(before.codes, before.effects | effects, before.n_effects + len(random_design.names))
    return found


def _varying(x: np.ndarray, design: Design, frame: pd.DataFrame, codes: np.ndarray) -> list[frozenset[str]]:
    """The variables of each column that vary within the levels; none for a column with one value in each level."""
    constant = _constant(x, codes)
    variables = {v for term in design.terms for v in term}
    varies = {v for v in variables if not _constant(pd.factorize(values(v, frame))[0][:, None], codes)[0]}
    return [
        frozenset() if same else frozenset(term) & varies for same, term in zip(constant, design.term_of, strict=True)
    ]


def _rank(j: int, x: np.ndarray, parts: list[frozenset[str]], design: Design, group: _Group) -> int:
    """Coefficients that the units' own intercepts (or slopes) must give beside each other: what they cost of the df."""
    same = np.array([p == parts[j] for p in parts])
    if not parts[j]:
        return column_rank(x[_firsts(group.codes)][:, same])
    columns = sum(
        frozenset(t) == parts[j] for t in design.term_of
    )  # of the slope itself: one for each level of a category
    return int(np.ceil(same.sum() / max(columns, 1)))


def _reason(term: Term, part: frozenset[str], name: str, group: _Group, n_rows: int) -> str:
    slope = ":".join(v for v in term if v in part)
    fewest = group.n_effects + 1
    if np.bincount(group.codes).max() <= fewest or group.n_levels * fewest >= n_rows:
        return f"the rows of a level of {name} are too few to estimate one"
    return f"the formula has none; (1 + {slope} | {name}) would add it"


class Shared(NamedTuple):
    """A term that does not vary within a column's levels, which have no random effect; `refused`: nothing stands in for one."""

    term: str
    column: str
    levels: int
    unit: str
    refused: bool


def pseudoreplicated(formula: Formula, design: Design, frame: pd.DataFrame) -> list[Shared]:
    """Where a term is constant within a coarser column of the table than its unit.

    Its rows or units are then counted as independent although they share that column's level. A column counts when it
    holds categories (text, or whole numbers that are not just another name of the effect's own values), has repeats, and
    is no function of the fixed effects (else nothing would be left to test). A unit that the effect varies in does not stand
    in for it either (size by item, and no run): text columns count that are not nested in it or in another grouping that carries
    the effect, refused where several levels have the same value.
    """
    x = design.matrix(frame)
    units = inference_units(formula, design, frame)
    known = {column_of(v) for term in formula.fixed for v in term} | set(
        formula.counts or (column_of(formula.response),)
    )
    grouped = {column_of(v) for r in formula.random for v in r.group}
    grouping = {_name(r): _codes(r.group, frame) for r in formula.random}
    own = {name: _constant(x, levels) for name, levels in grouping.items()}
    found = []
    for column in frame.columns:
        if column in known or column in grouped or pd.api.types.is_float_dtype(frame[column]):
            continue
        codes, levels = pd.factorize(frame[column])
        if not 2 <= len(levels) < len(frame) or _determined(x, codes):
            continue
        constant, number = _constant(x, codes), pd.api.types.is_numeric_dtype(frame[column])
        for j, (term, unit) in enumerate(zip(design.term_of, units, strict=True)):
            renamed = len(np.unique(x[:, j])) == len(levels)
            if not term or not constant[j] or (number and renamed):
                continue
            if unit.unit != "row" and not own[unit.unit][j]:
                carriers = [g for name, g in grouping.items() if name == unit.unit or own[name][j]]
                if not number and not any(_within(codes, g) for g in carriers):
                    found.append(Shared(design.names[j], str(column), len(levels), unit.unit, not renamed))
            elif len(levels) < unit.n_units and (unit.unit == "row" or _within(grouping[unit.unit], codes)):
                found.append(Shared(design.names[j], str(column), len(levels), unit.unit, unit.unit == "row"))
    return found


def refuse_pseudoreplication(formula: Formula, design: Design, frame: pd.DataFrame) -> None:
    """Raise InputError where an effect would be tested against rows although a coarser column carries it."""
    for term, column, levels, unit, refused in pseudoreplicated(formula, design, frame):
        if refused:
            counted = f"its {len(frame)} rows" if unit == "row" else f"the levels of {unit}, its unit in this formula,"
            raise InputError(
                f"'{term}' does not vary within {column} ({levels} levels), which has no random effect: {counted} "
                f"would count as independent. Add (1 | {_quoted(column)}) to the formula, or allow it with "
                "--allow-pseudoreplication."
            )


def _quoted(column: str) -> str:
    """As a formula writes it."""
    return column if re.fullmatch(r"[A-Za-z_.][A-Za-z0-9_.]*", column) else f"`{column}`"


def _name(random: Random) -> str:
    return ":".join(random.group)


def _codes(group: tuple[str, ...], frame: pd.DataFrame) -> np.ndarray:
    return frame.groupby([column_of(v) for v in group], sort=False).ngroup().to_numpy()


def _constant(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Of each column, whether it has one value within every level."""
    return (x == x[_firsts(codes)][_ranks(codes)]).all(0)


def _firsts(codes: np.ndarray) -> np.ndarray:
    return np.unique(codes, return_index=True)[1]


def _ranks(codes: np.ndarray) -> np.ndarray:
    return np.unique(codes, return_inverse=True)[1]


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
    return len(set(zip(inner.tolist(), outer.tolist(), strict=True))) == len(set(inner.tolist()))
