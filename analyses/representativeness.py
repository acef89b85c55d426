"""Whom does the sample speak for? Its strata against a stated population, and each outcome weighted
to that population.

Options: population, {stratum: count or share}, what the study wants to speak of, e.g. {eng: 96000,
spa: 5000, hin: 2800}
         by, the registry column of the strata (default language)     source, where the population's counts were read
         outcomes (src/transect/study/outcome.py), one value per run, averaged within configurations

Tables: strata (units of the sample beside the population, weights), estimates (unweighted,
post-stratified, effective n, covered share). The unit is the configuration. What was not sampled is
not estimated; units of an unknown stratum are counted in a row of their own and stand for nobody.
"""

from typing import Any

import pandas as pd

from transect.errors import InputError, nearest
from transect.registry.run import UNKNOWN
from transect.stats.design.poststratification import coverage, post_stratify
from transect.study.outcome import Outcome, filled, read_options, read_outcome

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "Whom does the sample speak for?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "strata": {
        "stratum": "level of the registry column `by`",
        "n": "configurations of the sample in it [configurations]",
        "sample_share": "its share of the sample [share]",
        "population_share": "its share of the stated population [share]",
        "ratio": "sample_share / population_share",
        "weight": "weight of one configuration",
        "by": "registry column of the strata",
        "source": "where the population's counts were read",
    },
    "estimates": {
        "estimate": "mean weighted to the population, of the strata that were sampled [outcome]",
        "unweighted": "mean over configurations [outcome]",
        "effective_n": "configurations of equal weight that would tell as much [configurations]",
        "covered": "the population's share of the sampled strata [share]",
    },
}

OPTIONS: dict[str, Any] = {"population": ..., "by": "language", "source": "", "outcomes": []}
OWN: dict[str, Any] = {}


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The two tables of the head of this file."""
    chosen = read_options(options, OPTIONS, "representativeness")
    by = chosen["by"]
    if by not in registry:
        raise InputError(f"representativeness: unknown factor '{by}'.{nearest(by, list(registry))}")
    population = {str(k): float(v) for k, v in chosen["population"].items()}
    sampled = registry[registry["role"] == "population"] if "role" in registry else registry
    units = sampled.drop_duplicates("configuration")
    known = units[_known(units[by])]
    strata = coverage(known[by].astype(str).tolist(), population).assign(
        by=by, source=chosen["source"]
    )
    if lost := len(units) - len(known):
        row = {"stratum": UNKNOWN, "n": lost, "by": by, "source": chosen["source"]}
        strata = pd.concat([strata, pd.DataFrame([row])], ignore_index=True)
    rows = []
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, _ = read_outcome(given, OWN, f"representativeness, outcome {number}")
        runs = outcome.per_run(measurements, registry).dropna(subset=["value"])
        runs = runs[_known(runs[by])]
        means = runs.groupby(["configuration", by], as_index=False)["value"].mean()
        rows.append(_estimate(outcome, means, by, population))
    return {"strata": strata, "estimates": filled(rows, ["outcome"])}


def _known(levels: pd.Series) -> pd.Series:
    return levels.notna() & (levels.astype(str) != UNKNOWN)


def _estimate(
    outcome: Outcome, means: pd.DataFrame, by: str, population: dict[str, float]
) -> pd.DataFrame:
    """One row; where the variation within strata cannot be told, the reason instead of an interval."""
    n = {"outcome": outcome.name, "n_configurations": len(means)}
    try:
        found = post_stratify(
            means["value"].tolist(), means[by].astype(str).tolist(), population, outcome.bounds
        )
    except InputError as error:
        return pd.DataFrame([n | {"reason": str(error)}])
    row = {name: value for name, value in found.row.items() if name != "p"}
    said = {
        "unweighted": found.unweighted,
        "effective_n": found.effective_n,
        "covered": found.covered,
    }
    return pd.DataFrame([n | {"reason": ""} | row | said])
