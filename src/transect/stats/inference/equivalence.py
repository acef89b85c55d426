"""Equivalence to within a stated margin: two one-sided t tests (TOST) of one contrast.

    H0: |theta - v| >= m,   p = max(P(T_df > (b - (v - m)) / se), P(T_df > ((v + m) - b) / se))      b: the estimate
    supported    p < 0.05: the 90 % interval b +- t(df, 0.95) se lies within v +- m
    rejected     the 95 % interval lies wholly beyond v - m or v + m: two-sided p of lying there < 0.05
    unresolved   neither: a difference that is not significant is no equivalence
The margin is the smallest difference that would matter, fixed before the data are seen;
`smallest_margin` says which one these data could just have supported, and is no substitute for it.
The same rules judge the claims of a study (verdict.py). Source: Schuirmann (1987), J.
Pharmacokinet. Biopharm. 15; Lakens (2017) on why the interval has 90 %.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from transect.errors import InputError
from transect.stats.inference.bounded import bounded_mean
from transect.stats.inference.intervals import t_interval

ALPHA = 0.05
KEPT = ("estimate", "se", "df", "lower", "upper", "lower90", "upper90")


def tost(
    estimate: float, se: float, df: float, margin: float, value: float = 0.0
) -> dict[str, float | str]:
    """p, verdict, the 90 % and 95 % interval and `smallest_margin` of 'within `margin` of `value`',
    in the contrast's units.

    df: may be infinite (normal). Raises InputError for a margin that is not above 0 or a standard
    error or df that is no number above 0.
    """
    if not 0 < margin < np.inf:
        raise InputError(
            f"the margin is {margin:g}; an equivalence needs one above 0, stated in advance"
        )
    if not (np.isfinite(estimate) and np.isfinite(value)):
        raise InputError(f"estimate {estimate:g} and value {value:g} must be finite")
    if not (0 < se < np.inf and df >= 0.5):
        raise InputError(
            f"se {se:g} and df {df:g}: an equivalence test needs a standard error above 0 and df of 0.5 or more"
        )
    row = t_interval(estimate, se, df)
    inside, outside = inside_and_outside(row, value - margin, value + margin)
    verdict = "supported" if inside < ALPHA else "rejected" if 2 * outside < ALPHA else "unresolved"
    found: dict[str, float | str] = {k: row[k] for k in KEPT}
    smallest = max(abs(row["lower90"] - value), abs(row["upper90"] - value))
    return found | {
        "margin": margin,
        "value": value,
        "p": inside,
        "verdict": verdict,
        "smallest_margin": smallest,
    }


def inside_and_outside(row: Mapping[str, Any], low: float, high: float) -> tuple[float, float]:
    """One-sided p of lying between two edges (the larger of both) and beyond one of them (the
    smaller of both).
    """
    above_low, below_high = one_sided(row, low), 1 - one_sided(row, high)
    return max(above_low, below_high), min(1 - above_low, 1 - below_high)


def one_sided(row: Mapping[str, Any], edge: float) -> float:
    """p of H0 'value <= edge', by the distribution that gave the row its interval: that of a
    bounded mean (bounded.py), else t from se and df, or, where there is no se, from the side of the
    interval that faces the edge.
    """
    if np.isinf(edge):
        return 0.0 if edge < 0 else 1.0
    mean = bounded_mean(row)
    if mean is not None:
        return mean.one_sided(edge)
    df = row.get("df", np.inf)
    df = df if np.isfinite(df) and df > 0 else np.inf
    se = row.get("se", np.nan)
    if not np.isfinite(se):
        facing = (
            row["estimate"] - row["lower"]
            if edge < row["estimate"]
            else row["upper"] - row["estimate"]
        )
        se = facing / stats.t.ppf(0.975, df)
    if se == 0:
        return float(row["estimate"] < edge) if row["estimate"] != edge else 0.5
    return float(stats.t.sf((row["estimate"] - edge) / se, df)) if np.isfinite(se) else 0.5
