"""The grid of a study: runs x (measure on stimuli, by its name where it stands twice), each square
the state of its checkpoints.

A square shows its worst state (failed > missing > measured > not applicable) and measured /
applicable checkpoints. Every cell that is not measured appears, with its reason, both in the
square's details and in the table of holes.
"""

from typing import Any

import pandas as pd

GLYPHS = {"measured": "●", "not applicable": "–", "missing": "○", "failed": "×"}
WORST_FIRST = ["failed", "missing", "measured", "not applicable"]
COLUMNS = ["run", "measure", "stimuli", "entry", "revision", "step", "state", "reason", "error"]
UNSAID = {
    "not applicable": "no reason was recorded",
    "missing": "planned, not measured yet",
    "failed": "no error text was recorded",
}
MEANING = {
    "measured": "values are in the store",
    "not applicable": "the measure is not defined for this model",
    "missing": "planned, but there are no values (yet)",
    "failed": "tried, and ended with an error",
}
RUNS_NAMED = {
    "failed": 4,
    "missing": 4,
    "not applicable": 1,
}  # runs that a line of the table of holes spells out


def grid_view(grid: pd.DataFrame, registry: pd.DataFrame) -> dict[str, Any]:
    """Rows (by suite), columns, counts, the table of holes, and the details that the script shows
    on request.

    Raises ValueError for a missing column, an unknown state or a run that the registry does not
    have.
    """
    absent = [c for c in COLUMNS if c not in grid]
    if absent:
        raise ValueError(
            f"The grid of a report needs the column(s) {', '.join(absent)}; given: {', '.join(map(str, grid))}."
        )
    unknown = sorted(set(grid["state"]) - set(GLYPHS))
    if unknown:
        raise ValueError(f"State {unknown[0]!r} is not one of {', '.join(GLYPHS)}.")
    strangers = sorted(set(grid["run"]) - set(registry["run"]))
    if strangers:
        raise ValueError(
            f"The grid has cells of run {strangers[0]!r}, which its registry does not have."
        )
    cells = grid[COLUMNS].astype(
        object
    )  # plain Python values: a quarter of a million of them are read one by one
    for column in (
        "reason",
        "error",
        "stimuli",
        "entry",
    ):  # measures that make their own sequences have no stimuli
        cells[column] = (
            cells[column].where(cells[column].notna(), "").astype(str).str.strip().astype(object)
        )
    kinds = list(
        dict.fromkeys(zip(cells["measure"], cells["stimuli"], cells["entry"], strict=True))
    )
    details = _Details()
    squares = {
        (run, *kind): _square(part, details, f"{run}, {entry_label(*kind)}")
        for (run, *kind), part in cells.groupby(["run", "measure", "stimuli", "entry"], sort=False)
    }
    holes, full = _holes(cells)
    n_of = cells["state"].value_counts()
    return {
        "columns": [{"measure": m, "stimuli": s, "entry": e} for m, s, e in kinds],
        "groups": _groups(registry, cells, kinds, squares),
        "states": [
            {
                "state": s,
                "glyph": g,
                "slug": s.replace(" ", "-"),
                "n": int(n_of.get(s, 0)),
                "meaning": MEANING[s],
            }
            for s, g in GLYPHS.items()
        ],
        "applicable": int((cells["state"] != "not applicable").sum()),
        "holes": holes,
        "full": full,
        "details": details.tables(),
    }


def entry_label(measure: str, stimuli: str, entry: str) -> str:
    """`minimal_pair on agreement (bos=false)`: a measure, its stimuli if it has any, its name if it
    stands twice.
    """
    return " on ".join(filter(None, (measure, stimuli))) + f" ({entry})" * bool(entry)


class _Details:
    """Everything the details of a square need, each text stored once: a study may have a quarter of
    a million cells.
    """

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.squares: list[list] = []

    def text(self, value: str) -> int:
        return self.texts.setdefault(value, len(self.texts))

    def tables(self) -> dict[str, Any]:
        return {
            "texts": list(self.texts),
            "squares": self.squares,
            "states": list(GLYPHS),
            "glyphs": list(GLYPHS.values()),
        }


def _square(part: pd.DataFrame, details: _Details, label: str) -> dict[str, Any]:
    """One square: state, count, its label in words, and where its details lie (state, reason,
    error, checkpoints).
    """
    counts = part["state"].value_counts()
    worst = next(s for s in WORST_FIRST if counts.get(s, 0))
    measured, applicable = (
        int(counts.get("measured", 0)),
        int(len(part) - counts.get("not applicable", 0)),
    )
    groups: dict[tuple[str, str, str], list[str]] = {}
    for state, reason, error, step, revision in zip(
        part["state"], part["reason"], part["error"], part["step"], part["revision"], strict=True
    ):
        reason = reason or (
            "" if state == "measured" or (state == "failed" and error) else UNSAID[state]
        )
        groups.setdefault((state, reason, error), []).append(
            str(revision) if pd.isna(step) else f"{int(step)}"
        )
    states = list(GLYPHS)
    details.squares.append(
        [
            [
                states.index(state),
                details.text(reason),
                details.text(error),
                details.text(" ".join(checkpoints)),
            ]
            for (state, reason, error), checkpoints in sorted(
                groups.items(), key=lambda g: WORST_FIRST.index(g[0][0])
            )
        ]
    )
    said = (
        "not applicable" if not applicable else f"{measured} of {applicable} checkpoints measured"
    )
    others = [f"{counts[s]} {s}" for s in ("failed", "missing") if counts.get(s, 0)]
    return {
        "state": worst,
        "slug": worst.replace(" ", "-") + " part" * bool(worst == "failed" and measured),
        "glyph": GLYPHS[worst],
        "count": f"{measured}/{applicable}" if applicable else "",
        "label": f"{label}: {', '.join([said, *others])}",
        "reason": next(
            (r or e.split("\n")[-1] for (s, r, e) in groups if s == worst and (r or e)), ""
        ),
        "index": len(details.squares) - 1,
    }


def _groups(
    registry: pd.DataFrame, cells: pd.DataFrame, kinds: list, squares: dict
) -> list[dict[str, Any]]:
    """Rows by suite in the registry's order; None stands where the study asks for no cell of a
    kind.
    """
    present = set(cells["run"])
    suites = registry["suite"] if "suite" in registry else pd.Series("", index=registry.index)
    groups: dict[str, list[dict]] = {}
    for run, role, suite in zip(registry["run"], registry["role"], suites, strict=True):
        if run in present:
            row = [squares.get((run, *kind)) for kind in kinds]
            whole = all(s is None or s["state"] in ("measured", "not applicable") for s in row)
            groups.setdefault(suite, []).append(
                {"run": run, "role": role, "squares": row, "whole": whole}
            )
    return [{"suite": suite, "rows": rows} for suite, rows in groups.items()]


def _holes(cells: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """One row per state, measure, stimuli, entry and reason, worst first; and the run names in
    full.
    """
    holes = cells[cells["state"] != "measured"].copy()
    last = (
        holes["error"].str.split("\n").str[-1]
    )  # the last line of a traceback says what went wrong
    holes["reason"] = holes["reason"].where(holes["reason"] != "", last)
    holes["reason"] = holes["reason"].where(holes["reason"] != "", holes["state"].map(UNSAID))
    rows: list[tuple[Any, ...]] = []
    names: list[str] = []
    for key, part in holes.groupby(["state", "measure", "stimuli", "entry", "reason"], sort=False):
        runs = list(dict.fromkeys(part["run"]))
        named = RUNS_NAMED[str(key[0])]
        shown = ", ".join(runs[:named]) + (
            f" and {len(runs) - named} more" if len(runs) > named else ""
        )
        rows.append((*key, len(part), len(runs), shown))
        names.append(", ".join(runs))
    order = sorted(range(len(rows)), key=lambda i: (WORST_FIRST.index(rows[i][0]), -rows[i][5]))
    columns = ["state", "measure", "stimuli", "entry", "reason", "cells", "n_runs", "runs"]
    frame = pd.DataFrame([rows[i] for i in order], columns=columns)
    frame["stimuli"] = frame["stimuli"].where(frame["stimuli"] != "", None)
    if (frame["entry"] == "").all():
        frame = frame.drop(columns="entry")
    frame["state"] = [f"{GLYPHS[s]} {s}" for s in frame["state"]]
    return frame, {"runs": [names[i] for i in order]}
