"""Does size still matter when models are related? The effect of size under independence and under
the registry's tree.

Configurations (means over their seeds) are the tips of the tree class > family > suite >
configuration; a configuration whose runs were trained from another one's stands below it.
Regression of the tips on log10(size) with Var = sigma^2 V(lambda), where V holds the branches that
two tips share (src/transect/stats/phylogeny/covariance.py), three times side by side:
    star       lambda 0: all configurations independent
    estimated  Pagel's lambda by REML
    tree       lambda 1: related exactly as the tree says (Brownian motion, every branch of length 1)
With fewer than 50 configurations lambda says nothing: read star and tree as two bounds.

Options: outcomes, a list of outcomes (src/transect/study/outcome.py), each with
    size    column of the size (default params_non_embedding)
    adjust  factors that shift the level (default none)

Tables: effects (one row per outcome and phylogeny: the slope per tenfold size), lambdas (per
outcome: lambda, its interval, what it is worth in words).
"""

from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.registry.kinship import LEVELS
from transect.stats.formula.notation import column_of
from transect.stats.inference.bounded import cut
from transect.stats.inference.intervals import COLUMNS, MIN_UNITS
from transect.stats.phylogeny.covariance import phylogenetic_regression, tree_covariance
from transect.study.outcome import filled, read_options, read_outcome, with_known

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "Does size still matter when models are related?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "effects": {
        "phylogeny": "star (unrelated), estimated (Pagel's lambda) or tree (as related as the registry's tree says)",
        "lambda": "Pagel's lambda of the fit",
        "estimate": "change per tenfold size [outcome per tenfold size]",
    },
    "lambdas": {
        "lambda": "Pagel's lambda by REML",
        "lower": "lower end of its 95 % interval",
        "upper": "upper end of its 95 % interval",
        "p_star": "p of the hypothesis that lambda is 0",
        "informative": "whether there are enough configurations to tell",
        "sentence": "what lambda is worth, in words",
    },
}

OPTIONS = {"outcomes": ...}
OWN = {"size": "params_non_embedding", "adjust": []}


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The two tables of the head of this file."""
    chosen = read_options(options, OPTIONS, "relatedness")
    effects, lambdas = [], []
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"relatedness, outcome {number}")
        runs = outcome.per_run(measurements, registry)
        found, summary = _one_outcome(runs, own["size"], own["adjust"])
        if found.get("lower", pd.Series(dtype=float)).notna().any():
            most = (outcome.bounds[1] - outcome.bounds[0]) / np.ptp(
                np.log10(runs[own["size"]].dropna().astype(float))
            )
            found = pd.DataFrame([cut(row, -most, most) for row in found.to_dict("records")])
        effects.append(found.assign(outcome=outcome.name))
        lambdas.append({"outcome": outcome.name} | summary)
    return {
        "effects": filled(
            effects, ["outcome", "phylogeny", "lambda", "term", *COLUMNS, "units", "reason"]
        ),
        "lambdas": filled(
            lambdas, ["outcome", "lambda", "lower", "upper", "p_star", "informative", "sentence"]
        ),
    }


def _one_outcome(
    runs: pd.DataFrame, size: str, adjust: list[str]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    if runs.empty:
        row = {"phylogeny": "star", "term": f"log10({size})", "reason": "no measurements"}
        return pd.DataFrame([row]), {"sentence": "no measurements", "informative": False}
    kept = [a for a in adjust if runs[column_of(a)].nunique() > 1]
    units = runs.groupby("configuration", as_index=False).first().drop(columns="value")
    units = units.merge(
        runs.groupby("configuration", as_index=False)["value"].mean(), on="configuration"
    )
    units, lost = with_known(units, [size, *kept])
    term = f"log10({size})"
    said = f"{len(units)} configurations ({runs['run'].nunique()} runs, {_kinds(units)}){lost}"
    try:
        if len(units) < MIN_UNITS:
            raise InputError(f"{len(units)} configurations, fewer than {MIN_UNITS}{lost}")
        covariance = tree_covariance(_parents(units, runs), list(units["configuration"]))
        related = covariance.to_numpy()[~np.eye(len(units), dtype=bool)]
        equal = len(related) > 0 and np.ptp(related) == 0
        # of configurations that are all equally related the slope is that of the star, at any
        # lambda
        formula = " + ".join([f"value ~ {term}", *kept])
        found, fitted = phylogenetic_regression(units, formula, "configuration", covariance + equal)
    except InputError as error:
        row = {
            "phylogeny": "star",
            "term": term,
            "units": said,
            "reason": f"not identifiable: {error}",
        }
        return pd.DataFrame([row]), {"sentence": row["reason"], "informative": False}
    if equal:
        found = found[(found["phylogeny"] == "star") & (found["term"] == term)].assign(
            units=said, reason=""
        )
        return found, {
            "sentence": "all configurations are equally related in the tree: the star is the tree",
            "informative": False,
        }
    summary: dict[str, Any] = {
        "lambda": fitted.estimate,
        "lower": fitted.lower,
        "upper": fitted.upper,
        "p_star": fitted.p_star,
    }
    summary |= {"informative": fitted.informative, "sentence": fitted.sentence}
    return found[found["term"] == term].assign(units=said, reason=""), summary


def _parents(units: pd.DataFrame, runs: pd.DataFrame) -> dict[str, str | None]:
    """Node -> the node above it. A level is named with those around it, as in the registry's tree
    (src/transect/registry/kinship.py).
    """
    configuration, tips = runs.set_index("run")["configuration"], set(units["configuration"])
    levels = [level for level in LEVELS if level in units and level not in ("configuration", "run")]
    found: dict[str, str | None] = {}
    for unit in units.to_dict("records"):
        above: str | None = None
        for depth in range(len(levels)):
            node = "/".join(str(unit[level]) for level in levels[: depth + 1])
            found.setdefault(node, above)
            above = node
        parent = unit.get("parent")
        if isinstance(parent, str):
            node = configuration.get(parent, "")
            if (
                node not in tips or node == unit["configuration"]
            ):  # the parent was not sampled: a node without a tip
                node = f"{above}/{parent}"
                found.setdefault(node, above)
            above = node
        found[unit["configuration"]] = above
    return found


def _kinds(units: pd.DataFrame) -> str:
    counted = [(level, units[level].nunique()) for level in LEVELS[:3] if level in units]
    plural = {
        "model_class": ("class", "classes"),
        "family": ("family", "families"),
        "suite": ("suite", "suites"),
    }
    return ", ".join(f"{n} {plural[level][n > 1]}" for level, n in counted)
