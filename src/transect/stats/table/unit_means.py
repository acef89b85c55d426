"""The effects between units by ordinary least squares on one number per unit (statsmodels): the
cross-check of a mixed model.

    constant within the unit   mean of y over unit u = (mean of the model matrix over u) beta + error of u
    at a reference level       intercept of y in unit u, by least squares on what varies within units = (constant columns in u) beta + error
    a slope by the unit        slope of y in unit u, from the same = (its multipliers in u) beta + error
Another program and the simplest model of a unit: one variance for all, df = units - rank. The whole
row of the model matrix is averaged, covariates and interactions within the unit too, so both sides
hold the same beta; in balanced data they are equal. Of a binomial model the means are shares:
another scale, so only sign and verdict (whether the 95 % interval excludes 0) compare. The means
say nothing of a term in an interaction with one that varies within the unit, unless that averages
to 0 (centred, balanced): it is an effect at that one's reference level. Left out: what these
numbers of the units do not determine. Levels of other groupings are taken as fixed: a slope by
another grouping widens the mixed model's se and not this one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.regression.linear_model import OLS

from transect.stats.formula.notation import Design, Formula
from transect.stats.inference import linear
from transect.stats.inference.intervals import t_interval
from transect.stats.table.inference_units import ROW, Unit, codes_of, constant_columns

NEARLY_0 = 1e-9  # of the largest multiplier


def on_means(
    response: np.ndarray,
    x: np.ndarray,
    design: Design,
    units: Sequence[Unit],
    formula: Formula,
    rows: pd.DataFrame,
    weights: np.ndarray | None = None,
) -> pd.DataFrame:
    """Columns term, unit, n_units, by ("means", "intercepts" or "slopes") and those of a contrast;
    one row per effect that has a check.
    """
    found = []
    weights = np.ones(len(response)) if weights is None else weights
    scale = np.maximum(np.abs(x).max(0), 1e-300)
    x = x / scale
    for name in dict.fromkeys(u.unit for u in units if u.unit != ROW):
        group = next(r.group for r in formula.random if ":".join(r.group) == name)
        codes = codes_of(group, rows)
        constant = constant_columns(x, codes)
        mine = [j for j, u in enumerate(units) if u.unit == name and design.term_of[j]]
        between, within = [j for j in mine if constant[j]], [j for j in mine if not constant[j]]
        checks = _by_means(between, response, x, weights, codes, constant, design)
        rest = [j for j in between if j not in checks]
        if rest or within:
            own = _own_lines(response, x[:, ~constant], codes)
            checks |= _by_intercepts(rest, own[0], x[:, constant], codes, np.flatnonzero(constant))
            checks |= _by_slopes(within, *own[1:], np.flatnonzero(~constant))
        for j in (j for j in mine if j in checks):
            by, n_units, *row = (checks[j][c] for c in ("by", "n_units", "estimate", "se", "df"))
            row[:2] = row[0] / scale[j], row[1] / scale[j]
            found.append(
                {
                    "term": design.names[j],
                    "unit": name,
                    "n_units": n_units,
                    "by": by,
                    **t_interval(*row),
                }
            )
    return pd.DataFrame(found)


def disagreements(means: pd.DataFrame, effects: pd.DataFrame) -> list[str]:
    """Of each row of `on_means`: "sign", "verdict", both or "", where it differs from the mixed
    model's effect.
    """
    model = effects.set_index("term").loc[means["term"]] if len(means) else means
    found = []
    for (_, check), (_, effect) in zip(means.iterrows(), model.iterrows(), strict=True):
        sign = np.sign(check["estimate"]) != np.sign(effect["estimate"])
        verdicts = [row["lower"] > 0 or row["upper"] < 0 for row in (check, effect)]
        found.append(
            ", ".join(
                [*(["sign"] if sign else []), *(["verdict"] if verdicts[0] != verdicts[1] else [])]
            )
        )
    return found


def _by_means(
    columns: list[int],
    response: np.ndarray,
    x: np.ndarray,
    weights: np.ndarray,
    codes: np.ndarray,
    constant: np.ndarray,
    design: Design,
) -> dict[int, dict[str, Any]]:
    total = np.bincount(codes, weights)
    averaged = np.column_stack([np.bincount(codes, weights * c) / total for c in x.T])
    averaged = averaged.round(12)  # a mean of equal values is equal
    means = np.bincount(codes, weights * response) / total
    determined = [
        j
        for j in columns
        if not _at_a_reference(j, design, constant, averaged)
        and not linear.undetermined(np.eye(x.shape[1])[j], averaged).any()
    ]
    return {j: row | {"by": "means"} for j, row in _ols(means, averaged, determined).items()}


def _by_intercepts(
    columns: list[int], own: np.ndarray, x: np.ndarray, codes: np.ndarray, constant: np.ndarray
) -> dict[int, dict[str, Any]]:
    """The units' own intercepts over the units; x [row, constant column]."""
    usable = np.isfinite(own)
    design = x[np.unique(codes, return_index=True)[1]][usable]
    places = {j: constant.tolist().index(j) for j in columns}
    known = {
        j: k
        for j, k in places.items()
        if not linear.undetermined(np.eye(x.shape[1])[k], design).any()
    }
    rows = _ols(own[usable], design, list(known.values()))
    return {j: rows[k] | {"by": "intercepts"} for j, k in known.items() if rows}


def _by_slopes(
    columns: list[int], own: np.ndarray, multipliers: np.ndarray, varying: np.ndarray
) -> dict[int, dict[str, Any]]:
    """The units' own slopes over the units; for a column that one of them carries alone."""
    found: dict[int, dict[str, Any]] = {}
    for j, place in ((j, varying.tolist().index(j)) for j in columns):
        carried = np.flatnonzero((multipliers[:, :, place] != 0).any(0))
        if len(carried) != 1:
            continue
        usable, a = np.isfinite(own[:, carried[0]]), carried[0]
        together = np.flatnonzero((multipliers[usable, a] != 0).any(0))
        design, here = multipliers[usable, a][:, together], together.tolist().index(place)
        if not linear.undetermined(np.eye(len(together))[here], design).any():
            rows = _ols(own[usable, a], design, [here])
            found |= {j: rows[here] | {"by": "slopes"}} if rows else {}
    return found


def _own_lines(
    response: np.ndarray, inner: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each unit's intercept [unit]; its slopes [unit, column] of the first columns that are
    independent in it (NaN for the others); and the multipliers [unit, column, other] by which these
    are the others: of cond, 1 itself and size size:cond.

    The intercept of a unit in which fewer columns are independent than in most is NaN: it stands
    for another level.
    """
    n_columns = inner.shape[1]
    parts = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    intercepts, own = np.full(len(parts), np.nan), np.full((len(parts), n_columns), np.nan)
    multipliers = np.zeros((len(parts), n_columns, n_columns))
    for unit, part in enumerate(parts):
        mean = inner[part].mean(0)
        centred = inner[part] - mean
        kept = linear.independent_columns(np.column_stack([np.ones(len(part)), inner[part]]))
        kept = [k - 1 for k in kept if k]
        own[unit, kept] = np.linalg.lstsq(
            centred[:, kept], response[part] - response[part].mean(), rcond=None
        )[0]
        multipliers[unit, kept] = np.linalg.lstsq(centred[:, kept], centred, rcond=None)[0]
        intercepts[unit] = response[part].mean() - mean[kept] @ own[unit, kept]
    multipliers[
        np.abs(multipliers) < NEARLY_0 * max(np.abs(multipliers).max(initial=0.0), NEARLY_0)
    ] = 0.0
    known = np.isfinite(own).sum(1)
    intercepts[known < known.max()] = np.nan
    return intercepts, own, multipliers


def _ols(y: np.ndarray, x: np.ndarray, columns: list[int]) -> dict[int, dict[str, Any]]:
    """statsmodels' estimate, se and df of columns that the rows determine."""
    kept = linear.independent_columns(x)
    if not columns or len(y) <= len(kept):
        return {}
    fitted = OLS(y, x[:, kept]).fit()
    return {
        j: {
            "n_units": len(y),
            "estimate": float(fitted.params[kept.index(j)]),
            "se": float(fitted.bse[kept.index(j)]),
            "df": float(fitted.df_resid),
        }
        for j in columns
    }


def _at_a_reference(j: int, design: Design, constant: np.ndarray, averaged: np.ndarray) -> bool:
    """Whether the term of a column stands in an interaction that varies within the unit and does
    not average to 0.
    """
    term = set(design.term_of[j])
    return any(
        term < set(other) and not constant[d] and averaged[:, d].any()
        for d, other in enumerate(design.term_of)
    )
