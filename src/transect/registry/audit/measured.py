"""Do the measured values betray a checkpoint that holds the weights of another step?

Two ways, for each run and over the steps that were measured:
    equal values    all values of two checkpoints, of every item and every metric that is not a count, are the same numbers
    off the curve   a metric's mean over items does not lie on the smooth curve through the others, in log(step + 1) (stats/curves/off_curve.py)
The first is certain, where there are several such values; the second is a hint: 1 in 100 of clean
simulated curves has one. Values of layers and heads make no curves here. Fewer than LEAST
checkpoints are not judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transect.registry.audit.finding import Finding, Holding
from transect.stats.curves.off_curve import LEAST, off_curve

SERIES = ["measure", "stimuli", "metric"]
ENOUGH = 2  # values that two checkpoints must share: one may be equal by chance


@dataclass(frozen=True)
class Judged:
    """The findings, and how many curves of how many runs they rest on; `short`: runs with too few
    checkpoints for a curve.
    """

    findings: list[Finding]
    curves: int
    runs: int
    short: int


def judge(holdings: Sequence[Holding], values: pd.DataFrame) -> Judged:
    """Findings over measured values: columns run, revision, step, measure, stimuli, metric, item,
    value, layer, head, and others.
    """
    found, curves, judged, short = [], 0, 0, 0
    rows = values[values["value"].notna() & values["step"].notna()]
    of_run = dict(iter(rows.groupby("run", sort=False)))
    for holding in holdings:
        mine = of_run.get(holding.run.id)
        if mine is None:
            continue
        found += _equal(holding, mine)
        odd, n = _off(holding, mine[mine["layer"].isna() & mine["head"].isna()])
        found += odd
        curves, judged, short = curves + n, judged + (n > 0), short + (n == 0)
    order = ["equal values", "off the curve"]
    return Judged(sorted(found, key=lambda f: order.index(f.kind)), curves, judged, short)


def _equal(holding: Holding, rows: pd.DataFrame) -> list[Finding]:
    """Checkpoints whose values are all the same numbers."""
    fine = rows[rows.groupby(SERIES)["value"].transform(lambda v: (v % 1 != 0).any())]
    keys = [
        c for c in (*SERIES, "item", "region", "word", "position", "layer", "head") if c in fine
    ]
    ordered = fine.sort_values(keys, kind="stable")
    groups: dict[bytes, list[tuple[int, str]]] = {}
    for (step, revision), part in ordered.groupby(["step", "revision"]):
        if len(part) >= ENOUGH:
            groups.setdefault(
                pd.util.hash_pandas_object(part[[*keys, "value"]], index=False)
                .to_numpy()
                .tobytes(),
                [],
            ).append((int(step), str(revision)))
    found = []
    for group in groups.values():
        if len(group) > 1:
            left = [revision for _, revision in group if not holding.reason(revision)]
            reason = "; ".join(
                dict.fromkeys(r for _, revision in group if (r := holding.reason(revision)))
            )
            found.append(
                Finding(
                    "equal values",
                    (holding.run.id,),
                    tuple(revision for _, revision in group),
                    (),
                    f"{len(group)} with equal values",
                    "values of its own at each",
                    len(left) <= 1,
                    reason,
                )
            )
    return found


def _off(holding: Holding, rows: pd.DataFrame) -> tuple[list[Finding], int]:
    """Checkpoints off a curve, one finding for each, and the number of curves that were judged."""
    worst: dict[str, tuple[float, str]] = {}
    flagged: dict[str, int] = {}
    curves = 0
    for names, part in rows.groupby(SERIES, sort=False):
        points = (
            part.groupby(["step", "revision"])["value"].mean().reset_index().drop_duplicates("step")
        )
        if len(points) < LEAST or points["value"].nunique() < LEAST // 2:
            continue
        curves += 1
        y = points["value"].to_numpy(float)
        for i, z in off_curve(np.log(points["step"].to_numpy(float) + 1), y).items():
            revision = str(points["revision"][i])
            others = np.abs(np.delete(y, [i]) - y[i])
            like = str(points["revision"].drop(i).iloc[int(np.argmin(others))])
            told = f"{names[2]} {y[i]:.4g}, {abs(z):.0f} times the noise {'above' if z > 0 else 'below'} the curve; nearest to {like}"
            flagged[revision] = flagged.get(revision, 0) + 1
            if abs(z) > abs(worst.get(revision, (0.0, ""))[0]):
                worst[revision] = (z, told)
    found = []
    for revision, (_, told) in sorted(
        worst.items(), key=lambda item: holding.rule.get(item[0]) or 0
    ):
        share = f" ({flagged[revision]} of {curves} curves)" if curves > 1 else ""
        found += holding.each(
            "off the curve", [revision], (), told + share, "on the curve of the other steps"
        )
    return found, curves
