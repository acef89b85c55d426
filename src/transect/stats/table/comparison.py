"""Whether a larger model is better than a smaller one that it contains: likelihood ratio and
parametric bootstrap test.

    chi2 = -2 log L(smaller) + 2 log L(larger),   df = parameters of the larger - parameters of the smaller
Both models are fitted again by maximum likelihood (REML criteria of different fixed effects do not
compare). The bootstrap draws responses from the smaller model (stats/mixed/bootstrap.py); its p is the
one to report with few units or where a variance is tested, which under the smaller model lies on
the edge of its range: there chi2 is too large a yardstick, its p too large. Contained: the same
response and rows, the smaller's columns in the span of the larger's, and each of its random terms
in one of the larger's with the same groups. Sources: Pinheiro & Bates (2000), ch. 2; Halekoh &
Højsgaard (2014), J. Stat. Software 59(9).
"""

from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats.formula.notation import parse
from transect.stats.mixed.binomial import GeneralizedFit
from transect.stats.mixed.bootstrap import Fit, bootstrap_test
from transect.stats.mixed.crossed_cholesky import Grouping
from transect.stats.mixed.standard_units import StandardColumns
from transect.stats.table.table_model import TableModel, fit_table


def compare(
    frame: pd.DataFrame, formula: str, smaller: str, *, n: int = 1000, seed: int = 1, **options: Any
) -> dict[str, Any]:
    """formula, against, method, n_rows, chi2, df, p_chi2, p, p_se (Monte Carlo), n (bootstrap
    samples), same_fixed.

    options: as of `fit_table`. Raises InputError for models of which one does not contain the
    other, and for other rows.
    """
    parsed = [parse(text, offsets=True) for text in (formula, smaller)]
    for text in (text for p, text in zip(parsed, (formula, smaller), strict=True) if not p.random):
        raise InputError(
            f"--against: '{text}' has no random term such as (1 | item); the test is between mixed models"
        )
    if parsed[0].response != parsed[1].response:
        raise InputError(
            f"the models have different responses, {parsed[0].response} and {parsed[1].response}"
        )
    if set(parsed[0].offsets) != set(parsed[1].offsets):
        raise InputError(
            f"the models have different offsets; write those of '{formula}' in --against, too"
        )
    lacking = [c for p in parsed for c in p.columns if c in frame and frame[c].isna().any()]
    kept = [frame[[c for c in p.columns if c in frame]].notna().all(axis=1) for p in parsed]
    if (kept[0] != kept[1]).any():
        raise InputError(
            f"the models are of different rows ({kept[0].sum()} and {kept[1].sum()}), for missing values in "
            f"{', '.join(dict.fromkeys(lacking))}; leave these rows out of the table first"
        )
    options |= {
        "reml": False,
        "allow_pseudoreplication": True,
    }  # both were refused or allowed before they are compared
    larger, reduced = (fit_table(frame, text, **options) for text in (formula, smaller))
    _refuse_not_nested(larger, reduced)
    found = bootstrap_test(larger.mixed, reduced.mixed, n, seed)
    same = len(larger.mixed.beta) == len(reduced.mixed.beta)
    return {
        "formula": formula,
        "against": smaller,
        "method": larger.method,
        "n_rows": larger.mixed.n,
        "chi2": max(float(found["lr"]), 0.0),
        "df": int(found["df"]),
        "p_chi2": found["p_chi2"],
        "p": found["p"],
        "p_se": float(np.sqrt(found["p"] * (1 - found["p"]) / n)),
        "n": n,
        "same_fixed": same,
    }


def _refuse_not_nested(larger: TableModel, smaller: TableModel) -> None:
    """Raise InputError unless the smaller model is a special case of the larger, with fewer
    parameters.
    """
    x, small = _x(larger.mixed), _x(smaller.mixed)
    outside = _outside(small, x)
    if outside.any():
        names = [name for name, out in zip(smaller.mixed.names, outside, strict=True) if out]
        raise InputError(
            f"the models are not nested: {', '.join(names)} of --against is not in the first model"
        )
    for term in _terms(smaller.mixed):
        if not any(_holds(other, term) for other in _terms(larger.mixed)):
            raise InputError(
                f"the models are not nested: ({' + '.join(term.effects)} | {term.name}) of --against is in no random term of "
                "the first model"
            )
    if len(larger.mixed.beta) + len(larger.mixed.theta) <= len(smaller.mixed.beta) + len(
        smaller.mixed.theta
    ):
        raise InputError("--against has as many parameters as the first model: name a smaller one")


def _x(fit: Fit) -> np.ndarray:
    return fit.laplace.x if isinstance(fit, GeneralizedFit) else fit.deviance.x


def _terms(fit: Fit) -> list[Grouping]:
    return fit.laplace.terms if isinstance(fit, GeneralizedFit) else fit.deviance.terms


def _holds(larger: Grouping, smaller: Grouping) -> bool:
    """Whether both have the same groups and every effect of the smaller is among the larger's."""
    if larger.n_levels != smaller.n_levels:
        return False
    pairs = np.unique(np.column_stack([larger.codes, smaller.codes]), axis=0)
    return len(pairs) == larger.n_levels and not _outside(smaller.columns, larger.columns).any()


def _outside(columns: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Of each column, whether it is no linear function of those of x."""
    basis = StandardColumns.of(x).standard
    rest = columns - basis @ (basis.T @ columns) / len(x)
    outside: np.ndarray = np.abs(rest).max(0) > 1e-8 * np.maximum(np.abs(columns).max(0), 1e-300)
    return outside
