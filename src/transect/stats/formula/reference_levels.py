"""Which level of a category the others are compared with: the first of its levels, or one that is
chosen.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from transect.errors import InputError, nearest
from transect.stats.formula.notation import Formula, column_of, is_category, level_text


def with_references(
    frame: pd.DataFrame, chosen: Mapping[str, str], formula: Formula
) -> pd.DataFrame:
    """The table with the level `chosen` of each column first and the others in their order, which
    every fit of it keeps.

    Raises InputError for a column that is no category of the formula's effects, and for a level
    that it does not have.
    """
    changed = {}
    for column, level in chosen.items():
        _refuse_other_columns(column, level, frame, formula)
        levels = {level_text(value): value for value in _levels(frame[column])}
        if level not in levels:
            raise InputError(
                f"--reference {column}={level}: its levels are {', '.join(levels)}.{nearest(level, levels)}"
            )
        others = [value for text, value in levels.items() if text != level]
        changed[column] = pd.Categorical(frame[column], categories=[levels[level], *others])
    return frame.assign(**changed)


def _refuse_other_columns(column: str, level: str, frame: pd.DataFrame, formula: Formula) -> None:
    """Raise InputError where a column is no category of the formula's effects."""
    variables = _variables(formula)
    categories = dict.fromkeys(
        column_of(v) for v in variables if column_of(v) in frame and is_category(v, frame)
    )
    if column in categories:
        return
    number = column in map(column_of, variables)
    hint = f"; it holds numbers: write factor({column}) in the formula" if number else ""
    raise InputError(
        f"--reference {column}={level}: the formula's categories are {', '.join(categories) or 'none'}{hint}."
        f"{nearest(column, categories)}"
    )


def _variables(formula: Formula) -> list[str]:
    """The variables of the effects, fixed and random."""
    terms = list(formula.fixed)
    for random in formula.random:
        terms += random.terms
    return [variable for term in terms for variable in term]


def _levels(values: pd.Series) -> Iterable[Any]:
    """The levels of a category in their order, that of the table where it has one."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.categories
    return sorted(values.dropna().unique())
