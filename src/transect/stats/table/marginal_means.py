"""Estimated marginal means of a fitted table's factors, and the differences between them.

    mean        the model's prediction at a level (or a cell A:B), every combination of the other factors' levels with the same
                weight, numbers and offsets at their mean over the rows (of log10(x), the mean of
                log10(x))
    difference  A[a - b], every pair of levels; of A:B, of each factor within every level of the other
    interaction A[a - b] x B[c - d], every pair of pairs: the difference of differences
df are Satterthwaite's and never exceed those of any coefficient that takes part (emmeans, with
Satterthwaite's, does not bound them). What a cell without rows would have to tell is not estimable,
and has no numbers (emmeans: nonEst). p_holm: adjusted over all differences (or all interactions) of
one request (Holm 1979). A binomial model's are logits: means come with the probability at it
(inverse logit: of a typical level of the random effects, not averaged over them), differences with
the odds ratio. Source: Searle, Speed & Milliken (1980); Lenth's emmeans.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from transect.errors import InputError, nearest
from transect.stats.formula.contrasts import Choice, Grid
from transect.stats.formula.notation import Design, column_of
from transect.stats.formula.offsets import offset_of
from transect.stats.inference.intervals import t_interval
from transect.stats.inference.multiplicity import holm
from transect.stats.table.table_model import TableModel

# weights times their column's size below this are rounding: the model has no such difference
NOTHING = 1e-12
MOST = 2000  # differences of one request


def marginal_means(model: TableModel, factors: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Means and differences of each of `factors`, "A" or "A:B", with columns factors, label,
    (kind,) and those of a contrast.

    Raises InputError for what is no factor of the model's fixed effects, and for more than 2000
    differences.
    """
    grid = Grid(model.design, model.rows)
    means: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for text in dict.fromkeys(factors):
        variables = [_variable(name, model.design) for name in _factors(text, model.design)]
        means += [{"factors": text, **mean} for mean in _means(model, grid, variables)]
        of_factors = list(_differences(model, grid, variables))
        _adjust(of_factors)
        differences += [{"factors": text, **difference} for difference in of_factors]
    table = pd.DataFrame(differences)
    if model.family == "binomial" and len(table):
        table["odds_ratio"] = np.exp(table["estimate"])
    return pd.DataFrame(means), table


_PROBABILITY = {
    "probability": "estimate",
    "probability_lower": "lower",
    "probability_upper": "upper",
}


def _means(model: TableModel, grid: Grid, variables: list[str]) -> Iterator[dict[str, Any]]:
    """label and mean of every level, or cell; of a binomial model the probability too."""
    offset = float(offset_of(model.formula, model.rows).mean())
    for cell in _cells(variables, model.design):
        weights = grid.weights(_at(cell))
        row = _row(model, weights, offset)
        if model.family == "binomial":
            row = row | {name: expit(row[column]) for name, column in _PROBABILITY.items()}
        yield {"label": _named(cell), **row}


def _cells(variables: Sequence[str], design: Design) -> Iterator[dict[str, str]]:
    """Every combination of the levels: variable -> level."""
    for levels in product(*(design.levels[variable] for variable in variables)):
        yield dict(zip(variables, levels, strict=True))


def _at(cell: Mapping[str, str]) -> Choice:
    return {variable: {level: 1.0} for variable, level in cell.items()}


def _named(cell: Mapping[str, str]) -> str:
    return ", ".join(f"{variable}[{level}]" for variable, level in cell.items())


def _factors(text: str, design: Design) -> list[str]:
    """The factors of A:B; a name that holds a colon itself is one where it stands alone or in
    backticks.
    """
    alone = any(text.strip() in (v, column_of(v)) for term in design.terms for v in term)
    return [text] if alone else re.findall(r"`[^`]*`|[^:]+", text) or [text]


def _variable(name: str, design: Design) -> str:
    """The variable of a factor, named as in the formula or by its column."""
    variables = list(dict.fromkeys(v for term in design.terms for v in term))
    named = [v for v in variables if name.strip() in (v, column_of(v))]
    if not named:
        factors = [v for v in variables if v in design.levels]
        raise InputError(
            f"--means {name}: this is no factor of the fixed effects, which have {', '.join(factors) or 'none'}."
            f"{nearest(name, factors)}"
        )
    variable = named[0]
    if variable not in design.levels:
        raise InputError(
            f"--means {name}: this is a number, whose effect is its coefficient; for means write factor({column_of(variable)}) "
            "in the formula"
        )
    return variable


def _row(model: TableModel, weights: np.ndarray, offset: float = 0.0) -> dict[str, Any]:
    """The row of weights @ beta + offset."""
    used = _used(model, weights)
    bounds = [unit.bound for unit, carries in zip(model.units, used, strict=True) if carries]
    row = model.fit.contrasts(weights, bounds).iloc[0].to_dict()
    if not offset:
        return row
    return t_interval(row["estimate"] + offset, row["se"], row["df"])


def _used(model: TableModel, weights: np.ndarray) -> np.ndarray:
    return np.abs(weights) * model.sizes > NOTHING


def _differences(model: TableModel, grid: Grid, variables: list[str]) -> Iterator[dict[str, Any]]:
    """label, kind and contrast of every difference and interaction that the model has."""
    levels = model.design.levels
    pairs = {variable: list(combinations(levels[variable], 2)) for variable in variables}
    _refuse_too_many(variables, model.design)
    for variable in variables:
        others = [other for other in variables if other != variable]
        for (a, b), cell in product(pairs[variable], list(_cells(others, model.design))):
            label = f"{variable}[{a} - {b}]"
            if cell:
                label += f" in {_named(cell)}"
            choice: Choice = {variable: {a: 1.0, b: -1.0}, **_at(cell)}
            yield from _contrast(model, grid, label, "difference", choice)
    if len(variables) < 2:
        return
    for combination in product(*pairs.values()):
        chosen = dict(zip(variables, combination, strict=True))
        label = " x ".join(f"{variable}[{a} - {b}]" for variable, (a, b) in chosen.items())
        choice = {variable: {a: 1.0, b: -1.0} for variable, (a, b) in chosen.items()}
        yield from _contrast(model, grid, label, "interaction", choice)


def _refuse_too_many(variables: Sequence[str], design: Design) -> None:
    """Raise InputError for more differences than anyone reads."""
    n_levels = [len(design.levels[variable]) for variable in variables]
    # of each factor n (n - 1) / 2 pairs within every cell of the others
    n = sum(prod(n_levels) * (own - 1) // 2 for own in n_levels)
    if n > MOST:
        raise InputError(
            f"--means {':'.join(variables)}: {n} differences are too many to read; take fewer factors"
        )


def _adjust(rows: list[dict[str, Any]]) -> None:
    """Add p_holm to the rows that have a p, among those of a kind."""
    for kind in ("difference", "interaction"):
        tested = [row for row in rows if row["kind"] == kind and np.isfinite(row["p"])]
        adjusted = holm([row["p"] for row in tested])
        for row, p in zip(tested, adjusted, strict=True):
            row["p_holm"] = p


def _contrast(
    model: TableModel, grid: Grid, label: str, kind: str, choice: Choice
) -> Iterator[dict[str, Any]]:
    weights = grid.weights(choice)
    used = _used(model, weights) | np.isnan(weights)
    if used.any():
        yield {"label": label, "kind": kind, **_row(model, np.where(used, weights, 0.0))}
