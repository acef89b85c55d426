"""The power of a study for an effect of stated size, factor by factor, at the level at which each
varies (stats/design/power.py).

Units are those of the factor's level (configurations, suites, families); the model holds the factor
and, as far as degrees of freedom allow, the other factors that vary between the same units. sd:
what is left between units beside the factors, as the user states it, else as finished cells of this
study show it (last checkpoints; items averaged; of heads the strongest), else 1: effects are then
told in sd of a unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from transect.stats.design import aliasing
from transect.stats.design import power as power_stats
from transect.stats.inference.linear import independent_columns, least_squares
from transect.store.cell_store import MEASURED, Store
from transect.study.grid import Cell, Entry
from transect.study.plan.check import DesignCheck, FactorCheck
from transect.study.plan.factors import SEEDS
from transect.study.plan.text import listed, name, number
from transect.study.study_file import Study

LEVELS = ("family", "suite", "configuration")
WANTED = 0.8


@dataclass(frozen=True)
class FactorTest:
    """How the effect of a factor would be tested: one row per unit of its level (`units`), the
    model matrix (`x`), the contrast and its label, and the other factors that the model holds.
    """

    units: pd.DataFrame
    x: np.ndarray
    contrast: np.ndarray
    label: str
    beside: list[str]


def power(
    study: Study, check: DesignCheck, index: pd.DataFrame, effect: float | None, sd: float | None
) -> dict[str, Any]:
    """JSON: `rows`, one per factor and outcome, and `left_out`: factor -> why no power is told."""
    rows: list[dict[str, Any]] = []
    left_out = _left_out(check)
    outcomes = {} if sd is not None else finished(study, index)
    for factor in check.factors:
        if factor.factor in left_out:
            continue
        test = design_of(check, factor)
        for outcome, spread in _spreads(test, outcomes, factor.level, sd).items():
            result = power_stats.power(
                test.x, test.contrast, effect or 0.0, spread["sd"], wanted=WANTED
            )
            rows.append(
                {
                    "factor": factor.factor,
                    "contrast": test.label,
                    "level": factor.level,
                    "units": result.n_units,
                    "df": result.df,
                    "beside": test.beside,
                    "outcome": outcome,
                    **spread,
                    "effect": effect,
                    "power": result.power if effect is not None and result.df else None,
                    "detectable": result.detectable if result.df else None,
                }
            )
    return {"rows": rows, "left_out": left_out, "wanted": WANTED}


def _left_out(check: DesignCheck) -> dict[str, str]:
    """Factor -> why it has no test between units."""
    reasons = {f.factor: f.reason for f in check.factors if f.reason}
    for factor in check.factors:
        if factor.level not in LEVELS and not factor.reason:
            is_seed = factor.factor in SEEDS
            reasons[factor.factor] = (
                "it varies within configurations" if is_seed else "its slope varies within runs"
            )
    return reasons


def design_of(check: DesignCheck, factor: FactorCheck) -> FactorTest:
    """The test of a factor between the units of its level, with as many other factors in the model
    as degrees of freedom allow.
    """
    frame, numeric = check.table.frame, check.table.numeric
    units = frame[aliasing.known(frame[factor.factor])].drop_duplicates(factor.level)
    own = aliasing.coded(units[factor.factor], factor.factor in numeric)
    coded = own - own.mean(axis=0) if factor.factor in numeric else own[:, 1:]
    x = np.hstack([np.ones((len(units), 1)), coded])
    if factor.factor in numeric:
        contrast, label = np.zeros(x.shape[1]), "a tenfold"
        contrast[1] = 1.0
    else:
        contrast, label = _pair(check, units, factor.factor, x.shape[1])
    beside = []
    for other in _others(check, factor, units):
        further = aliasing.coded(units[other], other in numeric)
        wider = _widened(x, contrast, further)
        if wider is not None:
            x, contrast = wider
            beside.append(other)
    return FactorTest(units, x, contrast, label, beside)


def _pair(
    check: DesignCheck, units: pd.DataFrame, factor: str, n_columns: int
) -> tuple[np.ndarray, str]:
    """The difference of the two most frequent levels, and its label; the first level is the
    reference.
    """
    counts = units[factor].value_counts(sort=True)
    levels = list(pd.unique(units[factor].astype(object)))
    pair = [levels.index(level) for level in counts.index[:2]]
    contrast = np.zeros(n_columns)
    for sign, position in zip((1.0, -1.0), pair, strict=True):
        if position:
            contrast[position] = sign
    labels = (check.table.label(factor, levels[position])[:40] for position in pair)
    return contrast, " against ".join(labels)


def _others(check: DesignCheck, factor: FactorCheck, units: pd.DataFrame) -> list[str]:
    """The factors that could stand in the model of this one: they vary between units at least as
    coarse, are known of all, and take few levels.
    """
    coarser = LEVELS[: LEVELS.index(factor.level) + 1]
    candidates = [
        other.factor
        for other in check.factors
        if not other.reason and other.level in coarser and other.factor not in SEEDS
    ]
    most = max(2, len(units) // 4)
    return [
        name
        for name in candidates
        if name != factor.factor
        and (name in check.table.numeric or units[name].nunique() <= most)
        and aliasing.known(units[name]).all()
    ]


def _widened(
    x: np.ndarray, contrast: np.ndarray, further: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The model matrix with further columns, and the contrast in it; None where a third of the
    units would not be left as degrees of freedom, or where the contrast is lost.
    """
    wider = np.hstack([x, further])
    wider = wider[:, independent_columns(wider)]
    if len(x) - wider.shape[1] < max(1, len(x) // 3):
        return None
    padded = np.r_[contrast, np.zeros(wider.shape[1] - x.shape[1])]
    lost = np.abs(padded - padded @ np.linalg.pinv(wider) @ wider).max()
    return (wider, padded) if lost < 1e-6 else None


def _spreads(
    test: FactorTest, outcomes: dict[str, pd.Series], level: str, sd: float | None
) -> dict[str, dict[str, Any]]:
    """Outcome -> sd of a unit, where it is from, and its 95 % interval."""
    if sd is not None:
        return {"": {"sd": sd, "sd_from": "stated", "sd_lower": None, "sd_upper": None}}
    spreads = {}
    for outcome, of_runs in outcomes.items():
        known = test.units[level].isin(of_runs.index.get_level_values(level))
        y = test.units.loc[known, level].map(of_runs.groupby(level).mean()).to_numpy(float)
        fit = least_squares(y, test.x[known.to_numpy()])
        if fit.df > 0 and fit.sigma > 0:
            low, high = power_stats.sd_interval(fit.sigma, fit.df)
            spreads[outcome] = {
                "sd": fit.sigma,
                "sd_from": f"{len(y)} finished {level} means, {fit.df} degrees of freedom",
                "sd_lower": low,
                "sd_upper": high,
            }
    return spreads or {"": {"sd": 1.0, "sd_from": "unit", "sd_lower": None, "sd_upper": None}}


def finished(study: Study, index: pd.DataFrame) -> dict[str, pd.Series]:
    """ "measure, metric (stimuli, entry)" -> value per run at its last sampled checkpoint, by
    family, suite and configuration.
    """
    cells = _last_measured(study, index)
    if not cells:
        return {}
    values = Store(study.project.store).read(index.loc[list(cells)])
    values = values[values["value"].notna()]
    heads = values.assign(layer=values["layer"].fillna(-1), head=values["head"].fillna(-1))
    by_head = heads.groupby(["cell", "metric", "layer", "head"])["value"].mean()
    means = by_head.groupby(["cell", "metric"]).max().reset_index()
    of_rows = [cells[key] for key in means["cell"]]
    runs = [cell.checkpoint.run for cell in of_rows]
    means["outcome"] = [
        _outcome(cell.entry, metric) for cell, metric in zip(of_rows, means["metric"], strict=True)
    ]
    means["family"] = [run.get("family") for run in runs]
    means["suite"] = [run.suite for run in runs]
    means["configuration"] = [study.registry.configurations[run.id] for run in runs]
    return {
        str(outcome): part.set_index(list(LEVELS))["value"]
        for outcome, part in means.groupby("outcome", sort=False)
    }


def _last_measured(study: Study, index: pd.DataFrame) -> dict[str, Cell]:
    """Key -> cell, of the measured cells at the last sampled checkpoint of each run but baselines."""
    last: dict[tuple[str, ...], Cell] = {}
    for cell in study.cells:
        run = cell.checkpoint.run.id
        if not cell.reason and study.roles[run] != "baseline":
            last[run, cell.entry.measure.name, cell.stimuli_name, cell.entry.name] = cell
    return {
        cell.key: cell
        for cell in last.values()
        if cell.key in index.index and index.at[cell.key, "state"] == MEASURED
    }


def _outcome(entry: Entry, metric: str) -> str:
    """A metric of a measure, with the stimuli and the entry's name where there are any."""
    where = ", ".join(filter(None, (entry.stimuli_name, entry.name)))
    outcome = f"{entry.measure.name}, {metric}"
    return f"{outcome} ({where})" if where else outcome


def text(powers: dict[str, Any]) -> Sequence[str]:
    """Sentences."""
    rows, left_out = powers["rows"], powers["left_out"]
    lines = [f"{_test_text(row)}{_power_text(row, powers['wanted'])}" for row in rows]
    if any(row["sd_from"] == "unit" for row in rows):
        lines.append(
            "No cell of this study is finished, so effects are told in sd of a unit beside the factors; state it with --sd, and an effect with --effect."
        )
    if left_out:
        lines.append(f"None is told for {listed(map(name, left_out))} (see below).")
    return lines


def _test_text(row: dict[str, Any]) -> str:
    """Which effect is tested, in how many units, with how many degrees of freedom."""
    beside = f", beside {listed(map(name, row['beside']))}" if row["beside"] else ""
    df = f"{row['df']} degree{'s' if row['df'] != 1 else ''} of freedom"
    details = f"{row['contrast']}{beside}; {row['units']} units, {df}"
    outcome = f", {row['outcome']}" if row["outcome"] else ""
    return f"{name(row['factor']).capitalize()} ({details}){outcome}"


def _power_text(row: dict[str, Any], wanted: float) -> str:
    """The effect that would be found with the power that is wanted, and the power for a stated one."""
    if not row["df"]:
        return ": no degree of freedom is left, so there is no test."
    in_units = row["sd_from"] == "unit"
    unit = " sd of a unit" if in_units else ""
    sd = "" if in_units else f" with sd {number(row['sd'])} ({row['sd_from']})"
    detectable = f"{wanted:.0%} power from an effect of {number(row['detectable'])}{unit}{sd}"
    if row["power"] is None:
        return f": {detectable}."
    return f": {detectable}; an effect of {number(row['effect'])}{unit}: power {row['power']:.0%}."
