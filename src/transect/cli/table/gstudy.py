"""Generalizability study of any table: what `transect gstudy` does.

transect gstudy scores.csv "score ~ person x (item:task)" --levels item=5,10,20 --cost item=2 --wish
phi=0.8
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import ceil, prod
from pathlib import Path
from typing import Any

import pandas as pd

from transect.errors import InputError, nearest
from transect.stats.generalizability.d_study import WISHES, cheapest, d_study
from transect.stats.generalizability.facets import FacetDesign, parse_design, parse_study
from transect.stats.generalizability.g_study import QUANTITIES, GStudy, g_study
from transect.stats.table.model_input import LARGEST
from transect.store.tables.reading import LeftOut, TableFile, read, records

SEARCHED, MORE = (
    100,
    10,
)  # levels of a facet that a wish looks at: 1 to SEARCHED, or to MORE times the observed
MOST_LEVELS = 1_000_000
_NUMBER = re.compile(r"[0-9]{1,20}")
QUICK = 10_000  # so many groups of designs are looked at in a second
LABELS = dict(
    zip(
        QUANTITIES,
        [
            "universe score variance",
            "relative error variance",
            "absolute error variance",
            "relative error SD",
            "absolute error SD",
            "E rho^2",
            "Phi",
        ],
        strict=True,
    )
)


def gstudy(
    table: Path | pd.DataFrame,
    formula: str,
    *,
    object: str | None = None,
    fixed: Sequence[str] = (),
    method: str = "anova",
    repeats: str = "refuse",
    levels: Mapping[str, Sequence[int]] | None = None,
    plan: str | None = None,
    costs: Mapping[str, float] | None = None,
    wish: Mapping[str, float] | None = None,
    seed: int = 1,
) -> dict[str, Any]:
    """G study of a table (CSV, TSV or Parquet) and, with `levels`, `plan`, `costs` or `wish`, the D
    study. JSON values only.

    Keys: score, design, object, fixed, method, seed, rows, missing, left_out (rows), averaged,
    cells, empty, balanced, components (rows), precision (quantity -> estimate, lower, upper),
    notes; d_study (rows); cheapest (designs, notes, examined). Raises InputError as `g_study`,
    `d_study` do.
    """
    score, design = parse_study(formula)
    source = TableFile.of(table) if isinstance(table, pd.DataFrame) else read(table)
    frame, notes, used = source.frame, source.notes_on([score]), [score, *design.facets]
    source.check(used)
    _check_size(frame, score)
    try:
        study = g_study(
            frame,
            score,
            design,
            object=object,
            fixed=fixed,
            method=method,
            repeats=repeats,
            seed=seed,
        )
    except InputError as error:
        raise InputError("; ".join([str(error), *notes])) from None
    seen = study.observations
    result: dict[str, Any] = {
        "score": score,
        "design": formula.split("~")[1].strip(),
        "object": study.object,
        "fixed": list(fixed),
        "method": method,
        "seed": seed,
        "rows": len(frame),
        "missing": seen.missing,
        "averaged": seen.averaged,
        "cells": len(seen.y),
        "empty": seen.empty,
        "balanced": seen.balanced(),
        "components": records(study.components()),
        "precision": {r.pop("quantity"): r for r in records(study.precision())},
        "notes": [*notes, *study.notes],
        "left_out": [asdict(part) for part in source.left_out(used)],
    }
    planned = parse_design(plan) if plan else None
    if wish:
        ranges = _ranges(study, planned or design, levels or {})
        found = cheapest(study, ranges, wish, costs, planned)
        result["cheapest"] = {
            "wish": dict(wish),
            "designs": records(found.designs),
            "notes": list(found.notes),
            "examined": found.examined,
        }
    if (levels or plan or costs) and not wish:
        result["d_study"] = records(d_study(study, levels or {}, costs, planned))
    return result


def _check_size(frame: pd.DataFrame, score: str) -> None:
    """Raise InputError for scores whose squares are no numbers."""
    if (
        score in frame
        and pd.api.types.is_numeric_dtype(frame[score])
        and (frame[score].abs() > LARGEST).any()
    ):
        raise InputError(
            f"the scores '{score}' hold infinite values or some beyond {LARGEST:g}; mend those rows first"
        )


def parse_levels(given: Sequence[str]) -> dict[str, list[int]]:
    """``["item=5,10,20", "rater=1..4"]`` -> numbers of levels by facet."""
    found = {}
    for text in given:
        name, _, value = (part.strip() for part in text.partition("="))
        numbers: list[int] = []
        for part in value.split(","):
            first, dots, last = (p.strip() for p in part.partition(".."))
            if (
                not name
                or not _NUMBER.fullmatch(first)
                or (dots and not _NUMBER.fullmatch(last))
                or int(first) < 1
            ):
                raise InputError(
                    f"--levels {text[:200]!r}: write FACET=NUMBERS from 1, e.g. item=5,10,20 or item=1..50"
                )
            if int(last if dots else first) > MOST_LEVELS:
                raise InputError(
                    f"--levels {text[:200]!r}: at most {MOST_LEVELS:,} levels of a facet are planned"
                )
            numbers += range(int(first), int(last if dots else first) + 1)
        if not numbers:
            raise InputError(
                f"--levels {text!r}: the range is empty; write the lower number first, e.g. item=1..50"
            )
        found[name.strip("`")] = sorted(set(numbers))
    return found


def parse_numbers(given: Sequence[str], option: str) -> dict[str, float]:
    """``["item=2", "item x rater=0.5"]`` -> numbers by name, for --cost and --wish."""
    found = {}
    for text in given:
        name, _, value = (part.strip() for part in text.rpartition("="))
        try:
            found[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            raise InputError(
                f"{option} {text!r}: write NAME=NUMBER, e.g. {'phi=0.8' if option == '--wish' else 'item=2'}"
            )
        if option == "--wish" and name not in WISHES:
            raise InputError(
                f"--wish {text!r}: allowed are {', '.join(WISHES)}.{nearest(name, WISHES)}"
            )
    return found


def _ranges(
    study: GStudy, plan: FacetDesign, levels: Mapping[str, Sequence[int]]
) -> dict[str, Sequence[int]]:
    """The levels that a wish looks at: MORE times the observed ones, where the search among them
    stays QUICK.
    """
    own = study.design.closure(frozenset({study.object}))
    open_ = [f for f in plan.facets if f not in own and f not in study.fixed and f not in levels]
    sizes, within = study.observations.sizes, study.design.within
    most = {f: max(SEARCHED, MORE * ceil(sizes[within[f] | {f}] / sizes[within[f]])) for f in open_}
    numbers = sorted([*most.values(), *(len(v) for v in levels.values())])
    if prod(numbers[:-1]) > QUICK:
        most = dict.fromkeys(open_, SEARCHED)
    return {f: range(1, n + 1) for f, n in most.items()} | dict(levels)


def summary(result: Mapping[str, Any]) -> str:
    """The result of `gstudy` as text of at most some 110 columns."""
    r = result
    how = {"anova": "ANOVA" if r["balanced"] else "ANOVA (Henderson I)", "reml": "REML"}[
        r["method"]
    ]
    rows, cells = r["rows"] - r["missing"], r["cells"]
    used = f"{cells} scores" if rows == cells else f"{cells} cells, means of {rows} scores"
    causes = "; ".join(str(LeftOut(**part)) for part in r["left_out"])
    lines = [
        f"G study of {r['score']} ~ {r['design']}: {used}, {'balanced' if r['balanced'] else 'unbalanced'}, {how}",
        *([f"left out of {r['rows']} rows: {causes}"] if causes else []),
        f"object of measurement {r['object']}; {'fixed ' + ', '.join(r['fixed']) if r['fixed'] else 'all facets random'}",
        "",
    ]
    parts = [
        [
            c["effect"],
            c["levels"],
            c["df"],
            _g(c["ms"]),
            _g(c["variance"]),
            *_ends(c),
            "-" if c["share"] is None else f"{100 * c['share']:.1f}",
        ]
        for c in r["components"]
    ]
    lines += _aligned(
        ["effect", "levels", "df", "mean square", "variance", "lower", "upper", "% of total"], parts
    )
    lines += ["", "the mean of the scores at hand, per level of the object, with 95 % intervals"]
    lines += _aligned(
        ["", "estimate", "lower", "upper"],
        [[LABELS[q], _g(v["estimate"]), *_ends(v)] for q, v in r["precision"].items()],
    )
    if "d_study" in r:
        lines += ["", "D study: planned measurements", *_plans(r["d_study"])]
    if "cheapest" in r:
        best = r["cheapest"]
        wish = ", ".join(
            f"{k} {'>=' if k in ('phi', 'e_rho2') else '<='} {v:g}" for k, v in best["wish"].items()
        )
        lines += ["", f"the cheapest of all designs with {wish}", *_plans(best["designs"][:20])]
        lines += [f"note: {n}" for n in best["notes"]]
    return (
        "\n".join([*lines, *([""] if r["notes"] else []), *(f"note: {n}" for n in r["notes"])])
        + "\n"
    )


def _plans(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    known = {f"{q}{end}" for q in QUANTITIES for end in ("", "_lower", "_upper")} | {
        "scores",
        "cost",
    }
    facets = [k for k in rows[0] if k not in known]
    head = [
        *facets,
        "scores",
        "cost",
        "rel. SD",
        "abs. SD",
        "E rho^2",
        "lower",
        "upper",
        "Phi",
        "lower",
        "upper",
    ]
    shown = (
        "relative_error_sd",
        "absolute_error_sd",
        "e_rho2",
        "e_rho2_lower",
        "e_rho2_upper",
        "phi",
        "phi_lower",
        "phi_upper",
    )
    body = [
        [*(r[f] for f in facets), r["scores"], f"{r['cost']:g}", *(_g(r[q]) for q in shown)]
        for r in rows
    ]
    return _aligned(head, body)


def _g(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _ends(row: Mapping[str, Any]) -> list[str]:
    """The ends of an interval; one that is 0 at both is no certainty of 0 but of a mean square
    below what chance leaves.
    """
    return (
        ["not above", "0"]
        if row["lower"] == row["upper"] == 0
        else [_g(row["lower"]), _g(row["upper"])]
    )


def _aligned(head: Sequence[str], body: Sequence[Sequence[object]]) -> list[str]:
    """Columns under their heads, the first to the left and numbers to the right."""
    table = [list(map(str, row)) for row in (head, *body)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
