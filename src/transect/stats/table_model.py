"""One formula fitted to one table: what `transect fit` reports.

Each effect comes with its unit of inference, degrees of freedom that never exceed that unit's level, the slopes that were
left out, and a cross-check by least squares on unit means. Degrees of freedom of binomial models are the units' too, and
their p is of t with these, where lme4 prints z. A design that would count rows as independent although a coarser
column carries the effect is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats import generalized, linear, mixed
from transect.stats.formula import Design, Formula, is_category, parse, values
from transect.stats.generalized import GeneralizedFit
from transect.stats.inference_units import Unit, inference_units, pseudoreplicated, refuse_pseudoreplication
from transect.stats.mixed import MixedFit
from transect.stats.random_effects import r_squared
from transect.stats.unit_means import on_means

FAMILIES = ("gaussian", "binomial")


@dataclass(frozen=True)
class TableModel:
    """A fitted table. `effects`: one row per coefficient, with its unit; `on_means`: the cross-check."""

    formula: Formula
    family: str
    fit: MixedFit | GeneralizedFit
    effects: pd.DataFrame
    on_means: pd.DataFrame
    n_missing: int
    warnings: list[str] = field(default_factory=list)

    @property
    def method(self) -> str:
        if isinstance(self.fit, GeneralizedFit):
            return {"Laplace": "Laplace approximation (nAGQ = 1)", "nAGQ=0": "nAGQ = 0"}[self.fit.method]
        return "REML" if self.fit.deviance.reml else "maximum likelihood"

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
    """Fit a formula with at least one random term.

    weights: a column of weights (gaussian: Var = sigma^2 / weight; binomial with a proportion: the number of trials).
    Rows with a missing value in a column that is used are left out and counted. Raises InputError for what cannot be fitted.
    """
    if family not in FAMILIES:
        raise InputError(f"family {family!r}: allowed are {', '.join(FAMILIES)}.")
    parsed = parse(formula)
    if not parsed.random:
        raise InputError(
            f"formula '{formula}' has no random term such as (1 | item); least squares needs no mixed model"
        )
    rows, n_missing = _complete(frame, [*parsed.columns, *([weights] if weights else [])])
    _check_groups(parsed, rows)
    design = Design(parsed.fixed, rows)
    x = design.matrix(rows)
    _refuse_aliased(design, x)
    if not allow_pseudoreplication:
        refuse_pseudoreplication(parsed, design, rows)
    units = inference_units(parsed, design, rows)
    terms = [mixed.grouping(r, rows) for r in parsed.random]
    fit: MixedFit | GeneralizedFit
    if family == "binomial":
        successes, trials = _counts(parsed, rows, weights)
        fit = generalized.fit_binomial(successes, trials, x, design.names, terms, method)
        means = pd.DataFrame()  # means of shares are on another scale than the logit
    else:
        response = _response(parsed, rows)
        by = None if weights is None else _weights(rows[weights], weights)
        fit = mixed.fit(response, x, design.names, terms, reml, weights=by)
        means = on_means(response, x, design, units, parsed, rows)
    effects = _effects(fit, units)
    warnings = [*_singular(fit), *_coarser(parsed, design, rows), *_slopes_omitted(effects)]
    return TableModel(parsed, family, fit, effects, means, n_missing, warnings)


def correlations(fit: MixedFit | GeneralizedFit) -> pd.DataFrame:
    """Columns group, effect, other, correlation of the random effects of one grouping."""
    deviance = fit.laplace.without if isinstance(fit, GeneralizedFit) else fit.deviance
    rows = []
    for term, factor in zip(deviance.terms, deviance.factors(fit.theta), strict=True):
        covariance = factor @ factor.T
        sd = np.sqrt(np.diag(covariance))
        for i in range(term.k):
            for j in range(i):
                size = sd[i] * sd[j]
                value = covariance[i, j] / size if size > 0 else np.nan
                rows.append((term.name, term.effects[j], term.effects[i], value))
    return pd.DataFrame(rows, columns=["group", "effect", "other", "correlation"])


def _complete(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, int]:
    for column in columns:
        if column in frame and pd.api.types.is_float_dtype(frame[column]) and np.isinf(frame[column]).any():
            raise InputError(f"the column '{column}' holds infinite values; drop or mend those rows first")
    known = [c for c in columns if c in frame]
    rows = frame.dropna(subset=known).reset_index(drop=True)
    if known and rows.empty:
        counts = ", ".join(f"{c} {int(frame[c].isna().sum())}" for c in known if frame[c].isna().any())
        raise InputError(
            f"no row is complete: of {len(frame)} rows, missing values in {counts or 'none (the table is empty)'}"
        )
    return rows, len(frame) - len(rows)


def _check_groups(formula: Formula, rows: pd.DataFrame) -> None:
    for random in formula.random:
        keys = pd.concat([values(v, rows).astype(str) for v in random.group], axis=1).agg("\x1f".join, axis=1)
        name, levels = ":".join(random.group), keys.nunique()
        if levels < 2:
            raise InputError(
                f"the grouping factor {name} has one level ({keys.iloc[0]}); a variance needs at least two"
            )
        if levels == len(rows):
            raise InputError(
                f"the grouping factor {name} has as many levels as there are rows ({levels}); its variance is the residual's"
            )


def _refuse_aliased(design: Design, x: np.ndarray) -> None:
    kept = set(linear.independent_columns(x))
    lost = [j for j in range(x.shape[1]) if j not in kept]
    if lost:
        weights = np.linalg.lstsq(x[:, sorted(kept)], x[:, lost[0]], rcond=None)[0]
        partners = [design.names[j] for j, w in zip(sorted(kept), weights, strict=True) if abs(w) > 1e-8]
        partners = [p for p in partners if p != "(Intercept)"] or partners
        raise InputError(
            f"'{design.names[lost[0]]}' is aliased: in these rows it is determined by {', '.join(partners) or 'nothing (all 0)'}. "
            "Leave one of them out."
        )


def _response(formula: Formula, rows: pd.DataFrame) -> np.ndarray:
    if formula.counts:
        raise InputError("cbind(successes, failures) is a binomial response; add --family binomial")
    if is_category(formula.response, rows) and not pd.api.types.is_bool_dtype(values(formula.response, rows)):
        raise InputError(f"the response '{formula.response}' holds text, not numbers")
    response = values(formula.response, rows).to_numpy(float)
    if response.std() == 0:
        raise InputError(
            f"the response '{formula.response}' is {response[0]:g} in every row: there is nothing to explain"
        )
    return response


def _counts(formula: Formula, rows: pd.DataFrame, weights: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Successes and trials of every row."""
    if formula.counts:
        successes, failures = (rows[c].to_numpy(float) for c in formula.counts)
        return successes, successes + failures
    response = values(formula.response, rows)
    if is_category(formula.response, rows) and not pd.api.types.is_bool_dtype(response):
        raise InputError(f"the response '{formula.response}' holds text; a binomial response is 0 or 1, true or false")
    share = response.to_numpy(float)
    trials = np.ones(len(rows)) if weights is None else _weights(rows[weights], weights)
    successes = share * trials
    if np.abs(successes - successes.round()).max() > 1e-6 or share.min() < 0 or share.max() > 1:
        hint = "" if weights else "; for proportions name the column of trials with --weights"
        if weights is None and share.min() >= 0 and (share == share.round()).all():
            hint = (
                f"; for counts write cbind({formula.response}, FAILURES), FAILURES a column of the trials that failed"
            )
        raise InputError(f"the response '{formula.response}' is neither 0 or 1 nor a proportion of whole trials{hint}")
    return successes.round(), trials


def _weights(column: pd.Series, name: str) -> np.ndarray:
    if not pd.api.types.is_numeric_dtype(column) or not (column > 0).all():
        raise InputError(f"the weights '{name}' must be numbers above 0 in every row")
    return column.to_numpy(float)


def _effects(fit: MixedFit | GeneralizedFit, units: Sequence[Unit]) -> pd.DataFrame:
    rows = []
    for j, (name, unit) in enumerate(zip(fit.names, units, strict=True)):
        # no correction of degrees of freedom exists for binomial models: the level's own bound stands in for one
        row = fit.contrasts(np.eye(len(fit.beta))[j], unit.max_df).iloc[0].to_dict()
        more = {"unit": unit.unit, "n_units": unit.n_units, "slopes_omitted": ", ".join(unit.slopes_omitted)}
        rows.append({"term": name, **row, **more})
    return pd.DataFrame(rows)


def _singular(fit: MixedFit | GeneralizedFit) -> list[str]:
    found = []
    for group, effect, _, sd, _ in fit.components.to_numpy():
        if group != "residual" and sd < 1e-4 * (fit.sigma if isinstance(fit, MixedFit) else 1.0):
            found.append(f"the variance of {effect} by {group} is estimated as 0 (a singular fit): the data show none")
    for group, effect, other, value in correlations(fit).to_numpy():
        if abs(value) > 1 - 1e-6:
            found.append(
                f"the correlation of {effect} and {other} by {group} is estimated as {value:+.0f} (a singular fit)"
            )
    return found


def _coarser(formula: Formula, design: Design, rows: pd.DataFrame) -> list[str]:
    return [
        f"'{term}' does not vary within {column} ({levels} levels) either, which has no random effect: "
        f"its units, {unit}, are independent only if nothing else differs between the levels of {column}"
        for term, column, levels, unit in pseudoreplicated(formula, design, rows)
    ]


def _slopes_omitted(effects: pd.DataFrame) -> list[str]:
    omitted = effects[effects["slopes_omitted"] != ""]
    return [
        f"slope omitted: {', '.join(part['term'])} may differ between the levels of {groups}, but has no slope by it"
        for groups, part in omitted.groupby("slopes_omitted", sort=False)
    ]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(k): v.item() if hasattr(v, "item") else v for k, v in r.items()} for r in records]
