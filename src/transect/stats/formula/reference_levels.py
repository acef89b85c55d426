"""Which level of a category the others are compared with: the first of its levels, or one that is
chosen.
"""

from collections.abc import Mapping

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
    terms = [*formula.fixed, *(t for r in formula.random for t in r.terms)]
    variables = {
        column_of(v): v
        for term in terms
        for v in term
        if column_of(v) in frame and is_category(v, frame)
    }
    changed = {}
    for column, level in chosen.items():
        if column not in variables:
            number = any(column_of(v) == column for term in terms for v in term)
            hint = f"; it holds numbers: write factor({column}) in the formula" if number else ""
            raise InputError(
                f"--reference {column}={level}: the formula's categories are {', '.join(variables) or 'none'}{hint}."
                f"{nearest(column, variables)}"
            )
        values = frame[column]
        ordered = (
            values.cat.categories
            if isinstance(values.dtype, pd.CategoricalDtype)
            else sorted(values.dropna().unique())
        )
        known = {level_text(v): v for v in ordered}
        if level not in known:
            raise InputError(
                f"--reference {column}={level}: its levels are {', '.join(known)}.{nearest(level, known)}"
            )
        others = [v for text, v in known.items() if text != level]
        changed[column] = pd.Categorical(values, categories=[known[level], *others])
    return frame.assign(**changed)
