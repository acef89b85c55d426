"""Claims against result tables: supported, rejected, unresolved or not identifiable.

A claim names one row of a result table and either a region or a margin, fixed in advance:
    region: {above: a} or {below: b} or both     supported: the 95 % interval lies wholly inside; rejected: wholly outside
    equivalence: {margin: m, value: v = 0}       supported: the 90 % interval lies within v +- m (two one-sided tests at
                                                 0.05); rejected: the 95 % interval lies wholly
                                                 beyond it
Each is a test: p_in = 2 max(one-sided p at each edge) (equivalence: the larger one-sided p), p_out
= 2 min(one-sided p of lying beyond an edge). p = min(p_in, p_out) is corrected over the study's
claims that can be tested (Holm 1979) and has to stay below 0.05. p comes from the distribution that
gave the interval (bounded.py where the outcome has bounds). A row whose units agree exactly has no
standard error: it is tested where it is a mean at a bound of its outcome, as the reason says, else
unresolved. Sources: Schuirmann (1987) for TOST; Holm (1979), Scand. J. Stat. 6.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.stats.inference.bounded import bounded_mean
from transect.stats.inference.equivalence import ALPHA, inside_and_outside
from transect.stats.inference.multiplicity import holm

COLUMNS = [
    "claim",
    "verdict",
    "estimate",
    "lower",
    "upper",
    "units",
    "reason",
    "p",
    "p_holm",
    "lower90",
    "upper90",
    "region_lower",
    "region_upper",
    "test",
    "cut",
]
SMALLEST = 1e-4  # p below it is not told: no distribution of a few units is known so far out


@dataclass(frozen=True)
class Region:
    """The claimed open interval (low, high)."""

    low: float
    high: float
    equivalence: bool

    def __str__(self) -> str:
        if np.isinf(self.high):
            return f"above {self.low:g}"
        if np.isinf(self.low):
            return f"below {self.high:g}"
        return f"between {self.low:g} and {self.high:g}"


def judge(
    claims: Sequence[Mapping[str, Any]], tables: Mapping[str, Mapping[str, pd.DataFrame]]
) -> pd.DataFrame:
    """One row per claim, in the order given, with COLUMNS. `tables`: analysis -> table -> rows.

    Raises InputError where a claim names no analysis, table, column or row, or has no region.
    """
    rows = [_measured(claim, tables) for claim in claims]
    testable = [row for row in rows if np.isfinite(row["p"])]
    adjusted = holm([row["p"] for row in testable])
    for row, p in zip(testable, adjusted, strict=True):
        row["p_holm"] = p
        row |= _verdict(row, len(testable))
    return pd.DataFrame(rows, columns=COLUMNS)


def _measured(
    claim: Mapping[str, Any], tables: Mapping[str, Mapping[str, pd.DataFrame]]
) -> dict[str, Any]:
    """The claim with its row's numbers and unadjusted p; 'not identifiable' where the row has no
    interval.
    """
    region = _region(claim)
    row = _row(claim, tables)
    measured = dict.fromkeys(COLUMNS, np.nan) | {
        "claim": claim.get("claim", ""),
        "verdict": "not identifiable",
        "region_lower": region.low,
        "region_upper": region.high,
        "estimate": row.get("estimate", np.nan),
        "lower": row.get("lower", np.nan),
        "upper": row.get("upper", np.nan),
        "lower90": row.get("lower90", np.nan),
        "upper90": row.get("upper90", np.nan),
        "units": row.get("units", ""),
        "test": "equivalence" if region.equivalence else "effect",
        "cut": _text(row.get("cut")),
        "note": _text(row.get("reason")),
    }
    if not np.isfinite(measured["estimate"]) or _has_no_interval(measured):
        units = measured["units"]
        return measured | {
            "reason": measured["note"] or "the table gives no interval",
            "units": units if units == units else "",  # NaN is no text
        }
    if row.get("se", np.nan) == 0 and bounded_mean(row) is None:
        why = f"all units agree exactly on {row['estimate']:.3g}, so there is neither a standard error nor a test"
        return measured | {"verdict": "unresolved", "reason": why}
    within, beyond = inside_and_outside(row, region.low, region.high)
    inside = within if region.equivalence else within * 2
    outside = 2 * beyond
    return measured | {
        "p": min(1.0, inside, outside),
        "reason": "inside" if inside <= outside else "outside",
    }


def _has_no_interval(measured: Mapping[str, Any]) -> bool:
    return bool(np.isnan([measured["lower"], measured["upper"]]).any())


def _verdict(row: dict[str, Any], n_claims: int) -> dict[str, Any]:
    """Verdict and reason; `row["reason"]` holds the direction."""
    where = row["reason"]
    verdict, finding = "unresolved", f"crosses the edge of '{_region_of(row)}'"
    if row["p_holm"] < ALPHA:
        verdict = "supported" if where == "inside" else "rejected"
        finding = f"lies wholly {where} '{_region_of(row)}'"
    elif row["p"] < ALPHA:
        finding = f"lies {where} '{_region_of(row)}', but not after correction"
    reason = f"{_interval(row)} {finding} ({_correction(row, n_claims)})"
    return {"verdict": verdict, "reason": reason}


def _region_of(row: Mapping[str, Any]) -> Region:
    return Region(row["region_lower"], row["region_upper"], row["test"] == "equivalence")


def _interval(row: Mapping[str, Any]) -> str:
    """The interval that a claim is judged by, in words: that of 90 % to lie within a margin."""
    level, low, high = 95, row["lower"], row["upper"]
    if row["test"] == "equivalence" and row["reason"] == "inside":
        level, low, high = 90, row["lower90"], row["upper90"]
    cut = f", cut at what is possible ({row['cut']})," if row["cut"] else ""
    return f"the {level} % interval [{low:.3g}, {high:.3g}]{cut}"


def _correction(row: Mapping[str, Any], n_claims: int) -> str:
    """The corrected p and the row's own note, in words."""
    p = f"p = {row['p_holm']:.2g}"
    if row["p_holm"] < SMALLEST:
        p = f"p < {SMALLEST:f}".rstrip("0")
    note = f"; {row['note']}" if row["note"] else ""
    return f"Holm over {n_claims} claims: {p}{note}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _region(claim: Mapping[str, Any]) -> Region:
    text = claim.get("claim", "")
    region, equivalence = claim.get("region"), claim.get("equivalence")
    if bool(region) == bool(equivalence):
        raise InputError(
            f"claim '{text}' needs either a region or an equivalence margin, fixed in advance"
        )
    edges = dict(region or equivalence or {})
    allowed = ["above", "below"] if region else ["margin", "value"]
    for name in edges:
        if name not in allowed:
            raise InputError(
                f"claim '{text}': unknown '{name}'; allowed: {', '.join(allowed)}.{nearest(name, allowed)}"
            )
    if region:
        low, high = edges.get("above", -np.inf), edges.get("below", np.inf)
        return Region(float(low), float(high), equivalence=False)
    margin, value = edges.get("margin", 0), edges.get("value", 0.0)
    if not margin > 0:
        raise InputError(f"claim '{text}': an equivalence claim needs a margin above 0")
    return Region(value - margin, value + margin, equivalence=True)


def _row(
    claim: Mapping[str, Any], tables: Mapping[str, Mapping[str, pd.DataFrame]]
) -> dict[str, Any]:
    """The one row that the claim speaks of; rows that stand for 'no measurements' match any term."""
    place = f"claim '{claim.get('claim', '')}'"
    of_analysis = _member(tables, claim.get("analysis"), "analysis", place)
    table = _member(of_analysis, claim.get("table"), "table", place)
    match = pd.Series(True, index=table.index)
    unmeasured = ~match
    if "reason" in table:
        unmeasured = table["reason"].eq("no measurements")
    for column, value in (claim.get("where") or {}).items():
        if column not in table:
            raise InputError(
                f"{place}: table '{claim['table']}' has no column '{column}'; it has {', '.join(table)}.{nearest(column, table)}"
            )
        same = table[column].astype(str).eq(str(value))
        if not (match & (same | unmeasured)).any():
            known = sorted(table.loc[match, column].astype(str).unique())
            raise InputError(
                f"{place}: no row with {column} = '{value}'; there are: {'; '.join(known)}.{nearest(value, known)}"
            )
        match &= same if column == "outcome" else same | unmeasured
    if match.sum() != 1:
        raise InputError(
            f"{place}: {match.sum()} rows of '{claim['table']}' match; 'where' must name exactly one"
        )
    return table[match].iloc[0].to_dict()


def _member(mapping: Mapping[str, Any], name: Any, kind: str, place: str) -> Any:
    if name not in mapping:
        raise InputError(
            f"{place}: unknown {kind} '{name}'; there are: {', '.join(mapping)}.{nearest(name, mapping)}"
        )
    return mapping[name]
