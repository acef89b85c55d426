"""Where does the variance lie? Shares of configurations (divided over design factors), seeds, items
and the rest.

Per item:  y ~ 1 + (1 | configuration) + (1 | run) + (1 | item), REML; the rest is item x model and noise.
Per run:   y ~ 1 + (1 | configuration); the rest is the seed (nothing can be said of it without configurations of two runs).
The configurations' share is divided over the factors by their mean gain in adjusted R^2 over all
orders of entry (src/transect/stats/effects/shares.py): a factor of pure noise gets about 0, what no factor
explains is named so. Configurations that leave no degree of freedom beside the factors are not
divided: their share is one row, the factors' rows say why. Intervals: jackknife over configurations
(Tukey 1958), t with configurations - 1 df, cut to [0, 1] (`cut` says where).

Options: outcomes, a list of outcomes (src/transect/study/outcome.py), each with
    factors    terms, at most 8, e.g. [architecture, log10(params_non_embedding), "corpus_variant:architecture"]
    items      true for one number per item (default false)
    items_by   registry columns that make the same item id another item (default none)

Table: shares (outcome, component, estimate = share of the total, variance, interval, units).
"""

from typing import Any

import numpy as np
import pandas as pd

from transect.stats.effects.shares import factor_shares
from transect.stats.inference.bounded import cut
from transect.stats.inference.intervals import COLUMNS, MIN_UNITS, t_interval
from transect.stats.mixed.crossed_cholesky import Grouping
from transect.stats.mixed.gaussian import MixedFit, fit
from transect.study.outcome import filled, read_options, read_outcome, with_known

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "Where does the variance lie?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "shares": {
        "component": "factor, or what else varies",
        "estimate": "share of the total variance [share]",
        "variance": "the variance itself [outcome squared]",
    },
}

OPTIONS = {"outcomes": ...}
OWN = {"factors": ..., "items": False, "items_by": []}
UNEXPLAINED, REST = "configurations beyond these factors", "items × models, noise"
UNDIVIDED = "configurations"  # where they are too few to be divided over the factors


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The table of the head of this file."""
    chosen = read_options(options, OPTIONS, "variance_shares")
    parts = []
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"variance_shares, outcome {number}")
        rows = (outcome.per_item if own["items"] else outcome.per_run)(measurements, registry)
        if own["items"]:
            rows = rows.assign(
                item=rows[["item", *own["items_by"]]].astype(str).agg(" ".join, axis=1)
            )
        rows, lost = with_known(rows, own["factors"])
        parts.append(_shares(rows, own["factors"], own["items"], lost).assign(outcome=outcome.name))
    return {"shares": filled(parts, ["outcome", "component", *COLUMNS[:-1], "units", "reason"])}


def _shares(rows: pd.DataFrame, factors: list[str], items: bool, lost: str) -> pd.DataFrame:
    names = rows["configuration"].unique() if len(rows) else []
    if len(names) < MIN_UNITS:
        return pd.DataFrame(
            [
                {
                    "component": "all",
                    "reason": f"not identifiable: {len(names)} configurations, fewer than {MIN_UNITS}{lost}",
                }
            ]
        )
    fitted = _fit(rows, items)
    whole = _components(rows, factors, items, fitted)
    kept = [rows[rows["configuration"] != name] for name in names]
    left_out = pd.DataFrame(
        [_components(part, factors, items, _fit(part, items, fitted)) for part in kept]
    )
    n = len(names)
    total = max(float(np.nansum(list(whole.values()))), 1e-300)
    share = {name: value / total for name, value in whole.items()}
    totals = left_out.sum(axis=1)
    found = []
    for name, value in whole.items():
        without = left_out[name] if name in left_out else pd.Series(np.nan, index=left_out.index)
        pseudo = n * share[name] - (n - 1) * without / totals.clip(lower=1e-300)
        row = t_interval(share[name], float(pseudo.std(ddof=1, skipna=False) / np.sqrt(n)), n - 1)
        row.pop("p")
        row = cut(row, 0, 1)
        counts = {"n_configurations": n, "n_runs": rows["run"].nunique()} | (
            {"n_items": rows["item"].nunique()} if items else {}
        )
        units = f"{n} configurations ({', '.join(f'{v} {k[2:]}' for k, v in counts.items() if k != 'n_configurations')}){lost}"
        reason = ""
        if np.isnan(value):
            reason = f"not identifiable: {n} configurations leave no degree of freedom beside the factors"
        elif np.isnan(row["lower"]):
            reason = (
                f"no interval: {n - 1} configurations leave no degree of freedom beside the factors"
            )
        found.append(
            {"component": name}
            | row
            | {"variance": value}
            | counts
            | {"units": units, "reason": reason}
        )
    return pd.DataFrame(found)


def _fit(rows: pd.DataFrame, items: bool, near: MixedFit | None = None) -> MixedFit | None:
    """The variance components model; None where the outcome does not vary or no configuration has a
    second number.
    """
    y = rows["value"].to_numpy(float)
    seeds = rows["run"].nunique() > rows["configuration"].nunique()
    if y.std() <= 1e-12 * max(1.0, np.abs(y).max()) or not (items or seeds):
        return None
    groups = [*(["item"] if items else []), "configuration", *(["run"] if seeds and items else [])]
    return fit(
        y, np.ones((len(rows), 1)), ["(Intercept)"], [_grouping(rows, g) for g in groups], near=near
    )


def _components(
    rows: pd.DataFrame, factors: list[str], items: bool, fitted: MixedFit | None
) -> dict[str, float]:
    """component -> variance, in units of the outcome squared."""
    found = {
        "configuration": float(rows["value"].var(ddof=1)),
        "item": 0.0,
        "run": 0.0,
        "residual": 0.0,
    }
    if fitted is not None:
        found |= dict(zip(fitted.components["group"], fitted.components["variance"], strict=True))
    seeds = rows["run"].nunique() > rows["configuration"].nunique()
    grouped = rows.groupby("configuration", as_index=False)
    means = grouped.first().drop(columns="value").merge(grouped["value"].mean(), on="configuration")
    gained = factor_shares(means, [f for f in factors if _has_levels(f, means)])
    parts = {f: 0.0 for f in factors}
    if means["value"].var() > 0 and np.isnan(list(gained.values())).any():
        parts |= dict.fromkeys(gained, float("nan")) | {UNDIVIDED: found["configuration"]}
    else:
        parts |= {
            name: max(0.0, np.nan_to_num(s)) * found["configuration"] for name, s in gained.items()
        }
        parts[UNEXPLAINED] = max(0.0, found["configuration"] - sum(parts.values()))
    parts |= {"items": float(found["item"])} if items else {}
    if seeds:
        parts["seeds"] = float(found["run"] if items else found["residual"])
    return parts | ({REST: float(found["residual"])} if items else {})


def _has_levels(factor: str, means: pd.DataFrame) -> bool:
    columns = [
        c for part in factor.split(":") for c in means if c == part.split("(")[-1].rstrip(")")
    ]
    return bool(columns) and all(means[c].nunique() > 1 for c in columns)


def _grouping(rows: pd.DataFrame, group: str) -> Grouping:
    codes, levels = pd.factorize(rows[group], sort=True)
    return Grouping(group, codes, len(levels), np.ones((len(rows), 1)), ("1",))
