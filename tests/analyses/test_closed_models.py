"""What nobody knows of a model breaks no analysis and no figure: closed models, tables of counts,
facts that some runs lack.
"""

import importlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analyses import acquisition_order, baselines, emergence
from tests.analyses import simulated
from tests.analyses.simulated import row_of
from tests.analyses.test_declared_columns import NATS, OPTIONS, PROJECT
from transect.store import units

SIZES = [
    "params_total",
    "params_non_embedding",
    "n_layers",
    "d_model",
    "n_heads",
    "train_tokens",
    "seed",
]
WORDS = ["language", "word_order", "marking", "corpus", "corpus_variant"]
FIGURES = {name: units.find("figure", name, PROJECT) for name in units.available("figure", PROJECT)}
Tables = tuple[pd.DataFrame, pd.DataFrame]


def untold(rows: pd.DataFrame) -> pd.DataFrame:
    """The last checkpoint of each run, of which nobody knows step and tokens."""
    last = rows[rows["tokens_seen"] == rows.groupby("run")["tokens_seen"].transform("max")]
    none = pd.array([pd.NA] * len(last), dtype="Int64")
    return last.assign(revision="main", step=none, tokens_seen=none)


@pytest.fixture(scope="module")
def few(registry: pd.DataFrame) -> pd.DataFrame:
    return simulated.measurements(registry, n_items=3)


def world(kind: str, measured: pd.DataFrame, registry: pd.DataFrame) -> Tables:
    """Runs and rows of one kind; fields that nobody knows are missing in every run, as the step
    that analyses gives them.
    """
    if kind == "some unknown":
        runs, odd = registry.copy(), registry.index % 2 == 0
        for name in SIZES:
            runs[name] = runs[name].astype("Float64").mask(odd)
        for name in ("language", "corpus_variant"):
            runs[name] = runs[name].astype(object).mask(registry.index % 3 == 0, None)
        return runs, measured.assign(
            tokens_seen=measured["tokens_seen"].mask(measured["run"].isin(runs["run"][odd]))
        )
    role = "baseline" if kind == "tables of counts" else "population"
    runs = registry[registry["role"] == role].drop_duplicates("configuration").head(8)
    runs = runs.assign(
        **dict.fromkeys(SIZES + WORDS, np.nan),
        role="population",
        last_revision="main",
        objective="causal",
    )
    if kind == "nothing measured":
        return runs, measured.iloc[:0]
    return runs.assign(architecture="unknown"), untold(measured[measured["run"].isin(runs["run"])])


@pytest.mark.parametrize("kind", ["closed models", "tables of counts", "nothing measured"])
def test_nothing_breaks(kind: str, few: pd.DataFrame, registry: pd.DataFrame) -> None:
    """Every analysis ends with its tables, every figure with a drawing and a caption."""
    runs, rows = world(kind, few, registry)
    made: dict[str, dict[str, pd.DataFrame]] = {}
    for name, options in OPTIONS.items():
        given: dict[str, Any] = dict(options)
        if "outcomes" in given:
            given["outcomes"] = [
                {k: v for k, v in o.items() if k != "where"} for o in given["outcomes"]
            ]
        made[name] = importlib.import_module(f"analyses.{name}").tables(rows, runs, **given)
    for name, unit in FIGURES.items():
        module, needed = unit.load(), {a: made[a] for a in unit["NEEDS"]}
        assert module.figure(needed).axes and module.caption(needed), name


def test_unknown_tokens_are_said(few: pd.DataFrame, registry: pd.DataFrame) -> None:
    """No onset without an axis, and the row says so; the accuracy itself is told, at no number of
    tokens.
    """
    runs, rows = world("closed models", few, registry)
    outcome = {"measure": "minimal_pair", "metric": "difference_nats"}
    pooled = emergence.tables(rows, runs, outcomes=[outcome | {"threshold": 1}])["pooled"]
    assert pooled["reason"].tolist() == [
        "not identifiable: how many tokens were seen is known of no checkpoint"
    ]
    accuracy = acquisition_order.tables(
        rows, runs, outcomes=[outcome | {"sets": "item_condition"}]
    )["accuracy"]
    assert (
        accuracy["tokens_seen"].isna().all()
        and accuracy["lower"].notna().all()
        and len(accuracy) == 2
    )


def test_an_unknown_language_has_no_known_baseline(
    few: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """A baseline of unknown language is not that of a model of unknown language; the others keep
    theirs.
    """
    runs, rows = world("some unknown", few, registry)
    gains = baselines.tables(rows, runs, outcomes=[NATS | {"where": {}}])["gains"]
    lost = row_of(gains, group="unknown")
    assert lost[
        "reason"
    ] == "the models' language is unknown, so no baseline is known to share it" and np.isnan(
        lost["estimate"]
    )
    assert gains.loc[gains["group"] != "unknown", "estimate"].notna().all()
