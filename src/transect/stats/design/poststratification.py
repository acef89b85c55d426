"""A sample against the population that it stands for: coverage of strata, weights, a
post-stratified estimate.

    estimate = sum_h W_h ybar_h          W_h: share of stratum h in the population, among the strata that were sampled
    variance = sum_h W_h^2 s^2_h / n_h   s_h: standard deviation within h; pooled over strata where n_h = 1
    effective n = (sum_i w_i)^2 / sum_i w_i^2,   w_i = W_h / n_h      (Kish 1965, section 11.7)
What was not sampled is not estimated: `covered` is the population's share of the sampled strata,
and the estimate speaks of that part only. Satterthwaite's df: (sum_h a_h)^2 / sum_h (a_h^2 / (n_h -
1)), a_h = W_h^2 s_h^2 / n_h; with a pooled s the pooled df. Source: Holt & Smith (1979), JRSS A
142; Lohr (2010), Sampling, section 4.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats.inference.bounded import UNBOUNDED, Bounds, bounded
from transect.stats.inference.intervals import t_interval


@dataclass(frozen=True)
class PostStratified:
    """`row`: the estimate with its interval (intervals.py, bounded.py). `strata`: one row per
    stratum of the population or the sample, with shares and weights.
    """

    row: dict[str, Any]
    unweighted: float
    n: int
    effective_n: float
    covered: float
    strata: pd.DataFrame


def coverage(stratum: Sequence[str], population: Mapping[str, float]) -> pd.DataFrame:
    """Per stratum: n, share of sample, share of population, ratio of the two, weight of one unit.

    `population` holds counts or shares above 0, which are made to sum to 1. Raises InputError for
    an empty population, one that is not above 0, and for units of a stratum that the population
    does not name.
    """
    if not population or any(not np.isfinite(v) or v <= 0 for v in population.values()):
        raise InputError(
            "the population needs at least one stratum, each with a count or share above 0"
        )
    stray = sorted(set(stratum) - set(population))
    if stray:
        raise InputError(
            f"the population has no stratum {', '.join(map(repr, stray))}; it has {', '.join(population)}"
        )
    share = pd.Series(population, dtype=float) / sum(population.values())
    n = pd.Series(list(stratum)).value_counts().reindex(share.index, fill_value=0)
    within = share.where(n > 0, 0) / share[n > 0].sum()
    table = pd.DataFrame({"n": n, "sample_share": n / max(n.sum(), 1), "population_share": share})
    table["ratio"] = table["sample_share"] / table["population_share"]
    table["weight"] = (within / n.where(n > 0)) * n.sum()  # 1: neither too many nor too few
    return table.rename_axis("stratum").reset_index()


def effective_n(weights: Sequence[float]) -> float:
    """Kish's effective number of units: how many equally weighted ones would say as much."""
    w = np.asarray(weights, float)
    return float(w.sum() ** 2 / (w**2).sum())


def post_stratify(
    values: Sequence[float],
    stratum: Sequence[str],
    population: Mapping[str, float],
    bounds: Bounds = UNBOUNDED,
) -> PostStratified:
    """The estimate for the sampled strata of the population, one value per unit; its interval keeps
    `bounds`.

    Raises InputError as `coverage` does, and for fewer units than would leave one degree of freedom
    within strata.
    """
    frame = pd.DataFrame({"value": np.asarray(values, float), "stratum": list(stratum)})
    strata = coverage(frame["stratum"].tolist(), population)
    groups = frame.groupby("stratum")["value"]
    n, mean = groups.size(), groups.mean()
    free = int((n - 1).sum())
    if free < 1:
        raise InputError(
            f"{len(frame)} units in {len(n)} strata leave no degree of freedom within strata"
        )
    pooled = float(((frame["value"] - frame["stratum"].map(mean)) ** 2).sum() / free)
    share = strata.set_index("stratum")["population_share"].reindex(n.index)
    w = share / share.sum()
    own = groups.var().where(n > 1)
    parts = w**2 * own.fillna(pooled) / n
    se = float(np.sqrt(parts.sum()))
    df = (
        free
        if own.isna().any()
        else float(parts.sum() ** 2 / (parts**2 / (n - 1)).sum())
        if se > 0
        else float(free)
    )
    row = bounded(
        t_interval(float((w * mean).sum()), se, df), bounds, at_bound=len(frame), own_se=True
    )
    weights = frame["stratum"].map(w / n)
    return PostStratified(
        row,
        float(frame["value"].mean()),
        len(frame),
        effective_n(weights.tolist()),
        float(share.sum()),
        strata.assign(mean=strata["stratum"].map(mean)),
    )
