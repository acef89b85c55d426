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
    result: dict[str, Any] = {
        "score": score,
        "design": formula.split("~")[1].strip(),
        "object": study.object,
        "fixed": list(fixed),
        "method": method,
        "seed": seed,
        "rows": len(frame),
        **_estimates(study),
        "notes": [*notes, *study.notes],
        "left_out": [asdict(part) for part in source.left_out(used)],
    }
    planned = parse_design(plan) if plan else None
    if wish:
        ranges = _ranges(study, planned or design, levels or {})
        result["cheapest"] = _cheapest(study, ranges, wish, costs, planned)
    elif levels or plan or costs:
        result["d_study"] = records(d_study(study, levels or {}, costs, planned))
    return result


def _estimates(study: GStudy) -> dict[str, Any]:
    """The scores that were used, the variance components and the precision of the mean."""
    seen = study.observations
    return {
        "missing": seen.missing,
        "averaged": seen.averaged,
        "cells": len(seen.y),
        "empty": seen.empty,
        "balanced": seen.balanced(),
        "components": records(study.components()),
        "precision": {row.pop("quantity"): row for row in records(study.precision())},
    }


def _cheapest(
    study: GStudy,
    ranges: Mapping[str, Sequence[int]],
    wish: Mapping[str, float],
    costs: Mapping[str, float] | None,
    planned: FacetDesign | None,
) -> dict[str, Any]:
    best = cheapest(study, ranges, wish, costs, planned)
    return {
        "wish": dict(wish),
        "designs": records(best.designs),
        "notes": list(best.notes),
        "examined": best.examined,
    }


def _check_size(frame: pd.DataFrame, score: str) -> None:
    """Raise InputError for scores whose squares are no numbers."""
    if score not in frame or not pd.api.types.is_numeric_dtype(frame[score]):
        return
    if (frame[score].abs() > LARGEST).any():
        raise InputError(
            f"the scores '{score}' hold infinite values or some beyond {LARGEST:g}; mend those rows first"
        )


def parse_levels(given: Sequence[str]) -> dict[str, list[int]]:
    """``["item=5,10,20", "rater=1..4"]`` -> numbers of levels by facet."""
    levels: dict[str, list[int]] = {}
    for text in given:
        name, _, value = (part.strip() for part in text.partition("="))
        ranges = [_range(part, text) for part in value.split(",")]
        if not name:
            raise _no_levels(text)
        numbers = {number for part in ranges for number in part}
        if not numbers:
            raise InputError(
                f"--levels {text!r}: the range is empty; write the lower number first, e.g. item=1..50"
            )
        levels[name.strip("`")] = sorted(numbers)
    return levels


def _range(part: str, text: str) -> range:
    """``5`` or ``1..4`` of the option `text`; a range that falls is empty."""
    first, dots, last = (end.strip() for end in part.partition(".."))
    ends = [first, last] if dots else [first]
    if not all(map(_NUMBER.fullmatch, ends)) or int(first) < 1:
        raise _no_levels(text)
    if int(ends[-1]) > MOST_LEVELS:
        raise InputError(
            f"--levels {text[:200]!r}: at most {MOST_LEVELS:,} levels of a facet are planned"
        )
    return range(int(first), int(ends[-1]) + 1)


def _no_levels(text: str) -> InputError:
    return InputError(
        f"--levels {text[:200]!r}: write FACET=NUMBERS from 1, e.g. item=5,10,20 or item=1..50"
    )


def parse_numbers(given: Sequence[str], option: str) -> dict[str, float]:
    """``["item=2", "item x rater=0.5"]`` -> numbers by name, for --cost and --wish."""
    numbers: dict[str, float] = {}
    for text in given:
        name, _, value = (part.strip() for part in text.rpartition("="))
        try:
            numbers[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            example = "phi=0.8" if option == "--wish" else "item=2"
            raise InputError(f"{option} {text!r}: write NAME=NUMBER, e.g. {example}")
        if option == "--wish" and name not in WISHES:
            raise InputError(
                f"--wish {text!r}: allowed are {', '.join(WISHES)}.{nearest(name, WISHES)}"
            )
    return numbers


def _ranges(
    study: GStudy, plan: FacetDesign, levels: Mapping[str, Sequence[int]]
) -> dict[str, Sequence[int]]:
    """The levels that a wish looks at: MORE times the observed ones, where the search among them
    stays QUICK.
    """
    own = study.design.closure(frozenset({study.object}))
    settled = {*own, *study.fixed, *levels}
    sizes = study.observations.sizes
    most = {}
    for facet in plan.facets:
        if facet in settled:
            continue
        within = study.design.within[facet]
        observed = sizes[within | {facet}] / sizes[within]
        most[facet] = max(SEARCHED, MORE * ceil(observed))
    chosen = [len(numbers) for numbers in levels.values()]
    numbers = sorted([*most.values(), *chosen])
    if prod(numbers[:-1]) > QUICK:
        most = dict.fromkeys(most, SEARCHED)
    ranges = {facet: range(1, number + 1) for facet, number in most.items()}
    return ranges | dict(levels)


def summary(result: Mapping[str, Any]) -> str:
    """The result of `gstudy` as text of at most some 110 columns."""
    lines = [
        *_head_lines(result),
        "",
        *_component_lines(result["components"]),
        "",
        "the mean of the scores at hand, per level of the object, with 95 % intervals",
        *_precision_lines(result["precision"]),
    ]
    if "d_study" in result:
        lines += ["", "D study: planned measurements", *_plans(result["d_study"])]
    if "cheapest" in result:
        lines += ["", *_cheapest_lines(result["cheapest"])]
    if result["notes"]:
        lines += ["", *(f"note: {note}" for note in result["notes"])]
    return "\n".join(lines) + "\n"


def _head_lines(result: Mapping[str, Any]) -> list[str]:
    """What was studied, from which scores, and how."""
    balance = "balanced" if result["balanced"] else "unbalanced"
    anova = "ANOVA" if result["balanced"] else "ANOVA (Henderson I)"
    how = {"anova": anova, "reml": "REML"}[result["method"]]
    rows, cells = result["rows"] - result["missing"], result["cells"]
    used = f"{cells} scores" if rows == cells else f"{cells} cells, means of {rows} scores"
    lines = [f"G study of {result['score']} ~ {result['design']}: {used}, {balance}, {how}"]
    if causes := "; ".join(str(LeftOut(**part)) for part in result["left_out"]):
        lines.append(f"left out of {result['rows']} rows: {causes}")
    fixed = f"fixed {', '.join(result['fixed'])}" if result["fixed"] else "all facets random"
    return [*lines, f"object of measurement {result['object']}; {fixed}"]


def _component_lines(components: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ["effect", "levels", "df", "mean square", "variance", "lower", "upper", "% of total"]
    body = []
    for row in components:
        share = "-" if row["share"] is None else f"{100 * row['share']:.1f}"
        squares = [_g(row["ms"]), _g(row["variance"])]
        body.append([row["effect"], row["levels"], row["df"], *squares, *_ends(row), share])
    return _aligned(head, body)


def _precision_lines(precision: Mapping[str, Mapping[str, Any]]) -> list[str]:
    body = [[LABELS[name], _g(row["estimate"]), *_ends(row)] for name, row in precision.items()]
    return _aligned(["", "estimate", "lower", "upper"], body)


def _cheapest_lines(best: Mapping[str, Any]) -> list[str]:
    wishes = []
    for name, value in best["wish"].items():
        sign = ">=" if name in ("phi", "e_rho2") else "<="
        wishes.append(f"{name} {sign} {value:g}")
    return [
        f"the cheapest of all designs with {', '.join(wishes)}",
        *_plans(best["designs"][:20]),
        *(f"note: {note}" for note in best["notes"]),
    ]


def _plans(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Planned designs: levels of the facets, scores, cost, errors and coefficients."""
    ends = ("", "_lower", "_upper")
    results = {f"{quantity}{end}" for quantity in QUANTITIES for end in ends}
    facets = [name for name in rows[0] if name not in {*results, "scores", "cost"}]
    shown = {
        "relative_error_sd": "rel. SD",
        "absolute_error_sd": "abs. SD",
        "e_rho2": "E rho^2",
        "e_rho2_lower": "lower",
        "e_rho2_upper": "upper",
        "phi": "Phi",
        "phi_lower": "lower",
        "phi_upper": "upper",
    }
    body = []
    for row in rows:
        levels = [row[facet] for facet in facets]
        numbers = [_g(row[name]) for name in shown]
        body.append([*levels, row["scores"], f"{row['cost']:g}", *numbers])
    return _aligned([*facets, "scores", "cost", *shown.values()], body)


def _g(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _ends(row: Mapping[str, Any]) -> list[str]:
    """The ends of an interval; one that is 0 at both is no certainty of 0 but of a mean square
    below what chance leaves.
    """
    if row["lower"] == row["upper"] == 0:
        return ["not above", "0"]
    return [_g(row["lower"]), _g(row["upper"])]


def _aligned(head: Sequence[str], body: Sequence[Sequence[object]]) -> list[str]:
    """Columns under their heads, the first to the left and numbers to the right."""
    table = [list(map(str, row)) for row in (head, *body)]
    widths = []
    for column in zip(*table, strict=True):
        widths.append(max(map(len, column)))
    lines = []
    for first, *others in table:
        cells = [first.ljust(widths[0])]
        for text, width in zip(others, widths[1:], strict=True):
            cells.append(text.rjust(width))
        lines.append("  ".join(cells).rstrip())
    return lines
