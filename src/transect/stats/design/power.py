"""Power for an effect of stated size, tested where its factor varies: against the units of that
level, never rows or items.

Model of the units: y = X b + e, e ~ N(0, sd^2). For a contrast c: w = X (X'X)^+ c, standard error
sd |w|, df = units - rank X.

    noncentrality   effect / (sd |w|)
    power           P(|T| > t_crit), T noncentral t with df degrees of freedom, two-sided at alpha (T^2 is noncentral F)
    detectable      the effect whose power is the one wanted (0.8)

sd of a unit: what is left between units beside the factors. With r runs (seeds) of each
configuration and n items that all runs share
(item effects then cancel in differences):    sd^2 = var(configuration) + var(run) / r + var(item x run) / (r n)

Sources: Cohen 1988, Statistical Power Analysis, 2 and 8; Murphy, Myors & Wolach 2014; noncentral F:
scipy.stats.ncf.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats


@dataclass(frozen=True)
class Power:
    """Of one contrast. `df` 0: nothing is left to judge the error by, so there is no test (power
    NaN).
    """

    power: float
    effect: float
    sd: float
    se: float
    df: int
    n_units: int
    detectable: float  # effect with power `wanted`
    wanted: float


def power(
    x: np.ndarray,
    contrast: Sequence[float] | np.ndarray,
    effect: float,
    sd: float,
    *,
    alpha: float = 0.05,
    wanted: float = 0.8,
) -> Power:
    """Of a t test of `contrast` in a least-squares fit of units on x [unit, column] (an intercept
    among the columns).

    Raises ValueError for a contrast that the units do not determine, and for an sd that is not
    positive.
    """
    c = np.asarray(contrast, float)
    if not sd > 0:
        raise ValueError(f"the standard deviation of a unit must be positive; given {sd!r}")
    inverse = np.linalg.pinv(x, rcond=1e-10)
    if np.abs(c - c @ inverse @ x).max() > 1e-6 * max(1.0, np.abs(c).max()):
        raise ValueError("the units do not determine this contrast: it is aliased")
    se = sd * float(np.linalg.norm(c @ inverse))
    df = len(x) - int(np.linalg.matrix_rank(x))
    if df < 1:
        return Power(float("nan"), effect, sd, se, 0, len(x), float("nan"), wanted)
    return Power(
        t_power(effect / se, df, alpha),
        effect,
        sd,
        se,
        df,
        len(x),
        se * noncentrality(wanted, df, alpha),
        wanted,
    )


def t_power(noncentral: float, df: float, alpha: float = 0.05) -> float:
    """Two-sided power of a t test."""
    if noncentral == 0:
        return alpha
    # T^2 is noncentral F; the nct of scipy is NaN in its far tail
    return float(stats.ncf.sf(stats.f.ppf(1 - alpha, 1, df), 1, df, noncentral**2))


def noncentrality(wanted: float, df: float, alpha: float = 0.05) -> float:
    """The noncentrality at which the power is the one wanted. Raises ValueError unless alpha <
    wanted < 1.
    """
    if not alpha < wanted < 1:
        raise ValueError(f"the power wanted must lie between {alpha} and 1; given {wanted!r}")
    # with 1 df the critical value is 12.7 and the tails are heavy: the bound grows with it
    high = (stats.t.ppf(1 - alpha / 2, df) + 5) * 10
    return float(optimize.brentq(lambda d: t_power(d, df, alpha) - wanted, 0.0, high))


def unit_sd(
    configuration: float, run: float = 0.0, item: float = 0.0, *, runs: float = 1, items: float = 1
) -> float:
    """sd of a configuration's mean, from the variances between configurations, between runs of one,
    and of item x run.
    """
    return float(np.sqrt(configuration + run / runs + item / (runs * items)))


def sd_interval(sd: float, df: int, level: float = 0.95) -> tuple[float, float]:
    """Of an sd that was estimated with df degrees of freedom: power planned from few units is
    uncertain, and this says how much.
    """
    low, high = stats.chi2.ppf([(1 - level) / 2, (1 + level) / 2], df)
    return float(sd * np.sqrt(df / high)), float(sd * np.sqrt(df / low))
