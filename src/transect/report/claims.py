"""Claims as a reader meets them: verdict, effect with interval, and a line on which that meets the
claimed region.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from transect.report.tables import as_text, decimals_of_interval, number

UNJUDGED = "cannot be judged"  # an error of the study file or of an analysis, not a finding
# a colour is never alone
SYMBOLS = {
    "supported": "✓",
    "rejected": "✗",
    "unresolved": "?",
    "not identifiable": "⊘",
    UNJUDGED: "!",
}
COLUMNS = ["claim", "verdict", "estimate", "lower", "upper", "units", "reason"]


def claims_view(claims: pd.DataFrame) -> list[dict[str, Any]]:
    """One mapping per claim: symbol, formatted effect and interval, a sentence to paste, the mark
    that draws them.
    """
    missing = [c for c in COLUMNS if c not in claims]
    if missing:
        raise ValueError(
            f"The claims of a report need the column(s) {', '.join(missing)}; given: {', '.join(map(str, claims))}."
        )
    return [
        _claim_view({str(column): value for column, value in record.items()})
        for record in claims.to_dict("records")
    ]


def _claim_view(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader sees of one claim. Raises ValueError for an unknown verdict."""
    verdict = row["verdict"]
    if verdict not in SYMBOLS:
        raise ValueError(f"Verdict {verdict!r} is not one of {', '.join(SYMBOLS)}.")
    effect, interval = _effect_and_interval(row)
    unit = as_text(row.get("unit"))
    numbers = " ".join(filter(None, (effect, unit, interval)))
    basis = "; ".join(filter(None, (numbers, as_text(row["units"]))))
    return {
        **{key: as_text(row[key]) for key in ("claim", "verdict", "units", "reason")},
        "effect": effect,
        "unit": unit,
        "interval": interval,
        "sentence": as_text(row.get("sentence")) or _sentence(row, basis),
        "mark": _mark(row),
        "symbol": SYMBOLS[verdict],
        "slug": verdict.replace(" ", "-"),
    }


def _effect_and_interval(row: Mapping[str, Any]) -> tuple[str, str]:
    """Both with the decimals that the interval's width deserves; "" for what is not known."""
    estimate, low, high = (_float(row[key]) for key in ("estimate", "lower", "upper"))
    places = decimals_of_interval(low, high)
    effect = "" if math.isnan(estimate) else number(estimate, places)
    if math.isnan(low + high):
        return effect, ""
    cut = " (cut at what is possible)" if as_text(row.get("cut")) else ""
    return effect, f"[{number(low, places)}, {number(high, places)}]{cut}"


def _sentence(row: Mapping[str, Any], basis: str) -> str:
    """The claim and its verdict, with what that rests on in brackets."""
    judged = f"{as_text(row['claim']).rstrip('.')}: {row['verdict']}"
    return f"{judged} ({basis})." if basis else f"{judged}."


def _mark(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Positions in [0, 100] of interval, estimate and claimed region on one line; None where there
    is no interval.
    """
    low, high, estimate = (_float(row[key]) for key in ("lower", "upper", "estimate"))
    if not all(map(math.isfinite, (low, high, estimate))):
        return None
    edges = [_float(row.get(key)) for key in ("region_lower", "region_upper")]
    ends = [edge for edge in edges if math.isfinite(edge)]
    line = _Line.around([low, high, estimate, 0.0, *ends])
    is_unknown = any(map(math.isnan, edges))
    return {
        "low": line.position(low),
        "high": line.position(high),
        "estimate": line.position(estimate),
        "zero": line.position(0.0),
        "region": None if is_unknown else tuple(map(line.position, edges)),
        "labels": line.labels([*ends, 0.0]),
    }


@dataclass(frozen=True)
class _Line:
    """A line from `start` to `stop`, with a margin at both ends."""

    start: float
    stop: float
    margin: float

    @classmethod
    def around(cls, values: Sequence[float]) -> "_Line":
        start, stop = min(values), max(values)
        return cls(start, stop, 0.12 * (stop - start) or 1.0)

    def position(self, value: float) -> float:
        """In percent of the line, which ends cut off."""
        share = (value - self.start + self.margin) / (self.stop - self.start + 2 * self.margin)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def labels(self, values: Sequence[float]) -> list[tuple[float, str]]:
        """(position, text) of the values, without those that would overprint an earlier one."""
        labels: list[tuple[float, str]] = []
        for value in values:
            position = self.position(value)
            if all(abs(position - other) > 10 for other, _ in labels):
                labels.append((position, f"{value:g}".replace("-", "−")))
        return labels


def verdict_counts(claims: pd.DataFrame) -> list[tuple[str, int]]:
    counts = [(verdict, int((claims["verdict"] == verdict).sum())) for verdict in SYMBOLS]
    return [(verdict, n) for verdict, n in counts if n or verdict != UNJUDGED]


def _float(value: Any) -> float:
    return math.nan if value is None or pd.isna(value) else float(value)
