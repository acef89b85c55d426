"""Claims as a reader meets them: verdict, effect with interval, and a line on which that meets the
claimed region.
"""

import math
from collections.abc import Mapping
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
    views = []
    for row in ({str(k): v for k, v in record.items()} for record in claims.to_dict("records")):
        if row["verdict"] not in SYMBOLS:
            raise ValueError(f"Verdict {row['verdict']!r} is not one of {', '.join(SYMBOLS)}.")
        low, high = _float(row["lower"]), _float(row["upper"])
        places = decimals_of_interval(low, high)
        unit = as_text(row.get("unit"))
        effect = (
            number(_float(row["estimate"]), places)
            if not math.isnan(_float(row["estimate"]))
            else ""
        )
        interval = (
            f"[{number(low, places)}, {number(high, places)}]" if not math.isnan(low + high) else ""
        )
        interval += " (cut at what is possible)" if interval and as_text(row.get("cut")) else ""
        said = " ".join(part for part in (effect, unit, interval) if part)
        basis = "; ".join(part for part in (said, as_text(row["units"])) if part)
        sentence = as_text(row.get("sentence")) or (
            f"{as_text(row['claim']).rstrip('.')}: {row['verdict']}"
            + (f" ({basis})." if basis else ".")
        )
        views.append(
            {key: as_text(row[key]) for key in ("claim", "verdict", "units", "reason")}
            | {
                "effect": effect,
                "unit": unit,
                "interval": interval,
                "sentence": sentence,
                "mark": _mark(row),
            }
            | {"symbol": SYMBOLS[row["verdict"]], "slug": row["verdict"].replace(" ", "-")}
        )
    return views


def _mark(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Positions in [0, 100] of interval, estimate and claimed region on one line; None where there
    is no interval.
    """
    low, high, estimate = (_float(row[k]) for k in ("lower", "upper", "estimate"))
    if not all(map(math.isfinite, (low, high, estimate))):
        return None
    edges = [_float(row.get(k)) for k in ("region_lower", "region_upper")]
    shown = [low, high, estimate, 0.0] + [e for e in edges if math.isfinite(e)]
    start, stop = min(shown), max(shown)
    pad = 0.12 * (stop - start) or 1.0

    def at(value: float) -> float:
        return round(100 * min(max((value - start + pad) / (stop - start + 2 * pad), 0.0), 1.0), 2)

    drawn = not any(map(math.isnan, edges))
    region = (at(edges[0]), at(edges[1])) if drawn else None
    labels: list[tuple[float, str]] = []
    for value in [*(e for e in edges if math.isfinite(e)), 0.0]:
        if all(abs(at(value) - x) > 10 for x, _ in labels):  # nearer ones would overprint
            labels.append((at(value), f"{value:g}".replace("-", "−")))
    return {
        "low": at(low),
        "high": at(high),
        "estimate": at(estimate),
        "zero": at(0.0),
        "region": region,
        "labels": labels,
    }


def verdict_counts(claims: pd.DataFrame) -> list[tuple[str, int]]:
    counts = [(verdict, int((claims["verdict"] == verdict).sum())) for verdict in SYMBOLS]
    return [(verdict, n) for verdict, n in counts if n or verdict != UNJUDGED]


def _float(value: Any) -> float:
    return math.nan if value is None or pd.isna(value) else float(value)
