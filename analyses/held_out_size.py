"""Would the smaller models have told us? The largest size is left out, predicted from the others,
and compared.

value = a + b log10(size) + adjusting factors + e over the configurations of the other sizes (means
over seeds); 95 % prediction interval of a new configuration, Student's t. Held out: the runs whose
role in the study is held_out, else the largest size. `error_of_mean` is what the mean of the other
sizes would have missed: the prediction that knows no size.

Options: outcomes, a list of outcomes (src/transect/study/outcome.py), each with
    size    column of the size (default params_non_embedding)
    by      registry columns: a separate trend in each of their groups (default none)
    adjust  factors that shift the level (default none)

Tables: predictions (one row per held-out configuration), summary (per outcome and group: how many
intervals hold the truth), lines (trend and prediction band, at the group's mix of factors).
"""

from typing import Any

import numpy as np
import pandas as pd

from transect.stats.effects.scaling import trend
from transect.stats.formula.notation import column_of
from transect.stats.inference.bounded import Bounds
from transect.study.outcome import filled, group_labels, read_options, read_outcome, with_known

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "Would the smaller models have predicted the largest?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "predictions": {
        "x": "size of the configuration that was held out [column size]",
        "truth": "its measured value, mean over its runs [outcome]",
        "estimate": "prediction from the other sizes; the intervals are prediction intervals [outcome]",
        "inside": "whether the truth lies in the 95 % prediction interval",
        "error": "truth - prediction [outcome]",
        "error_of_mean": "truth - mean of the other sizes [outcome]",
    },
    "summary": {
        "n_held_out": "configurations held out [configurations]",
        "n_predicted": "of these with a prediction interval [configurations]",
        "n_inside": "of these inside it [configurations]",
        "mean_absolute_error": "mean of |truth - prediction| [outcome]",
        "mean_absolute_error_of_mean": "mean of |truth - mean of the other sizes| [outcome]",
    },
    "lines": {
        "kind": "trained on (a point) or prediction (the line)",
        "x": "size [column size]",
        "estimate": "value or prediction [outcome]",
    },
}

OPTIONS = {"outcomes": ...}
OWN = {"size": "params_non_embedding", "by": [], "adjust": []}


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The three tables of the head of this file."""
    chosen = read_options(options, OPTIONS, "held_out_size")
    predictions, lines = [], []
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"held_out_size, outcome {number}")
        runs = outcome.per_run(measurements, registry, roles=("population", "held_out"))
        runs["group"] = group_labels(runs, own["by"], "all")
        for group, part in runs.groupby("group"):
            found, lost = with_known(
                _configurations(part, own["size"], own["adjust"]), [own["size"], *own["adjust"]]
            )
            names = {"outcome": outcome.name, "group": group, "size": own["size"]}
            predicted, line = _predict(found, own["size"], own["adjust"], outcome.bounds)
            said = "units" if "units" in predicted else "reason"
            predicted[said] = predicted[said] + lost
            predictions.append(predicted.assign(**names))
            lines.append(line.assign(**names))
    labels = ["outcome", "group", "size"]
    table = filled(
        predictions,
        [
            *labels,
            "configuration",
            "x",
            "truth",
            "estimate",
            "lower",
            "upper",
            "inside",
            "error",
            "error_of_mean",
        ],
    )
    return {
        "predictions": table,
        "summary": _summary(table),
        "lines": filled(lines, [*labels, "kind", "x", "estimate", "lower", "upper"]),
    }


def _configurations(runs: pd.DataFrame, size: str, adjust: list[str]) -> pd.DataFrame:
    grouped = runs.groupby("configuration", as_index=False)
    facts = grouped[
        list(dict.fromkeys([size, *map(column_of, adjust), *(["role"] if "role" in runs else [])]))
    ].first()
    return facts.merge(
        grouped.agg(truth=("value", "mean"), n_runs=("run", "nunique")), on="configuration"
    )


def _predict(
    found: pd.DataFrame, size: str, adjust: list[str], bounds: Bounds
) -> tuple[pd.DataFrame, pd.DataFrame]:
    marked = (
        found["role"].eq("held_out") if "role" in found else pd.Series(False, index=found.index)
    )
    out = marked if marked.any() else found[size].eq(found[size].max())
    train, test = found[~out].assign(value=found["truth"]), found[out]
    sizes = train[size].nunique()
    if sizes < 2 or test.empty:
        reason = f"not identifiable: {sizes} sizes are left when the largest is held out"
        nothing = pd.DataFrame([{"n_runs": 0}]) if test.empty else test.assign(x=test[size])
        return nothing.assign(
            estimate=np.nan, lower=np.nan, upper=np.nan, reason=reason
        ), pd.DataFrame()
    fitted = trend(train, f"log10({size})", tuple(adjust), bounds)
    predicted = fitted.predict(test)
    units = f"{len(train)} configurations at {sizes} sizes ({int(train['n_runs'].sum())} runs)"
    rows = pd.concat(
        [test[["configuration", "truth", "n_runs"]].reset_index(drop=True), predicted], axis=1
    )
    rows["x"], rows["n_configurations"], rows["n_sizes"], rows["units"] = (
        test[size].to_numpy(),
        len(train),
        sizes,
        units,
    )
    rows["error"] = rows["truth"] - rows["estimate"]
    rows["error_of_mean"] = rows["truth"] - train["truth"].mean()
    inside = (rows["truth"] >= rows["lower"]) & (rows["truth"] <= rows["upper"])
    rows["inside"] = inside.astype("boolean").where(rows["lower"].notna())
    rows["reason"] = fitted.refused
    return rows, _line(fitted, train, test, size)


def _line(fitted: Any, train: pd.DataFrame, test: pd.DataFrame, size: str) -> pd.DataFrame:
    """Prediction band from the smallest to the largest size, averaged over the configurations that
    were held out.
    """
    rows = [
        {"kind": "trained on", "x": x, "estimate": y}
        for x, y in zip(train[size], train["truth"], strict=True)
    ]
    if not fitted.refused:
        for x in np.geomspace(train[size].min(), max(test[size].max(), train[size].max()), 25):
            band = fitted.predict(test.assign(**{size: x}))[["estimate", "lower", "upper"]].mean()
            rows.append({"kind": "prediction", "x": x} | band.to_dict())
    return pd.DataFrame(rows)


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    """Per outcome and group: held-out configurations, how many lie inside, mean absolute errors of
    trend and of the mean.
    """
    rows = []
    for (outcome, group), part in table.groupby(["outcome", "group"], sort=False):
        known = part[part["lower"].notna()]
        counts = {
            "n_held_out": len(part),
            "n_predicted": len(known),
            "n_inside": int(known["inside"].eq(True).sum()) if len(known) else 0,
        }
        errors = {
            f"mean_absolute_{c}": known[c].abs().mean()
            for c in ("error", "error_of_mean")
            if c in known
        }
        first = part.iloc[0]
        rows.append(
            {"outcome": outcome, "group": group}
            | counts
            | errors
            | {"units": first.get("units", ""), "reason": first["reason"]}
        )
    return filled(rows, ["outcome", "group"])
