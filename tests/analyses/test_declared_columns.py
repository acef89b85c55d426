"""What the codebook says of result tables: every column of every shipped analysis has a meaning,
and no meaning is left over.
"""

import importlib
from typing import Any

import pandas as pd
import pytest

from tests.analyses import simulated
from transect.registry.factors import shared_fields
from transect.report.columns import SHARED, meaning_and_unit
from transect.store import units
from transect.store.project import SHIPPED, Project

PROJECT = Project(SHIPPED)
ACCURACY = {"measure": "minimal_pair", "metric": "correct", "bounds": [0, 1]}
NATS = {"measure": "minimal_pair", "metric": "difference_nats", "where": {"n_layers": 2}}
PREFIX = {
    "measure": "induction",
    "metric": "prefix_matching",
    "reduce": "max_head",
    "where": {"n_layers": 2},
}
SHARES = {"svo case": 2, "sov case": 3, "svo none": 1, "sov none": 2}
OPTIONS: dict[str, dict[str, Any]] = {
    "population": {},
    "emergence": {"outcomes": [ACCURACY | {"threshold": 0.9}, NATS | {"threshold": 2}]},
    "attribution": {
        "outcomes": [
            NATS | {"factors": ["architecture", "item_condition"], "items": True, "influence": []},
            ACCURACY
            | {"factors": ["architecture", "corpus_variant"], "influence": ["architecture"]},
        ]
    },
    "variance_shares": {"outcomes": [NATS | {"factors": ["architecture"], "items": True}]},
    "size_trend": {"outcomes": [ACCURACY | {"adjust": ["architecture"]}]},
    "held_out_size": {"outcomes": [ACCURACY]},
    "transfer": {"outcomes": [NATS | {"factors": ["architecture"]}]},
    "relatedness": {"outcomes": [NATS]},
    "baselines": {"outcomes": [ACCURACY]},
    "heads": {"outcomes": [PREFIX | {"by": ["architecture"], "against": "uniform_attention"}]},
    "representativeness": {"population": SHARES, "outcomes": [ACCURACY]},
    "acquisition_order": {"outcomes": [ACCURACY | {"sets": "item_condition"}]},
}


@pytest.fixture(scope="module")
def few(registry: pd.DataFrame) -> pd.DataFrame:
    return simulated.measurements(registry, n_items=4)


@pytest.mark.parametrize("name", sorted(units.available("analysis", PROJECT)))
def test_every_column_has_a_meaning(name: str, few: pd.DataFrame, registry: pd.DataFrame) -> None:
    """Declared by the analysis (TABLES), for all tables alike, or as a field of the registry; what
    TABLES declares is there.
    """
    made = importlib.import_module(f"analyses.{name}").tables(few, registry, **OPTIONS[name])
    declared = units.find("analysis", name, PROJECT)["TABLES"]
    assert set(declared) <= set(made)
    for table, frame in made.items():
        own = declared.get(table, {})
        assert [c for c in frame if c not in {*own, *SHARED, *shared_fields()}] == [], table
        assert [c for c in own if c not in frame] == [], table


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("size of the head [pixels]", ("size of the head", "pixels")),
        ("whether it is so", ("whether it is so", "")),
        ("fitted mean [outcome per tenfold size]", ("fitted mean", "outcome per tenfold size")),
    ],
)
def test_a_unit_ends_the_meaning(text: str, parts: tuple[str, str]) -> None:
    """In brackets; without them there is none."""
    assert meaning_and_unit(text) == parts
