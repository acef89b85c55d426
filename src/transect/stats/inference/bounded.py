"""Intervals that stay where their outcome can be: means of a bounded outcome, and contrasts that
are cut at what is possible.

A mean m with standard error s and df, of an outcome in [a, b], u = (m - a) / (b - a), s' = s / (b -
a):
    F = Beta(n u + 1/2, n (1 - u) + 1/2), Jeffreys' with n effective trials      (Korn & Graubard 1998, and a half)
    n = min((V + sqrt(V^2 + 2 s'^2)) / (2 s'^2), trials), V = u (1 - u), so that n^2 s'^2 = n V +
    1/2 of an outcome >= a: F = a + Gamma(k + 1/2) theta, k theta = m - a, (k + 1/2) theta^2 = s^2;
    of one <= b: its mirror image
    limits: F^-1(Phi(z -+ c z^2)), z = -+ t(df, 1 - alpha / 2),   one-sided p of an edge e: P(T_df <= z of Phi^-1(F(e)))
    c = 0.4 (1 - 2 / q) g n / (n + q) (1 - 0.7 n / trials), q = df + 1 units, g the skewness of F
    (with one bound n is k): of the limit far from the near bound, where s comes from the units of
    this mean alone; of a model's pooled s it is 0
Far from the bounds this is Student's interval: n is V / s'^2, and Phi and t carry the few degrees
of freedom over to F. c is there because s falls with the distance to a bound: where the few units
that lie far from it are missed, mean and s are both too near to it. Its form is the Edgeworth term
of Student's t for beta-distributed units, of skewness g n / (n + q) sqrt(q) (Hall 1992, ch. 3); 0.4
and 0.7 were set by simulation, the latter for what trials alone vary by, whose variance is known.
At a bound n is 1 / (sqrt(2) s'), the half being there for a model's pooled s, which may be larger
than numbers so near to it allow. `trials`: rows of 0 and 1 behind the mean; their sampling is part
of it even where all units agree. Where every unit lies at the bound there is no variance: n =
`at_bound` trials (rows of 0 and 1, else units: the least informative case), and `reason` says so.
The limit at the bound is then the bound (Brown, Cai & DasGupta 2001). Simulated
(docs/simulations.md): coverage .93 or more with 3 to 12 units and truths up to .999 where the
units' sd is 0.5 logits, and of skewed masses; where it is 1.5 logits .89 to .95, least at .97 and
with 3 to 8 units, which may all miss the rare ones far from the bound (without c: .84 to .93;
Student's: .78). Price: intervals of units of 0.5 logits are 1.04 to 1.2 times as wide. Contrasts
(differences, slopes) keep Student's interval in the outcome's unit, cut at what is possible, which
`cut` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

# scipy.stats, half a second of CPU, is imported on first use: planning and measuring need none of
# it
import scipy

Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-np.inf, np.inf)
# of the width between the bounds: a standard error, or a distance to a bound, below it is none
EXACT = 1e-12
# standard normal deviates: quantiles of F are not known further out, nor is any interval of use
FURTHEST = 12.0
# standard normal deviates whose tail a float64 can hold: a test gives no smaller p than t of it
DEEPEST = 37.0
MANY = 1e8  # trials on either side: F is normal to more digits than its quantiles have
SKEWED, SAMPLED = 0.4, 0.7  # of c; see the head of this file
LIMITS = {"lower": (95, -1), "upper": (95, 1), "lower90": (90, -1), "upper90": (90, 1)}
COLUMNS = [
    "least",
    "most",
    "n_effective",
    "stretch",
    "cut",
]  # what a bounded mean's row carries beside those of any estimate


@dataclass(frozen=True)
class BoundedMean:
    """A mean in [least, most] with its standard error; `n`: effective trials where both bounds are
    finite; `stretch`: c, below 0 where it is the lower limit's."""

    estimate: float
    se: float
    df: float
    least: float
    most: float
    n: float
    stretch: float = 0.0

    def limit(self, z: float) -> float:
        """The limit z standard errors away: the value that F leaves Phi(z + stretch z^2) below
        itself, on the side that is stretched.
        """
        if not np.isfinite(self.least):
            return -self._mirrored().limit(-z)
        if self.estimate in ((self.least,) if z < 0 else (self.most,)):
            return self.estimate
        z += self.stretch * z**2 if z * self.stretch > 0 else 0.0
        if self._many():
            return float(np.clip(self.estimate + z * self.se, self.least, self.most))
        (f, *parameters), tail = self._distribution(), scipy.stats.norm.sf(min(abs(z), FURTHEST))
        return float(f.ppf(tail, *parameters) if z < 0 else f.isf(tail, *parameters))

    def score(self, edge: float) -> float:
        """z of the limit that an edge is, at most +-DEEPEST; minus infinity at the lower bound and
        beyond it, infinity at the upper.
        """
        if edge <= self.least or edge >= self.most:
            return np.inf if edge >= self.most else -np.inf
        if not np.isfinite(self.least):
            return -self._mirrored().score(-edge)
        if self._many():
            return self._unstretched((edge - self.estimate) / self.se)
        f, *parameters = self._distribution()
        below, above = float(f.cdf(edge, *parameters)), float(f.sf(edge, *parameters))
        z = scipy.stats.norm.ppf(below) if below < above else scipy.stats.norm.isf(above)
        return self._unstretched(float(np.clip(z, -DEEPEST, DEEPEST)))

    def one_sided(self, edge: float) -> float:
        """p of H0 'the mean is at most `edge`'."""
        return float(scipy.stats.t.cdf(self.score(edge), self.df))

    def _unstretched(self, z: float) -> float:
        """What `limit` makes z of: the solution y of y + stretch y^2 = z on the side that is
        stretched.
        """
        both = z * self.stretch
        return float(2 * z / (1 + np.sqrt(1 + 4 * both))) if both > 0 else z

    def _many(self) -> bool:
        width = self.most - self.least
        u = (self.estimate - self.least) / width if np.isfinite(width) else 0.0
        return (
            self.n * u * (1 - u) > MANY
            if np.isfinite(width)
            else self.estimate - self.least > self._scale() * MANY
        )

    def _scale(self) -> float:
        """theta of an outcome with a lower bound alone."""
        above = self.estimate - self.least
        return float(2 * self.se**2 / (above + np.sqrt(above**2 + 2 * self.se**2)))

    def _distribution(self) -> tuple[Any, ...]:
        """F and its parameters (scipy's, with location and scale); the lower bound is finite."""
        above, width = self.estimate - self.least, self.most - self.least
        if not np.isfinite(width):
            return scipy.stats.gamma, above / self._scale() + 0.5, self.least, self._scale()
        u = above / width
        return scipy.stats.beta, self.n * u + 0.5, self.n * (1 - u) + 0.5, self.least, width

    def _mirrored(self) -> "BoundedMean":
        return BoundedMean(
            -self.estimate, self.se, self.df, -self.most, -self.least, self.n, -self.stretch
        )

    def stretched(self, trials: float) -> "BoundedMean":
        """The same with c of the head of this file; a mean without variance, of which only the
        trials are known, as it is.
        """
        if not np.isfinite(self.least):
            return self._mirrored().stretched(trials)._mirrored()
        if self.se == 0:
            return self
        f, *parameters = self._distribution()
        units = self.df + 1
        n = self.n if np.isfinite(self.most) else (self.estimate - self.least) / self._scale()
        between = n / (n + units) * (1 - SAMPLED * n / trials)
        skewness = float(f.stats(*parameters, moments="s"))
        return replace(self, stretch=SKEWED * max(0.0, 1 - 2 / units) * between * skewness)


def bounded(
    row: Mapping[str, Any],
    bounds: Bounds,
    trials: float = np.inf,
    at_bound: float = np.nan,
    own_se: bool = False,
) -> dict[str, Any]:
    """The row of a mean (columns of intervals.py) with limits that keep `bounds`, the columns
    COLUMNS and a `reason`.

    trials: rows of 0 and 1 behind the mean (infinite: the rows are no zeros and ones). at_bound:
    trials that count where the mean lies at a bound without variance. own_se: the standard error
    comes from the units of this mean alone. Without bounds, and without an interval, the row as it
    is.
    """
    least, most = bounds
    if not (np.isfinite(least) or np.isfinite(most)):
        return dict(row)
    found = dict(row) | {
        "least": least,
        "most": most,
        "n_effective": np.nan,
        "stretch": np.nan,
        "cut": "",
    }
    if not np.isfinite(row["estimate"]):
        return found
    near = EXACT * (most - least if np.isfinite(most - least) else max(1.0, abs(row["estimate"])))
    within = float(np.clip(row["estimate"], least, most))
    found["cut"] = "estimate" if abs(within - row["estimate"]) > near else ""
    found["estimate"] = next((b for b in bounds if abs(within - b) <= near), within)
    if not np.isfinite(row["lower"]):
        return found
    found["se"] = 0.0 if row["se"] <= near else row["se"]
    n = _effective(found, trials, at_bound)
    if found["se"] == 0 and not np.isfinite(
        n
    ):  # a number that does not vary, inside its bounds or at the only one
        return found | dict.fromkeys(LIMITS, found["estimate"])
    mean = BoundedMean(found["estimate"], found["se"], row["df"], least, most, n)
    mean = mean.stretched(trials) if own_se else mean
    for column, (level, side) in LIMITS.items():
        limit = mean.limit(float(side * scipy.stats.t.ppf(0.5 + level / 200, row["df"])))
        found[column] = min(limit, mean.estimate) if side < 0 else max(limit, mean.estimate)
    found |= {"n_effective": n, "stretch": mean.stretch}
    if mean.se == 0 and mean.estimate in bounds:
        found["reason"] = (
            f"no variance: every unit lies at the bound {mean.estimate:g}; the interval is that of {n:g} trials"
        )
    return found


def bounded_mean(row: Mapping[str, Any]) -> BoundedMean | None:
    """The mean behind a row of a result table; None where the row is not that of a bounded mean
    with limits of its own.
    """
    least, most, n, stretch = (float(row.get(c, np.nan)) for c in COLUMNS[:4])
    one_sided = np.isfinite(least) != np.isfinite(most) and not np.isnan(least + most)
    if (
        not (np.isfinite(n) or one_sided)
        or not row.get("df", 0) > 0
        or (one_sided and not row["se"] > 0)
    ):
        return None
    return BoundedMean(
        row["estimate"], row["se"], row["df"], least, most, n, 0.0 if np.isnan(stretch) else stretch
    )


def cut(row: Mapping[str, Any], least: float, most: float) -> dict[str, Any]:
    """The row of a contrast or prediction with its estimate and limits, as far as it has them, cut
    to [least, most].

    `cut` names those that were: estimate, lower, upper.
    """
    if not (np.isfinite(least) or np.isfinite(most)):
        return dict(row)
    clipped = {c: float(np.clip(row[c], least, most)) for c in ("estimate", *LIMITS) if c in row}
    sides = [
        c for c in ("estimate", "lower", "upper") if np.isfinite(row[c]) and clipped[c] != row[c]
    ]
    return dict(row) | clipped | {"cut": ", ".join(sides)}


def cut_rows(table: pd.DataFrame, bounds: Bounds, estimate: str = "estimate") -> pd.DataFrame:
    """`cut` of every row of a table with the columns `estimate`, lower and upper, in the outcome's
    unit (predictions).
    """
    if not np.isfinite(bounds).any() or not {"lower", "upper"} <= set(table):
        return table
    columns = [estimate, "lower", "upper"]
    clipped = table[columns].astype(float).clip(*bounds)
    changed = table[columns].notna() & clipped.ne(table[columns])
    sides = [", ".join(c for c in columns if row[c]) for _, row in changed.iterrows()]
    return table.assign(**{c: clipped[c] for c in columns}, cut=sides)


def trials_of(values: Any, bounds: Bounds) -> float:
    """The number of values where each is right or wrong (at a bound; a tie half-way between), else
    infinite.
    """
    every = np.asarray(values, float)
    if not np.isfinite(bounds).all():
        return np.inf
    return (
        float(len(every))
        if np.isin(every, [bounds[0], bounds[1], sum(bounds) / 2]).all()
        else np.inf
    )


def _effective(row: Mapping[str, Any], trials: float, at_bound: float) -> float:
    """n of the head of this file; infinite or NaN where there is none."""
    width = row["most"] - row["least"]
    if not np.isfinite(width):
        return np.nan
    u, s = (row["estimate"] - row["least"]) / width, row["se"] / width
    if s == 0:
        return at_bound if u in (0.0, 1.0) else trials
    v = u * (1 - u)
    return float(min((v + np.sqrt(v**2 + 2 * s**2)) / (2 * s**2), trials))
