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
    terms = set(parse("value ~ " + (" + ".join(factors) or "1")).fixed)
    terms |= {
        part for term in terms for size in range(len(term)) for part in combinations(term, size)
    }
    refused, within = {}, set()
    for variable in sorted({v for term in terms for v in term}):
        column = values(variable, rows)
        rows = rows[column.notna()]
        levels = column.dropna().nunique()
        if levels < 2:
            refused[variable] = (
                f"only one level in the sample ({column.dropna().iloc[0] if levels else 'none known'})"
            )
        elif column.groupby(rows["run"]).nunique().max() > 1:
            within.add(variable)
        elif column.groupby(rows["configuration"]).nunique().max() > 1:
            refused[variable] = (
                "it varies within configurations, whose runs differ in the seed only"
            )
    if within and not items:
        refused |= dict.fromkeys(within, "it varies within runs: needs items: true")
    kept = [t for t in terms if not set(t) & set(refused)]
    order = list(
        dict.fromkeys(v for t in parse("value ~ " + (" + ".join(factors) or "1")).fixed for v in t)
    )
    kept.sort(key=lambda t: (len(t), [order.index(v) for v in t]))
    return Table(rows.reset_index(drop=True), tuple(kept), refused, frozenset(within))


def differs_together(one: pd.DataFrame, other: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The columns that share no value between two sides, with the values where there are few:
    "objective (masked against causal)".
    """
    found = []
    for column in columns:
        sides = [part[column].dropna().unique() for part in (one, other)]
        number = pd.api.types.is_numeric_dtype(one[column]) and not pd.api.types.is_bool_dtype(
            one[column]
        )
        if (
            not all(map(len, sides))
            or set(sides[0]) & set(sides[1])
            or (number and max(map(len, sides)) > 1)
        ):
            continue
        said = [" and ".join(sorted(map(str, side))) for side in sides]
        found.append(
            f"{column} ({' against '.join(said)})" if max(map(len, sides)) <= SHOWN else column
        )
    return found
