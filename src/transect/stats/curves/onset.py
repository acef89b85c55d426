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

from collections import Counter
from collections.abc import Callable, Sequence
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
    t = np.asarray(tokens, float)
    order = np.argsort(t, kind="stable")
    t = t[order]
    v = np.asarray(values, float)[order]
    if not len(t):
        return Onset("none", np.nan, np.nan, np.nan)
    above = v >= threshold
    held = [i for i in range(len(t)) if above[i : i + hold].all()]
    if not held:
        return Onset("right", float(t[-1]), np.inf, np.nan)
    i = held[0]
    upper = float(t[i])
    if i == 0:
        return Onset("left", 0.0, upper, np.nan)
    if t[i - 1] <= 0:
        return Onset("interval", 0.0, upper, np.nan)
    share = (threshold - v[i - 1]) / (v[i] - v[i - 1])
    decades = share * np.log10(t[i] / t[i - 1])
    between = 10 ** (np.log10(t[i - 1]) + decades)
    return Onset("interval", float(t[i - 1]), upper, float(between))


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
    names = list(map(str, range(len(onsets)))) if units is None else list(units)
    kept = [i for i, onset in enumerate(onsets) if onset.status != "none"]
    usable = [onsets[i] for i in kept]
    n_runs = Counter(names[i] for i in kept)
    n_units = len(n_runs)
    if n_units < MIN_UNITS:
        return _no_pool(f"not identifiable: {n_units} units, fewer than {MIN_UNITS}")
    n_never = sum(onset.status == "right" for onset in usable)
    if n_never == len(usable):
        latest = np.log10(min(onset.lower for onset in usable))
        return _no_pool(f"not reached in any of {n_never} runs", lower=latest)
    with np.errstate(divide="ignore"):
        bounds = np.log10(np.array([[onset.lower, onset.upper] for onset in usable]))
    if not np.isfinite(bounds[:, 0]).any():
        reason = "reached before the first checkpoint in every run"
        return _no_pool(reason, upper=bounds[:, 1].max())
    weights = np.array([1 / n_runs[names[i]] for i in kept])
    reason = f"{n_never} of {len(usable)} runs never reach it" if n_never else ""
    return _pooled(bounds, weights, n_units, reason)


def _pooled(bounds: np.ndarray, weights: np.ndarray, n_units: int, reason: str) -> PooledOnset:
    """mu, sd and the intervals of mu. bounds [run, (lower, upper)] in log10 tokens."""
    finite = bounds[np.isfinite(bounds)]
    low, high = finite.min() - 3, finite.max() + 3

    def profile(mu: float) -> float:
        return _best_sd(bounds, mu, weights)[1]

    def limits(level: int) -> tuple[float, float]:
        t = stats.t.ppf(0.5 + level / 200, n_units - 1)
        cut = profile(centre) + n_units / 2 * np.log(1 + t**2 / (n_units - 1))
        below = _crossing(profile, cut, centre, low, -np.inf)
        above = _crossing(profile, cut, centre, high, np.inf)
        return below, above

    centre = _centre(profile, np.linspace(low, high, 201))
    lower, upper = limits(95)
    lower90, upper90 = limits(90)
    return PooledOnset(
        mu=centre,
        sd=_best_sd(bounds, centre, weights)[0],
        lower=lower,
        upper=upper,
        lower90=lower90,
        upper90=upper90,
        df=n_units - 1,
        reason=reason,
    )


def _centre(profile: Callable[[float], float], grid: np.ndarray) -> float:
    """Where the loss is least: brackets that share a stretch leave its middle open, so of a flat
    stretch the centre.
    """
    losses = np.array([profile(mu) for mu in grid])
    flat = grid[losses <= losses.min() + 1e-6]
    centre = float(flat.mean())
    if len(flat) >= 3:
        return centre
    step = grid[1] - grid[0]
    around = (centre - step, centre + step)
    return float(minimize_scalar(profile, bounds=around, method="bounded").x)


def _best_sd(bounds: np.ndarray, mu: float, weights: np.ndarray) -> tuple[float, float]:
    """The sd between SD_FLOOR and 6 decades with the least loss at this mu, and that loss: a grid,
    refined twice.
    """
    low, high = np.log(SD_FLOOR), np.log(6.0)
    for _ in range(3):
        grid = np.linspace(low, high, 40)
        losses = _loss(bounds, mu, np.exp(grid), weights)
        best = int(np.argmin(losses))
        low = grid[max(best - 1, 0)]
        high = grid[min(best + 1, len(grid) - 1)]
    return float(np.exp(grid[best])), float(losses[best])


def _loss(bounds: np.ndarray, mu: float, sd: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Minus the weighted log likelihood of the brackets at each sd; in the upper tail differences
    are taken from above, for precision.
    """
    z = (bounds[:, :, None] - mu) / sd
    lower, upper = z[:, 0], z[:, 1]
    flip = lower > 0
    upper_tail = special.log_ndtr(np.where(flip, -lower, upper))
    lower_tail = special.log_ndtr(np.where(flip, -upper, lower))
    with np.errstate(divide="ignore", invalid="ignore"):
        mass = upper_tail + np.log(-np.expm1(lower_tail - upper_tail))
    mass = np.where(np.isfinite(mass), mass, -1e6)
    return -np.sum(weights[:, None] * mass, axis=0)


def _crossing(
    profile: Callable[[float], float], cut: float, centre: float, edge: float, beyond: float
) -> float:
    """Where the loss reaches the cut between the centre and an edge; `beyond` where it does not."""
    if profile(edge) < cut:
        return beyond
    return float(brentq(lambda mu: profile(mu) - cut, centre, edge, xtol=1e-6))


def _no_pool(reason: str, lower: float = np.nan, upper: float = np.nan) -> PooledOnset:
    return PooledOnset(
        mu=np.nan,
        sd=np.nan,
        lower=lower,
        upper=upper,
        lower90=np.nan,
        upper90=np.nan,
        df=np.nan,
        reason=reason,
    )
