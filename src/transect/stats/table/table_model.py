"""One formula fitted to one table: what `transect fit` reports.

Each effect comes with its unit of inference, degrees of freedom that never exceed that unit's
level, the slopes that were left out (with the reason), and a cross-check by least squares on unit
means. Degrees of freedom of binomial models are the units' too, and their p is of t with these,
where lme4 prints z. A design that would count rows as independent although a coarser column carries
the effect is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats.formula.notation import Design, Formula, parse
from transect.stats.formula.offsets import offset_of
from transect.stats.mixed import binomial
from transect.stats.mixed import gaussian as mixed
from transect.stats.mixed.binomial import GeneralizedFit
from transect.stats.mixed.gaussian import MixedFit
from transect.stats.mixed.least_squares import LeastSquaresFit, fit_least_squares, fit_logistic
from transect.stats.mixed.random_effects import TableFit, correlations, r_squared, residuals
from transect.stats.table.fit_notes import (
    clustered,
    coarser,
    disagreeing,
    empty_cells,
    few_trials,
    rounded,
    singular,
)
from transect.stats.table.inference_units import (
    ROW,
    Unit,
    bounded,
    coarsest_columns,
    inference_units,
    pseudoreplicated,
    refuse_pseudoreplication,
)
from transect.stats.table.model_input import (
    apart,
    check_groups,
    computed,
    counts_of,
    fitted_rows,
    independent_design,
    response_of,
    weights_of,
)
from transect.stats.table.unit_means import disagreements, on_means

FAMILIES = ("gaussian", "binomial")


@dataclass(frozen=True)
class TableModel:
    """A fitted table. `effects`: one row per coefficient, with its unit; `on_means`: the
    cross-check; `rows`: those fitted.
    """

    formula: Formula
    family: str
    fit: TableFit
    effects: pd.DataFrame
    on_means: pd.DataFrame
    n_missing: int
    rows: pd.DataFrame = field(repr=False)
    design: Design = field(repr=False)
    units: list[Unit] = field(repr=False)
    warnings: list[str] = field(default_factory=list)

    @property
    def mixed(self) -> MixedFit | GeneralizedFit:
        """The fit with its random effects. Raises InputError for a formula without."""
        if isinstance(self.fit, LeastSquaresFit):
            raise InputError(
                f"formula '{self.formula.text}' has no random term such as (1 | item), which this needs"
            )
        return self.fit

    @property
    def method(self) -> str:
        if isinstance(self.fit, LeastSquaresFit):
            return "maximum likelihood" if self.fit.binomial else "least squares"
        if isinstance(self.fit, GeneralizedFit):
            said = {"Laplace": "Laplace approximation (nAGQ = 1)", "nAGQ=0": "nAGQ = 0"}
            return said.get(
                self.fit.method,
                f"adaptive Gauss-Hermite quadrature ({self.fit.method.replace('=', ' = ')})",
            )
        return "REML" if self.fit.deviance.reml else "maximum likelihood"

    @cached_property
    def sizes(self) -> np.ndarray:
        """The root mean square of each column of the model matrix: what a coefficient is multiplied
        with.
        """
        return np.sqrt((self.design.matrix(self.rows) ** 2).mean(0))

    def as_json(self) -> dict[str, Any]:
        """Every number of the fit, with plain types."""
        fit = self.fit
        found: dict[str, Any] = {
            "formula": self.formula.text,
            "family": self.family,
            "method": self.method,
            "n_rows": fit.n,
            "n_missing": self.n_missing,
            "criterion": float(fit.criterion),
            "effects": _records(self.effects),
            "variances": _records(fit.components),
            "correlations": _records(correlations(fit)),
            "r_squared": r_squared(fit),
            "on_means": _records(self.on_means),
            "warnings": self.warnings,
        }
        return found


def fit_table(
    frame: pd.DataFrame,
    formula: str,
    *,
    family: str = "gaussian",
    reml: bool = True,
    method: str = "Laplace",
    weights: str | None = None,
    allow_pseudoreplication: bool = False,
) -> TableModel:
    """Fit a formula: a mixed model, or without a random term least squares (logistic regression).

    weights: a column of weights (gaussian: Var = sigma^2 / weight; binomial with a proportion: the
    number of trials). Rows with a missing value in a column that is used are left out and counted.
    Raises InputError for what cannot be fitted.
    """
    parsed = _parsed(formula, family, method)
    rows, n_missing, notes = fitted_rows(frame, parsed, weights, family)
    counts = counts_of(parsed, rows, weights) if family == "binomial" else None
    check_groups(parsed, rows, counts is not None and bool((counts.trials > 1).any()))
    design, x = independent_design(Design(parsed.fixed, rows), rows)
    units = inference_units(parsed, design, rows, x)
    shared = pseudoreplicated(parsed, design, rows, x, units)
    if not allow_pseudoreplication:
        refuse_pseudoreplication(shared, len(rows))
        units = bounded(units, coarsest_columns(shared, parsed, design, rows, x, units), rows, x)
    terms, offset = mixed.groupings(parsed.random, rows), offset_of(parsed, rows)
    fit: TableFit
    if counts is not None:
        response, trials = counts.successes, counts.trials
        notes += counts.notes
        fit = (
            binomial.fit_binomial(response, trials, x, design.names, terms, method, offset=offset)
            if terms
            else fit_logistic(response, trials, x, design.names, offset)
        )
        means = on_means(
            response / trials, x, design, [] if parsed.offsets else units, parsed, rows, trials
        )
    else:
        response = response_of(parsed, rows)
        by = None if weights is None else weights_of(rows[weights], weights)
        fit = (
            mixed.fit(response, x, design.names, terms, reml, weights=by)
            if terms
            else fit_least_squares(response, x, design.names, by)
        )
        means = on_means(response, x, design, units, parsed, rows, by)
    effects = _effects(fit, units)
    means = means.assign(
        differs=disagreements(means, effects), se_ratio=_se_ratio(means, effects, family)
    )
    warnings = [
        *notes,
        *computed(parsed, rows),
        *apart(parsed, rows),
        *empty_cells(design),
        *singular(fit),
        *rounded(fit),
        *few_trials(fit),
        *coarser(shared, dict(zip(design.names, units, strict=True))),
        *clustered(residuals(fit, response), parsed, rows),
        *disagreeing(means),
    ]
    return TableModel(parsed, family, fit, effects, means, n_missing, rows, design, units, warnings)


def _parsed(formula: str, family: str, method: str) -> Formula:
    if family not in FAMILIES:
        raise InputError(f"family {family!r}: allowed are {', '.join(FAMILIES)}.")
    parsed = parse(formula, offsets=True)
    if method != "Laplace" and (family != "binomial" or not parsed.random):
        raise InputError(
            f"method '{method}' is for binomial models with a random term; leave it out"
        )
    return parsed


def _effects(fit: TableFit, units: Sequence[Unit]) -> pd.DataFrame:
    rows = []
    for j, (name, unit) in enumerate(zip(fit.names, units, strict=True)):
        # no correction of degrees of freedom exists for binomial models: the level's own bound
        # stands in for one
        row = fit.contrasts(np.eye(len(fit.beta))[j], [unit.bound]).iloc[0].to_dict()
        more = {
            "unit": unit.column or unit.unit or "row",
            "by_rows": unit.unit == ROW,  # a grouping may be called row, too
            "n_units": unit.n_levels or unit.n_units,
            "slopes_omitted": ", ".join(unit.slopes_omitted),
        }
        rows.append({"term": name, **row, **more})
    return pd.DataFrame(rows)


def _se_ratio(means: pd.DataFrame, effects: pd.DataFrame, family: str) -> np.ndarray:
    """Of each row of `means`, the model's standard error over its own; NaN for binomial models,
    whose scale is another.
    """
    if not len(means) or family == "binomial":
        return np.full(len(means), np.nan)
    return effects.set_index("term")["se"].loc[means["term"]].to_numpy() / means["se"].to_numpy()


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(k): v.item() if hasattr(v, "item") else v for k, v in r.items()} for r in records]
