"""The grid of a study: runs x (measure on stimuli, by its name where it stands twice), each square
the state of its checkpoints.

A square shows its worst state (failed > missing > measured > not applicable) and measured /
applicable checkpoints. Every cell that is not measured appears, with its reason, both in the
square's details and in the table of holes.
"""

from collections.abc import Iterable
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
    _check(grid, registry)
    cells = _texts_filled(grid)
    kinds = list(
        dict.fromkeys(zip(cells["measure"], cells["stimuli"], cells["entry"], strict=True))
    )
    details = _Details()
    squares = {
        (run, *kind): _square(part, details, f"{run}, {entry_label(*kind)}")
        for (run, *kind), part in cells.groupby(["run", "measure", "stimuli", "entry"], sort=False)
    }
    holes, full = _holes(cells)
    return {
        "columns": [{"measure": m, "stimuli": s, "entry": e} for m, s, e in kinds],
        "groups": _groups(registry, cells, kinds, squares),
        "states": _states(cells["state"]),
        "applicable": int((cells["state"] != "not applicable").sum()),
        "holes": holes,
        "full": full,
        "details": details.tables(),
    }


def _check(grid: pd.DataFrame, registry: pd.DataFrame) -> None:
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


def _texts_filled(grid: pd.DataFrame) -> pd.DataFrame:
    """The cells with "" for each text that is absent: measures that make their own sequences have
    no stimuli.
    """
    # plain Python values: a quarter of a million of them are read one by one
    cells = grid[COLUMNS].astype(object)
    for column in ("reason", "error", "stimuli", "entry"):
        texts = cells[column].where(cells[column].notna(), "")
        cells[column] = texts.astype(str).str.strip().astype(object)
    return cells


def _states(states: pd.Series) -> list[dict[str, Any]]:
    """The legend: each state, its sign, its meaning and its number of cells."""
    counts = states.value_counts()
    return [
        {
            "state": state,
            "glyph": glyph,
            "slug": state.replace(" ", "-"),
            "n": int(counts.get(state, 0)),
            "meaning": MEANING[state],
        }
        for state, glyph in GLYPHS.items()
    ]


def entry_label(measure: str, stimuli: str, entry: str) -> str:
    """`minimal_pair on agreement (bos=false)`: a measure, its stimuli if it has any, its name if it
    stands twice.
    """
    label = f"{measure} on {stimuli}" if stimuli else measure
    return f"{label} ({entry})" if entry else label


class _Details:
    """Everything the details of a square need, each text stored once: a study may have a quarter of
    a million cells.
    """

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.squares: list[list] = []

    def add(self, checkpoints: "dict[Outcome, list[str]]") -> int:
        """Keep what a square shows, worst first, and give its number."""
        worst_first = sorted(checkpoints, key=lambda outcome: WORST_FIRST.index(outcome[0]))
        self.squares.append([self._numbers(key, checkpoints[key]) for key in worst_first])
        return len(self.squares) - 1

    def _numbers(self, outcome: "Outcome", checkpoints: list[str]) -> list[int]:
        state, reason, error = outcome
        texts = (reason, error, " ".join(checkpoints))
        return [list(GLYPHS).index(state), *map(self._number, texts)]

    def _number(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def tables(self) -> dict[str, Any]:
        return {
            "texts": list(self.texts),
            "squares": self.squares,
            "states": list(GLYPHS),
            "glyphs": list(GLYPHS.values()),
        }


Outcome = tuple[str, str, str]  # state, reason, error


def _square(part: pd.DataFrame, details: _Details, label: str) -> dict[str, Any]:
    """One square: state, count, its label in words, and where its details lie (state, reason,
    error, checkpoints).
    """
    counts = {state: int(n) for state, n in part["state"].value_counts().items()}
    worst = next(state for state in WORST_FIRST if state in counts)
    measured = counts.get("measured", 0)
    applicable = len(part) - counts.get("not applicable", 0)
    checkpoints = _checkpoints_by_outcome(part)
    extent = f"{measured} of {applicable} checkpoints measured" if applicable else "not applicable"
    others = [f"{counts[state]} {state}" for state in ("failed", "missing") if state in counts]
    in_part = " part" if worst == "failed" and measured else ""
    return {
        "state": worst,
        "slug": worst.replace(" ", "-") + in_part,
        "glyph": GLYPHS[worst],
        "count": f"{measured}/{applicable}" if applicable else "",
        "label": f"{label}: {', '.join([extent, *others])}",
        "reason": _first_reason(checkpoints, worst),
        "index": details.add(checkpoints),
    }


def _checkpoints_by_outcome(part: pd.DataFrame) -> dict[Outcome, list[str]]:
    """The checkpoints of a square that ended alike, in the order of their first."""
    outcomes: dict[Outcome, list[str]] = {}
    for state, reason, error, step, revision in zip(
        part["state"], part["reason"], part["error"], part["step"], part["revision"], strict=True
    ):
        explained = reason or error if state == "failed" else reason or state == "measured"
        checkpoint = str(revision) if pd.isna(step) else f"{int(step)}"
        reason = reason if explained else UNSAID[state]
        outcomes.setdefault((state, reason, error), []).append(checkpoint)
    return outcomes


def _first_reason(outcomes: Iterable[Outcome], state: str) -> str:
    """Why a checkpoint is in a state: the first reason, or last line of an error, that is known."""
    for other, reason, error in outcomes:
        if other == state and (reason or error):
            return reason or error.split("\n")[-1]
    return ""


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
            states = {square["state"] for square in row if square is not None}
            groups.setdefault(suite, []).append(
                {
                    "run": run,
                    "role": role,
                    "squares": row,
                    "whole": states <= {"measured", "not applicable"},
                }
            )
    return [{"suite": suite, "rows": rows} for suite, rows in groups.items()]


def _holes(cells: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """One row per state, measure, stimuli, entry and reason, worst first; and the run names in
    full.
    """
    holes = cells[cells["state"] != "measured"].copy()
    # the last line of a traceback says what went wrong
    last = holes["error"].str.split("\n").str[-1]
    holes["reason"] = holes["reason"].where(holes["reason"] != "", last)
    holes["reason"] = holes["reason"].where(holes["reason"] != "", holes["state"].map(UNSAID))
    key = ["state", "measure", "stimuli", "entry", "reason"]
    rows: list[tuple[Any, ...]] = []
    for of_hole, part in holes.groupby(key, sort=False):
        runs = list(dict.fromkeys(part["run"]))
        shown = _first_named(runs, RUNS_NAMED[str(of_hole[0])])
        rows.append((*of_hole, len(part), len(runs), shown, ", ".join(runs)))
    frame = pd.DataFrame(rows, columns=[*key, "cells", "n_runs", "runs", "all runs"])
    rank = frame["state"].map(WORST_FIRST.index)
    order = sorted(range(len(rows)), key=lambda i: (rank[i], -frame["cells"][i]))
    frame = frame.loc[order].reset_index(drop=True)
    full = {"runs": frame.pop("all runs").tolist()}
    frame["stimuli"] = frame["stimuli"].where(frame["stimuli"] != "", None)
    if (frame["entry"] == "").all():
        frame = frame.drop(columns="entry")
    frame["state"] = [f"{GLYPHS[state]} {state}" for state in frame["state"]]
    return frame, full


def _first_named(runs: list[str], most: int) -> str:
    """The first `most` names, and how many more there are."""
    shown = ", ".join(runs[:most])
    return f"{shown} and {len(runs) - most} more" if len(runs) > most else shown
