"""The sample against its population, in a study that never ran."""

import pytest

from analyses import representativeness
from tests.analyses import simulated
from transect.errors import InputError

OUTCOME = {"measure": "minimal_pair", "metric": "correct", "name": "agreement"}


def tables(**options):
    registry = simulated.registry()
    return representativeness.tables(
        simulated.measurements(registry, n_items=10), registry, **options
    )


def test_strata_and_estimate() -> None:
    """Levels of a factor weighted 9 : 1: the estimate lies by the common one's mean, and fewer
    units count in effect.
    """
    registry = simulated.registry()
    sampled = registry[(registry["role"] == "population") & (registry["objective"] == "causal")]
    levels = sorted(sampled["architecture"].unique())
    weights = {
        level: 9.0 if level == levels[0] else 1.0 for level in registry["architecture"].unique()
    }
    found = tables(population=weights, by="architecture", outcomes=[OUTCOME])
    estimate = found["estimates"].iloc[0]
    assert (
        estimate["effective_n"] < estimate["n_configurations"]
        and estimate["lower"] < estimate["estimate"] < estimate["upper"]
    )
    assert set(found["strata"]["stratum"]) == set(weights)


def test_an_unknown_factor() -> None:
    """Told with the nearest."""
    with pytest.raises(InputError, match="unknown factor 'languag'. Did you mean 'language'"):
        tables(population={"a": 1}, by="languag")
