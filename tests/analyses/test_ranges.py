"""No interval of an analysis leaves what its outcome can be; the bounds come from the measure's
declaration.
"""

import numpy as np
import pandas as pd
import pytest

from transect.errors import InputError
from transect.store import units
from transect.store.project import SHIPPED, Project
from transect.study.analysis_options import with_bounds
from transect.study.outcome import read_outcome

ACCURACY = {
    "name": "accuracy",
    "measure": "minimal_pair",
    "metric": "correct",
    "where": {"n_layers": 2},
}
MASS = {
    "name": "mass",
    "measure": "induction",
    "metric": "prefix_matching",
    "reduce": "max_head",
    "where": {"n_layers": 2},
}
FACTORS = ["architecture", "corpus_variant", "architecture:corpus_variant", "log2(d_model)"]
STUDY = {
    "acquisition_order": {
        "outcomes": [ACCURACY | {"sets": "item_condition", "balance": "item_number"}]
    },
    "attribution": {
        "outcomes": [
            ACCURACY | {"factors": FACTORS, "influence": ["family", "language"]},
            MASS | {"factors": ["corpus_variant", "log2(d_model)"], "influence": ["language"]},
            ACCURACY
            | {
                "name": "by item",
                "factors": ["architecture", "item_condition"],
                "items": True,
                "influence": [],
            },
        ]
    },
    "baselines": {"outcomes": [ACCURACY | {"by": ["item_condition"]}]},
    "emergence": {
        "outcomes": [o | {"threshold": 0.75, "by": ["architecture"]} for o in (ACCURACY, MASS)]
    },
    "held_out_size": {"outcomes": [ACCURACY | {"adjust": ["architecture"]}]},
    "relatedness": {"outcomes": [ACCURACY]},
    "representativeness": {
        "population": {"svo case": 2, "svo none": 1, "sov case": 1, "sov none": 1},
        "outcomes": [ACCURACY, MASS],
    },
    "size_trend": {
        "outcomes": [ACCURACY | {"by": ["corpus_variant"], "adjust": ["architecture"]}, MASS]
    },
    "transfer": {
        "outcomes": [ACCURACY | {"factors": ["architecture"]}],
        "groups": {"language": "language"},
    },
    "variance_shares": {"outcomes": [ACCURACY | {"factors": ["architecture"]}]},
}
IN_UNIT = [
    "accuracy",
    "means",
    "curves",
    "lines",
    "predictions",
    "estimates",
    "shares",
]  # tables of values; others: contrasts
LIMITS = ["estimate", "predicted", "lower", "upper", "lower90", "upper90", "ols_lower", "ols_upper"]


@pytest.fixture(scope="module")
def tables(measured: pd.DataFrame, registry: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Every table of values or contrasts, analysis.table; the onsets are in tokens, an R2 has no
    lower bound.
    """
    project = Project(SHIPPED)
    measures = {
        name: units.find("measure", name, project) for name in ("minimal_pair", "induction")
    }
    found = {}
    for name, options in STUDY.items():
        made = (
            units.find("analysis", name, project)
            .load()
            .tables(measured, registry, **with_bounds(options, measures))
        )
        found |= {f"{name}.{table}": frame for table, frame in made.items()}
    left = (
        "emergence.onsets",
        "emergence.pooled",
        "acquisition_order.onsets",
        "transfer.delta",
        "relatedness.lambdas",
    )
    return {name: frame for name, frame in found.items() if "lower" in frame and name not in left}


def test_values_keep_the_bounds(tables: dict[str, pd.DataFrame]) -> None:
    """Means, cells, curves, bands, predictions and shares lie in [0, 1]; the sample is near 1, so
    Student's would not.
    """
    for name in (n for n in tables if n.split(".")[1] in IN_UNIT):
        for column in (c for c in LIMITS if c in tables[name]):
            values = tables[name][column].astype(float).dropna()
            assert values.between(0, 1).all(), (name, column)
    assert tables["emergence.curves"]["upper"].max() > 0.99


def test_contrasts_are_cut_at_what_is_possible(tables: dict[str, pd.DataFrame]) -> None:
    """A difference of shares lies in [-1, 1], a difference of differences in [-2, 2]; a cut limit
    is named.
    """
    names = [n for n in tables if n.split(".")[1] not in IN_UNIT]
    assert {
        "attribution.effects",
        "attribution.influence",
        "baselines.gains",
        "size_trend.slopes",
    } <= set(names)
    for name in names:
        most = np.where(
            tables[name].get("kind", pd.Series("", tables[name].index)) == "interaction", 2, 1
        )
        for column in (c for c in LIMITS if c in tables[name]):
            assert not (tables[name][column].astype(float).abs() > most).any(), (name, column)
    gains = tables["baselines.gains"]
    gains = gains[gains["cut"] == "upper"]
    assert len(gains)
    assert np.allclose(
        gains["upper"], 1 - gains["baseline_mean"]
    )  # the baseline is known: no more can be gained


def test_the_bounds_are_the_measures_unless_the_study_says_so(measured: pd.DataFrame) -> None:
    """BOUNDS of the measure by metric; an outcome's own bounds stay."""
    measures = {"minimal_pair": units.find("measure", "minimal_pair", Project(SHIPPED))}
    given = {
        "outcomes": [
            ACCURACY,
            ACCURACY | {"metric": "difference_nats"},
            ACCURACY | {"bounds": [0.5, 1]},
        ]
    }
    read = [read_outcome(o, {}, "here")[0].bounds for o in with_bounds(given, measures)["outcomes"]]
    assert read == [(0, 1), (-np.inf, np.inf), (0.5, 1)]
    others = {"outcomes": ["correct", {"measure": "unknown"}], "level": 2}
    assert with_bounds(others, measures) == others


@pytest.mark.parametrize("bounds", [[1, 0], [0], 1, ["a", 1], [None, "b"]])
def test_wrong_bounds_are_explained(bounds: object) -> None:
    """Two numbers or null, the first below the second."""
    with pytest.raises(InputError, match="'bounds' is \\[least, most\\]"):
        read_outcome(ACCURACY | {"bounds": bounds}, {}, "here")


def test_every_share_declares_its_bounds() -> None:
    """A metric whose unit is a proportion, a share or an attention mass lies in [0, 1]."""
    project = Project(SHIPPED)
    for name in units.available("measure", project):
        unit = units.find("measure", name, project)
        shares = [
            m
            for m, u in unit["UNIT"].items()
            if u in ("proportion", "share", "attention mass") and m != "recovery"
        ]
        assert all(unit.get("BOUNDS", {}).get(m) == [0, 1] for m in shares), name
