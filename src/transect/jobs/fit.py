"""What `transect fit` does: a formula on a table, printed as lme4 does, or as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from transect.errors import InputError
from transect.jobs.tables import read, records, table_lines
from transect.stats.bootstrap import bootstrap_intervals
from transect.stats.generalized import GeneralizedFit
from transect.stats.influence import influence
from transect.stats.profile import profile_intervals
from transect.stats.table_model import TableModel, correlations, fit_table


def fit_file(
    path: Path, formula: str, *, intervals: str | None, n: int, seed: int, left_out: Sequence[str] = (), **options: Any
) -> tuple[TableModel, dict[str, pd.DataFrame]]:
    """The fitted table and what was asked for beside it: intervals ("profile", "bootstrap"), influence of `left_out`."""
    frame = read(path)
    model = fit_table(frame, formula, **options)
    beside = {}
    if intervals == "bootstrap":
        beside["intervals"] = bootstrap_intervals(model.fit, n, seed)
    elif intervals == "profile":
        if isinstance(model.fit, GeneralizedFit):
            raise InputError("profile intervals are for gaussian models; take --intervals bootstrap.")
        beside["intervals"] = profile_intervals(model.fit)
    if left_out:
        found = influence(model, frame, left_out, options.get("weights"))
        beside |= {"influence": found.terms, "left_out": found.left_out}
    return model, beside


def as_json(model: TableModel, beside: dict[str, pd.DataFrame]) -> str:
    return json.dumps(model.as_json() | {name: records(table) for name, table in beside.items()}, indent=1)


def summary(model: TableModel, beside: dict[str, pd.DataFrame]) -> str:
    """The printed summary, in the order of lme4's; binomial models have t with the units' df instead of lme4's z."""
    fit, logit = model.fit, isinstance(model.fit, GeneralizedFit)
    kind = "Generalized linear" if logit else "Linear"
    lines = [
        f"{kind} mixed model fit by {model.method}" + (" (binomial, logit)" if logit else ""),
        f"Formula: {model.formula.text}",
    ]
    label = "-2 log likelihood" if logit or "likelihood" in model.method else "REML criterion"
    missing = f" ({model.n_missing} more have missing values and were left out)" if model.n_missing else ""
    lines += [f"{label}: {fit.criterion:.4f}", f"Rows: {fit.n}{missing}", "", "Random effects:", *_random(model), ""]
    lines += ["Fixed effects:", *_fixed(model)]
    if len(model.on_means):
        lines += [
            "",
            "On the means of each unit, by least squares (levels of other groups taken as fixed):",
            *table_lines(model.on_means[["term", "unit", "n_units", "estimate", "se", "df", "p"]]),
        ]
    if "intervals" in beside:
        lines += ["", "95 % intervals:", *table_lines(beside["intervals"])]
    if "influence" in beside:
        shown = beside["influence"].assign(fragile=lambda t: t["fragile"].map({True: "yes", False: "no"}))
        lines += ["", "With every single level left out, estimates range", *table_lines(shown)]
    if model.warnings:
        lines += ["", *(f"Note: {w}." for w in model.warnings)]
    return "\n".join(lines)


def _random(model: TableModel) -> list[str]:
    frame = model.fit.components.rename(
        columns={"group": "Groups", "effect": "Name", "variance": "Variance", "sd": "Std.Dev.", "n_levels": "Levels"}
    )
    corr = correlations(model.fit)
    frame["Corr"] = [
        " ".join(f"{c:+.2f}" for c in corr[(corr["group"] == g) & (corr["other"] == e)]["correlation"])
        for g, e in frame[["Groups", "Name"]].to_numpy()
    ]
    return table_lines(frame[["Groups", "Name", "Variance", "Std.Dev.", "Corr", "Levels"]])


def _fixed(model: TableModel) -> list[str]:
    frame = model.effects.copy()
    frame["t"] = frame["estimate"] / frame["se"]
    frame["unit"] = [f"{u} ({n})" for u, n in frame[["unit", "n_units"]].to_numpy()]
    return table_lines(frame[["term", "estimate", "se", "df", "t", "p", "lower", "upper", "unit"]])
