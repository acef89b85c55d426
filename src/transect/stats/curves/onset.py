"""Onset of emergence: when a curve over training crosses a threshold, as far as its checkpoints can
tell.

A curve crosses between the last checkpoint below and the first at or above the threshold that stays
there: at it and at the next `hold` - 1 checkpoints (fewer where training ends). The onset is known
only to lie in that bracket:
    interval  (lower, upper]            left   (0, first checkpoint]: above from the start     right  (last, infinity): never
`estimate` interpolates linearly in log10 tokens (between 0 tokens and the first checkpoint nothing
is interpolated). Several runs: log10 onset ~ Normal(mu, sd), interval-censored likelihood prod_i
[F(upper_i) - F(lower_i)]. The interval of mu is the profile likelihood's, with the cut n log(1 +
t(df)^2 / (n - 1)), which is Student's interval where brackets are narrow. Source: Turnbull (1976)
on interval censoring; Venzon & Moolgavkar (1988) on profile intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats
from scipy.optimize import brentq, minimize_scalar

from transect.stats.inference.intervals import MIN_UNITS

SD_FLOOR = 1e-4  # decades of tokens: brackets that all overlap say nothing against a spread of 0


@dataclass(frozen=True)
class Onset:
    """The bracket of one curve in tokens; `status` is interval, left, right or none (no
    checkpoint).
    """

    status: str
    lower: float
    upper: float
    estimate: float


def onset(
    tokens: Sequence[float], values: Sequence[float], threshold: float, hold: int = 2
) -> Onset:
    """Onset of one curve; `tokens` in any order, the step before training has 0."""
    order = np.argsort(np.asarray(tokens, float), kind="stable")
    t, v = np.asarray(tokens, float)[order], np.asarray(values, float)[order]
    if not len(t):
        return Onset("none", np.nan, np.nan, np.nan)
    above = v >= threshold
    for i in range(len(t)):
        if above[i : i + hold].all():
            break
    else:
        return Onset("right", float(t[-1]), np.inf, np.nan)
    if i == 0:
        return Onset("left", 0.0, float(t[0]), np.nan)
    if t[i - 1] <= 0:
        return Onset("interval", 0.0, float(t[i]), np.nan)
    share = (threshold - v[i - 1]) / (v[i] - v[i - 1])
    between = 10 ** (np.log10(t[i - 1]) + share * np.log10(t[i] / t[i - 1]))
    return Onset("interval", float(t[i - 1]), float(t[i]), float(between))


@dataclass(frozen=True)
class PooledOnset:
    """log10 tokens: `mu` with its 95 % and 90 % interval (infinite where the data set no bound),
    `sd` between runs.
    """

    mu: float
    sd: float
    lower: float
    upper: float
    lower90: float
    upper90: float
    df: float
    reason: str


def pool(onsets: Sequence[Onset], units: Sequence[str] | None = None) -> PooledOnset:
    """The onset of a population of runs. `units`: the independent unit of each run (its
    configuration; default the run).

    A unit counts once: each of its runs weighs 1 / (its runs) in the log likelihood, so more seeds
    narrow nothing.
    """
    named = list(range(len(onsets))) if units is None else list(units)
    kept = [(o, unit) for o, unit in zip(onsets, named, strict=True) if o.status != "none"]
    usable = [o for o, _ in kept]
    of = [unit for _, unit in kept]
    weights = np.array([1 / of.count(unit) for unit in of])
    n_units = len(set(of))
    reached = sum(o.status != "right" for o in usable)
    if n_units < MIN_UNITS:
        return _no_pool(f"not identifiable: {n_units} units, fewer than {MIN_UNITS}")
    if not reached:
        return _no_pool(
            f"not reached in any of {len(usable)} runs",
            lower=np.log10(min(o.lower for o in usable)),
        )
    with np.errstate(divide="ignore"):
        bounds = np.log10(np.array([[o.lower, o.upper] for o in usable]))
    if not np.isfinite(bounds[:, 0]).any():
        return _no_pool(
            "reached before the first checkpoint in every run", upper=bounds[:, 1].max()
        )
    finite = bounds[np.isfinite(bounds)]
    low, high = finite.min() - 3, finite.max() + 3

    def profile(mu: float) -> float:
        return _best_sd(bounds, mu, weights)[1]

    grid = np.linspace(low, high, 201)
    losses = np.array([profile(m) for m in grid])
    flat = grid[
        losses <= losses.min() + 1e-6
    ]  # brackets that share a stretch leave the middle open: take its centre
    centre = float(flat.mean())
    step = grid[1] - grid[0]
    if len(flat) < 3:
        centre = float(
            minimize_scalar(profile, bounds=(centre - step, centre + step), method="bounded").x
        )
    df, n = n_units - 1, n_units
    limits = {}
    for level in (95, 90):
        cut = profile(centre) + n / 2 * np.log(
            1 + stats.t.ppf(0.5 + level / 200, df) ** 2 / (n - 1)
        )
        limits[level] = _crossings(profile, centre, cut, low, high)
    sd = _best_sd(bounds, centre, weights)[0]
    never = len(usable) - reached
    return PooledOnset(
        centre,
        sd,
        *limits[95],
        *limits[90],
        df,
        f"{never} of {len(usable)} runs never reach it" if never else "",
    )


def _best_sd(bounds: np.ndarray, mu: float, weights: np.ndarray) -> tuple[float, float]:
    """The sd between SD_FLOOR and 6 decades with the least loss at this mu, and that loss: a grid,
    refined twice.
    """
    low, high = np.log(SD_FLOOR), np.log(6.0)
    for _ in range(3):
        grid = np.linspace(low, high, 40)
        losses = _loss(bounds, mu, np.exp(grid), weights)
        best = int(np.argmin(losses))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return float(np.exp(grid[best])), float(losses[best])


def _loss(bounds: np.ndarray, mu: float, sd: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Minus the weighted log likelihood of the brackets at each sd; in the upper tail differences
    are taken from above, for precision.
    """
    z = (bounds[:, :, None] - mu) / sd
    flip = z[:, 0] > 0
    a, b = np.where(flip, -z[:, 1], z[:, 0]), np.where(flip, -z[:, 0], z[:, 1])
    upper, lower = special.log_ndtr(b), special.log_ndtr(a)
    with np.errstate(divide="ignore", invalid="ignore"):
        mass = upper + np.log(-np.expm1(lower - upper))
    return -np.sum(weights[:, None] * np.where(np.isfinite(mass), mass, -1e6), axis=0)


def _crossings(profile, centre: float, cut: float, low: float, high: float) -> tuple[float, float]:
    found = []
    for edge, infinite in ((low, -np.inf), (high, np.inf)):
        found.append(
            infinite
            if profile(edge) < cut
            else float(brentq(lambda m: profile(m) - cut, centre, edge, xtol=1e-6))
        )
    return found[0], found[1]


def _no_pool(reason: str, lower: float = np.nan, upper: float = np.nan) -> PooledOnset:
    return PooledOnset(np.nan, np.nan, lower, upper, np.nan, np.nan, np.nan, reason)
