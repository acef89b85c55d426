"""Does the model know more than a shortcut? Its gain over the best n-gram baseline on the same
items.

gain of run r on item i = y_ri - b_i, b_i the baseline trained on the same corpus (equal in
`match`). The best baseline of a group is the one with the highest mean there: choosing it after the
fact can only shrink the gain. The mean gain has an interval that counts runs and items as samples
(src/transect/stats/inference/crossed_mean.py); runs are averaged within configurations where a group has
three or more of them.

Options: outcomes, a list of outcomes (src/transect/study/outcome.py), each with
    match    registry columns that a run shares with its baseline (default [language])
    by       further registry or item columns, or entry, that split the groups, e.g. [item_condition] (default none)
    balance  item column whose levels get equal weight, e.g. item_number (default none)
    chance   the value of guessing, drawn as a line (default none)

Tables: gains (per outcome and group: estimate = gain, model and baseline means, which baseline),
means (all baselines too).
"""

from typing import Any

import pandas as pd

from transect.registry.run import UNKNOWN
from transect.stats.inference.bounded import Bounds, cut
from transect.stats.inference.crossed_mean import crossed_mean
from transect.stats.inference.intervals import COLUMNS, MIN_UNITS
from transect.study.outcome import filled, read_options, read_outcome

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "Does it know more than a shortcut?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "gains": {
        "estimate": "mean over runs and items of model - best baseline [outcome]",
        "baseline": "the best baseline of the group",
        "model_mean": "mean of the models [outcome]",
        "baseline_mean": "mean of that baseline [outcome]",
    },
    "means": {
        "who": "models, or a baseline",
        "estimate": "its mean [outcome]",
        "n_units": "runs or configurations behind it [units]",
    },
}

OPTIONS = {"outcomes": ...}
OWN = {"match": ["language"], "by": [], "balance": None, "chance": None}


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The two tables of the head of this file."""
    chosen = read_options(options, OPTIONS, "baselines")
    gains, means = [], []
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"baselines, outcome {number}")
        split = [*own["match"], *own["by"]]
        models, shortcuts = (
            outcome.per_item(measurements, registry, roles=(role,), apart=split)
            for role in ("population", "baseline")
        )
        for key, part in models.groupby(split, dropna=False):
            levels = {c: UNKNOWN if pd.isna(v) else v for c, v in zip(split, key, strict=True)}
            unknown = [c for c in own["match"] if levels[c] == UNKNOWN]
            same = shortcuts.iloc[:0] if unknown else _at(shortcuts, levels)
            names = {
                "outcome": outcome.name,
                "group": ", ".join(map(str, levels.values())),
                "chance": own["chance"],
            }
            gain, level = _gain(part, same, own["balance"], outcome.bounds)
            if unknown:
                gain["reason"] = (
                    f"the models' {', '.join(unknown)} is unknown, so no baseline is known to share it"
                )
            gains.append(names | gain)
            means += [names | row for row in level]
    labels = ["outcome", "group", "chance"]
    return {
        "gains": filled(gains, [*labels, *COLUMNS, "units", "reason"]),
        "means": filled(means, [*labels, "who", "estimate", "lower", "upper"]),
    }


def _at(rows: pd.DataFrame, levels: dict[str, Any]) -> pd.DataFrame:
    """The rows at these levels; what is missing in a column is its level `unknown`."""
    for column, level in levels.items():
        rows = rows[rows[column].isna() if level == UNKNOWN else rows[column] == level]
    return rows


def _gain(
    models: pd.DataFrame, shortcuts: pd.DataFrame, balance: str | None, bounds: Bounds
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    counts = {
        "n_configurations": models["configuration"].nunique(),
        "n_runs": models["run"].nunique(),
    }
    unit = "configuration"
    models = models.groupby([unit, "item", *([balance] if balance else [])], as_index=False)[
        "value"
    ].mean()
    level: list[dict[str, Any]] = [
        {"who": "model", **crossed_mean(models, unit, balance, bounds=bounds)}
    ]
    for name, part in shortcuts.groupby("architecture"):
        # a baseline is one fixed table of counts: its mean has no sampling unit, only items
        values = part.groupby([*([balance] if balance else []), "item"])["value"].mean()
        level.append(
            {
                "who": name,
                "estimate": float(
                    values.groupby(balance).mean().mean() if balance else values.mean()
                ),
            }
        )
    if len(level) == 1:
        return counts | {
            "estimate": float("nan"),
            "reason": "no baseline was measured on these items",
        }, level
    best = max(level[1:], key=lambda row: float(row["estimate"]))
    chosen = (
        shortcuts[shortcuts["architecture"] == best["who"]]
        .groupby("item")["value"]
        .mean()
        .rename("baseline")
    )
    both = models.merge(chosen, on="item")
    known = crossed_mean(both.assign(value=both["baseline"]), unit, balance)["estimate"]
    row = crossed_mean(both.assign(value=both["value"] - both["baseline"]), unit, balance)
    row = cut(
        row, bounds[0] - known, bounds[1] - known
    )  # the baseline is known: what is left above it is what can be gained
    counts["n_items"] = row.pop("n_items")
    row.pop("n_units")
    units = f"{counts['n_configurations']} configurations ({counts['n_runs']} runs, {counts['n_items']} items)"
    reason = (
        "" if row["lower"] == row["lower"] else f"not identifiable: fewer than {MIN_UNITS} {unit}s"
    )
    named = {
        "baseline": best["who"],
        "model_mean": level[0]["estimate"],
        "baseline_mean": best["estimate"],
    }
    return row | named | counts | {"units": units, "reason": reason}, level
