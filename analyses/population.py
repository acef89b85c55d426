"""Which models does the study speak of? Every run with its size and training, and how many stand
behind each level.

Options: factors, the registry columns whose levels are counted (default architecture, objective,
language, corpus_variant).

Tables: runs (one row per run), levels (factor, level: runs and configurations in each role).
"""

from typing import Any

import pandas as pd

from transect.errors import InputError, nearest
from transect.registry.run import UNKNOWN
from transect.study.outcome import read_options

NEEDS: list[str] = []
QUESTION = "Which models does this study speak of?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "runs": {
        "tokens_measured": "training tokens at the last checkpoint that was measured [tokens]"
    },
    "levels": {"factor": "registry column", "level": "one of its values"},
}

OPTIONS = {"factors": ["architecture", "objective", "language", "corpus_variant"]}
SHOWN = [
    "run",
    "configuration",
    "role",
    "suite",
    "family",
    "architecture",
    "objective",
    "language",
    "corpus_variant",
]
NUMBERS = ["params_total", "params_non_embedding", "n_layers", "d_model", "train_tokens", "seed"]


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The two tables of the head of this file."""
    default = {"factors": [f for f in OPTIONS["factors"] if f in registry]}
    factors = read_options(options, default, "population")["factors"]
    for factor in factors:
        if factor not in registry:
            raise InputError(
                f"population: unknown factor '{factor}'.{nearest(factor, list(registry))}"
            )
    runs = registry if "role" in registry else registry.assign(role="population")
    runs = runs.reindex(columns=[*SHOWN, *NUMBERS])
    runs[SHOWN] = runs[SHOWN].where(runs[SHOWN].notna(), UNKNOWN)
    seen = measurements.groupby("run")["tokens_seen"].max().rename("tokens_measured")
    rows = []
    for factor in factors:
        levels = registry[factor].astype(str).where(registry[factor].notna(), UNKNOWN)
        for level, part in registry.groupby(levels):
            counts = {"n_runs": len(part), "n_configurations": part["configuration"].nunique()}
            rows.append({"factor": factor, "level": level} | counts)
    return {
        "runs": runs.merge(seen, on="run", how="left"),
        "levels": pd.DataFrame(rows, columns=["factor", "level", "n_runs", "n_configurations"]),
    }
