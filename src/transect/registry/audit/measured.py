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
    equal, off = [], []
    n_curves = []  # of each run
    known = values["value"].notna() & values["step"].notna()
    rows_of = dict(iter(values[known].groupby("run", sort=False)))
    for holding in holdings:
        rows = rows_of.get(holding.run.id)
        if rows is None:
            continue
        equal += _equal(holding, rows)
        of_model = rows["layer"].isna() & rows["head"].isna()
        outliers, n = _off(holding, rows[of_model])
        off += outliers
        n_curves.append(n)
    judged = sum(n > 0 for n in n_curves)
    short = len(n_curves) - judged
    return Judged([*equal, *off], sum(n_curves), judged, short)


def _equal(holding: Holding, rows: pd.DataFrame) -> list[Finding]:
    """Checkpoints whose values are all the same numbers."""
    findings = []
    for revisions in _with_equal_values(rows):
        reasons = {revision: holding.reason(revision) for revision in revisions}
        unexplained = [revision for revision in revisions if not reasons[revision]]
        findings.append(
            Finding(
                "equal values",
                (holding.run.id,),
                tuple(revisions),
                (),
                f"{len(revisions)} with equal values",
                "values of its own at each",
                len(unexplained) <= 1,
                "; ".join(dict.fromkeys(reason for reason in reasons.values() if reason)),
            )
        )
    return findings


def _with_equal_values(rows: pd.DataFrame) -> list[list[str]]:
    """Sets of two and more revisions with the same numbers, in every metric that is not a count."""
    values = rows.groupby(SERIES)["value"]
    fine = rows[values.transform(lambda v: (v % 1 != 0).any())]
    places = ("item", "region", "word", "position", "layer", "head")
    keys = [column for column in (*SERIES, *places) if column in fine]
    ordered = fine.sort_values(keys, kind="stable")
    groups: dict[bytes, list[str]] = {}
    for (_, revision), part in ordered.groupby(["step", "revision"]):
        if len(part) < ENOUGH:
            continue
        compared = part[[*keys, "value"]]
        hashes = pd.util.hash_pandas_object(compared, index=False)
        same = groups.setdefault(hashes.to_numpy().tobytes(), [])
        same.append(str(revision))
    return [revisions for revisions in groups.values() if len(revisions) > 1]


@dataclass(frozen=True)
class _Outlier:
    """A checkpoint off one curve: by how many times the noise, and in words."""

    z: float
    sentence: str


def _off(holding: Holding, rows: pd.DataFrame) -> tuple[list[Finding], int]:
    """Checkpoints off a curve, one finding for each, and the number of curves that were judged."""
    curves = [
        _outliers(str(metric), points)
        for (_, _, metric), part in rows.groupby(SERIES, sort=False)
        if _is_curve(points := _points(part))
    ]
    of_revision: dict[str, list[_Outlier]] = {}
    for of_curve in curves:
        for revision, outlier in of_curve.items():
            of_revision.setdefault(revision, []).append(outlier)
    findings = []
    expected = "on the curve of the other steps"
    for revision in sorted(of_revision, key=lambda r: holding.rule.get(r) or 0):
        outliers = of_revision[revision]
        worst = max(outliers, key=lambda outlier: abs(outlier.z))
        share = f" ({len(outliers)} of {len(curves)} curves)" if len(curves) > 1 else ""
        findings += holding.each("off the curve", [revision], (), worst.sentence + share, expected)
    return findings, len(curves)


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean over items at each step: columns step, revision, value."""
    means = rows.groupby(["step", "revision"])["value"].mean().reset_index()
    return means.drop_duplicates("step", ignore_index=True)


def _is_curve(points: pd.DataFrame) -> bool:
    return len(points) >= LEAST and points["value"].nunique() >= LEAST // 2


def _outliers(metric: str, points: pd.DataFrame) -> dict[str, _Outlier]:
    """Revision -> how far it lies off the curve of a metric, of those that do."""
    revisions = points["revision"]
    y = points["value"].to_numpy(float)
    x = np.log(points["step"].to_numpy(float) + 1)
    outliers = {}
    for i, z in off_curve(x, y).items():
        distances = np.abs(np.delete(y, [i]) - y[i])
        others = revisions.drop(i)
        nearest = others.iloc[int(np.argmin(distances))]
        side = "above" if z > 0 else "below"
        noise = f"{abs(z):.0f} times the noise {side} the curve"
        sentence = f"{metric} {y[i]:.4g}, {noise}; nearest to {nearest}"
        outliers[str(revisions[i])] = _Outlier(z, sentence)
    return outliers
