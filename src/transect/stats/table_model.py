"""One formula fitted to one table: what `transect fit` reports.

Each effect comes with its unit of inference, degrees of freedom that never exceed that unit's level, the slopes that were
left out (with the reason), and a cross-check by least squares on unit means. Degrees of freedom of binomial models are the units' too, and
their p is of t with these, where lme4 prints z. A design that would count rows as independent although a coarser
column carries the effect is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from transect.errors import InputError
from transect.stats import generalized, mixed
from transect.stats.formula import Design, Formula, parse
from transect.stats.generalized import GeneralizedFit
from transect.stats.inference_units import (
    Shared,
    Unit,
    bounded,
    coarsest_columns,
    inference_units,
    pseudoreplicated,
    quoted,
    refuse_pseudoreplication,
)
from transect.stats.mixed import MixedFit
from transect.stats.model_input import (
    check_groups,
    complete_rows,
    counts_of,
    refuse_aliased,
    response_of,
    weights_of,
)
from transect.stats.random_effects import r_squared, residuals
from transect.stats.unit_means import disagreements, on_means

FAMILIES = ("gaussian", "binomial")
CLUSTERED = 1e-3  # a smaller p of all columns together, by Bonferroni, is said
SAID = 2  # columns at most, those with the least p
APART = 2  # times: standard errors of model and cross-check that differ by more
NONE = 1e-4  # residual standard deviations (binomial: logits): less is no variance
FLAT = 1e-4  # the same, of what is left of an effect beside those before it
RISING = 0.999  # a rank correlation above this is that of one column in other words


@dataclass(frozen=True)
class TableModel:
    """A fitted table. `effects`: one row per coefficient, with its unit; `on_means`: the cross-check; `rows`: those fitted."""

    formula: Formula
    family: str
    fit: MixedFit | GeneralizedFit
    effects: pd.DataFrame
    on_means: pd.DataFrame
    n_missing: int
    rows: pd.DataFrame = field(repr=False)
    design: Design = field(repr=False)
    units: list[Unit] = field(repr=False)
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
    rows, n_missing = complete_rows(frame, [*parsed.columns, *([weights] if weights else [])])
    check_groups(parsed, rows)
    design = Design(parsed.fixed, rows)
    x = design.matrix(rows)
    refuse_aliased(design, x)
    units = inference_units(parsed, design, rows, x)
    shared = pseudoreplicated(parsed, design, rows, x, units)
    if not allow_pseudoreplication:
        refuse_pseudoreplication(shared, len(rows))
        units = bounded(units, coarsest_columns(shared, parsed, design, rows, x, units), rows, x)
    terms = [mixed.grouping(r, rows) for r in parsed.random]
    fit: MixedFit | GeneralizedFit
    if family == "binomial":
        response, trials = counts_of(parsed, rows, weights)
        fit = generalized.fit_binomial(response, trials, x, design.names, terms, method)
        means = on_means(response / trials, x, design, units, parsed, rows, trials)
    else:
        response = response_of(parsed, rows)
        by = None if weights is None else weights_of(rows[weights], weights)
        fit = mixed.fit(response, x, design.names, terms, reml, weights=by)
        means = on_means(response, x, design, units, parsed, rows, by)
    effects = _effects(fit, units)
    means = means.assign(differs=disagreements(means, effects), se_ratio=_se_ratio(means, effects, family))
    warnings = [
        *_singular(fit),
        *_coarser(shared, dict(zip(design.names, units, strict=True))),
        *_slopes_omitted(effects),
        *_clustered(residuals(fit, response), parsed, rows),
        *_disagreeing(means),
    ]
    return TableModel(parsed, family, fit, effects, means, n_missing, rows, design, units, warnings)


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


def _effects(fit: MixedFit | GeneralizedFit, units: Sequence[Unit]) -> pd.DataFrame:
    rows = []
    for j, (name, unit) in enumerate(zip(fit.names, units, strict=True)):
        # no correction of degrees of freedom exists for binomial models: the level's own bound stands in for one
        row = fit.contrasts(np.eye(len(fit.beta))[j], [unit.bound]).iloc[0].to_dict()
        more = {
            "unit": unit.column or unit.unit,
            "n_units": unit.n_levels or unit.n_units,
            "slopes_omitted": ", ".join(unit.slopes_omitted),
            "slope_reason": "; ".join(unit.reasons),
        }
        rows.append({"term": name, **row, **more})
    return pd.DataFrame(rows)


def _singular(fit: MixedFit | GeneralizedFit) -> list[str]:
    """Variances of 0, correlations of 1 and -1, and other effects that move together, all judged in standard columns."""
    deviance = fit.laplace.without if isinstance(fit, GeneralizedFit) else fit.deviance
    pairs = correlations(fit)
    found = []
    parts = zip(deviance.terms, deviance.columns, deviance.factors(fit.theta), strict=True)
    flat = [bool((np.diag(t) < FLAT).any()) for t in deviance.standard_factors(fit.theta)]
    for (term, columns, factor), singular in zip(parts, flat, strict=True):
        sizes = np.sqrt((factor**2).sum(1)) * np.diag(columns.root)
        none = [effect for effect, size in zip(term.effects, sizes, strict=True) if size < NONE]
        said = [
            f"the variance of {e} by {term.name} is estimated as 0 (a singular fit): the data show none" for e in none
        ]
        own = pairs[
            (pairs["group"] == term.name) & pairs["effect"].isin(term.effects) & pairs["other"].isin(term.effects)
        ]
        said += [
            f"the correlation of {effect} and {other} by {group} is estimated as {value:+.0f} (a singular fit)"
            for group, effect, other, value in own.to_numpy()
            if singular and abs(value) > 1 - 1e-6
        ]
        if singular and not said:
            said = [
                f"the effects {', '.join(term.effects)} by {term.name} move together (a singular fit): fewer would do"
            ]
        found += said
    return found


def _coarser(shared: Sequence[Shared], units: Mapping[str, Unit]) -> list[str]:
    return [
        f"'{term}' does not vary within {unit.column} ({unit.n_levels} levels), which has no random effect and holds several levels "
        f"of {unit.unit} in one: df are at most those of {unit.column}, but the standard error is too small where its levels "
        f"differ; add (1 | {quoted(unit.column)}), or count {unit.unit} as units with --allow-pseudoreplication"
        for term, unit in units.items()
        if unit.column
    ] + [
        f"'{term}' does not vary within {column} ({levels} levels) either, which has no random effect: "
        f"its units, {unit}, are independent only if nothing else differs between the levels of {column}"
        for term, column, levels, unit, _ in shared
        if not units[term].column
    ]


def _slopes_omitted(effects: pd.DataFrame) -> list[str]:
    found = []
    for (groups, reason, unit), part in effects[effects["slopes_omitted"] != ""].groupby(
        ["slopes_omitted", "slope_reason", "unit"], sort=False
    ):
        counted = ", so rows count as independent units" if unit == "row" else ""
        found.append(
            f"slope omitted: {', '.join(part['term'])} may differ between the levels of {groups} and has no slope by it "
            f"({reason}){counted}"
        )
    return found


def _clustered(e: np.ndarray, formula: Formula, rows: pd.DataFrame) -> list[str]:
    """Columns outside the formula whose levels differ in their residuals (one-way analysis of variance)."""
    columns = [c for c in rows if c not in formula.columns and not pd.api.types.is_float_dtype(rows[c])]
    used = [rows[c] for c in formula.columns]
    found: dict[str, float] = {}
    for column in columns:
        codes, levels = pd.factorize(rows[column])
        if not 2 <= len(levels) <= len(rows) / 2 or (codes < 0).any() or any(_same(rows[column], u) for u in used):
            continue
        counts = np.bincount(codes)
        between = float((np.bincount(codes, e) ** 2 / counts).sum() - e.sum() ** 2 / len(e))
        df = len(e) - len(levels)
        f = between / (len(levels) - 1) / ((float(e @ e) - e.sum() ** 2 / len(e) - between) / df)
        p = stats.f.sf(f, len(levels) - 1, df)
        if p < CLUSTERED / len(columns):
            found |= {f"the {len(levels)} levels of {column}": p}
    said = sorted(found, key=lambda name: found[name])[:SAID]
    return [
        f"the residuals differ between {' and between '.join(said)}, not in the formula: rows of one level are not independent of "
        f"each other; put {'them' if said[1:] else 'it'} in, as random or fixed terms"
    ] * bool(said)


def _same(column: pd.Series, other: pd.Series) -> bool:
    """Whether two columns are one in other words: one-to-one, or numbers that rise together but for rounding."""
    a, b = (pd.factorize(c)[0] for c in (column, other))
    n_pairs = len(np.unique(a * (b.max() + 1) + b))
    if n_pairs == a.max() + 1 == b.max() + 1:
        return True
    numbers = pd.api.types.is_numeric_dtype(column) and pd.api.types.is_numeric_dtype(other)
    return numbers and abs(column.rank().corr(other.rank())) > RISING


def _se_ratio(means: pd.DataFrame, effects: pd.DataFrame, family: str) -> np.ndarray:
    """Of each row of `means`, the model's standard error over its own; NaN for binomial models, whose scale is another."""
    if not len(means) or family == "binomial":
        return np.full(len(means), np.nan)
    return effects.set_index("term")["se"].loc[means["term"]].to_numpy() / means["se"].to_numpy()


def _disagreeing(means: pd.DataFrame) -> list[str]:
    apart = means[(means["se_ratio"] > APART) | (means["se_ratio"] < 1 / APART)]
    return [
        f"cross-check: the model's standard error of {row['term']} is "
        f"{f'{ratio:.2g} times' if ratio > 1 else f'1/{1 / ratio:.2g} of'} that on the {row['by']} of {row['unit']} ({row['n_units']})"
        for ratio, (_, row) in zip(apart["se_ratio"], apart.iterrows(), strict=True)
    ] + [
        f"cross-check: {row['term']} has another {row['differs'].replace(', ', ' and another ')} by least squares on "
        f"the {row['by']} of {row['unit']} ({row['n_units']})"
        for _, row in means.iterrows()
        if row["differs"]
    ]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(k): v.item() if hasattr(v, "item") else v for k, v in r.items()} for r in records]
