"""The rows of one outcome and the factors that can have an effect in them: what varies, at which
level, and what differs with it.

A factor with one level, or one that varies between seeds, has no effect here; one that varies
within runs needs items. Two levels of a factor differ together with a column when both sides know
it and share no value of it: text that is disjoint, a number with one value on each side.
`differs_together` names such columns, so that a contrast is not read as the factor's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

from transect.stats.formula.notation import Term, parse, values

SHOWN = 2  # values of one side that are written out


@dataclass(frozen=True)
class Table:
    """The rows of one outcome: value, configuration, run, [item,] factors; `terms` are those that
    vary in it.
    """

    rows: pd.DataFrame
    terms: tuple[Term, ...]
    refused: dict[str, str]  # variable -> why it has no effect here
    within: frozenset[str]  # variables that vary within runs
    separate: Mapping[str, Sequence[str]] = field(
        default_factory=dict
    )  # variable -> columns it must not differ with

    @property
    def n_configurations(self) -> int:
        return self.rows["configuration"].nunique()


def read_table(rows: pd.DataFrame, factors: Sequence[str], items: bool) -> Table:
    """Sort the factors into those with an effect here and those without, and add the margins of
    interactions.
    """
    written = parse("value ~ " + (" + ".join(factors) or "1")).fixed
    terms = _with_margins(written)
    variables = list(dict.fromkeys(v for term in written for v in term))
    refused: dict[str, str] = {}
    within = set()
    for variable in sorted(variables):
        column = values(variable, rows)
        rows, column = rows[column.notna()], column.dropna()
        if _varies_within(column, rows["run"]):
            within.add(variable)
        elif reason := _no_effect(column, rows["configuration"]):
            refused[variable] = reason
    if not items:
        refused |= dict.fromkeys(within, "it varies within runs: needs items: true")
    kept = [term for term in terms if refused.keys().isdisjoint(term)]
    kept.sort(key=lambda term: (len(term), [variables.index(v) for v in term]))
    return Table(rows.reset_index(drop=True), tuple(kept), refused, frozenset(within))


def _no_effect(column: pd.Series, configurations: pd.Series) -> str:
    """Why a variable that is constant within runs has no effect; '' where it can have one."""
    if column.nunique() < 2:
        level = column.iloc[0] if len(column) else "none known"
        return f"only one level in the sample ({level})"
    if _varies_within(column, configurations):
        return "it varies within configurations, whose runs differ in the seed only"
    return ""


def _with_margins(terms: Sequence[Term]) -> set[Term]:
    """The terms and all margins of their interactions, the intercept too."""
    margins = {
        margin for term in terms for size in range(len(term)) for margin in combinations(term, size)
    }
    return margins.union(terms)


def _varies_within(column: pd.Series, units: pd.Series) -> bool:
    """Whether some unit has several values of a column."""
    return bool(column.groupby(units).nunique().max() > 1)


def differs_together(one: pd.DataFrame, other: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The columns that share no value between two sides, with the values where there are few:
    "objective (masked against causal)".
    """
    apart = []
    for column in columns:
        sides = [part[column].dropna().unique() for part in (one, other)]
        if not _apart(sides, _is_number(one[column])):
            continue
        if max(map(len, sides)) > SHOWN:
            apart.append(column)
            continue
        texts = [" and ".join(sorted(map(str, side))) for side in sides]
        apart.append(f"{column} ({' against '.join(texts)})")
    return apart


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _apart(sides: Sequence[np.ndarray], number: bool) -> bool:
    """Whether both sides have values and share none; of a number, only where it has one value on
    either side.
    """
    sizes = [len(side) for side in sides]
    if min(sizes) == 0 or (number and max(sizes) > 1):
        return False
    return set(sides[0]).isdisjoint(sides[1])
