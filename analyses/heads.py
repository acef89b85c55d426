"""Which heads do it, and since when? The score of every head over training, in the run of each group where it is clearest.

Options: outcomes, a list of outcomes of a measure with heads (src/transect/outcome.py), each with
    by      registry columns: one run is shown per group (default none: one run)
    against metric of the same measure that is the score of a head without the function, e.g. uniform_attention (default none)

Tables: maps (outcome, group, run, tokens_seen, layer, head, value of the run shown), top (every run: its best head at the
checkpoint that `at` names, the next best, and the value without the function).
"""

from dataclasses import replace
from typing import Any

import pandas as pd

from transect.outcome import CHECKPOINT, Outcome, filled, group_labels, read_options, read_outcome

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "Which heads do it, and since when?"

OWN: dict[str, Any] = {"by": [], "against": None}


def tables(measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any) -> dict[str, pd.DataFrame]:
    """The two tables of the head of this file."""
    chosen = read_options(options, {"outcomes": ...}, "heads")
    maps, tops = [], []
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"heads, outcome {number}")
        heads = _heads(outcome, measurements, registry)
        best = replace(outcome, reduce="max_head").per_run(measurements, registry)
        best["group"] = group_labels(best, own["by"])
        top = _top(heads.merge(best[["run", "revision", "group", "configuration"]], on=["run", "revision"]))
        if own["against"]:
            null = replace(outcome, metric=own["against"], reduce="mean").per_run(measurements, registry)
            top = top.merge(null[["run", "value"]].rename(columns={"value": "without_function"}), on="run", how="left")
        tops.append(top.assign(outcome=outcome.name))
        shown = top.sort_values(["group", "value", "run"], ascending=[True, False, True]).groupby("group").head(1)
        maps.append(heads.merge(shown[["run", "group"]], on="run").assign(outcome=outcome.name))
    where = ["outcome", "group", "run", "tokens_seen", "layer", "head", "value"]
    return {"maps": filled(maps, where), "top": filled(tops, [*where, "next_best"])}


def _heads(outcome: Outcome, measurements: pd.DataFrame, registry: pd.DataFrame) -> pd.DataFrame:
    """Mean over items of every head at every checkpoint."""
    rows = outcome.select(measurements, registry)
    return rows.groupby([*CHECKPOINT, "layer", "head"], dropna=False)["value"].mean().reset_index()


def _top(heads: pd.DataFrame) -> pd.DataFrame:
    ranked = heads.sort_values(["run", "value"], ascending=[True, False])
    first = ranked.groupby("run").head(1)
    second = ranked.groupby("run").nth(1)[["run", "value"]].rename(columns={"value": "next_best"})
    columns = ["group", "configuration", "run", "tokens_seen", "layer", "head", "value"]
    return first[columns].merge(second, on="run", how="left")
