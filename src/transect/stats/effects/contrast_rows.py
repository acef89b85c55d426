"""The rows behind a contrast of design factors: the units that it speaks of, and the values that it
can take.

a mean                                          [a, b], the outcome's bounds
a difference, an interaction of two factors     +- (b - a), +- 2 (b - a): one doubling for each further factor
a slope                                         the same over the range of its number in the table

Where all units agree exactly there is no standard error, and a contrast has no interval and no p.
Two levels whose units all lie at a bound of the outcome differ by d = m1 - m2 within (Newcombe
1998, method 10, from the limits l, u of either mean)
    d - sqrt((m1 - l1)^2 + (u2 - m2)^2)   to   d + sqrt((u1 - m1)^2 + (m2 - l2)^2)
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from transect.stats.formula.contrasts import Contrast
from transect.stats.formula.notation import values
from transect.stats.inference.bounded import LIMITS, Bounds, bounded, cut, trials_of
from transect.stats.inference.intervals import MIN_UNITS, t_interval

NO_VARIATION = "no variation: the units of every level agree exactly"


def behind(
    contrast: Contrast, rows: pd.DataFrame, at: Mapping[str, tuple[str, ...]] | None = None
) -> pd.DataFrame:
    """The rows at the levels that a contrast compares or holds; `at` narrows one of its variables."""
    for variable, levels in (contrast.levels | dict(at or {})).items():
        rows = rows[values(variable, rows).astype(str).isin(levels)]
    return rows


def units(contrast: Contrast, rows: pd.DataFrame, within: Collection[str]) -> dict[str, Any]:
    """n_configurations, n_runs, n_items of the rows behind a contrast, and `units`: what stands on
    either side, in words.

    within: the variables that vary within runs, of which items are the units.
    """
    here = behind(contrast, rows)
    counts = {"n_configurations": here["configuration"].nunique(), "n_runs": here["run"].nunique()}
    if "item" in here:
        counts["n_items"] = here["item"].nunique()
    compared = [v for v, levels in contrast.levels.items() if len(levels) == 2]
    unit = "item" if compared and set(compared) <= set(within) else "configuration"
    sides = str(here[unit].nunique())
    if len(compared) == 1:
        v = compared[0]
        sides = " against ".join(
            str(here[values(v, here).astype(str) == s][unit].nunique()) for s in contrast.levels[v]
        )
    more = [
        f"{counts[f'n_{u}s']} {u}s"
        for u in ("configuration", "run", "item")
        if u != unit and f"n_{u}s" in counts
    ]
    return counts | {"units": f"{sides} {unit}s ({', '.join(more)})"}


def within_bounds(
    row: Mapping[str, Any], contrast: Contrast, rows: pd.DataFrame, bounds: Bounds
) -> dict[str, Any]:
    """The row of a contrast with an interval that keeps what is possible: a mean's by bounded.py,
    all others cut.

    rows: one per run (column `trials`: zeros and ones behind its value, infinite for other values),
    or one per run and item.
    """
    if not np.isfinite(bounds).any():
        return dict(row)
    if contrast.kind != "mean":
        reach = _reach(contrast, rows, bounds)
        return cut(row, -reach, reach)
    here = behind(contrast, rows)
    return _mean(row, here, bounds, own_se=len(here) == len(rows))


def agreeing(
    row: Mapping[str, Any], contrast: Contrast, rows: pd.DataFrame, bounds: Bounds
) -> dict[str, Any]:
    """The row of a contrast whose units agree exactly, with NO_VARIATION or how it has an interval
    as its reason.
    """
    found = dict(row) | {"se": 0.0, "reason": NO_VARIATION}
    if contrast.kind == "mean":
        return found | dict.fromkeys(LIMITS, row["estimate"])
    found |= dict.fromkeys([*LIMITS, "p"], np.nan)
    compared = [v for v in contrast.variables if len(contrast.levels.get(v, ())) == 2]
    if contrast.kind not in ("difference", "simple") or len(compared) != 1:
        return found
    sides = [
        behind(contrast, rows, {compared[0]: (level,)}) for level in contrast.levels[compared[0]]
    ]
    df = min(side["configuration"].nunique() for side in sides) - 1
    one, other = (_mean(t_interval(side["value"].mean(), 0.0, df), side, bounds) for side in sides)
    if (
        df < MIN_UNITS - 1
        or not np.isfinite([m.get("n_effective", np.nan) for m in (one, other)]).all()
    ):
        return found
    for column, (level, sign) in LIMITS.items():
        mine = "" if level == 95 else "90"
        ends = (f"lower{mine}", f"upper{mine}")[::-sign]
        reach = np.hypot(
            *(m["estimate"] - m[end] for m, end in zip((one, other), ends, strict=True))
        )
        found[column] = row["estimate"] + sign * float(reach)
    trials = f"{one['n_effective']:g} and {other['n_effective']:g} trials at the bounds"
    return found | {
        "se": np.nan,
        "df": df,
        "reason": f"no variance: the interval is that of {trials}",
    }


def _mean(
    row: Mapping[str, Any], here: pd.DataFrame, bounds: Bounds, own_se: bool = False
) -> dict[str, Any]:
    """The row of the mean of these rows, within the bounds."""
    if "item" in here:  # without variance an item counts once, whatever the number of runs
        trials, alone = trials_of(here["value"], bounds), here["item"].nunique()
    else:
        trials = alone = float(here["trials"].sum()) if "trials" in here else np.inf
    at_bound = alone if np.isfinite(trials) else here["configuration"].nunique()
    return bounded(row, bounds, trials, at_bound, own_se)


def cut_check(
    check: Mapping[str, float], contrast: Contrast, rows: pd.DataFrame, bounds: Bounds
) -> dict[str, float]:
    """The cross-check of an effect (cross_check.py), cut as the effect is."""
    reach = _reach(contrast, rows, bounds)
    return {c: float(v if c == "ols_p" else np.clip(v, -reach, reach)) for c, v in check.items()}


def _reach(contrast: Contrast, rows: pd.DataFrame, bounds: Bounds) -> float:
    """The largest value that a contrast of numbers within the bounds can have."""
    compared = [v for v in contrast.variables if len(contrast.levels.get(v, ())) != 1]
    reach = (bounds[1] - bounds[0]) * 2 ** (len(compared) - 1)
    for number in (v for v in compared if v not in contrast.levels):
        reach /= float(np.ptp(values(number, rows).to_numpy(float)))
    return reach
