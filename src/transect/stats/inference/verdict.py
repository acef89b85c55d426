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
        return (
            f"below {self.high:g}"
            if np.isinf(self.low)
            else f"between {self.low:g} and {self.high:g}"
        )


def judge(
    claims: Sequence[Mapping[str, Any]], tables: Mapping[str, Mapping[str, pd.DataFrame]]
) -> pd.DataFrame:
    """One row per claim, in the order given, with COLUMNS. `tables`: analysis -> table -> rows.

    Raises InputError where a claim names no analysis, table, column or row, or has no region.
    """
    rows = [_measured(claim, tables) for claim in claims]
    testable = [i for i, row in enumerate(rows) if np.isfinite(row["p"])]
    for i, p in zip(testable, holm([rows[i]["p"] for i in testable]), strict=True):
        rows[i]["p_holm"] = p
        rows[i] |= _verdict(rows[i], len(testable))
    return pd.DataFrame(rows, columns=COLUMNS)


def _measured(
    claim: Mapping[str, Any], tables: Mapping[str, Mapping[str, pd.DataFrame]]
) -> dict[str, Any]:
    """The claim with its row's numbers and unadjusted p; 'not identifiable' where the row has no
    interval.
    """
    text = claim.get("claim", "")
    region = _region(claim)
    row = _row(claim, tables)
    found = dict.fromkeys(COLUMNS, np.nan) | {
        "claim": text,
        "verdict": "not identifiable",
        "region_lower": region.low,
        "region_upper": region.high,
    }
    found |= {k: row.get(k, np.nan) for k in ("estimate", "lower", "upper", "lower90", "upper90")}
    found |= {
        "units": row.get("units", ""),
        "test": "equivalence" if region.equivalence else "effect",
    }
    found |= {"cut": _text(row.get("cut")), "note": _text(row.get("reason"))}
    if not (
        np.isfinite(row.get("estimate", np.nan))
        and not np.isnan([row.get("lower", np.nan), row.get("upper", np.nan)]).any()
    ):
        reason = _text(row.get("reason")) or "the table gives no interval"
        return found | {
            "reason": reason,
            "units": "" if found["units"] != found["units"] else found["units"],
        }
    if row.get("se", np.nan) == 0 and bounded_mean(row) is None:
        seen = f"all units agree exactly on {row['estimate']:.3g}, so there is neither a standard error nor a test"
        return found | {"verdict": "unresolved", "reason": seen}
    within, beyond = inside_and_outside(row, region.low, region.high)
    inside, outside = within * (1 if region.equivalence else 2), 2 * beyond
    return found | {
        "p": min(1.0, inside, outside),
        "reason": "inside" if inside <= outside else "outside",
    }


def _verdict(row: dict[str, Any], n_claims: int) -> dict[str, Any]:
    """Verdict and reason; `row["reason"]` holds the direction."""
    inside = row["reason"] == "inside"
    level = 90 if row["test"] == "equivalence" and inside else 95
    low, high = (row["lower90"], row["upper90"]) if level == 90 else (row["lower"], row["upper"])
    region = Region(row["region_lower"], row["region_upper"], row["test"] == "equivalence")
    cut = f", cut at what is possible ({row['cut']})," if row["cut"] else ""
    seen = f"the {level} % interval [{low:.3g}, {high:.3g}]{cut}"
    p = f"p = {row['p_holm']:.2g}" if row["p_holm"] >= SMALLEST else f"p < {SMALLEST:f}".rstrip("0")
    correction = f"Holm over {n_claims} claims: {p}" + (f"; {row['note']}" if row["note"] else "")
    if row["p_holm"] < ALPHA:
        verdict = "supported" if inside else "rejected"
        return {
            "verdict": verdict,
            "reason": f"{seen} lies wholly {'inside' if inside else 'outside'} '{region}' ({correction})",
        }
    if row["p"] < ALPHA:
        where = "inside" if inside else "outside"
        return {
            "verdict": "unresolved",
            "reason": f"{seen} lies {where} '{region}', but not after correction ({correction})",
        }
    return {
        "verdict": "unresolved",
        "reason": f"{seen} crosses the edge of '{region}' ({correction})",
    }


def _text(given: Any) -> str:
    return given if isinstance(given, str) else ""


def _region(claim: Mapping[str, Any]) -> Region:
    text, region, equivalence = (
        claim.get("claim", ""),
        claim.get("region"),
        claim.get("equivalence"),
    )
    if bool(region) == bool(equivalence):
        raise InputError(
            f"claim '{text}' needs either a region or an equivalence margin, fixed in advance"
        )
    given = dict(region or equivalence or {})
    allowed = ["above", "below"] if region else ["margin", "value"]
    for name in given:
        if name not in allowed:
            raise InputError(
                f"claim '{text}': unknown '{name}'; allowed: {', '.join(allowed)}.{nearest(name, allowed)}"
            )
    if region:
        return Region(float(given.get("above", -np.inf)), float(given.get("below", np.inf)), False)
    if not given.get("margin", 0) > 0:
        raise InputError(f"claim '{text}': an equivalence claim needs a margin above 0")
    return Region(
        given.get("value", 0.0) - given["margin"], given.get("value", 0.0) + given["margin"], True
    )


def _row(
    claim: Mapping[str, Any], tables: Mapping[str, Mapping[str, pd.DataFrame]]
) -> dict[str, Any]:
    """The one row that the claim speaks of; rows that stand for 'no measurements' match any term."""
    place = f"claim '{claim.get('claim', '')}'"
    table = _member(
        _member(tables, claim.get("analysis"), "analysis", place),
        claim.get("table"),
        "table",
        place,
    )
    match = pd.Series(True, index=table.index)
    unmeasured = pd.Series(
        table["reason"].eq("no measurements") if "reason" in table else False, index=table.index
    )
    for column, value in (claim.get("where") or {}).items():
        if column not in table:
            raise InputError(
                f"{place}: table '{claim['table']}' has no column '{column}'; it has {', '.join(table)}.{nearest(column, table)}"
            )
        here = table[column].astype(str).eq(str(value))
        if not (match & (here | unmeasured)).any():
            known = sorted(table.loc[match, column].astype(str).unique())
            raise InputError(
                f"{place}: no row with {column} = '{value}'; there are: {'; '.join(known)}.{nearest(value, known)}"
            )
        match &= here | (unmeasured & (column != "outcome"))
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
