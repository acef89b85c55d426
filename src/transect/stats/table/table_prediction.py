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
    predicted = pd.DataFrame(np.nan, index=frame.index, columns=COLUMNS)
    if len(rows):
        predicted[complete] = _predicted(model, rows)[COLUMNS].to_numpy()
    return predicted


def _predicted(model: TableModel, rows: pd.DataFrame) -> pd.DataFrame:
    x = _matrix(model.design, model, rows)
    unknown = np.isnan(x).any(axis=1)
    x = np.where(unknown[:, None], 0.0, x)
    offset = offset_of(model.formula, rows)
    fixed = x @ model.fit.beta + offset
    if isinstance(model.fit, LeastSquaresFit):
        fitted, half = fixed, _half_width(model.fit, x)
    elif isinstance(model.fit, MixedFit):
        terms, known = _terms(model, rows)
        mean, sd, df = predict_rows(model.fit, x, terms, dict(enumerate(known)))
        fitted, half = mean + offset, stats.t.ppf((1 + LEVEL) / 2, df) * sd
    else:
        fitted, half = _with_modes(model, model.fit, rows, fixed), np.full(len(rows), np.nan)
    if model.family == "binomial":
        fixed, fitted = expit(fixed), expit(fitted)
    predicted = pd.DataFrame(
        {
            ".fixed": fixed,
            ".fitted": fitted,
            ".residual": _response(model, rows) - fitted,
            ".lower": fitted - half,
            ".upper": fitted + half,
        }
    )
    predicted.loc[unknown] = np.nan
    return predicted


def _half_width(fit: LeastSquaresFit, x: np.ndarray) -> np.ndarray:
    """Half the interval of another response of each row; NaN of a binomial model."""
    if fit.binomial:
        return np.full(len(x), np.nan)
    sd = np.sqrt(fit.sigma**2 + np.einsum("ij,jk,ik->i", x, fit.vcov, x))
    return stats.t.ppf((1 + LEVEL) / 2, fit.n - len(fit.beta)) * sd


def _with_modes(
    model: TableModel, fit: GeneralizedFit, rows: pd.DataFrame, fixed: np.ndarray
) -> np.ndarray:
    """The linear predictor with the conditional modes of the levels that the model has seen."""
    fitted = fixed.copy()
    terms, known = _terms(model, rows)
    for term, codes, modes in zip(terms, known, modes_of(fit), strict=True):
        here = codes >= 0
        fitted[here] += (modes[codes[here]] * term.columns[here]).sum(1)
    return fitted


def _matrix(design: Design, model: TableModel, rows: pd.DataFrame) -> np.ndarray:
    """The columns of new rows (NaN where an empty cell would have to tell them), on the scale of
    the fitted rows: scale(x) has their mean.
    """
    columns = {}
    for variable in dict.fromkeys(v for term in design.terms for v in term):
        if variable.startswith("scale("):
            name = column_of(variable)
            before = model.rows[name]
            columns[variable] = (rows[name] - before.mean()) / before.std()
        else:
            columns[variable] = values(variable, rows)
    table = pd.DataFrame(columns, index=rows.index)
    return design.estimable(design.whole.matrix(table, transformed=True))


def _terms(model: TableModel, rows: pd.DataFrame) -> tuple[list[Grouping], list[np.ndarray]]:
    """The random terms of new rows in the order of the fit's own, and which of its levels each row
    has (-1: none).
    """
    fit = model.mixed
    terms, known = [], []
    for term in fit.laplace.terms if isinstance(fit, GeneralizedFit) else fit.deviance.terms:
        random, design = _random_of(term, model)
        columns = [design.names.index(effect) for effect in term.effects]
        place = {label: level for level, label in enumerate(term.levels)}
        codes = np.array([place.get(label, -1) for label in _labels(random, rows)])
        x = _matrix(design, model, rows)[:, columns]
        terms.append(Grouping(term.name, codes, term.n_levels, x, term.effects, term.levels))
        known.append(codes)
    return terms, known


def _random_of(term: Grouping, model: TableModel) -> tuple[Random, Design]:
    """The random term of the formula that a term of the fit comes from, and its design."""
    for random in model.formula.random:
        design = Design(random.terms, model.rows)
        if ":".join(random.group) == term.name and set(term.effects) <= set(design.names):
            return random, design
    raise AssertionError(f"no random term of the formula has the effects of {term.name}")


def _labels(random: Random, rows: pd.DataFrame) -> list[str]:
    """The level of each row, as mixed.grouping calls it."""
    grouping = gaussian.grouping(Random(((),), random.group), rows)
    return [grouping.levels[code] for code in grouping.codes]


def _response_columns(model: TableModel) -> tuple[str, ...]:
    return model.formula.counts or (column_of(model.formula.response),)


def _response(model: TableModel, rows: pd.DataFrame) -> np.ndarray:
    """The response of each row, of counts the share of successes; NaN where it is not known."""
    columns = _response_columns(model)
    if not all(column in rows for column in columns):
        return np.full(len(rows), np.nan)
    if not model.formula.counts:
        return values(model.formula.response, rows).to_numpy(float)
    successes, failures = (rows[column].to_numpy(float) for column in columns)
    trials = successes + failures
    return successes / np.where(trials > 0, trials, np.nan)


def _refuse_what_is_no_number(model: TableModel, rows: pd.DataFrame) -> None:
    """Columns of the effects that are numbers in the model and something else in new rows."""
    for column in _numbers(model):
        if column not in rows or rows.empty:
            continue
        if not pd.api.types.is_numeric_dtype(rows[column]):
            raise InputError(
                f"the rows to predict: '{column}' holds text, e.g. '{rows[column].iloc[0]}'; the model has numbers there"
            )
        if not np.isfinite(rows[column].to_numpy(float)).all():
            raise InputError(
                f"the rows to predict: '{column}' holds infinite values; drop or mend those rows first"
            )


def _designs(model: TableModel) -> list[Design]:
    """Of the fixed effects and of each random term."""
    return [model.design, *(Design(random.terms, model.rows) for random in model.formula.random)]


def _numbers(model: TableModel) -> list[str]:
    """The columns that effects and offsets take as numbers."""
    numbers = []
    for design in _designs(model):
        variables = [variable for term in design.terms for variable in term]
        numbers += [variable for variable in variables if variable not in design.levels]
        numbers += model.formula.offsets
    return list(dict.fromkeys(map(column_of, numbers)))


def _levels(model: TableModel) -> dict[str, list[str]]:
    """Of every category that has effects."""
    levels: dict[str, list[str]] = {}
    for design in _designs(model):
        levels |= design.levels
    return levels


def _with_known_levels(model: TableModel, rows: pd.DataFrame) -> np.ndarray:
    """Which rows have levels only that the model has effects of."""
    known = np.ones(len(rows), bool)
    for variable, levels in _levels(model).items():
        known &= values(variable, rows).astype(str).isin(levels).to_numpy()
    return known


def _refuse_unknown_levels(model: TableModel, rows: pd.DataFrame) -> None:
    """Levels of categories that have effects: the model has none for a new one."""
    for variable, levels in _levels(model).items():
        in_rows = values(variable, rows).astype(str)
        new = sorted(set(in_rows) - set(levels))
        if new:
            raise InputError(
                f"the model has no effect of {variable} '{new[0]}'; its levels are {', '.join(levels)}.{nearest(new[0], levels)}"
            )
