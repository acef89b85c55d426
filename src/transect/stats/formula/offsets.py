"""Offsets of a formula: known parts of the linear predictor, whose coefficient is 1.

    y ~ x + offset(z)       gaussian: y = X beta + z + ...;   binomial: logit p = X beta + z + ...
A gaussian model with an offset is that of y - z; fitted values, means and predictions hold z again.
Several offsets are added up, one that is written twice counts once, as in R's lm, glm and lme4.
Source: McCullagh & Nelder (1989), 6.2.
"""

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats.formula.notation import Formula, is_category, values


def offset_of(formula: Formula, rows: pd.DataFrame) -> np.ndarray:
    """The sum of a formula's offsets [row], 0 where it has none. Raises InputError for text and for
    values without the transform.
    """
    total = np.zeros(len(rows))
    for variable in formula.offsets:
        if is_category(variable, rows):
            raise InputError(
                f"offset({variable}): the column holds text, true or false; an offset is a number"
            )
        total += values(variable, rows).to_numpy(float)
    return total


def less_offset(formula: Formula, rows: pd.DataFrame) -> np.ndarray:
    """The response of a gaussian model less its offsets [row]."""
    response = values(formula.response, rows).to_numpy(float)
    return response - offset_of(formula, rows) if formula.offsets else response
