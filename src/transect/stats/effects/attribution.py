"""Effects of design factors, each tested at the level at which it varies: configuration > run >
item.

Without items: mean of each configuration over its runs, then least squares on configurations.
With items:    y ~ factors + (1 | item) + (1 | configuration) + (1 | run) by REML (runs and configurations are one where no
               configuration has two runs); a factor that varies within runs also gets a slope by
               run and configuration. Where every configuration has as many runs and every run the
               same items, contrasts of design factors are tested on the means of configurations
               instead: exact, where the mixed model is conservative as soon as it estimates the
               variance between configurations as 0 (simulated: 1 % instead of 5 % with 4
               configurations).
df of a contrast of design factors <= configurations - rank of their columns, whatever the variance
estimates are; of a contrast within runs <= runs - 1. Beside each contrast of design factors stands
least squares on unit means by statsmodels (cross_check.py). Two levels that differ together with a
column of `separate` (architecture with objective) have no contrast: the reason says which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats.effects.attribution_influence import left_out
from transect.stats.effects.contrast_rows import agreeing, behind, cut_check, units, within_bounds
from transect.stats.effects.cross_check import COLUMNS as CHECKED
from transect.stats.effects.cross_check import OnUnitMeans
from transect.stats.effects.factor_table import Table, differs_together, read_table
from transect.stats.formula import contrasts
from transect.stats.formula.notation import Design, column_of
from transect.stats.inference import linear
from transect.stats.inference.bounded import COLUMNS as BOUNDED
from transect.stats.inference.bounded import UNBOUNDED, Bounds
from transect.stats.inference.intervals import COLUMNS, MIN_UNITS
from transect.stats.mixed import gaussian
from transect.stats.mixed.crossed_cholesky import Grouping
from transect.stats.mixed.df_bound import DfBound

LAST = ["n_configurations", "n_runs", "n_items", "units", "variance", "reason"]
SAME = 1e-12  # a standard error below this, relative to the largest value, is no variation at all


def attribute(
    frame: pd.DataFrame,
    factors: Sequence[str],
    *,
    items: bool = False,
    slopes: Sequence[str] = (),
    items_by: Sequence[str] = (),
    variance: str = "hc2",
    reference: Mapping[str, Any] | None = None,
    separate: Mapping[str, Sequence[str]] | None = None,
    influence: Sequence[str] = (),
    bounds: Bounds = UNBOUNDED,
) -> dict[str, pd.DataFrame]:
    """Tables effects, means, components, models, influence of one outcome; `frame` has one row per
    run or per run and item.

    separate: variable -> columns of the frame that its levels must not differ together with.
    influence: columns of which each level is left out in turn (attribution_influence.py). bounds:
    of the outcome; the intervals of means keep them, those of effects are cut at what is possible
    (contrast_rows.py).
    """
    if frame.empty:
        reason = pd.DataFrame(
            [
                dict.fromkeys(COLUMNS, np.nan)
                | {"term": "all", "kind": "mean", "units": "", "reason": "no measurements"}
            ]
        )
        found = {name: reason.copy() for name in ("effects", "means", "models")}
        return found | {"components": pd.DataFrame(), "influence": pd.DataFrame()}
    rows = frame.assign(item=joined(frame, ["item", *items_by])) if items else frame

    def fitted(part: pd.DataFrame, start: "_Contrasts | None" = None) -> _Contrasts:
        table = replace(read_table(part, factors, items), separate=separate or {})
        present = {
            v: set(map(str, table.rows[column_of(v)].unique()))
            for term in table.terms
            for v in term
        }
        first = {
            v: level
            for v, level in (reference or {}).items()
            if str(level) in present.get(v, set())
        }
        design = Design(table.terms, table.rows, first)
        if items and _varies(table, design):
            near = start if isinstance(start, _MixedContrasts) else None
            return _MixedContrasts(table, design, bounds, slopes, first, near)
        return _MeanContrasts(table, design, bounds, variance)

    fit = fitted(rows)
    design, table = fit.design, fit.table
    check = OnUnitMeans(table.rows, design, table.within)
    effects = [
        fit.row(c) | cut_check(check.row(c), c, table.rows, bounds)
        for c in contrasts.effects(design, table.rows)
    ]
    effects += [
        {"term": v, "kind": "refused", "reason": f"not identifiable: {why}"}
        for v, why in table.refused.items()
    ]
    means = [fit.row(c) for c in contrasts.means(design, table.rows)]
    whole = pd.DataFrame(effects, columns=_columns(effects))
    last = [c for c in ("units", "variance", "reason") if c in whole]
    removed, summary = left_out(rows, whole, lambda part: _bare(fitted(part, fit)), influence)
    return {
        "effects": pd.concat([whole.drop(columns=last), summary, whole[last]], axis=1),
        "means": pd.DataFrame(means, columns=_columns(means)).drop(columns="p"),
        "components": fit.components(),
        "models": pd.DataFrame([fit.summary()]),
        "influence": removed,
    }


def joined(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """The columns as one text per row."""
    first, *others = (frame[c].astype(object).astype(str) for c in columns)
    return first.str.cat(others, sep=" ") if others else first


def _bare(fit: "_Contrasts") -> pd.DataFrame:
    """The effects of a refit with nothing beside them: term, estimate, lower, upper, reason."""
    rows = []
    for contrast in contrasts.effects(fit.design, fit.table.rows):
        reason = fit.refusal(contrast)
        rows.append(
            {"term": contrast.label}
            | ({} if reason else fit.within(contrast, fit.answer(contrast)))
            | {"reason": reason}
        )
    return pd.DataFrame(rows, columns=["term", "estimate", "lower", "upper", "reason"])


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    order = (always := ["term", "kind", *COLUMNS]) + [*BOUNDED, *CHECKED, *LAST]
    return [c for c in order if any(c in row for row in rows) or c in always]


def _varies(table: Table, design: Design) -> bool:
    """Whether anything is left to be explained by items, runs or noise (all correct: nothing is)."""
    x, y = design.matrix(table.rows), table.rows["value"].to_numpy(float)
    return (y - x @ np.linalg.lstsq(x, y, rcond=None)[0]).std() > 1e-9 * max(1.0, np.abs(y).max())


class _Contrasts:
    """What both ways of fitting share: whether a contrast can be answered, and the units behind it."""

    def __init__(self, table: Table, design: Design, bounds: Bounds, x: np.ndarray):
        self.table, self.design, self.bounds, self.x = table, design, bounds, x

    def row(self, contrast: contrasts.Contrast) -> dict[str, Any]:
        named = units(contrast, self.table.rows, self.table.within)
        found = {"term": contrast.label, "kind": contrast.kind, **named}
        reason = self.refusal(contrast)
        if reason:
            return found | {"reason": f"not identifiable: {reason}"}
        row = self.answer(contrast)
        if row["se"] <= SAME * max(1.0, float(self.table.rows["value"].abs().max())):
            row = agreeing(row, contrast, self.table.rows, self.bounds)
        return found | {"reason": ""} | self.within(contrast, row)

    def refusal(self, contrast: contrasts.Contrast) -> str:
        rest = linear.undetermined(contrast.weights, self.x)
        if rest.any():
            terms = [
                t
                for t, r in zip(self.design.term_of, rest, strict=True)
                if r and set(t) != set(contrast.variables)
            ]
            names = sorted({":".join(t) for t in terms if t})
            return (
                f"aliased with {', '.join(names)}"
                if names
                else "the sample has no configuration at one of its levels"
            )
        for variable in [
            v
            for v, levels in contrast.levels.items()
            if len(levels) == 2 and v in self.table.separate
        ]:
            sides = [
                behind(contrast, self.table.rows, {variable: (level,)})
                for level in contrast.levels[variable]
            ]
            found = differs_together(sides[0], sides[1], self.table.separate[variable])
            if found:
                return f"{variable} differs together with {', '.join(found)}"
        n = behind(contrast, self.table.rows)["configuration"].nunique()
        if n < MIN_UNITS and not set(contrast.variables) & self.table.within:
            return f"{n} configurations at its level, fewer than {MIN_UNITS}"
        if self.free_df() < 1:
            return f"{self.table.n_configurations} configurations leave no degree of freedom beside the factors"
        return ""

    def within(self, contrast: contrasts.Contrast, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with an interval that keeps what is possible for the outcome."""
        return within_bounds(row, contrast, self.table.rows, self.bounds)

    def free_df(self) -> int:
        """Configurations - rank of the columns that vary between them."""
        between = [j for j, t in enumerate(self.design.term_of) if not set(t) & self.table.within]
        return self.table.n_configurations - int(np.linalg.matrix_rank(self.x[:, between]))

    def answer(self, contrast: contrasts.Contrast) -> dict[str, Any]:
        raise NotImplementedError

    def components(self) -> pd.DataFrame:
        return pd.DataFrame()

    def summary(self) -> dict[str, Any]:
        rows, terms = self.table.rows, [":".join(t) for t in self.table.terms if t]
        counts = {
            "n_configurations": self.table.n_configurations,
            "n_runs": rows["run"].nunique(),
            "df": self.free_df(),
        }
        return {"model": "value ~ " + (" + ".join(terms) or "1")} | counts | {"n_rows": len(rows)}


class _MeanContrasts(_Contrasts):
    """Least squares on the means of configurations."""

    def __init__(self, table: Table, design: Design, bounds: Bounds, variance: str):
        if variance not in ("hc2", "pooled"):
            raise InputError(f"unknown variance '{variance}'; allowed: hc2, pooled")
        columns = {column_of(v) for term in table.terms for v in term} - table.within
        runs = table.rows.groupby(["configuration", "run"], as_index=False)["value"].mean()
        means = runs.groupby("configuration", as_index=False)["value"].mean()
        firsts = (
            table.rows.groupby("configuration", as_index=False)[sorted(columns)].first()
            if columns
            else means
        )
        means = means.merge(firsts.drop(columns="value", errors="ignore"), on="configuration")
        super().__init__(table, design, bounds, design.matrix(means))
        self.variance = variance
        self.fit = linear.least_squares(means["value"].to_numpy(float), self.x)

    def answer(self, contrast: contrasts.Contrast) -> dict[str, Any]:
        return dict(self.fit.contrast(contrast.weights, self.variance))


class _MixedContrasts(_Contrasts):
    """A mixed model over the items of all runs."""

    def __init__(
        self,
        table: Table,
        design: Design,
        bounds: Bounds,
        slopes: Sequence[str],
        reference: Mapping[str, Any],
        near: "_MixedContrasts | None",
    ):
        super().__init__(table, design, bounds, design.matrix(table.rows))
        self.exact: dict[str, contrasts.Contrast] = {}
        self.on_means: _MeanContrasts | None = None
        if _balanced(table.rows) and not slopes:
            self.exact, self.on_means = _exact(table, reference)
        rows = table.rows
        groups = (
            ["configuration", "run"] if rows["run"].nunique() > table.n_configurations else ["run"]
        )
        random = [_grouping(g, rows) for g in ["item", *groups]]
        random += [_grouping(g, rows, v) for v in sorted(table.within) for g in groups]
        random += [_grouping("item", rows, v) for v in slopes]
        self.kept = linear.independent_columns(self.x)
        self.fit: gaussian.MixedFit = gaussian.fit(
            rows["value"].to_numpy(float),
            self.x[:, self.kept],
            [design.names[j] for j in self.kept],
            random,
            start=None if near is None else near.fit,
        )
        self.random = [f"({' + '.join(t.effects)} | {t.name})" for t in random]

    def answer(self, contrast: contrasts.Contrast) -> dict[str, Any]:
        if self.on_means is not None and contrast.label in self.exact:
            return self.on_means.answer(self.exact[contrast.label]) | {
                "variance": "configuration means"
            }
        # a contrast that the design determines is the same with the aliased coefficients at 0
        # what varies within runs has runs as units, also in one level of a design factor; all else
        # has configurations
        held = {v for v, levels in contrast.levels.items() if len(levels) == 1}
        within = contrast.kind != "mean" and set(contrast.variables) - held <= self.table.within
        cap = (
            max(behind(contrast, self.table.rows)["run"].nunique() - 1, 1)
            if within
            else self.free_df()
        )
        return self.fit.contrasts(contrast.weights[self.kept], [DfBound(cap)]).iloc[0].to_dict() | {
            "variance": "mixed model"
        }

    def components(self) -> pd.DataFrame:
        """The variances: none of a group of one level, or of one with a level per row, which cannot
        be told from the residual.
        """
        found = self.fit.components.copy()
        per_row = found["n_levels"] >= len(self.table.rows)  # the residual's too
        found.loc[(found["n_levels"] < 2) | per_row & (per_row.sum() > 1), ["variance", "sd"]] = (
            np.nan
        )
        return found

    def summary(self) -> dict[str, Any]:
        found = super().summary()
        return found | {
            "model": " + ".join([found["model"], *self.random]),
            "n_items": self.table.rows["item"].nunique(),
        }


def _balanced(rows: pd.DataFrame) -> bool:
    """Whether every configuration has as many runs, and every run the same items once."""
    runs = rows.groupby("configuration")["run"].nunique()
    cells = rows.groupby(["run", "item"]).size()
    return bool(
        runs.nunique() == 1
        and cells.eq(1).all()
        and len(cells) == rows["run"].nunique() * rows["item"].nunique()
    )


def _exact(
    table: Table, reference: Mapping[str, Any]
) -> "tuple[dict[str, contrasts.Contrast], _MeanContrasts]":
    """The differences by design factors alone, by label, and their test on the means of
    configurations.
    """
    terms = tuple(t for t in table.terms if not set(t) & table.within)
    between = Table(table.rows, terms, {}, frozenset())
    design = Design(
        terms,
        table.rows,
        {v: level for v, level in reference.items() if any(v in t for t in terms)},
    )
    # not the marginal means: that items are a sample is part of their uncertainty, and cancels in
    # differences
    return {c.label: c for c in contrasts.effects(design, table.rows)}, _MeanContrasts(
        between, design, UNBOUNDED, "pooled"
    )


def _grouping(group: str, rows: pd.DataFrame, variable: str | None = None) -> Grouping:
    """(1 | group), or (0 + variable | group) with the variable's columns centred, so that it leaves
    the intercept alone.
    """
    codes, levels = pd.factorize(rows[group], sort=True)
    if variable is None:
        return Grouping(group, codes, len(levels), np.ones((len(rows), 1)), ("1",))
    design = Design(((), (variable,)), rows)
    columns = design.matrix(rows)[:, 1:]
    return Grouping(
        group, codes, len(levels), columns - columns.mean(axis=0), tuple(design.names[1:])
    )
