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
from dataclasses import dataclass
from functools import cached_property

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
    if weights is None:
        weights = np.ones(len(response))
    scale = np.maximum(np.abs(x).max(0), 1e-300)
    rows_of_terms = []
    for name in dict.fromkeys(unit.unit for unit in units if unit.unit != ROW):
        group = next(r.group for r in formula.random if ":".join(r.group) == name)
        data = _Data(response, x / scale, weights, design, codes_of(group, rows))
        carried = [j for j, u in enumerate(units) if u.unit == name and design.term_of[j]]
        checks = _checks(carried, data)
        for j in carried:
            if j in checks:
                check = checks[j]
                estimate, se = check.estimate / scale[j], check.se / scale[j]
                rows_of_terms.append(
                    {
                        "term": design.names[j],
                        "unit": name,
                        "n_units": check.n_units,
                        "by": check.by,
                        **t_interval(estimate, se, check.df),
                    }
                )
    return pd.DataFrame(rows_of_terms)


@dataclass(frozen=True)
class _Data:
    """What the checks of one unit are made of; x scaled to 1, `codes` the unit of each row."""

    response: np.ndarray
    x: np.ndarray
    weights: np.ndarray
    design: Design
    codes: np.ndarray

    @cached_property
    def constant(self) -> np.ndarray:
        """Whether each column has one value within every unit."""
        return constant_columns(self.x, self.codes)


@dataclass(frozen=True)
class _Check:
    """statsmodels' estimate, se and df of one effect."""

    n_units: int
    estimate: float
    se: float
    df: float
    by: str


def _checks(columns: list[int], data: _Data) -> dict[int, _Check]:
    """By means where they say something of a column that is constant within the unit, else by the
    units' intercepts; by their slopes where it varies.
    """
    constant = data.constant
    between = [j for j in columns if constant[j]]
    within = [j for j in columns if not constant[j]]
    checks = _by_means(between, data)
    rest = [j for j in between if j not in checks]
    if rest or within:
        intercepts, slopes, multipliers = _own_lines(
            data.response, data.x[:, ~constant], data.codes
        )
        checks |= _by_intercepts(rest, intercepts, data)
        checks |= _by_slopes(within, slopes, multipliers, np.flatnonzero(~constant))
    return checks


def disagreements(means: pd.DataFrame, effects: pd.DataFrame) -> list[str]:
    """Of each row of `on_means`: "sign", "verdict", both or "", where it differs from the mixed
    model's effect.
    """
    model = effects.set_index("term").loc[means["term"]] if len(means) else means
    differing = []
    for (_, check), (_, effect) in zip(means.iterrows(), model.iterrows(), strict=True):
        differences = []
        if np.sign(check["estimate"]) != np.sign(effect["estimate"]):
            differences.append("sign")
        if _excludes_0(check) != _excludes_0(effect):
            differences.append("verdict")
        differing.append(", ".join(differences))
    return differing


def _excludes_0(row: pd.Series) -> bool:
    return bool(row["lower"] > 0 or row["upper"] < 0)


def _by_means(columns: list[int], data: _Data) -> dict[int, _Check]:
    codes, weights = data.codes, data.weights
    total = np.bincount(codes, weights)
    averaged = np.column_stack([np.bincount(codes, weights * c) / total for c in data.x.T])
    averaged = averaged.round(12)  # a mean of equal values is equal
    means = np.bincount(codes, weights * data.response) / total
    determined = [
        j
        for j in columns
        if not _at_a_reference(j, data.design, data.constant, averaged)
        and _is_determined(j, averaged)
    ]
    return _ols(means, averaged, determined, "means")


def _is_determined(j: int, x: np.ndarray) -> bool:
    """Whether the rows of x determine the coefficient of its column j."""
    weights = np.eye(x.shape[1])[j]
    return not linear.undetermined(weights, x).any()


def _by_intercepts(columns: list[int], own: np.ndarray, data: _Data) -> dict[int, _Check]:
    """The units' own intercepts over the units."""
    usable = np.isfinite(own)
    first = np.unique(data.codes, return_index=True)[1]
    x = data.x[:, data.constant][first][usable]
    places = {j: place for place, j in enumerate(np.flatnonzero(data.constant).tolist())}
    known = {j: places[j] for j in columns if _is_determined(places[j], x)}
    checks = _ols(own[usable], x, list(known.values()), "intercepts")
    return {j: checks[place] for j, place in known.items() if checks}


def _by_slopes(
    columns: list[int], own: np.ndarray, multipliers: np.ndarray, varying: np.ndarray
) -> dict[int, _Check]:
    """The units' own slopes over the units; for a column that one of them carries alone."""
    checks: dict[int, _Check] = {}
    places = {j: place for place, j in enumerate(varying.tolist())}
    for j in columns:
        carriers = np.flatnonzero((multipliers[:, :, places[j]] != 0).any(0))
        if len(carriers) != 1:
            continue
        carrier = carriers[0]
        usable = np.isfinite(own[:, carrier])
        factors = multipliers[usable, carrier]
        together = np.flatnonzero((factors != 0).any(0))
        x = factors[:, together]
        here = together.tolist().index(places[j])
        if _is_determined(here, x):
            checks_here = _ols(own[usable, carrier], x, [here], "slopes")
            if checks_here:
                checks[j] = checks_here[here]
    return checks


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
    by_unit = np.argsort(codes, kind="stable")
    parts = np.split(by_unit, np.cumsum(np.bincount(codes))[:-1])
    intercepts = np.full(len(parts), np.nan)
    slopes = np.full((len(parts), n_columns), np.nan)
    multipliers = np.zeros((len(parts), n_columns, n_columns))
    for unit, part in enumerate(parts):
        line = _own_line(response[part], inner[part])
        intercepts[unit] = line.intercept
        slopes[unit, line.kept] = line.slopes
        multipliers[unit, line.kept] = line.multipliers
    largest = np.abs(multipliers).max(initial=0.0)
    multipliers[np.abs(multipliers) < NEARLY_0 * max(largest, NEARLY_0)] = 0.0
    known = np.isfinite(slopes).sum(1)
    intercepts[known < known.max()] = np.nan
    return intercepts, slopes, multipliers


@dataclass(frozen=True)
class _Line:
    """Least squares in one unit: the independent columns, their slopes and their multipliers for
    all columns.
    """

    kept: list[int]
    intercept: float
    slopes: np.ndarray
    multipliers: np.ndarray


def _own_line(response: np.ndarray, inner: np.ndarray) -> _Line:
    mean = inner.mean(0)
    centred = inner - mean
    with_constant = np.column_stack([np.ones(len(inner)), inner])
    kept = [k - 1 for k in linear.independent_columns(with_constant) if k]
    slopes = np.linalg.lstsq(centred[:, kept], response - response.mean(), rcond=None)[0]
    multipliers = np.linalg.lstsq(centred[:, kept], centred, rcond=None)[0]
    return _Line(kept, response.mean() - mean[kept] @ slopes, slopes, multipliers)


def _ols(y: np.ndarray, x: np.ndarray, columns: list[int], by: str) -> dict[int, _Check]:
    """The checks of columns that the rows determine; none where no df are left."""
    kept = linear.independent_columns(x)
    if not columns or len(y) <= len(kept):
        return {}
    fitted = OLS(y, x[:, kept]).fit()
    places = {j: kept.index(j) for j in columns}
    return {
        j: _Check(
            n_units=len(y),
            estimate=float(fitted.params[place]),
            se=float(fitted.bse[place]),
            df=float(fitted.df_resid),
            by=by,
        )
        for j, place in places.items()
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
