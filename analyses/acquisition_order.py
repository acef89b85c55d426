"""In which order are things learned? Balanced accuracy of several stimulus sets over training, and
which is ahead.

Balanced: the levels of `balance` (singular, plural) get equal weight, so that a preference for one
of them scores 0.5. A set is compared with another within runs: what varies within a run is tested
by run, with items as samples too (src/transect/stats/inference/crossed_mean.py). Whether the order differs
between languages is a question to configurations, not runs: the interaction language:item_set of
the attribution analysis answers it.

Options: outcomes, a list of outcomes (src/transect/study/outcome.py), each with
    sets       column that tells the sets apart: stimuli (default), entry or an item_* column
    balance    item column whose levels get equal weight, e.g. item_number (default none)
    by         registry columns that split the runs, e.g. [language] (default none)
    threshold  value that counts as acquired (default 0.75)
    chance     drawn as a line (default 0.5)

Tables: accuracy (set, group, tokens_seen: mean and interval), onsets (run and set), differences
(between two sets, per group, at the checkpoint that `at` names), baselines (the same sets, runs in
the role of baseline).
"""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from transect.stats.curves.onset import onset
from transect.stats.inference.bounded import UNBOUNDED, Bounds, cut
from transect.stats.inference.crossed_mean import crossed_mean
from transect.stats.inference.intervals import COLUMNS
from transect.study.outcome import Outcome, filled, group_labels, read_options, read_outcome

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "In which order is it learned?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "accuracy": {
        "set": "items that are compared with others",
        "estimate": "balanced mean [outcome]",
    },
    "onsets": {
        "set": "items that are compared with others",
        "status": "how the run reaches the threshold (src/transect/stats/curves/onset.py)",
        "estimate": "tokens at which it does so for good [tokens]",
    },
    "differences": {"estimate": "first set - second set, within runs [outcome]"},
    "baselines": {
        "set": "items that are compared with others",
        "estimate": "mean of the baseline [outcome]",
    },
}

LABELS = ["outcome", "group", "chance"]
MORE = {
    "accuracy": ["set", "tokens_seen", *COLUMNS[:-1]],
    "onsets": ["run", "set", "status", "estimate", "lower", "upper"],
    "differences": ["term", *COLUMNS],
    "baselines": ["architecture", "set", "estimate"],
}
OPTIONS = {"outcomes": ...}
OWN: dict[str, Any] = {
    "sets": "stimuli",
    "balance": None,
    "by": [],
    "threshold": 0.75,
    "chance": 0.5,
}


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The four tables of the head of this file."""
    chosen = read_options(options, OPTIONS, "acquisition_order")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in MORE}
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"acquisition_order, outcome {number}")
        labels = {"outcome": outcome.name, "chance": own["chance"]}
        rows, shortcuts = (
            _rows(outcome, own, measurements, registry, role) for role in ("population", "baseline")
        )
        last = outcome.per_item(measurements, registry, apart=[own["sets"]])[
            ["run", "revision"]
        ].drop_duplicates()
        for group, part in rows.groupby("group"):
            names = labels | {"group": group}
            found["accuracy"] += [names | row for row in _accuracy(part, outcome.bounds)]
            found["onsets"] += [names | row for row in _onsets(part, own["threshold"])]
            at_end = part.merge(last, on=["run", "revision"])
            paired = own["sets"] == "entry"
            found["differences"] += [
                names | row for row in _differences(at_end, outcome.bounds, paired)
            ]
        found["baselines"] += [labels | row for row in _baselines(shortcuts)]
    return {name: filled(part, LABELS + MORE[name]) for name, part in found.items()}


def _rows(
    outcome: Outcome,
    own: dict[str, Any],
    measurements: pd.DataFrame,
    registry: pd.DataFrame,
    role: str,
) -> pd.DataFrame:
    """One row per run, checkpoint and item: set, half (level of `balance`), group, value."""
    rows = outcome.select(measurements, registry, roles=(role,))
    rows = rows.merge(
        registry[
            ["run", "configuration", "architecture", *(c for c in own["by"] if c not in rows)]
        ],
        on="run",
    )
    half = rows[own["balance"]].astype(str) if own["balance"] else "all"
    group = group_labels(rows, own["by"])
    return rows.assign(set=rows[own["sets"]].astype(str), half=half, group=group)


def _halves(part: pd.DataFrame, sign: float = 1.0) -> dict[str, float]:
    """Equal weights of the halves of one set, as strata named set | half."""
    strata = sorted((part["set"] + "|" + part["half"]).unique())
    return dict.fromkeys(strata, sign / len(strata))


def _mean(part: pd.DataFrame, weights: dict[str, float], bounds: Bounds) -> dict[str, Any]:
    row = crossed_mean(
        part.assign(stratum=part["set"] + "|" + part["half"]), "run", "stratum", weights, bounds
    )
    n_runs, n_items = row.pop("n_units"), row.pop("n_items")
    counts = {
        "n_configurations": part["configuration"].nunique(),
        "n_runs": n_runs,
        "n_items": n_items,
    }
    reason = (
        row.get("reason", "")
        if np.isfinite(row["lower"])
        else f"not identifiable: {n_runs} runs, fewer than 3"
    )
    return (
        row
        | counts
        | {
            "units": f"{n_runs} runs of {counts['n_configurations']} configurations ({n_items} items)",
            "reason": reason,
        }
    )


def _accuracy(part: pd.DataFrame, bounds: Bounds) -> list[dict[str, Any]]:
    return [
        {"set": name, "tokens_seen": None if pd.isna(tokens) else int(tokens)}
        | _mean(at, _halves(at), bounds)
        for (name, tokens), at in part.groupby(["set", "tokens_seen"], dropna=False)
    ]


def _onsets(part: pd.DataFrame, threshold: float) -> list[dict[str, Any]]:
    means = (
        part.groupby(["run", "set", "tokens_seen", "half"])["value"]
        .mean()
        .groupby(["run", "set", "tokens_seen"])
        .mean()
    )
    rows = []
    for (run, name), curve in means.reset_index().groupby(["run", "set"]):
        o = onset(curve["tokens_seen"], curve["value"], threshold)
        rows.append(
            {
                "run": run,
                "set": name,
                "status": o.status,
                "estimate": o.estimate,
                "lower": o.lower,
                "upper": o.upper,
            }
        )
    return rows


def _differences(part: pd.DataFrame, bounds: Bounds, paired: bool) -> list[dict[str, Any]]:
    """paired: both sets hold the same items, so that an item's own level is no part of the error."""
    rows = []
    for first, second in combinations(sorted(part["set"].unique()), 2):
        both = part[part["set"].isin([first, second])]
        if paired:
            both = _item_differences(both, first, f"{first} - {second}")
            row = cut(
                _mean(both, _halves(both), UNBOUNDED), bounds[0] - bounds[1], bounds[1] - bounds[0]
            )
            rows.append({"term": f"{first} - {second}"} | row)
            continue
        weights = _halves(part[part["set"] == first]) | _halves(part[part["set"] == second], -1.0)
        rows.append({"term": f"{first} - {second}"} | _mean(both, weights, bounds))
    return rows


def _item_differences(both: pd.DataFrame, first: str, term: str) -> pd.DataFrame:
    """One row per run and item that both sets hold: its value in the first minus that in the
    second.
    """
    signed = both.assign(value=both["value"].where(both["set"] == first, -both["value"]))
    of_item = signed.groupby(["configuration", "run", "half", "stimuli", "item"])["value"].agg(
        ["sum", "size"]
    )
    return (
        of_item[of_item["size"] == 2]
        .rename(columns={"sum": "value"})
        .reset_index()
        .assign(set=term)
    )


def _baselines(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """A baseline is one table of counts: a mean without a sampling unit."""
    if rows.empty:
        return []
    means = (
        rows.groupby(["group", "architecture", "set", "half"])["value"]
        .mean()
        .groupby(["group", "architecture", "set"])
        .mean()
    )
    return means.rename("estimate").reset_index().to_dict("records")
