"""What does an outcome depend on? Effects of design factors, tested against the configurations that differ in them.

Numbers per run (a head measure, a mean): value of a configuration = mean over its seeds; least squares on configurations,
with a variance that lets groups vary differently (hc2). Numbers per item (`items: true`):
    y ~ factors + (1 | item) + (1 | configuration) + (1 | run)      REML, Satterthwaite df
where df never exceed configurations - rank of the factors: neither seeds nor items are units of a design factor.
A factor that varies between items (item_*) gets a slope by run, since it is within a run that it varies.

Options: outcomes, a list of outcomes (src/transect/outcome.py), each with
    factors    columns and transforms, e.g. [architecture, log10(params_non_embedding), "corpus_variant:architecture"]
    items      true for the model over items (default false)
    slopes     factors whose effect may differ between items: adds (0 + factor | item) (default none)
    items_by   registry columns that make the same item id another item, e.g. [word_order, marking] (default none)
    variance   hc2 (default) or pooled
reference      {factor: level} that the other levels are compared with (default: the first in sorted order)

Tables: effects (differences, slopes, simple effects, interactions), means (marginal means), components (variances of the
item models), models (what was fitted on what). Effects that the sample cannot tell apart carry a reason and no interval.
"""

from typing import Any

import pandas as pd

from transect.errors import InputError, nearest
from transect.outcome import filled, read_options, read_outcome
from transect.stats.attribution import attribute

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "What does it depend on?"

OWN = {"factors": ..., "items": False, "slopes": [], "items_by": [], "variance": "hc2"}


def tables(measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any) -> dict[str, pd.DataFrame]:
    """The four tables of the head of this file."""
    chosen = read_options(options, {"outcomes": ..., "reference": {}}, "attribution")
    _check_reference(chosen["reference"], registry)
    found: dict[str, list[pd.DataFrame]] = {"effects": [], "means": [], "components": [], "models": []}
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"attribution, outcome {number}")
        pick = outcome.per_item if own["items"] else outcome.per_run
        parts = attribute(pick(measurements, registry), reference=chosen["reference"], **own)
        for name, part in parts.items():
            part.insert(0, "outcome", outcome.name)
            found[name].append(part)
    return {name: filled(parts, ["outcome"]) for name, parts in found.items()}


def _check_reference(reference: dict[str, Any], registry: pd.DataFrame) -> None:
    for factor, level in reference.items():
        known = sorted(map(str, registry[factor].dropna().unique())) if factor in registry else []
        if factor in registry and str(level) not in known:
            raise InputError(
                f"attribution: reference level '{level}' of {factor} does not occur; it has {', '.join(known)}.{nearest(level, known)}"
            )
