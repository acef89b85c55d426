"""What a fitted table says of rows: fitted values, residuals, and predictions of new rows.

    .fixed     x'beta (and the offset): of a level of the random effects at their mean of 0 (binomial: the probability at it)
    .fitted    the same with the random effects of the row's levels; of a level that the model has not seen, 0
    .residual  response - .fitted (binomial: the share - the probability), of rows whose response is known
    .lower, .upper   the 95 % interval of the response of another row with these values and levels: the uncertainty of beta and of
               the random effects, the variance of levels that are new, and the residual (gaussian
               models only)
Names with a dot are those of R's broom::augment. Source: mixed_prediction.py on the variance of a
prediction.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from transect.errors import InputError, nearest
from transect.stats.formula.notation import Design, Random, column_of, values
from transect.stats.formula.offsets import offset_of
from transect.stats.mixed import gaussian
from transect.stats.mixed.binomial import GeneralizedFit
from transect.stats.mixed.crossed_cholesky import Grouping
from transect.stats.mixed.gaussian import MixedFit
from transect.stats.mixed.least_squares import LeastSquaresFit
from transect.stats.mixed.prediction import predict_rows
from transect.stats.mixed.random_effects import modes_of
from transect.stats.table.table_model import TableModel

LEVEL = 0.95
COLUMNS = [".fixed", ".fitted", ".residual", ".lower", ".upper"]


def predictions(model: TableModel, frame: pd.DataFrame, own: bool = False) -> pd.DataFrame:
    """The columns .fixed, .fitted, .residual, .lower and .upper of each row; NaN where a predictor
    is missing, or the cell had no rows.

    own: whether it is the table that was fitted, of which a level may stand in rows alone that were
    left out: these are NaN. Raises InputError for a predictor that the table lacks, for text or
    infinite values where the model has numbers, and for a level of a fixed effect that the model
    has not seen.
    """
    needed = [column for column in model.formula.columns if column not in _response_columns(model)]
    for column in needed:
        if column not in frame:
            raise InputError(
                f"the rows to predict have no column '{column}'; they have {', '.join(map(str, frame))}.{nearest(column, list(frame))}"
            )
    complete = frame[needed].notna().all(axis=1).to_numpy(copy=True)
    if own:
        complete[complete] = _with_known_levels(model, frame[complete])
    rows = frame[complete].reset_index(drop=True)
    _refuse_what_is_no_number(model, rows)
    _refuse_unknown_levels(model, rows)
    found = pd.DataFrame(np.nan, index=frame.index, columns=COLUMNS)
    if len(rows):
        found[complete] = _predicted(model, rows)[COLUMNS].to_numpy()
    return found


def _predicted(model: TableModel, rows: pd.DataFrame) -> pd.DataFrame:
    fit, x = model.fit, _matrix(model.design, model, rows)
    unknown = np.isnan(x).any(axis=1)
    x = np.where(unknown[:, None], 0.0, x)
    offset = offset_of(model.formula, rows)
    fixed = x @ fit.beta + offset
    fitted, half = fixed.copy(), np.full(len(rows), np.nan)
    if isinstance(fit, LeastSquaresFit):
        if not fit.binomial:
            sd = np.sqrt(fit.sigma**2 + np.einsum("ij,jk,ik->i", x, fit.vcov, x))
            half = stats.t.ppf((1 + LEVEL) / 2, fit.n - len(fit.beta)) * sd
    else:
        terms = list(_terms(model, rows))
        known = {j: codes for j, (_, codes) in enumerate(terms)}
        if isinstance(fit, MixedFit):
            fitted, sd, df = predict_rows(fit, x, [term for term, _ in terms], known)
            fitted, half = fitted + offset, stats.t.ppf((1 + LEVEL) / 2, df) * sd
        else:
            for (term, codes), modes in zip(terms, modes_of(fit), strict=True):
                here = codes >= 0
                fitted[here] += (modes[codes[here]] * term.columns[here]).sum(1)
    if model.family == "binomial":
        fixed, fitted = expit(fixed), expit(fitted)
    left = _response(model, rows) - fitted
    found = pd.DataFrame(
        {
            ".fixed": fixed,
            ".fitted": fitted,
            ".residual": left,
            ".lower": fitted - half,
            ".upper": fitted + half,
        }
    )
    found.loc[unknown] = np.nan
    return found


def _matrix(design: Design, model: TableModel, rows: pd.DataFrame) -> np.ndarray:
    """The columns of new rows (NaN where an empty cell would have to tell them), on the scale of
    the fitted rows: scale(x) has their mean.
    """
    columns = {}
    for variable in dict.fromkeys(v for term in design.terms for v in term):
        if variable.startswith("scale("):
            before = model.rows[column_of(variable)]
            columns[variable] = (rows[column_of(variable)] - before.mean()) / before.std()
        else:
            columns[variable] = values(variable, rows)
    return design.estimable(
        design.whole.matrix(pd.DataFrame(columns, index=rows.index), transformed=True)
    )


def _terms(model: TableModel, rows: pd.DataFrame) -> Iterator[tuple[Grouping, np.ndarray]]:
    """The random terms of new rows in the order of the fit's own, and which of its levels each row
    has (-1: none).
    """
    fit = model.mixed
    for term in fit.laplace.terms if isinstance(fit, GeneralizedFit) else fit.deviance.terms:
        random, columns = next(
            (r, [design.names.index(name) for name in term.effects])
            for r in model.formula.random
            for design in (Design(r.terms, model.rows),)
            if ":".join(r.group) == term.name and set(term.effects) <= set(design.names)
        )
        place = {label: level for level, label in enumerate(term.levels)}
        codes = np.array([place.get(label, -1) for label in _labels(random, rows)])
        design = Design(random.terms, model.rows)
        known = Grouping(
            term.name,
            codes,
            term.n_levels,
            _matrix(design, model, rows)[:, columns],
            term.effects,
            term.levels,
        )
        yield known, codes


def _labels(random: Random, rows: pd.DataFrame) -> list[str]:
    """The level of each row, as mixed.grouping calls it."""
    found = gaussian.grouping(Random(((),), random.group), rows)
    return [found.levels[code] for code in found.codes]


def _response_columns(model: TableModel) -> tuple[str, ...]:
    return model.formula.counts or (column_of(model.formula.response),)


def _response(model: TableModel, rows: pd.DataFrame) -> np.ndarray:
    """The response of each row, of counts the share of successes; NaN where it is not known."""
    if not all(column in rows for column in _response_columns(model)):
        return np.full(len(rows), np.nan)
    if model.formula.counts:
        won, lost = (rows[column].to_numpy(float) for column in model.formula.counts)
        return won / np.where(won + lost > 0, won + lost, np.nan)
    return values(model.formula.response, rows).to_numpy(float)


def _refuse_what_is_no_number(model: TableModel, rows: pd.DataFrame) -> None:
    """Columns of the effects that are numbers in the model and something else in new rows."""
    slopes = [Design(r.terms, model.rows) for r in model.formula.random]
    for design in (model.design, *slopes):
        numbers = [
            *(v for t in design.terms for v in t if v not in design.levels),
            *model.formula.offsets,
        ]
        for column in dict.fromkeys(map(column_of, numbers)):
            if column in rows and len(rows):
                if not pd.api.types.is_numeric_dtype(rows[column]):
                    raise InputError(
                        f"the rows to predict: '{column}' holds text, e.g. '{rows[column].iloc[0]}'; the model has numbers there"
                    )
                if not np.isfinite(rows[column].to_numpy(float)).all():
                    raise InputError(
                        f"the rows to predict: '{column}' holds infinite values; drop or mend those rows first"
                    )


def _levels(model: TableModel) -> dict[str, list[str]]:
    """Of every category that has effects."""
    slopes = [Design(r.terms, model.rows) for r in model.formula.random]
    return {k: v for design in (model.design, *slopes) for k, v in design.levels.items()}


def _with_known_levels(model: TableModel, rows: pd.DataFrame) -> np.ndarray:
    """Which rows have levels only that the model has effects of."""
    known = [
        values(variable, rows).astype(str).isin(levels)
        for variable, levels in _levels(model).items()
    ]
    return np.logical_and.reduce([np.ones(len(rows), bool), *known])


def _refuse_unknown_levels(model: TableModel, rows: pd.DataFrame) -> None:
    """Levels of categories that have effects: the model has none for a new one."""
    for variable, levels in _levels(model).items():
        new = sorted(set(values(variable, rows).astype(str)) - set(levels))
        if new:
            raise InputError(
                f"the model has no effect of {variable} '{new[0]}'; its levels are {', '.join(levels)}.{nearest(new[0], levels)}"
            )
