"""Which heads do it, and since when? The score of every head over training, in the run of each
group where it is clearest.

"Which heads" is many questions at once. Where the measure gives single sequences, the head's score
on a sequence minus the score without the function (`against`) and a margin is tested one-sided, by
flipping signs over the sequences (H0: symmetric about 0):
    p_map    max-T over all heads of the run's map: any false head in the map at most 5 %, whatever their dependence
    tree     runs > layers > heads, BH at 5 % from the top with Simes' p of the children (src/transect/stats/inference/multiplicity.py)
Both are about this run: that the head does more than `margin` on further sequences, not that other
runs have such a head.

Options: outcomes, a list of outcomes of a measure with heads (src/transect/study/outcome.py), each with
    by        registry columns: one run is shown per group (default none: one run)
    against   metric of the same measure that is the score of a head without the function, e.g. uniform_attention (default none)
    sequences metric of single sequences, item <item>#<number>, e.g. prefix_matching_by_sequence
    (default none: no tests)
    margin    by how much a head must exceed `against` to count, in units of the metric (default 0)

Tables: maps (outcome, group, run, tokens_seen, layer, head, value of the run shown), top (every
run: its best head at the checkpoint that `at` names, the next best, and the value without the
function), tests (every head of every run: excess over `against` and its p values, adjusted within
its map; `rule` says what carries which control).
"""

from dataclasses import replace
from typing import Any

import pandas as pd

from transect.stats.inference.multiplicity import nested_tree, tree_bh
from transect.stats.inference.permutation import sign_flips, unit_maps
from transect.study.outcome import (
    CHECKPOINT,
    Outcome,
    filled,
    group_labels,
    read_options,
    read_outcome,
)

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "Which heads do it, and since when?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "maps": {"value": "score of the head, mean over items [outcome]"},
    "top": {
        "value": "score of the run's best head [outcome]",
        "next_best": "score of its second best head [outcome]",
        "without_function": "score of a head without the function [outcome]",
    },
    "tests": {
        "excess": "score - score without the function - margin, mean over sequences [outcome]",
        "statistic": "t of the excess",
        "p_cell": "one-sided p of this head alone",
        "p_map": "p corrected over the heads of the run (max-T)",
        "family_wise": "whether p_map is below 0.05",
        "tree": "whether the head is found by the tree of runs, layers and heads (BH)",
        "n_sequences": "sequences behind the test [sequences]",
        "rule": "which test carries which control",
        "against": "metric that is the score without the function",
        "margin": "by how much a head must exceed it, as the study gives it [outcome]",
    },
}

OPTIONS = {"outcomes": ...}
OWN: dict[str, Any] = {"by": [], "against": None, "sequences": None, "margin": 0.0}
LEVEL = 0.05
TESTED = [
    "run",
    "layer",
    "head",
    "excess",
    "statistic",
    "p_cell",
    "p_map",
    "family_wise",
    "tree",
    "n_sequences",
    "rule",
]


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The three tables of the head of this file."""
    chosen = read_options(options, OPTIONS, "heads")
    maps, tops, tests = [], [], []
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"heads, outcome {number}")
        heads = _heads(outcome, measurements, registry)
        best = replace(outcome, reduce="max_head").per_run(measurements, registry)
        best["group"] = group_labels(best, own["by"])
        top = _top(
            heads.merge(best[["run", "revision", "group", "configuration"]], on=["run", "revision"])
        )
        if own["against"]:
            null = replace(outcome, metric=own["against"], reduce="mean").per_run(
                measurements, registry
            )
            top = top.merge(
                null[["run", "value"]].rename(columns={"value": "without_function"}),
                on="run",
                how="left",
            )
        if own["sequences"]:
            tested = _tests(outcome, own, measurements, registry).merge(
                top[["run", "group"]], on="run"
            )
            tests.append(
                tested.assign(outcome=outcome.name, against=own["against"], margin=own["margin"])
            )
        tops.append(top.assign(outcome=outcome.name))
        shown = (
            top.sort_values(["group", "value", "run"], ascending=[True, False, True])
            .groupby("group")
            .head(1)
        )
        maps.append(heads.merge(shown[["run", "group"]], on="run").assign(outcome=outcome.name))
    where = ["outcome", "group", "run", "tokens_seen", "layer", "head", "value"]
    return {
        "maps": filled(maps, where).sort_values(
            ["outcome", "group", "run", "tokens_seen"], kind="stable", ignore_index=True
        ),
        "top": filled(tops, [*where, "next_best"]),
        "tests": filled(tests, ["outcome", "group", *TESTED, "against", "margin"]),
    }


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


def _tests(
    outcome: Outcome, own: dict[str, Any], measurements: pd.DataFrame, registry: pd.DataFrame
) -> pd.DataFrame:
    """Every head of every run at the checkpoint that `at` names (`TESTED`), one row each; empty
    without single sequences.
    """
    alone = replace(outcome, metric=own["sequences"], item=(), reduce="mean")
    rows = alone.select(measurements, registry)
    if outcome.item:
        rows = rows[rows["item"].str.rsplit("#", n=1).str[0].isin(outcome.item)]
    chosen = replace(outcome, reduce="mean").per_run(measurements, registry)[["run", "revision"]]
    rows = rows.merge(chosen, on=["run", "revision"])
    null = pd.Series(0.0, index=rows["run"].unique())
    if own["against"]:
        against = replace(outcome, metric=own["against"], reduce="mean").per_run(
            measurements, registry
        )
        null = against.set_index("run")["value"]
    found = [
        _one_map(part, float(null[run]) + own["margin"]).assign(run=run)
        for run, part in rows.groupby("run")
    ]
    if not found:
        return pd.DataFrame(columns=TESTED)
    table = pd.concat(found, ignore_index=True)
    leaves = ["run", "layer", "head"]
    keys = list(table[leaves].itertuples(index=False, name=None))
    tree = tree_bh(nested_tree(table, leaves), dict(zip(keys, table["p_cell"], strict=True)), LEVEL)
    rejected = dict(zip(tree["node"], tree["rejected"], strict=True))
    return table.assign(tree=[rejected[key] for key in keys])


def _one_map(rows: pd.DataFrame, null: float) -> pd.DataFrame:
    maps, _, cells = unit_maps(
        rows.assign(value=rows["value"] - null), "value", "item", ["layer", "head"]
    )
    tested = sign_flips(maps, side="greater")
    rule = f"sign flips over {tested.sentence.replace('units', 'sequences')}; max-T in the map, tree BH over runs > layers > heads"
    return cells.assign(
        excess=maps.mean(0),
        statistic=tested.statistic,
        p_cell=tested.p_cell,
        p_map=tested.p_map,
        family_wise=tested.p_map < LEVEL,
        n_sequences=tested.n_units,
        rule=rule,
    )
