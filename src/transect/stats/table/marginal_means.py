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
from collections.abc import Iterator, Sequence
from itertools import combinations, product
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
    logit, offset = model.family == "binomial", float(offset_of(model.formula, model.rows).mean())
    means, differences = [], []
    for text in dict.fromkeys(factors):
        variables = [_variable(name, model.design) for name in _factors(text, model.design)]
        for cell in product(*(model.design.levels[v] for v in variables)):
            row = _row(
                model,
                grid.weights({v: {level: 1.0} for v, level in zip(variables, cell, strict=True)}),
                offset,
            )
            label = ", ".join(f"{v}[{level}]" for v, level in zip(variables, cell, strict=True))
            on_scale = {k: expit(row[c]) for k, c in _PROBABILITY.items()} if logit else {}
            means.append({"factors": text, "label": label, **row, **on_scale})
        differences += _adjusted(text, list(_differences(model, grid, variables)))
    table = pd.DataFrame(differences)
    if logit and len(table):
        table["odds_ratio"] = np.exp(table["estimate"])
    return pd.DataFrame(means), table


_PROBABILITY = {
    "probability": "estimate",
    "probability_lower": "lower",
    "probability_upper": "upper",
}


def _factors(text: str, design: Design) -> list[str]:
    """The factors of A:B; a name that holds a colon itself is one where it stands alone or in
    backticks.
    """
    alone = any(text.strip() in (v, column_of(v)) for term in design.terms for v in term)
    return [text] if alone else re.findall(r"`[^`]*`|[^:]+", text) or [text]


def _variable(name: str, design: Design) -> str:
    """The variable of a factor, named as in the formula or by its column."""
    known = [v for v in dict.fromkeys(v for term in design.terms for v in term)]
    found = next((v for v in known if name.strip() in (v, column_of(v))), None)
    if found is None:
        factors = [v for v in known if v in design.levels]
        raise InputError(
            f"--means {name}: this is no factor of the fixed effects, which have {', '.join(factors) or 'none'}."
            f"{nearest(name, factors)}"
        )
    if found not in design.levels:
        raise InputError(
            f"--means {name}: this is a number, whose effect is its coefficient; for means write factor({column_of(found)}) "
            "in the formula"
        )
    return found


def _row(model: TableModel, weights: np.ndarray, offset: float = 0.0) -> dict[str, Any]:
    """The row of weights @ beta + offset."""
    bounds = [u.bound for u, used in zip(model.units, _used(model, weights), strict=True) if used]
    row = model.fit.contrasts(weights, bounds).iloc[0].to_dict()
    return t_interval(row["estimate"] + offset, row["se"], row["df"]) if offset else row


def _used(model: TableModel, weights: np.ndarray) -> np.ndarray:
    return np.abs(weights) * model.sizes > NOTHING


def _differences(model: TableModel, grid: Grid, variables: list[str]) -> Iterator[dict[str, Any]]:
    """label, kind and contrast of every difference and interaction that the model has."""
    levels = model.design.levels
    pairs = {v: list(combinations(levels[v], 2)) for v in variables}
    n = sum(
        len(pairs[v]) * int(np.prod([len(levels[w]) for w in variables if w != v]))
        for v in variables
    )
    if n > MOST:
        raise InputError(
            f"--means {':'.join(variables)}: {n} differences are too many to read; take fewer factors"
        )
    for v in variables:
        others = [w for w in variables if w != v]
        for (a, b), held in product(pairs[v], product(*(levels[w] for w in others))):
            within: Choice = {w: {level: 1.0} for w, level in zip(others, held, strict=True)}
            inside = ", ".join(f"{w}[{level}]" for w, level in zip(others, held, strict=True))
            label = f"{v}[{a} - {b}]" + (f" in {inside}" if inside else "")
            yield from _contrast(model, grid, label, "difference", {v: {a: 1.0, b: -1.0}, **within})
    for chosen in product(*pairs.values()) if len(variables) > 1 else ():
        label = " x ".join(f"{v}[{a} - {b}]" for v, (a, b) in zip(variables, chosen, strict=True))
        choice: Choice = {v: {a: 1.0, b: -1.0} for v, (a, b) in zip(variables, chosen, strict=True)}
        yield from _contrast(model, grid, label, "interaction", choice)


def _contrast(
    model: TableModel, grid: Grid, label: str, kind: str, choice: Choice
) -> Iterator[dict[str, Any]]:
    weights = grid.weights(choice)
    used = _used(model, weights) | np.isnan(weights)
    if used.any():
        yield {"label": label, "kind": kind, **_row(model, np.where(used, weights, 0.0))}


def _adjusted(factors: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for kind in ("difference", "interaction"):
        part = [r for r in rows if r["kind"] == kind and np.isfinite(r["p"])]
        for row, p in zip(part, holm([r["p"] for r in part]), strict=True):
            row["p_holm"] = p
    return [{"factors": factors, **row} for row in rows]
