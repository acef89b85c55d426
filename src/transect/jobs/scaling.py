"""What `transect scaling` does: curve forms on a table, compared by predicting whole groups, with intervals from whole groups."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.jobs.tables import read, records, table_lines
from transect.stats.curve_inference import (
    bootstrap_parameters,
    break_test,
    breakpoint_interval,
    extrapolation_interval,
    leave_groups_out,
)
from transect.stats.curves import FORMS, fit_curve


def scaling_file(
    path: Path,
    y: str,
    x: Sequence[str],
    group: str,
    *,
    forms: Sequence[str] = (),
    beyond: float | None = None,
    n: int = 1000,
    seed: int = 1,
) -> dict[str, Any]:
    """The comparison of forms, the best one's parameters, its break, and what it says of rows with x beyond a value.

    y, x, group name columns; two x (size, data) have the form chinchilla only. Raises InputError for what cannot be fitted.
    """
    frame = read(path)
    for column in (y, *x, group):
        if column not in frame:
            raise InputError(
                f"{path}: there is no column {column!r}; there are {', '.join(frame)}.{nearest(column, frame)}"
            )
    rows = frame.dropna(subset=[y, *x, group]).reset_index(drop=True)
    fitted = rows if beyond is None else rows[rows[x[0]] <= beyond]
    inputs, values, groups = _arrays(fitted, y, x, group)
    asked = list(forms) or [f for f, form in FORMS.items() if form.inputs == len(x) and f != "broken"]
    comparison = leave_groups_out(asked, inputs, values, groups)
    best = comparison["form"][0]
    curve = fit_curve(best, inputs, values)
    found: dict[str, Any] = {
        "table": str(path),
        "y": y,
        "x": list(x),
        "group": group,
        "n_rows": len(values),
        "n_missing": len(frame) - len(rows),
        "forms": records(comparison),
        "best": best,
        "parameters": records(bootstrap_parameters(curve, inputs, values, groups, n, seed)),
    }
    if len(x) == 1 and "segmented" in asked:
        found["break"] = {**break_test(inputs, values, n, seed), **breakpoint_interval(inputs, values, seed=seed)}
    if beyond is not None:
        found["beyond"] = _beyond(curve, inputs, values, groups, rows[rows[x[0]] > beyond], y, x, n, seed)
    return found


def _arrays(rows: pd.DataFrame, y: str, x: Sequence[str], group: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    for column in (y, *x):
        if not pd.api.types.is_numeric_dtype(rows[column]):
            raise InputError(f"the column {column!r} holds text, not numbers.")
    return rows[list(x)].to_numpy(float), rows[y].to_numpy(float), rows[group].astype(str).to_numpy()


def _beyond(
    curve: Any, inputs: np.ndarray, values: np.ndarray, groups: np.ndarray, held: pd.DataFrame, y: str,
    x: Sequence[str], n: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    if held.empty:
        raise InputError(f"no row lies beyond the largest {x[0]} that is fitted.")
    new, truth = held[list(x)].to_numpy(float), held[y].to_numpy(float)
    predicted = extrapolation_interval(curve, inputs, values, groups, new, n, seed)
    inside = (predicted["lower"] <= truth) & (truth <= predicted["upper"])
    rmse = float(np.sqrt(((predicted["predicted"] - truth) ** 2).mean()))
    return {"n_rows": len(held), "rmse": rmse, "share_inside_95": float(inside.mean())}


def as_json(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=1)


def summary(found: dict[str, Any]) -> str:
    """The printed summary."""
    missing = f" ({found['n_missing']} more have missing values and were left out)" if found["n_missing"] else ""
    lines = [
        f"{found['y']} against {' and '.join(found['x'])}: {found['n_rows']} rows{missing}, groups: {found['group']}",
        "",
    ]
    lines += [
        "Forms, by the error of predicting whole groups from the others:",
        *table_lines(pd.DataFrame(found["forms"])),
        "",
    ]
    lines += [
        f"{found['best']}, 95 % intervals from resampled groups:",
        *table_lines(pd.DataFrame(found["parameters"])),
    ]
    if "break" in found:
        b = found["break"]
        lines += ["", f"A break of the slope? p = {b['p']:.3g} (parametric bootstrap); at log10 {found['x'][0]} "
                  f"{b['psi']:.3f} [{b['lower']:.3f}, {b['upper']:.3f}]"]  # fmt: skip
    if "beyond" in found:
        b = found["beyond"]
        lines += [
            "",
            f"Beyond: {b['n_rows']} rows, rmse {b['rmse']:.4g}, {100 * b['share_inside_95']:.0f} % inside the 95 % interval",
        ]
    few = found["parameters"][0]["n_groups"]
    if few < 8:
        lines += ["", f"Note: {few} groups are few to resample; the intervals are too narrow."]
    return "\n".join(lines)
