"""The effects between units by least squares on the means of each unit: the cross-check of a gaussian mixed model.

    mean of y over unit u = (mean of the model matrix over u) beta + error of u
The whole row of the model matrix is averaged, covariates and interactions within the unit too, so both sides hold the same beta.
Left out: coefficients that the means do not determine, and those of a term in an interaction with one that varies within the
unit, unless that averages to 0 (centred, balanced): they are effects at its reference level, of which the means say little.
Levels of other groupings are taken as fixed: a slope by another grouping widens the mixed model's se and not this one.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from transect.stats import linear
from transect.stats.formula import Design, Formula, column_of
from transect.stats.inference_units import Unit


def on_means(
    response: np.ndarray, x: np.ndarray, design: Design, units: Sequence[Unit], formula: Formula, rows: pd.DataFrame
) -> pd.DataFrame:
    """Columns term, unit, n_units and those of a contrast; one row per effect that is constant within its unit and determined."""
    found = []
    for name in dict.fromkeys(u.unit for u in units if u.unit != "row"):
        group = next(r.group for r in formula.random if ":".join(r.group) == name)
        codes = rows.groupby([column_of(v) for v in group], sort=False).ngroup().to_numpy()
        means, averaged, scale = _averaged(response, x, codes)
        fitted = linear.least_squares(means, averaged)
        if fitted.df < 1:
            continue
        constant = (x == x[np.unique(codes, return_index=True)[1]][codes]).all(0)
        for j in np.flatnonzero(constant & (scale > 0)).tolist():
            weights = np.eye(x.shape[1])[j] / scale[j]
            if units[j].unit != name or not design.term_of[j] or _at_a_reference(j, design, constant, averaged):
                continue
            if not linear.undetermined(np.eye(x.shape[1])[j], averaged).any():
                row = fitted.contrast(weights, "pooled")
                found.append({"term": design.names[j], "unit": name, "n_units": len(means), **row})
    return pd.DataFrame(found)


def _averaged(response: np.ndarray, x: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of the response [unit] and of the columns divided by their largest value [unit, column], and that value [column]."""
    counts = np.bincount(codes)
    scale = np.abs(x).max(0)
    columns = x / np.where(scale > 0, scale, 1.0)
    averaged = np.column_stack([np.bincount(codes, c) / counts for c in columns.T])
    return np.bincount(codes, response) / counts, averaged.round(12), scale  # a mean of equal values is equal


def _at_a_reference(j: int, design: Design, constant: np.ndarray, averaged: np.ndarray) -> bool:
    """Whether the term of a column stands in an interaction that varies within the unit and does not average to 0."""
    term = set(design.term_of[j])
    return any(term < set(other) and not constant[d] and averaged[:, d].any() for d, other in enumerate(design.term_of))
