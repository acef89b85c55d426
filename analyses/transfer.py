"""How far does it reach? Every family, size, language, suite and architecture predicted from the
others.

One row per configuration (mean over its seeds). Each level of a grouping is left out whole and
predicted by least squares on size and factors fitted to the other levels
(src/transect/stats/effects/transfer.py), against two rivals: the mean of the others, and size alone (log10
of the size, and of the tokens seen where they differ). R2 of 1: the others tell all; 0: no more
than their mean; below 0: worse than it. Coverage: share of the truths inside the 95 % prediction
interval. Never random rows. A grouping with fewer than three levels cannot be judged, and its row
says so.

Options: outcomes, a list of outcomes (src/transect/study/outcome.py), each with
    factors  terms beside size, e.g. [architecture, corpus_variant, "architecture:corpus_variant"]
    size     column of the size (default params_non_embedding)
groups   {name: registry column} of what is left out (default family, size, language, suite, architecture; size: the column
         of the size)

Tables: reach (per outcome and grouping: R2 against the mean and over size alone, intervals over
groups, coverage, log scores), delta (what each factor adds to size alone, in R2 out of the group),
predictions (every configuration when its group was left out).
"""

from typing import Any

import pandas as pd

from transect.errors import InputError, nearest
from transect.stats.effects.transfer import MEASURES, transfer
from transect.stats.formula.notation import column_of, parse
from transect.study.outcome import filled, read_options, read_outcome

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "How far does it reach?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "reach": {
        "left_out": "name of the grouping of which each level is left out",
        "r2": "share of the squared error of the others' mean that the model saves",
        "r2_scale_only": "the same by size alone",
        "r2_over_scale": "share of the squared error of size alone that the model saves",
        "r2_lower": "lower end of the 95 % interval of r2",
        "r2_upper": "upper end of the 95 % interval of r2",
        "r2_scale_only_lower": "lower end of the 95 % interval of r2_scale_only",
        "r2_scale_only_upper": "upper end of the 95 % interval of r2_scale_only",
        "r2_over_scale_lower": "lower end of the 95 % interval of r2_over_scale",
        "r2_over_scale_upper": "upper end of the 95 % interval of r2_over_scale",
        "coverage": "share of the truths inside the 95 % prediction interval [share]",
        "n_units": "configurations that were predicted [configurations]",
        "n_groups": "levels that were left out [levels]",
        "model": "formula of the model",
        "left_out_terms": "terms that the other groups do not determine",
        "log_score": "mean log density of the truths under the predictions [nats]",
        "log_score_mean": "the same under the others' mean [nats]",
        "log_score_scale": "the same by size alone [nats]",
    },
    "delta": {
        "left_out": "name of the grouping",
        "factor": "term that is added to size alone",
        "delta": "what it adds to R2 out of the group",
        "lower": "lower end of the 95 % interval",
        "upper": "upper end of the 95 % interval",
    },
    "predictions": {
        "left_out": "name of the grouping",
        "level": "the level that was left out",
        "observed": "measured value of the configuration [outcome]",
        "predicted": "prediction without the level [outcome]",
        "lower": "lower end of the 95 % prediction interval [outcome]",
        "upper": "upper end of the 95 % prediction interval [outcome]",
        "sd": "standard deviation of the prediction [outcome]",
    },
}

OPTIONS: dict[str, Any] = {
    "outcomes": ...,
    "groups": {
        "family": "family",
        "size": None,
        "language": "language",
        "suite": "suite",
        "architecture": "architecture",
    },
}
OWN = {"factors": [], "size": "params_non_embedding"}
SEEN = "log10(tokens_seen)"


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The three tables of the head of this file."""
    chosen = read_options(options, OPTIONS, "transfer")
    reach, deltas, predictions = [], [], []
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"transfer, outcome {number}")
        runs = outcome.per_run(measurements, registry)
        for name, column in chosen["groups"].items():
            column = column or own["size"]
            if column not in registry:
                raise InputError(
                    f"transfer: unknown column '{column}' of the grouping '{name}'.{nearest(column, registry)}"
                )
            units = _configurations(runs, [own["size"], column, *own["factors"]])
            row, added, each = transfer(
                units, column, _scale(units, own["size"]), own["factors"], outcome.bounds
            )
            labels = {"outcome": outcome.name, "left_out": name}
            reach.append(labels | row)
            deltas.append(added.assign(**labels))
            if len(each):
                levels = each.pop("left_out").astype(str)  # sizes are numbers, languages are not
                predictions.append(each.assign(**labels, level=levels))

    both = ["outcome", "left_out"]
    measures = [f"{m}{end}" for m in MEASURES for end in ("", "_lower", "_upper")]
    return {
        "reach": filled(reach, [*both, *measures, "coverage", "n_units", "n_groups", "reason"]),
        "delta": filled(deltas, [*both, "factor", "delta", "lower", "upper", "reason"]),
        "predictions": filled(
            predictions, [*both, "level", "observed", "predicted", "lower", "upper"]
        ),
    }


def _configurations(runs: pd.DataFrame, terms: list[str]) -> pd.DataFrame:
    """One row per configuration: value (mean over runs) and the columns of the terms; unknown ones
    are left out.
    """
    columns = {column_of(v) for term in parse("value ~ " + " + ".join(terms)).fixed for v in term}
    grouped = runs.groupby("configuration", as_index=False)
    facts = grouped[sorted({*columns, "tokens_seen"})].first()
    return facts.merge(grouped["value"].mean(), on="configuration").dropna(ignore_index=True)


def _scale(units: pd.DataFrame, size: str) -> list[str]:
    """The terms of size: log10 of the size, and of the tokens seen where they are known, above 0
    and differ.
    """
    terms = [f"log10({size})"] if len(units) else []
    seen = units["tokens_seen"]
    return [*terms, SEEN] if seen.nunique() > 1 and (seen > 0).all() else terms
