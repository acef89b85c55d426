"""The power of a study for an effect of stated size, factor by factor, at the level at which each
varies (stats/design/power.py).

Units are those of the factor's level (configurations, suites, families); the model holds the factor
and, as far as degrees of freedom allow, the other factors that vary between the same units. sd:
what is left between units beside the factors, as the user states it, else as finished cells of this
study show it (last checkpoints; items averaged; of heads the strongest), else 1: effects are then
told in sd of a unit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from transect.stats.design import aliasing
from transect.stats.design import power as power_stats
from transect.stats.inference.linear import independent_columns, least_squares
from transect.store.cell_store import MEASURED, Store
from transect.study.plan.check import DesignCheck, FactorCheck
from transect.study.plan.factors import SEEDS
from transect.study.plan.text import listed, name, number
from transect.study.study_file import Study

LEVELS = ("family", "suite", "configuration")
WANTED = 0.8


def power(
    study: Study, check: DesignCheck, index: pd.DataFrame, effect: float | None, sd: float | None
) -> dict[str, Any]:
    """JSON: `rows`, one per factor and outcome, and `left_out`: factor -> why no power is told."""
    rows: list[dict[str, Any]] = []
    left_out = {f.factor: f.reason for f in check.factors if f.reason}
    left_out |= {
        f.factor: "it varies within configurations"
        if f.factor in SEEDS
        else "its slope varies within runs"
        for f in check.factors
        if not f.reason and f.level not in LEVELS
    }
    outcomes = {} if sd is not None else finished(study, index)
    for f in check.factors:
        if f.factor in left_out:
            continue
        units, x, contrast, label, beside = design_of(check, f)
        for outcome, spread in _spreads(units, x, outcomes, f.level, sd).items():
            told = power_stats.power(x, contrast, effect or 0.0, spread["sd"], wanted=WANTED)
            rows.append(
                {
                    "factor": f.factor,
                    "contrast": label,
                    "level": f.level,
                    "units": told.n_units,
                    "df": told.df,
                    "beside": beside,
                    "outcome": outcome,
                    **spread,
                    "effect": effect,
                    "power": told.power if effect is not None and told.df else None,
                    "detectable": told.detectable if told.df else None,
                }
            )
    return {"rows": rows, "left_out": left_out, "wanted": WANTED}


def design_of(
    check: DesignCheck, f: FactorCheck
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, str, list[str]]:
    """One row per unit of the factor's level, the model matrix, the contrast, its label, and the
    factors beside it in the model.
    """
    frame, numeric = check.table.frame, check.table.numeric
    fine = LEVELS[: LEVELS.index(f.level) + 1]
    units = frame[aliasing.known(frame[f.factor])].drop_duplicates(f.level)
    own = aliasing.coded(units[f.factor], f.factor in numeric)
    x = np.hstack(
        [np.ones((len(units), 1)), own - own.mean(axis=0) if f.factor in numeric else own[:, 1:]]
    )
    weights = np.zeros(x.shape[1])
    if f.factor in numeric:
        weights[1], label = 1.0, "a tenfold"
    else:
        counts = units[f.factor].value_counts(sort=True)
        levels = list(pd.unique(units[f.factor].astype(object)))
        pair = [levels.index(level) for level in counts.index[:2]]
        for sign, at in zip((1.0, -1.0), pair, strict=True):
            if at:
                weights[at] = sign
        label = " against ".join(check.table.label(f.factor, levels[at])[:40] for at in pair)
    beside = []
    for other in check.factors:
        if (
            other.factor == f.factor
            or other.reason
            or other.factor in SEEDS
            or other.level not in fine
        ):
            continue
        many = other.factor not in numeric and units[other.factor].nunique() > max(
            2, len(units) // 4
        )
        if many or not aliasing.known(units[other.factor]).all():
            continue
        wider = np.hstack([x, aliasing.coded(units[other.factor], other.factor in numeric)])
        wider = wider[:, independent_columns(wider)]
        c = np.r_[weights, np.zeros(wider.shape[1] - x.shape[1])]
        if (
            len(units) - wider.shape[1] >= max(1, len(units) // 3)
            and np.abs(c - c @ np.linalg.pinv(wider) @ wider).max() < 1e-6
        ):
            x, weights = wider, c
            beside.append(other.factor)
    return units, x, weights, label, beside


def _spreads(
    units: pd.DataFrame, x: np.ndarray, outcomes: dict[str, pd.Series], level: str, sd: float | None
) -> dict[str, dict[str, Any]]:
    """Outcome -> sd of a unit, where it is from, and its 95 % interval."""
    if sd is not None:
        return {"": {"sd": sd, "sd_from": "stated", "sd_lower": None, "sd_upper": None}}
    found = {}
    for outcome, of_runs in outcomes.items():
        known = units[level].isin(of_runs.index.get_level_values(level))
        y = units.loc[known, level].map(of_runs.groupby(level).mean()).to_numpy(float)
        fit = least_squares(y, x[known.to_numpy()])
        if fit.df > 0 and fit.sigma > 0:
            low, high = power_stats.sd_interval(fit.sigma, fit.df)
            told = f"{len(y)} finished {level} means, {fit.df} degrees of freedom"
            found[outcome] = {"sd": fit.sigma, "sd_from": told, "sd_lower": low, "sd_upper": high}
    return found or {"": {"sd": 1.0, "sd_from": "unit", "sd_lower": None, "sd_upper": None}}


def finished(study: Study, index: pd.DataFrame) -> dict[str, pd.Series]:
    """ "measure, metric (stimuli, entry)" -> value per run at its last sampled checkpoint, by
    family, suite and configuration.
    """
    last: dict[tuple[str, ...], Any] = {}
    for cell in study.cells:
        if not cell.reason and study.roles[cell.checkpoint.run.id] != "baseline":
            last[
                cell.checkpoint.run.id, cell.entry.measure.name, cell.stimuli_name, cell.entry.name
            ] = cell
    cells = {
        c.key: c
        for c in last.values()
        if c.key in index.index and index.at[c.key, "state"] == MEASURED
    }
    if not cells:
        return {}
    values = Store(study.project.store).read(index.loc[list(cells)])
    values = values[values["value"].notna()]
    heads = values.assign(layer=values["layer"].fillna(-1), head=values["head"].fillna(-1))
    means = (
        heads.groupby(["cell", "metric", "layer", "head"])["value"]
        .mean()
        .groupby(["cell", "metric"])
        .max()
        .reset_index()
    )
    run = means["cell"].map(lambda key: cells[key].checkpoint.run)
    entries = means["cell"].map(lambda key: cells[key].entry)
    on = [", ".join(filter(None, (e.stimuli_name, e.name))) for e in entries]
    means["outcome"] = [
        f"{e.measure.name}, {m}{f' ({s})' * bool(s)}"
        for e, m, s in zip(entries, means["metric"], on, strict=True)
    ]
    means["family"], means["suite"] = [r.get("family") for r in run], [r.suite for r in run]
    means["configuration"] = [study.registry.configurations[r.id] for r in run]
    return {
        str(o): part.set_index(list(LEVELS))["value"]
        for o, part in means.groupby("outcome", sort=False)
    }


def text(found: dict[str, Any]) -> Sequence[str]:
    """Sentences."""
    lines = []
    for row in found["rows"]:
        unit = " sd of a unit" if row["sd_from"] == "unit" else ""
        beside = f", beside {listed(map(name, row['beside']))}" if row["beside"] else ""
        where = f"{name(row['factor']).capitalize()} ({row['contrast']}{beside}; {row['units']} units, {row['df']} degree{'s' * (row['df'] != 1)} of freedom)"
        where += f", {row['outcome']}" if row["outcome"] else ""
        if not row["df"]:
            lines.append(f"{where}: no degree of freedom is left, so there is no test.")
            continue
        of = "" if row["sd_from"] == "unit" else f" with sd {number(row['sd'])} ({row['sd_from']})"
        chance = (
            f"; an effect of {number(row['effect'])}{unit}: power {row['power']:.0%}"
            if row["power"] is not None
            else ""
        )
        lines.append(
            f"{where}: {found['wanted']:.0%} power from an effect of {number(row['detectable'])}{unit}{of}{chance}."
        )
    if any(row["sd_from"] == "unit" for row in found["rows"]):
        lines.append(
            "No cell of this study is finished, so effects are told in sd of a unit beside the factors; state it with --sd, and an effect with --effect."
        )
    if found["left_out"]:
        lines.append(f"None is told for {listed(name(f) for f in found['left_out'])} (see below).")
    return lines
