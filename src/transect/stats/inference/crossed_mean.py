"""Mean of a table units x items where both are samples: its standard error counts both.

y_ri = mu + r + i + ri,   Var(mean) = (MS_r + MS_i - MS_ri) / (n_r n_i),  Satterthwaite df from the three mean squares, never above units - 1.
Strata (singular and plural of a balanced mean, or two sets that are compared) are added up with
weights w_s: the units' part comes from the units' weighted sums, the items' part sum_s w_s^2 max(0,
MS_i,s - MS_ri,s) / (n_r n_i,s) from each stratum. Of an outcome with bounds a mean keeps within
them (bounded.py; without variance an item counts once, whatever the number of units), and a
weighted difference is cut at what is possible. For one stratum this is the crossed mixed model's
standard error (REML with positive components, balanced). Source: Cornfield & Tukey (1956); Clark
(1973) on why items belong in it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from transect.stats.inference.bounded import UNBOUNDED, Bounds, bounded, cut, trials_of
from transect.stats.inference.intervals import MIN_UNITS, t_interval


def crossed_mean(
    rows: pd.DataFrame,
    unit: str,
    stratum: str | None = None,
    weights: Mapping[str, float] | None = None,
    bounds: Bounds = UNBOUNDED,
) -> dict[str, Any]:
    """Mean of `value` with interval; `rows`: one row per unit and item, columns `unit`, item, value
    [, stratum].

    `weights`: stratum -> weight (default: equal, summing to 1). Items that not every unit has are
    left out (`n_items` counts those kept). NaN where a stratum is empty; no interval with fewer
    than 3 units.
    """
    parts_of = dict(iter(rows.groupby(stratum))) if stratum else {"": rows}
    weights = weights or {name: 1 / len(parts_of) for name in parts_of}
    tables = {}
    for name in weights:
        part = parts_of.get(name, rows.iloc[:0])
        tables[name] = part.pivot_table(index=unit, columns="item", values="value").dropna(axis=1)
    if not tables or min(t.size for t in tables.values()) == 0:
        return t_interval(np.nan, np.nan, np.nan) | {"n_units": 0, "n_items": 0}
    units = sum(weights[name] * t.mean(axis=1) for name, t in tables.items())
    n, counts = (
        len(units),
        {"n_units": len(units), "n_items": sum(t.shape[1] for t in tables.values())},
    )
    if n < MIN_UNITS:
        return (
            _within(t_interval(float(units.mean()), np.nan, np.nan), tables, weights, bounds)
            | counts
        )
    parts = [
        (units.var(ddof=1) / n, n - 1)
    ]  # (variance, df) of independent pieces; the items' pieces may be differences
    for name, t in tables.items():
        item, both = _mean_squares(t.to_numpy(float))
        size = weights[name] ** 2 / t.size
        if item > both and t.shape[1] > 1:
            parts += [(size * item, t.shape[1] - 1), (-size * both, (n - 1) * (t.shape[1] - 1))]
    variance = sum(v for v, _ in parts)
    df = variance**2 / sum(v**2 / f for v, f in parts) if variance > 0 else n - 1
    row = t_interval(float(units.mean()), float(np.sqrt(max(variance, 0.0))), min(df, n - 1))
    return _within(row, tables, weights, bounds) | counts


def _within(
    row: dict[str, float],
    tables: Mapping[str, pd.DataFrame],
    weights: Mapping[str, float],
    bounds: Bounds,
) -> dict[str, Any]:
    """The row within the bounds of the weighted sum of strata that each lie in `bounds`."""
    if not np.isfinite(bounds).any():
        return dict(row)
    least, most = (sum(w * bounds[(w < 0) ^ end] for w in weights.values() if w) for end in (0, 1))
    if min(weights.values()) < 0:
        return cut(row, least, most)
    trials = sum(trials_of(t.to_numpy().ravel(), bounds) for t in tables.values())
    n_items, n_units = (
        sum(t.shape[1] for t in tables.values()),
        max(len(t) for t in tables.values()),
    )
    return bounded(
        row, (least, most), trials, n_items if np.isfinite(trials) else n_units, own_se=True
    )


def _mean_squares(y: np.ndarray) -> tuple[float, float]:
    """MS of items and of the interaction, of a [unit, item] table."""
    n, k = y.shape
    if k < 2:
        return 0.0, 0.0
    item, unit, mean = y.mean(axis=0), y.mean(axis=1, keepdims=True), y.mean()
    rest = y - item - unit + mean
    return float(n * np.sum((item - mean) ** 2) / (k - 1)), float(
        np.sum(rest**2) / ((n - 1) * (k - 1))
    )
