"""Does it change with size? The slope per tenfold increase, by configurations.

Value of a configuration = mean over its seeds at one checkpoint; value = a + b log10(size) +
adjusting factors + e, least squares with configurations - rank degrees of freedom, so that more
seeds or items never narrow the interval by themselves.

Options: outcomes, a list of outcomes (src/transect/study/outcome.py), each with
    size    column of the size (default params_non_embedding)
    by      registry columns: one slope in each of their groups, beside the one over all (default none)
    adjust  factors that shift the level within a group, e.g. [corpus_variant, word_order] (default none)

Tables: slopes (per outcome and group), lines (the fitted mean and its 95 % band, one line per
`level` of the `factor` among `adjust` whose levels lie furthest apart over all runs, over the sizes
that occur there; the other factors at the mix of the group's configurations), points
(configurations: value, and adjusted, the partial residual: its line at its size + what the fit
leaves of it, within the bounds).
"""

from typing import Any

import numpy as np
import pandas as pd

from transect.stats.effects.scaling import Trend, trend
from transect.stats.formula.notation import column_of
from transect.stats.inference.intervals import COLUMNS
from transect.study.outcome import filled, group_labels, read_options, read_outcome, with_known

NEEDS: list[str] = []  # the measures that its outcomes name
QUESTION = "Does it change with size?"
# table -> column -> meaning [unit]; what is told here in no other table (src/transect/report/columns.py)
TABLES = {
    "slopes": {"estimate": "change per tenfold size [outcome per tenfold size]"},
    "points": {
        "x": "size of the configuration [column size]",
        "value": "mean over its runs [outcome]",
        "adjusted": "its line at its size + what the fit leaves of it [outcome]",
        "factor": "factor that the lines are drawn by",
        "level": "its level in this configuration",
    },
    "lines": {
        "x": "size [column size]",
        "estimate": "fitted mean [outcome]",
        "factor": "factor that the lines are drawn by",
        "level": "the level that this line is of",
    },
}

OPTIONS = {"outcomes": ...}
OWN = {"size": "params_non_embedding", "by": [], "adjust": []}


def tables(
    measurements: pd.DataFrame, registry: pd.DataFrame, **options: Any
) -> dict[str, pd.DataFrame]:
    """The three tables of the head of this file."""
    chosen = read_options(options, OPTIONS, "size_trend")
    slopes, points, lines = [], [], []
    for number, given in enumerate(chosen["outcomes"], start=1):
        outcome, own = read_outcome(given, OWN, f"size_trend, outcome {number}")
        runs = outcome.per_run(measurements, registry)
        shown: str | None = None
        for group, part, adjust in _groups(runs, own["by"], own["adjust"]):
            names = {"outcome": outcome.name, "group": group, "size": own["size"]}
            found, lost = with_known(
                configurations(part, own["size"], adjust), [own["size"], *adjust]
            )
            found = found.reset_index(drop=True)
            fitted = trend(found, f"log10({own['size']})", tuple(adjust), outcome.bounds)
            slopes.append(
                names
                | fitted.slope()
                | _units(found, own["size"], lost)
                | {"reason": fitted.refused}
            )
            if group == "all" and not fitted.refused:
                shown = fitted.widest(found, own["adjust"])
            line, point = _drawn(fitted, found, own["size"], shown)
            points.append(point.assign(**names))
            lines.append(line.assign(**names))
    labels = ["outcome", "group", "size"]
    return {
        "slopes": filled(slopes, [*labels, *COLUMNS, "units", "reason"]),
        "points": filled(
            points, [*labels, "factor", "level", "x", "value", "adjusted", "configuration"]
        ),
        "lines": filled(lines, [*labels, "factor", "level", "x", "estimate", "lower", "upper"]),
    }


def configurations(runs: pd.DataFrame, size: str, adjust: list[str]) -> pd.DataFrame:
    """One row per configuration: value (mean over runs), n_runs, the size and the adjusting
    factors.
    """
    grouped = runs.groupby("configuration", as_index=False)
    facts = grouped[list(dict.fromkeys([size, *map(column_of, adjust)]))].first()
    return facts.merge(
        grouped.agg(value=("value", "mean"), n_runs=("run", "nunique")), on="configuration"
    )


def _groups(runs: pd.DataFrame, by: list[str], adjust: list[str]):
    """(label, runs, adjusting factors) of all runs, adjusted for `by` too, and of each group."""
    if runs.empty:
        return
    yield "all", runs, [*by, *(a for a in adjust if a not in by)]
    if by:
        for group, part in runs.groupby(group_labels(runs, by)):
            yield group, part, [a for a in adjust if a not in by]


def _units(found: pd.DataFrame, size: str, lost: str) -> dict[str, Any]:
    counts = {
        "n_configurations": len(found),
        "n_runs": int(found["n_runs"].sum()),
        "n_sizes": found[size].nunique(),
    }
    return counts | {
        "units": f"{counts['n_configurations']} configurations at {counts['n_sizes']} sizes ({counts['n_runs']} runs){lost}"
    }


def _drawn(
    fitted: Trend, found: pd.DataFrame, size: str, factor: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lines (none where the slope is refused) and points of a group, by level of `factor`."""
    factor = fitted.widest(found, [factor]) if factor and not fitted.refused else None
    column = column_of(factor) if factor else None
    levels = found[column].astype(str) if column else pd.Series("", index=found.index)
    points = found.assign(x=found[size], factor=factor or "", level=levels, adjusted=found["value"])
    if fitted.refused:
        return pd.DataFrame(), points
    lines = []
    for level, part in points.groupby("level"):
        mix = found.assign(**{column: part[column].iloc[0]}) if column else found
        for x in (
            np.geomspace(part["x"].min(), part["x"].max(), 25)
            if part["x"].nunique() > 1
            else part["x"].iloc[:1]
        ):
            lines.append(
                {"factor": factor or "", "level": level, "x": x}
                | fitted.mean_at(mix.assign(**{size: x}))
            )
        on_line = [fitted.mean_at(mix.assign(**{size: x}))["estimate"] for x in part["x"]]
        residuals = fitted.residuals()[found.index.get_indexer(part.index)]
        points.loc[part.index, "adjusted"] = np.clip(on_line + residuals, *fitted.bounds)
    return pd.DataFrame(lines), points
