"""What a random slope that a formula leaves out costs: how much larger the standard error of an
effect is with it.

    se_ratio = standard error of the effect with an own slope of its term by the grouping / standard
    error without
An effect that varies within the levels of a grouping and has no slope by it is tested as if every
level had the same one. Where the levels differ, its false alarms rise: 39 % instead of 5 % over 500
tables of 5 suites of 4 sizes, whose estimates spread 2.35 times as widely as their standard errors
say; the median ratio told is 2.21. The slope is added without correlations, so that few levels
determine it; every other term stays. Of several columns of a term (levels of a category) the
largest ratio counts. NaN: the rows of a level are too few for a slope, the table is long, or the
larger model has no fit. Source: Barr, Levy, Scheepers & Tily (2013), J. Mem. Lang. 68;
simulations/slope_cost.py, which counts these.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats.formula.notation import Design, parse
from transect.stats.formula.offsets import less_offset
from transect.stats.mixed import binomial, gaussian
from transect.stats.mixed.binomial import GeneralizedFit
from transect.stats.mixed.crossed_cholesky import Grouping
from transect.stats.mixed.gaussian import MixedFit
from transect.stats.table.table_model import TableModel

LONGEST = {"gaussian": 20_000, "binomial": 5_000}  # rows: longer tables are not fitted again
MOST = 6  # slopes of one model that are tried


def omitted_slopes(model: TableModel) -> pd.DataFrame:
    """Columns term, group, remedy ("" where none is possible), se_ratio: one row per term and
    grouping without a slope of it.
    """
    design, units = model.design, model.units
    rows: list[tuple[str, str, str, float]] = []
    for term in design.terms:
        columns = [j for j, t in enumerate(design.term_of) if t == term]
        pairs = {
            g: r
            for j in columns
            for g, r in zip(units[j].slopes_omitted, units[j].remedies, strict=True)
        }
        for group, remedy in pairs.items():
            tried = bool(remedy) and sum(np.isfinite(row[-1]) for row in rows) < MOST
            rows.append(
                (
                    ":".join(term),
                    group,
                    remedy,
                    _se_ratio(model, columns, remedy) if tried else np.nan,
                )
            )
    return pd.DataFrame(rows, columns=["term", "group", "remedy", "se_ratio"])


def _se_ratio(model: TableModel, columns: Sequence[int], remedy: str) -> float:
    if len(model.rows) > LONGEST[model.family]:
        return float("nan")
    try:
        larger, before = _with_slope(model, remedy), _without_slope(model)
    except (InputError, np.linalg.LinAlgError):
        return float("nan")
    return float(np.sqrt(larger.diagonal() / before.diagonal())[list(columns)].max())


def _with_slope(model: TableModel, remedy: str) -> np.ndarray:
    """vcov of the effects with the slope of `remedy`, each of its columns uncorrelated with all
    others.
    """
    (random,) = parse(f"y ~ 1 + {remedy}").random
    levels = gaussian.grouping(replace(random, terms=((),)), model.rows)
    slopes = Design(random.terms, model.rows)
    added = [
        replace(levels, columns=column[:, None], effects=(name,))
        for name, column in zip(slopes.names[1:], slopes.matrix(model.rows).T[1:], strict=True)
    ]
    return _vcov(model, added)


def _without_slope(model: TableModel) -> np.ndarray:
    """vcov as it is; of a binomial model by the fast method, as with the slope."""
    return _vcov(model, []) if model.family == "binomial" else model.fit.vcov


def _vcov(model: TableModel, added: Sequence[Grouping]) -> np.ndarray:
    fit, x = model.fit, model.design.matrix(model.rows)
    terms = [*gaussian.groupings(model.formula.random, model.rows), *added]
    if isinstance(fit, GeneralizedFit):
        laplace = fit.laplace
        return binomial.fit_binomial(
            laplace.successes, laplace.trials, x, fit.names, terms, "nAGQ=0", offset=laplace.offset
        ).vcov
    assert isinstance(fit, MixedFit), "a slope is left out of random terms only"
    y = less_offset(model.formula, model.rows)
    return gaussian.fit(
        y, x, fit.names, terms, fit.deviance.reml, weights=fit.deviance.weights, start=fit
    ).vcov
