"""The unit of inference of each fixed effect: at which level of the data it varies, and how many independent units that leaves.

An effect is constant within a grouping when its columns have one value in each level. Its unit is the coarsest grouping with
a random intercept within which it is constant, or with a random slope of it; without one, the row. df never exceed
    units - rank of the fixed effects that are constant within the unit, the intercept among them   (a slope: units - 1).
An effect that varies within a grouping that has a random intercept but no slope of it tests the average effect as if every
level had the same one (Barr, Levy, Scheepers & Tily 2013): said as "slope omitted".
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats.formula import Design, Formula, Random, column_of


@dataclass(frozen=True)
class Unit:
    """Of one column of the model matrix."""

    unit: str  # a grouping, or "row"
    n_units: int
    max_df: float
    slopes_omitted: tuple[str, ...]


def inference_units(formula: Formula, design: Design, frame: pd.DataFrame) -> list[Unit]:
    """One per column of the model matrix; `frame` holds no missing values."""
    x = design.matrix(frame)
    intercepts = {_name(r): _codes(r.group, frame) for r in formula.random if () in r.terms}
    constant = {name: _constant(x, codes) for name, codes in intercepts.items()}
    slopes = {(_name(r), term) for r in formula.random for term in r.terms if term}
    found = []
    for j, term in enumerate(design.term_of):
        within = [name for name in intercepts if constant[name][j] or (name, term) in slopes]
        unit = min(within, key=lambda name: intercepts[name].max(), default="row")
        n_units = len(frame) if unit == "row" else int(intercepts[unit].max()) + 1
        if unit == "row":
            rank = int(np.linalg.matrix_rank(x))
        elif constant[unit][j]:
            rank = int(np.linalg.matrix_rank(x[_firsts(intercepts[unit])][:, constant[unit]]))
        else:
            rank = 1
        omitted = [name for name in intercepts if term and not constant[name][j] and (name, term) not in slopes]
        found.append(Unit(unit, n_units, max(n_units - rank, 1), tuple(omitted)))
    return found


def pseudoreplicated(formula: Formula, design: Design, frame: pd.DataFrame) -> list[tuple[str, str, int, str]]:
    """(term, column, levels, unit) where a term is constant within a coarser column of the table than its unit.

    Its rows or units are then counted as independent although they share that column's level. A column counts when it
    holds categories (text, or whole numbers that are not just another name of the effect's own values), has repeats, and
    is no function of the fixed effects (else nothing would be left to test).
    """
    x = design.matrix(frame)
    units = inference_units(formula, design, frame)
    known = {column_of(v) for term in formula.fixed for v in term} | set(
        formula.counts or (column_of(formula.response),)
    )
    grouped = {v for r in formula.random for v in r.group}
    found = []
    for column in frame.columns:
        if column in known or column in grouped or pd.api.types.is_float_dtype(frame[column]):
            continue
        codes, levels = pd.factorize(frame[column])
        if not 2 <= len(levels) < len(frame) or _determined(x, codes):
            continue
        constant, number = _constant(x, codes), pd.api.types.is_numeric_dtype(frame[column])
        for j, (term, unit) in enumerate(zip(design.term_of, units, strict=True)):
            if number and len(np.unique(x[:, j])) == len(levels):
                continue
            if term and constant[j] and len(levels) < unit.n_units and _nests(codes, unit.unit, formula, frame):
                found.append((design.names[j], str(column), len(levels), unit.unit))
    return found


def refuse_pseudoreplication(formula: Formula, design: Design, frame: pd.DataFrame) -> None:
    """Raise InputError where an effect would be tested against rows although a coarser column carries it."""
    for term, column, levels, unit in pseudoreplicated(formula, design, frame):
        if unit == "row":
            raise InputError(
                f"'{term}' does not vary within {column} ({levels} levels), which has no random effect: its {len(frame)} rows "
                f"would count as independent. Add (1 | {column}) to the formula, or allow it with --allow-pseudoreplication."
            )


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
    return bool(np.linalg.matrix_rank(np.column_stack([rows[:, :-1], indicators])) == np.linalg.matrix_rank(x))


def _nests(codes: np.ndarray, unit: str, formula: Formula, frame: pd.DataFrame) -> bool:
    """Whether every level of the unit lies in one level of the column."""
    if unit == "row":
        return True
    group = next(r.group for r in formula.random if _name(r) == unit)
    inner = _codes(group, frame)
    return len(set(zip(inner.tolist(), codes.tolist(), strict=True))) == len(set(inner.tolist()))
