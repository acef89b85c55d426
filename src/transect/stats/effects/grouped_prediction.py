"""Grouped prediction: each level of a column (family, size, language, suite) predicted from the
others, never random rows.

    R2 mean  = 1 - sum (y - f)^2 / sum (y - m)^2     f: prediction of a row by the model fitted without its group
    R2 scale = 1 - sum (y - f)^2 / sum (y - s)^2     m: mean of the rows outside its group, s: prediction of the scale-only model
    coverage = share of rows within f +- t(df, 0.975) sd
    log score = mean over rows of the log density (natural) of t(df) with centre f and scale sd,
    each row by itself
Both R2 are at most 1 and below 0 where the model predicts worse than what it is compared with. A
mixed model predicts with the conditional modes of levels that both sides share (items) and adds the
variance of those that are new (stats/mixed/prediction.py). A linear model without random terms:
sd^2 = s^2 (1 + x'(X'X)^-1 x), df = rows - columns. Sources: Roberts et al. (2017), Ecography 40, on
blocked cross-validation; Gneiting & Raftery (2007) on the log score.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from transect.errors import InputError, nearest
from transect.stats.formula.notation import Design, Formula, is_category, parse, values
from transect.stats.inference import linear
from transect.stats.mixed import gaussian
from transect.stats.mixed.crossed_cholesky import Grouping
from transect.stats.mixed.prediction import predict_rows
from transect.stats.mixed.standard_units import StandardColumns


@dataclass(frozen=True)
class GroupedPrediction:
    """overall and groups hold n_rows, rmse, r2_mean, r2_scale (NaN without a scale-only model),
    coverage, log_score, and the log scores of the comparisons log_score_mean and log_score_scale;
    groups by the column left_out. rows: left_out, observed, predicted, sd, df, lower, upper, in the
    order of the table's complete rows. shared: groupings of the formula whose levels are on both
    sides.
    """

    overall: pd.Series
    groups: pd.DataFrame
    rows: pd.DataFrame
    shared: tuple[str, ...]


def predict_left_out(
    frame: pd.DataFrame, formula: str, group: str, scale_only: str | None = None
) -> GroupedPrediction:
    """Leave each level of `group` out in turn; `scale_only` is a formula of the same response, e.g.
    'y ~ log10(params)'.

    Raises InputError where the group is unknown, has one level or one per row, or cuts through
    every grouping of the formula (its rows would be random rows); where a left-out level needs a
    coefficient that the other rows do not determine; and for what the fits refuse.
    """
    model, scale = parse(formula), None if scale_only is None else parse(scale_only)
    if model.counts or (scale is not None and scale.response != model.response):
        raise InputError(
            f"grouped prediction needs one response column, the same in both formulas; given: '{formula}', '{scale_only}'"
        )
    if group not in frame:
        raise InputError(
            f"unknown column '{group}'; the table has {', '.join(map(str, frame))}.{nearest(group, frame)}"
        )
    used = dict.fromkeys([*model.columns, *(scale.columns if scale else []), group])
    rows = frame.dropna(subset=[c for c in used if c in frame]).reset_index(drop=True)
    held, levels = pd.factorize(rows[group], sort=True)
    if len(levels) < 2 or len(levels) == len(rows):
        raise InputError(
            f"'{group}' has {len(levels)} levels in {len(rows)} rows; a group to leave out is a column with at least two levels "
            "that repeat, not single rows"
        )
    task = _Task.of(model, rows)
    shared = _shared(task, held, group)
    y = task.y
    found = _predictions(task, held, group, levels)
    base = _predictions(_Task.of(parse(f"{model.response} ~ 1"), rows), held, group, levels)
    compared = None if scale is None else _predictions(_Task.of(scale, rows), held, group, levels)
    half = stats.t.ppf(0.975, found[2]) * found[1]
    each = pd.DataFrame(
        {
            "left_out": levels[held],
            "observed": y,
            "predicted": found[0],
            "sd": found[1],
            "df": found[2],
        }
    )
    each = each.assign(lower=found[0] - half, upper=found[0] + half)
    scores = pd.DataFrame(
        {
            "rows": 1.0,
            "error": (y - found[0]) ** 2,
            "mean": (y - base[0]) ** 2,
            "scale": np.nan if compared is None else (y - compared[0]) ** 2,
            "coverage": (np.abs(y - found[0]) <= half).astype(float),
            "log_score": _log_density(y, found),
            "log_score_mean": _log_density(y, base),
            "log_score_scale": np.nan if compared is None else _log_density(y, compared),
        }
    )
    groups = _summed(scores.groupby(held).sum(min_count=1))
    groups.insert(0, "left_out", levels)
    return GroupedPrediction(
        _summed(scores.sum(min_count=1).to_frame().T).iloc[0], groups, each, shared
    )


@dataclass(frozen=True)
class _Task:
    """A formula with its response, model matrix and groupings over all rows; no response enters the
    columns.
    """

    formula: Formula
    names: list[str]
    y: np.ndarray
    x: np.ndarray
    terms: list[Grouping]

    @classmethod
    def of(cls, formula: Formula, rows: pd.DataFrame) -> "_Task":
        if is_category(formula.response, rows) and not pd.api.types.is_bool_dtype(
            values(formula.response, rows)
        ):
            raise InputError(f"the response '{formula.response}' holds text, not numbers")
        design = Design(formula.fixed, rows)
        y = values(formula.response, rows).to_numpy(float)
        return cls(
            formula, design.names, y, design.matrix(rows), gaussian.groupings(formula.random, rows)
        )


def _shared(task: _Task, held: np.ndarray, group: str) -> tuple[str, ...]:
    """Groupings with levels on both sides; InputError where that is every one, so that no unit is
    left out whole.
    """
    shared = [
        t.name
        for t in task.terms
        if len(np.unique(np.column_stack([t.codes, held]), axis=0)) > t.n_levels
    ]
    if task.terms and len(shared) == len(task.terms):
        raise InputError(
            f"'{group}' cuts through every grouping of the formula ({', '.join(shared)}): its levels would be random rows of "
            f"units that stay. Leave out a column that holds whole units, or add (1 | {group}) if its levels differ."
        )
    return tuple(dict.fromkeys(shared))


def _predictions(
    task: _Task, held: np.ndarray, group: str, levels: pd.Index
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, sd and df of every row, by the fit to the rows of the other levels; refits start from
    the first.
    """
    found = np.empty((3, len(held)))
    start = None
    for code, level in enumerate(levels):
        out = held == code
        x, rest = task.x[out], task.x[~out]
        factor = linear.column_factor(rest)
        kept = linear.independent_columns(factor)
        unknown = linear.undetermined(x, factor) / np.maximum(np.abs(x).max(0), 1e-300)
        if unknown.any():
            # of a category that loses its reference level, the intercept is as undetermined as its
            # other columns
            size = np.abs(unknown).max(0) * np.where(
                np.array(task.names) == "(Intercept)", 1e-3, 1.0
            )
            column = task.names[int(size.argmax())]
            raise InputError(
                f"{group} '{level}' cannot be predicted: the other levels do not determine the coefficient of '{column}'. "
                f"Leave it out of '{task.formula.text}'."
            )
        names = [task.names[j] for j in kept]
        if not task.terms:
            found[:, out] = _least_squares(task.y[~out], rest[:, kept], x[:, kept])
            continue
        terms = [t.at(~out) for t in task.terms]
        for term in terms:
            if term.n_levels < 2:
                raise InputError(
                    f"without {group} '{level}' the grouping factor {term.name} has one level left"
                )
        start = gaussian.fit(task.y[~out], rest[:, kept], names, terms, start=start)
        # the fit puts its largest term first; terms are told apart as objects: (x || g) gives two
        # of one name
        order = [
            next(j for j, term in enumerate(terms) if term is own) for own in start.deviance.terms
        ]
        known = {i: _known(task.terms[j].codes, out) for i, j in enumerate(order)}
        found[:, out] = predict_rows(
            start, x[:, kept], [task.terms[j].at(out) for j in order], known
        )
    return found[0], found[1], found[2]


def _known(codes: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Of each row left out, its level among those of the other rows; -1 for a new one."""
    levels = np.unique(codes[~out])
    place = np.minimum(np.searchsorted(levels, codes[out]), len(levels) - 1)
    return np.where(levels[place] == codes[out], place, -1)


def _least_squares(y: np.ndarray, x: np.ndarray, new: np.ndarray) -> np.ndarray:
    df = len(y) - x.shape[1]
    if df < 1:
        raise InputError(
            f"{len(y)} rows are too few for {x.shape[1]} coefficients when a group is left out"
        )
    columns = StandardColumns.of(x)
    at, beta = columns.rows(new), columns.standard.T @ y / len(y)
    variance = ((y - columns.standard @ beta) ** 2).sum() / df
    return np.array(
        [at @ beta, np.sqrt(variance * (1 + (at**2).sum(1) / len(y))), np.full(len(new), df)]
    )


def _log_density(y: np.ndarray, predicted: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    mean, sd, df = predicted
    return stats.t.logpdf((y - mean) / sd, df) - np.log(sd)


def _summed(sums: pd.DataFrame) -> pd.DataFrame:
    """The measures of each set of rows from its sums."""
    rows = sums["rows"]
    return pd.DataFrame(
        {
            "n_rows": rows.astype(int),
            "rmse": np.sqrt(sums["error"] / rows),
            "r2_mean": 1 - sums["error"] / sums["mean"],
            "r2_scale": 1 - sums["error"] / sums["scale"],
            **{
                c: sums[c] / rows
                for c in ("coverage", "log_score", "log_score_mean", "log_score_scale")
            },
        }
    ).reset_index(drop=True)
