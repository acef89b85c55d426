"""What every estimate carries: its standard error, degrees of freedom, 95 % and 90 % interval and
two-sided p.

estimate +- t(df, 1 - alpha / 2) * se,   p = P(|T_df| >= |estimate / se|).
The 95 % interval decides an effect claim, the 90 % interval an equivalence claim (two one-sided
tests at 0.05).
"""

from typing import Any

import numpy as np
from scipy import stats

from transect.stats.inference.bounded import UNBOUNDED, Bounds, bounded

COLUMNS = ["estimate", "se", "df", "lower", "upper", "lower90", "upper90", "p"]
MIN_UNITS = 3  # fewer units than this at the level of a factor: nothing is inferred about it


def t_interval(estimate: float, se: float, df: float) -> dict[str, float]:
    """The columns of `COLUMNS` for one estimate; without a usable `se` or `df` (< 0.5) everything
    but the estimate is NaN.

    A standard error of exactly 0 (all units equal) gives an interval of width 0.
    """
    row = dict.fromkeys(COLUMNS, float("nan")) | {"estimate": float(estimate)}
    if not (np.isfinite(estimate) and np.isfinite(se) and df >= 0.5):
        return row
    half = {level: float(stats.t.ppf(0.5 + level / 200, df) * se) for level in (95, 90)}
    p = float(2 * stats.t.sf(abs(estimate) / se, df)) if se > 0 else float(estimate == 0)
    return row | {
        "se": float(se),
        "df": float(df),
        "lower": estimate - half[95],
        "upper": estimate + half[95],
        "lower90": estimate - half[90],
        "upper90": estimate + half[90],
        "p": p,
    }


def mean_interval(
    values: Any, bounds: Bounds = UNBOUNDED, trials: float = np.inf
) -> dict[str, Any]:
    """Interval of a mean over independent units; NaN limits with fewer than `MIN_UNITS` of them.

    Student's, or within the outcome's `bounds` (bounded.py; `trials`: rows of 0 and 1 behind all
    units).
    """
    values = np.asarray(values, float)
    n = len(values)
    if n < MIN_UNITS:
        return bounded(t_interval(values.mean() if n else np.nan, np.nan, np.nan), bounds)
    row = t_interval(values.mean(), values.std(ddof=1) / np.sqrt(n), n - 1)
    return bounded(row, bounds, trials, trials if np.isfinite(trials) else n, own_se=True)
