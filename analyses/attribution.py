"""What does an outcome depend on? Effects of design factors, tested against the configurations that
differ in them.

Numbers per run (a head measure, a mean): value of a configuration = mean over its seeds; least
squares on configurations, with a variance that lets groups vary differently (hc2). Numbers per item
(`items: true`):
    y ~ factors + (1 | item) + (1 | configuration) + (1 | run)      REML, Satterthwaite df
where df never exceed configurations - rank of the factors: neither seeds nor items are units of a
design factor. A factor that varies between items (item_*) gets a slope by run, since it is within a
run that it varies.

Beside each effect stand the same contrast by OLS on unit means (statsmodels), and what happens to
it when any single run, configuration, family or suite is left out: an effect whose sign or verdict
depends on one of them is fragile. An effect of architecture is refused where the compared models
also differ, without overlap, in a field of another design factor that is not in the model
(objective, corpus, tokenizer ...): the row says which.

Options: outcomes, a list of outcomes (src/transect/study/outcome.py), each with
    factors    columns and transforms, e.g. [architecture, log10(params_non_embedding), "corpus_variant:architecture"]
    items      true for the model over items (default false)
    slopes     factors whose effect may differ between items: adds (0 + factor | item) (default none)
    items_by   registry columns that make the same item id another item, e.g. [word_order, marking] (default none)
    variance   hc2 (default) or pooled
    influence  columns of which each level is left out in turn; [] for none (default run, configuration, family, suite; over
               items those of the last three with at most 40 levels, since each refit is a mixed
               model)
reference      {factor: level} that the other levels are compared with (default: the first in sorted order)

Tables: effects (differences, slopes, simple effects, interactions; ols_*: the cross-check; lowest,
highest, fragile, flips: influence), means (marginal means), components (variances of the item
models), models (what was fitted on what), influence (each effect without each level). Effects that
the sample cannot tell apart carry a reason and no interval.
"""

from typing import Any

import pandas as pd

from transect.errors import InputError, nearest
from transect.registry import factors
from transect.stats.effects.attribution import attribute
from transect.stats.effects.attribution_influence import COLUMNS
from transect.stats.formula.notation import column_of, parse
from transect.study.outcome import filled, read_options, read_outcome, with_known

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "What does it depend on?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "effects": {
        "kind": "difference, slope, simple effect, interaction, or why there is none",
        "estimate": "difference between levels; slope per unit of the predictor (log10: per tenfold, log2: per doubling) [outcome]",
        "ols_estimate": "the same by least squares on the means of units [outcome]",
        "ols_lower": "lower end of its 95 % interval [outcome]",
        "ols_upper": "upper end of its 95 % interval [outcome]",
        "ols_p": "its two-sided p",
        "lowest": "lowest estimate when one unit, family or suite is left out [outcome]",
        "highest": "highest such estimate [outcome]",
        "fragile": "whether leaving one of them out changes sign or verdict",
        "flips": "which one does so",
        "variance": "how the variance was estimated",
    },
    "means": {
        "kind": "mean",
        "estimate": "marginal mean, other factors at their mean [outcome]",
        "variance": "how the variance was estimated",
    },
    "components": {
        "group": "what the random effect varies over",
        "effect": "(Intercept), or the predictor whose slope varies",
        "variance": "its variance; none where the group has one level, or a level per row [outcome squared]",
        "sd": "its standard deviation [outcome]",
        "n_levels": "levels of the group [levels]",
    },
    "models": {
        "model": "what was fitted",
        "df": "configurations beyond the rank of the factors",
        "n_rows": "rows of the fitted table [rows]",
    },
    "influence": {
        "group": "column of which a level is left out",
        "left_out": "the level",
        "estimate": "the effect without it [outcome]",
        "sign_flips": "whether its sign is another",
        "verdict_changes": "whether its 95 % interval excludes 0 where it did not, or the other way round",
    },
}

OPTIONS: dict[str, Any] = {"outcomes": ..., "reference": {}}
OWN = {
    "factors": ...,
    "items": False,
    "slopes": [],
    "items_by": [],
    "variance": "hc2",
    "influence": None,
}
INFLUENCE, MOST = (
    ["run", "configuration", "family", "suite"],
    40,
)  # levels of a column that is left out over items
NOTHING = dict.fromkeys(("estimate", "lower", "upper"), float("nan")) | {"units": ""}
APART = ("identity", "seed", "release")  # groups of fields that say nothing of what a model is


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The five tables of the head of this file."""
    chosen = read_options(options, OPTIONS, "attribution")
    _check_reference(chosen["reference"], registry)
    found: dict[str, list[pd.DataFrame]] = {
        n: [] for n in ("effects", "means", "components", "models", "influence")
    }
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"attribution, outcome {number}")
        rows = (outcome.per_item if own["items"] else outcome.per_run)(measurements, registry)
        if len(rows) and (rows := with_known(rows, own["factors"])[0]).empty:
            reason = "not identifiable: the factors that are numbers are unknown of every run"
            found["effects"].append(
                pd.DataFrame(
                    [
                        {"outcome": outcome.name, "term": "all", "kind": "refused"}
                        | NOTHING
                        | {"reason": reason}
                    ]
                )
            )
            continue
        if own["influence"] is None:
            own["influence"] = (
                [c for c in INFLUENCE[1:] if rows[c].nunique() <= MOST]
                if own["items"]
                else INFLUENCE
            )
        separate = _separate(own["factors"], rows)
        needed = {
            "run",
            "configuration",
            "item",
            "value",
            "trials",
            *own["items_by"],
            *own["influence"],
            *sum(separate.values(), []),
        }
        needed |= {
            column_of(v)
            for term in parse("value ~ " + " + ".join(own["factors"] or ["1"])).fixed
            for v in term
        }
        parts = attribute(
            rows[[c for c in rows if c in needed]],
            reference=chosen["reference"],
            separate=separate,
            bounds=outcome.bounds,
            **own,
        )
        for name, part in parts.items():
            part.insert(0, "outcome", outcome.name)
            found[name].append(part)
    columns = {"influence": ["outcome", *COLUMNS]}
    return {name: filled(parts, columns.get(name, ["outcome"])) for name, parts in found.items()}


def _separate(terms: list[str], rows: pd.DataFrame) -> dict[str, list[str]]:
    """architecture -> the fields that its levels must not differ together with: those of design
    factors not in the model.
    """
    known = factors.shared_fields()
    modelled = {
        column_of(v) for term in parse("value ~ " + " + ".join(terms or ["1"])).fixed for v in term
    }
    named = {known[c].factor for c in modelled if c in known} | {"architecture", None}
    others = [
        f.name
        for f in known.values()
        if f.factor not in named and f.group not in APART and f.name in rows
    ]
    return {"architecture": others} if "architecture" in modelled else {}


def _check_reference(reference: dict[str, Any], registry: pd.DataFrame) -> None:
    for factor, level in reference.items():
        known = sorted(map(str, registry[factor].dropna().unique())) if factor in registry else []
        if factor in registry and str(level) not in known:
            raise InputError(
                f"attribution: reference level '{level}' of {factor} does not occur; it has {', '.join(known)}.{nearest(level, known)}"
            )
