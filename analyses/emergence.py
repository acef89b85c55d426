"""When does it emerge? Curves over training, the onset of each run, and onsets pooled over runs and
compared.

Curve: per group of runs and checkpoint the mean over configurations (each the mean of its seeds)
with an interval over them that keeps the outcome's bounds (src/transect/stats/inference/bounded.py); a single
configuration is averaged over its seeds. Onset: the bracket of checkpoints in which a run crosses
the threshold for good (src/transect/stats/curves/onset.py), so "never within this training" and "before
the first checkpoint" are kept apart.

Options: outcomes, a list of outcomes (src/transect/study/outcome.py; `at` has no meaning here), each with
    threshold  the value that counts as emerged
    by         registry columns that split the runs into groups (default none: all runs are one group)
    chance     the value without the behaviour, drawn as a line (default none)
    hold       checkpoints in a row at or above the threshold (default 2)

Tables: curves (outcome, group, tokens_seen: mean and interval), runs (every run's curve), onsets
(one row per run), pooled (one row per outcome and group, in log10 tokens), order (which of two
outcomes comes first, by runs).
"""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from transect.stats.curves.onset import Onset, onset, pool
from transect.stats.inference.bounded import Bounds
from transect.stats.inference.intervals import COLUMNS, MIN_UNITS, mean_interval
from transect.study.outcome import filled, group_labels, read_options, read_outcome

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "When does it emerge in training?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "curves": {"estimate": "mean over configurations [outcome]"},
    "runs": {"value": "value of the run at this checkpoint [outcome]"},
    "onsets": {
        "status": "how the run reaches the threshold (src/transect/stats/curves/onset.py)",
        "estimate": "tokens at which it does so for good [tokens]",
        "last_tokens": "tokens at its last measured checkpoint [tokens]",
    },
    "pooled": {
        "estimate": "mean onset over configurations [log10 tokens]",
        "sd": "standard deviation of the onsets between units [log10 tokens]",
        "n_reached": "runs that reach the threshold [runs]",
    },
    "order": {
        "first": "name of an outcome",
        "second": "name of the outcome that it is compared with",
        "before": "configurations whose onset of `first` lies wholly before that of `second` [configurations]",
        "after": "configurations whose onset of `first` lies wholly after it [configurations]",
        "undecided": "configurations whose brackets overlap [configurations]",
        "p": "sign test over the decided configurations",
    },
}

LABELS = ["outcome", "group", "threshold", "chance"]
OPTIONS = {"outcomes": ...}
OWN = {"threshold": ..., "by": [], "chance": None, "hold": 2}


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The five tables of the head of this file."""
    chosen = read_options(options, OPTIONS, "emergence")
    runs, curves, onsets, pooled = [], [], [], []
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"emergence, outcome {number}")
        facts = registry[["run", "configuration", *own["by"]]]
        # a run whose tokens are unknown has no place on the axis
        every = outcome.per_checkpoint(measurements, registry)
        frame = every.dropna(subset=["tokens_seen"]).merge(facts, on="run")
        frame["group"] = group_labels(frame, own["by"])
        labels = {
            "outcome": outcome.name,
            "threshold": float(own["threshold"]),
            "chance": own["chance"],
        }
        runs.append(frame.assign(**labels))
        if frame.empty:
            reason = (
                "not identifiable: how many tokens were seen is known of no checkpoint"
                if len(every)
                else "no measurements"
            )
            pooled.append(labels | {"group": "all runs", "reason": reason})
        for group, part in frame.groupby("group", sort=True):
            curves += [labels | {"group": group} | row for row in _curve(part, outcome.bounds)]
            found = {
                run: onset(c["tokens_seen"], c["value"], own["threshold"], own["hold"])
                for run, c in part.groupby("run")
            }
            onsets += [labels | {"group": group} | row for row in _onsets(part, found)]
            pooled.append(labels | {"group": group} | _pooled(part, found))
    return {
        "curves": filled(curves, [*LABELS, "tokens_seen", *COLUMNS[:-1]]),
        "runs": filled(
            runs, [*LABELS, "configuration", "run", "step", "tokens_seen", "value"]
        ).drop(columns=["revision", "trials"], errors="ignore"),
        "onsets": filled(
            onsets, [*LABELS, "configuration", "run", "status", "estimate", "lower", "upper"]
        ),
        "pooled": filled(pooled, [*LABELS, "estimate", "sd", "df", "lower", "upper"]),
        "order": _order(pd.DataFrame(onsets)),
    }


def _curve(part: pd.DataFrame, bounds: Bounds) -> list[dict[str, Any]]:
    """Mean and interval at every number of tokens; the units are configurations, or the seeds of
    the only one.
    """
    unit = "configuration" if part["configuration"].nunique() > 1 else "run"
    rows = []
    for tokens, at in part.groupby("tokens_seen"):
        row = mean_interval(at.groupby(unit)["value"].mean(), bounds, at["trials"].sum())
        row.pop("p")
        counts = {
            "n_configurations": at["configuration"].nunique(),
            "n_runs": at["run"].nunique(),
            "n_items": int(at["n_items"].max()),
        }
        units = f"{counts['n_configurations']} configurations ({counts['n_runs']} runs)"
        few = (
            ""
            if np.isfinite(row["lower"])
            else f"not identifiable: {at[unit].nunique()} {unit}s, fewer than {MIN_UNITS}"
        )
        rows.append({"tokens_seen": int(tokens), "reason": few} | row | counts | {"units": units})
    return rows


def _onsets(part: pd.DataFrame, found: dict[str, Onset]) -> list[dict[str, Any]]:
    last = part.groupby("run")["tokens_seen"].max()
    configuration = part.groupby("run")["configuration"].first()
    return [
        {
            "run": run,
            "configuration": configuration[run],
            "status": o.status,
            "estimate": o.estimate,
        }
        | {"lower": o.lower, "upper": o.upper, "last_tokens": int(last[run])}
        for run, o in found.items()
    ]


def _pooled(part: pd.DataFrame, found: dict[str, Onset]) -> dict[str, Any]:
    """log10 tokens; configurations are the units, or the seeds of the only one."""
    n = part["configuration"].nunique()
    of = part.drop_duplicates("run").set_index("run")["configuration"]
    result = pool(list(found.values()), [of[run] for run in found] if n > 1 else None)
    reached = sum(o.status in ("interval", "left") for o in found.values())
    names = ["mu", "sd", "df", "lower", "upper", "lower90", "upper90"]
    row = {"estimate" if name == "mu" else name: getattr(result, name) for name in names}
    units = f"{n} configurations ({reached} of {len(found)} runs reach it)"
    return row | {
        "n_configurations": n,
        "n_runs": len(found),
        "n_reached": reached,
        "units": units,
        "reason": result.reason,
    }


def _order(onsets: pd.DataFrame) -> pd.DataFrame:
    """Of every two outcomes of the same runs: whose bracket lies wholly before the other's. Units
    are configurations.

    A configuration is decided where its runs that are decided agree; sign test over the decided
    ones.
    """
    rows = []
    for first, second in combinations(onsets["outcome"].unique() if len(onsets) else [], 2):
        a, b = (onsets[onsets["outcome"] == name].set_index("run") for name in (first, second))
        both = a.join(b.add_suffix("_b"), how="inner")
        if both.empty:
            continue
        sign = (both["upper"] <= both["lower_b"]).astype(int) - (
            both["upper_b"] <= both["lower"]
        ).astype(int)
        each = sign.groupby(both["configuration"]).agg(["min", "max"])
        before, after = (
            ((each["min"] >= 0) & (each["max"] > 0)).sum(),
            ((each["max"] <= 0) & (each["min"] < 0)).sum(),
        )
        p = (
            stats.binomtest(int(before), int(before + after)).pvalue
            if before + after >= MIN_UNITS
            else np.nan
        )
        counts = {
            "before": int(before),
            "after": int(after),
            "undecided": int(len(each) - before - after),
        }
        units = {
            "n_configurations": len(each),
            "n_runs": len(both),
            "units": f"{len(each)} configurations ({len(both)} runs)",
        }
        rows.append({"first": first, "second": second} | counts | {"p": p} | units)
    columns = [
        "first",
        "second",
        "before",
        "after",
        "undecided",
        "p",
        "n_configurations",
        "n_runs",
        "units",
    ]
    return pd.DataFrame(rows, columns=columns)
