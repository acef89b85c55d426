"""Unknown is a level like any other: every analysis and its figures on studies of which facts are
missing, as `registry add` leaves them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.analyses import simulated
from transect.errors import InputError
from transect.jobs.gather import registry_table
from transect.registry import factors
from transect.store import units
from transect.store.project import SHIPPED, Project
from transect.study import study_file

PAIR = {"measure": "minimal_pair", "metric": "difference_nats", "name": "nats"}
HEADS = {"measure": "induction", "metric": "prefix_matching", "reduce": "max_head"}
FACTORS = ["architecture", "corpus_variant"]
OPTIONS: dict[str, dict[str, Any]] = {
    "population": {"factors": ["architecture", "language", "corpus_variant", "n_layers"]},
    "emergence": {"outcomes": [PAIR | {"threshold": 2.0, "by": ["language", "n_layers"]}]},
    "acquisition_order": {
        "outcomes": [
            PAIR | {"sets": "item_condition", "balance": "item_number", "by": ["language"]}
        ]
    },
    "attribution": {
        "outcomes": [
            PAIR | {"factors": [*FACTORS, "log10(params_total)"], "influence": ["family"]},
            PAIR
            | {
                "name": "items",
                "factors": FACTORS,
                "items": True,
                "items_by": ["language"],
                "influence": [],
            },
        ]
    },
    "variance_shares": {"outcomes": [PAIR | {"factors": [*FACTORS, "log10(params_total)"]}]},
    "size_trend": {"outcomes": [PAIR | {"by": ["language"], "adjust": ["corpus_variant"]}]},
    "held_out_size": {"outcomes": [PAIR | {"by": ["language"], "adjust": ["corpus_variant"]}]},
    "transfer": {"outcomes": [PAIR | {"factors": FACTORS}]},
    "relatedness": {"outcomes": [PAIR | {"adjust": ["corpus_variant"]}]},
    "baselines": {"outcomes": [PAIR | {"match": ["language"], "by": ["corpus_variant"]}]},
    "heads": {
        "outcomes": [HEADS | {"by": ["language", "n_layers"], "against": "uniform_attention"}]
    },
    "representativeness": {
        "population": {"svo case": 9, "sov case": 1, "svo none": 1, "sov none": 1},
        "outcomes": [PAIR],
    },
}
NAMES = ["language", "corpus_variant", "corpus", "word_order", "marking", "family"]
NUMBERS = [
    "params_total",
    "params_non_embedding",
    "n_layers",
    "d_model",
    "n_heads",
    "train_tokens",
    "seed",
]


def nothing_known(registry: pd.DataFrame) -> pd.DataFrame:
    """No name and no number of any run."""
    return registry.assign(
        **dict.fromkeys(NAMES, "unknown"),
        **{n: pd.Series(pd.NA, registry.index, "Int64") for n in NUMBERS},
    )


def half_known(registry: pd.DataFrame) -> pd.DataFrame:
    """Nothing of the runs of two architectures, all of the others'."""
    there = ~registry["architecture"].isin(["mamba2", "1gram"])
    lost = nothing_known(registry)
    return pd.DataFrame(
        {c: registry[c].astype(lost[c].dtype).where(there, lost[c]) for c in registry}
    )


def no_size(registry: pd.DataFrame) -> pd.DataFrame:
    """The columns of size are not there, as in a table that somebody else wrote."""
    return registry.drop(columns=["params_total", "n_layers", "d_model"]).assign(
        params_non_embedding=np.nan
    )


def few(registry: pd.DataFrame) -> pd.DataFrame:
    """Two runs of which nothing is known but their size, and their measurements alone: a first
    study of two real models.
    """
    known = nothing_known(registry).assign(
        params_total=registry["params_total"], params_non_embedding=registry["params_total"]
    )
    return (
        known[known["architecture"].isin(["gpt_neox parallel", "mamba2"])]
        .groupby("architecture")
        .head(1)
    )


WORLDS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "nothing": nothing_known,
    "half": half_known,
    "no size": no_size,
    "few": few,
}


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    return simulated.measurements(simulated.registry(), n_items=3)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", OPTIONS)
def test_no_analysis_and_no_figure_breaks(name: str, world: str, measured: pd.DataFrame) -> None:
    """Tables and figures with their captions; no table says nan or <NA> where it names a level."""
    registry = WORLDS[world](simulated.registry())
    rows = measured[measured["run"].isin(registry["run"])]
    project = Project(SHIPPED)
    options = OPTIONS[name]
    if world == "no size":  # a column that is not there is an error of whoever names it
        options = _without(options, "n_layers", "log10(params_total)")
    tables = units.find("analysis", name, project).load().tables(rows, registry, **options)
    for table in tables.values():
        names = table[[c for c in ("group", "level", "term", "factor", "component") if c in table]]
        assert not names.stack().astype(str).str.contains(r"\bnan\b|<NA>", regex=True).any()
    for figure in units.available("figure", project):
        unit = units.find("figure", figure, project)
        if unit["NEEDS"] == [name]:
            unit.load().figure({name: tables})
            assert "<NA>" not in unit.load().caption({name: tables})


def test_head_maps_are_drawn_where_training_tokens_are_unknown(measured: pd.DataFrame) -> None:
    """A map for each of two checkpoints, named, with a cell for every head; none is empty."""
    registry = few(simulated.registry())
    rows = measured[measured["run"].isin(registry["run"])]
    last = rows[rows["tokens_seen"] == rows["tokens_seen"].max()].assign(tokens_seen=np.nan)
    both = pd.concat(
        [last.assign(revision="a", step=np.nan), last.assign(revision="main", step=np.nan)]
    )
    project = Project(SHIPPED)
    tables = (
        units.find("analysis", "heads", project).load().tables(both, registry, **OPTIONS["heads"])
    )
    drawn = units.find("figure", "head_maps", project).load().figure({"heads": tables})
    maps = [ax for ax in drawn.axes if ax.images]
    assert [ax.texts[0].get_text() for ax in maps] == ["a", "main"]
    heads = last.loc[last["metric"] == "prefix_matching", ["layer", "head"]].drop_duplicates()
    assert all(np.isfinite(ax.images[0].get_array()).sum() == len(heads) for ax in maps)


def _without(value: Any, *names: str) -> Any:
    if isinstance(value, dict):
        return {k: _without(v, *names) for k, v in value.items()}
    return (
        [_without(v, *names) for v in value if v not in names] if isinstance(value, list) else value
    )


def test_every_analysis_is_here() -> None:
    """Those of the repository."""
    assert set(OPTIONS) == set(units.available("analysis", Project(SHIPPED)))


SUITE = """
suite: bare
title: Bare
description: Runs of which only what a suite file must say is known.
sources: {here: a test}
checkpoints: {last: {revision: main, steps: [null]}}
defaults: {model_type: gpt2, objective: causal, mixer: attention, architecture: gpt2, checkpoints: last}
runs:
- {id: bare-1, hub_id: org/one}
- {id: bare-2, hub_id: org/two}
- {id: bare-3, hub_id: org/three}
"""
STUDY = """
study: bare
title: Bare
question: Which runs?
seed: 1
population: {where: "suite == 'bare'"}
measures: [{measure: induction, options: {conditions: [{length: 8, gap: 0}]}}]
analyses: [{analysis: population, factors: [language, n_layers]}]
"""


def test_a_registry_that_states_the_least(tmp_path: Path) -> None:
    """From suite file to table and figure: every factor is unknown, which is a level and a missing
    number.
    """
    (tmp_path / "model_registry").mkdir()
    (tmp_path / "studies").mkdir()
    (tmp_path / "model_registry/bare.yaml").write_text(SUITE)
    (tmp_path / "studies/bare.yaml").write_text(STUDY)
    project = Project(tmp_path)
    registry = registry_table(study_file.load("bare", project))
    assert registry["params_total"].isna().all() and (registry["language"] == "unknown").all()
    rows = simulated.measurements(simulated.registry(), n_items=1).head(0)
    tables = (
        units.find("analysis", "population", project)
        .load()
        .tables(rows, registry, factors=factors.of_design())
    )
    figure = units.find("figure", "population", project).load()
    figure.figure({"population": tables})
    assert "<NA>" not in figure.caption({"population": tables})


def without(registry: pd.DataFrame, field: str) -> pd.DataFrame:
    """Nothing is known of one field, as the gathered table says it: a missing number, or the level
    `unknown`.
    """
    number = pd.api.types.is_numeric_dtype(registry[field]) and not pd.api.types.is_bool_dtype(
        registry[field]
    )
    nothing = pd.Series(pd.NA, registry.index, "Int64") if number else "unknown"
    return registry.assign(**{field: nothing})


SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("variance_shares", "size_trend", "held_out_size")
]


@pytest.mark.parametrize("name", ["population", "representativeness", "baselines", *SLOW])
def test_each_fact_in_turn_is_unknown(name: str, measured: pd.DataFrame) -> None:
    """One optional field of all runs after another: tables and figures, or a sentence that says
    what is lacking.
    """
    project, registry = Project(SHIPPED), simulated.registry()
    unit = units.find("analysis", name, project).load()
    rows = (
        measured[measured["stimuli"] == measured["stimuli"].iloc[0]]
        if name == "variance_shares"
        else measured
    )
    for field in sorted(
        set(factors.shared_fields())
        & set(registry) - {"architecture", "objective", "mixer", "family"}
    ):
        try:
            assert unit.tables(rows, without(registry, field), **OPTIONS[name])
        except InputError as error:
            assert field in str(error)
