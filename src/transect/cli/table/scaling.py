"""What `transect scaling` does: curve forms on a table, compared by predicting whole groups, with
intervals from whole groups.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.stats.curves.breakpoints import break_test, breakpoint_interval
from transect.stats.curves.forms import FORMS, fit_curve
from transect.stats.curves.inference import (
    doubts,
    extrapolation_interval,
    leave_groups_out,
    no_better_than_a_constant,
    parameter_intervals,
    simplest,
)
from transect.stats.curves.metric_step import metric_step
from transect.stats.table.model_input import LARGEST
from transect.store.tables.reading import LeftOut, TableFile, json_text, read, records, table_lines


@dataclass(frozen=True)
class _Points:
    """What a curve is fitted to: inputs (points, 1 or 2), values (points), groups (points)."""

    inputs: np.ndarray
    values: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame, y: str, x: Sequence[str], group: str) -> "_Points":
        inputs, values = rows[list(x)].to_numpy(float), rows[y].to_numpy(float)
        return cls(inputs, values, rows[group].astype(str).to_numpy())


def scaling_file(
    path: Path,
    y: str,
    x: Sequence[str],
    group: str,
    *,
    forms: Sequence[str] = (),
    beyond: float | None = None,
    continuous: str | None = None,
    n: int = 1000,
    seed: int = 1,
) -> dict[str, Any]:
    """The comparison of forms, the best one's parameters, its break, and what it says of rows with
    x beyond a value.

    y, x, group name columns; two x (size, data) have the form chinchilla only. `continuous`: the
    column of a metric that y is a threshold of; whether it jumps too is looked at over all x.
    Raises InputError for what cannot be fitted.
    """
    compared = _forms(forms, x)
    if continuous and len(x) != 1:
        raise InputError(
            f"--continuous compares two metrics along one x; --x names {len(x)} ({', '.join(x)})"
        )
    table, metrics = read(path), [y, *([continuous] if continuous else [])]
    notes = table.notes_on([*metrics, *x])
    rows = _rows(table, path, metrics, x, group, notes)
    fitted, held = _split(rows, x[0], beyond)
    points = _Points.of(fitted, y, x, group)
    jump = {"jump": _jump(rows, x[0], y, continuous, group)} if continuous else {}
    comparison, left_out = _compared(compared, bool(forms), points)
    best = simplest(comparison)
    curve = fit_curve(best, points.inputs, points.values)
    parameters = parameter_intervals(curve, points.inputs, points.values, points.groups)
    constant = no_better_than_a_constant(comparison, best, points.values)
    if constant:
        parameters = parameters[:0]
    result: dict[str, Any] = {
        "table": str(path),
        "y": y,
        "x": list(x),
        "group": group,
        "n_rows": len(points.values),
        "n_missing": len(table.frame) - len(rows),
        "left_out": [asdict(part) for part in table.left_out([*metrics, *x, group])],
        "forms": records(comparison),
        "best": best,
        "formula": curve.form.text,
        "parameters": records(parameters),
        "notes": [
            *notes,
            *left_out,
            *_notes(comparison, best, constant),
            *doubts(curve, parameters, points.inputs, points.values, x),
        ],
    }
    if len(x) == 1 and "segmented" in compared:
        result |= _break(points)
    if beyond is not None:
        result["beyond"] = _beyond(curve, points, _Points.of(held, y, x, group), n, seed)
    return result | jump


def _split(rows: pd.DataFrame, x: str, beyond: float | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that are fitted, and those with x beyond a value, which are predicted."""
    if beyond is None:
        return rows, rows[:0]
    fitted, held = rows[rows[x] <= beyond], rows[rows[x] > beyond]
    if fitted.empty or held.empty:
        raise InputError(
            f"--beyond {beyond:g}: {x} reaches from {rows[x].min():g} to {rows[x].max():g} in these rows"
        )
    return fitted, held


def _compared(forms: Sequence[str], named: bool, points: _Points) -> tuple[pd.DataFrame, list[str]]:
    """The forms by their error, and notes on those that these rows cannot tell; a form that was
    named is refused instead.
    """
    parts, notes = [], []
    for form in forms:
        try:
            parts.append(leave_groups_out([form], points.inputs, points.values, points.groups))
        except InputError as error:
            none_left = form == forms[-1] and not parts
            if named or none_left:
                raise
            notes.append(f"the form {form} is left out: {error}")
    return pd.concat(parts).sort_values("rmse", ignore_index=True), notes


def _break(points: _Points) -> dict[str, Any]:
    """The test of a break and its place, or why there is none: the rest of the answer does not hang
    on it.
    """
    data = (points.inputs, points.values, points.groups)
    try:
        return {"break": break_test(*data) | breakpoint_interval(*data)}
    except InputError as error:
        return {"no_break": str(error)}


def _notes(comparison: pd.DataFrame, best: str, constant: bool) -> list[str]:
    notes = []
    if not comparison["r2"][0] >= 0:
        notes.append("no form predicts better than the mean of the other groups")
    if constant:
        notes.append(
            f"{best} does not fit better than a constant (AICc), so it has no parameters to report"
        )
    return notes


def _forms(named: Sequence[str], x: Sequence[str]) -> list[str]:
    """The forms to compare: those named, or all that take so many inputs but broken."""
    fitting = [name for name, form in FORMS.items() if form.inputs == len(x)]
    if not fitting:
        raise InputError(f"--x names {len(x)} columns; a form takes one, or two (size and data)")
    for form in named:
        if form not in FORMS:
            raise InputError(
                f"unknown form {form!r}; there are {', '.join(FORMS)}.{nearest(form, FORMS)}"
            )
        if form not in fitting:
            raise InputError(
                f"the form {form} takes {FORMS[form].inputs} columns in --x, not {len(x)} ({', '.join(x)}); "
                f"with {len(x)} there are {', '.join(fitting)}"
            )
    return list(dict.fromkeys(named)) or [form for form in fitting if form != "broken"]


def _rows(
    table: TableFile,
    path: Path,
    metrics: Sequence[str],
    x: Sequence[str],
    group: str,
    notes: Sequence[str],
) -> pd.DataFrame:
    """The rows without missing values in the columns used."""
    frame, used = table.frame, [*metrics, *x, group]
    table.check(used)
    for column in used:
        if column not in frame:
            raise InputError(
                f"{path}: there is no column {column!r}; there are {', '.join(frame)}.{nearest(column, frame)}"
            )
    rows = frame.dropna(subset=used).reset_index(drop=True)
    _check_numbers(rows, metrics, x, notes)
    return rows


def _check_numbers(
    rows: pd.DataFrame, metrics: Sequence[str], x: Sequence[str], notes: Sequence[str]
) -> None:
    for column in (*metrics, *x):
        if not pd.api.types.is_numeric_dtype(rows[column]):
            raise InputError("; ".join([f"the column {column!r} holds text, not numbers", *notes]))
    for column in metrics:
        if not (rows[column].abs() <= LARGEST).all():
            raise InputError(
                f"the column {column!r} holds infinite values or some beyond {LARGEST:g}; mend those rows first"
            )
        if rows[column].nunique() == 1:
            raise InputError(
                f"the column {column!r} is {rows[column].iloc[0]} in every row: there is nothing to explain"
            )
    for column in x:
        _check_positive(rows[column], column)


def _check_positive(values: pd.Series, column: str) -> None:
    wrong = int((~(values > 0) | (values > LARGEST)).sum())
    if wrong:
        zero = "; leave the rows with 0 (step 0) out of the table" if (values == 0).any() else ""
        raise InputError(
            f"the column {column!r} holds {wrong} values that are not above 0, or beyond {LARGEST:g}; "
            f"sizes, data and compute must be{zero}"
        )


def _beyond(curve: Any, points: _Points, held: _Points, n: int, seed: int) -> dict[str, Any]:
    """How well the curve predicts the points that were held out."""
    predicted = extrapolation_interval(
        curve, points.inputs, points.values, points.groups, held.inputs, n, seed
    )
    truth = held.values
    inside = (predicted["lower"] <= truth) & (truth <= predicted["upper"])
    errors = (predicted["predicted"] - truth).to_numpy()
    return {
        "n_rows": len(truth),
        "rmse": float(np.sqrt((errors**2).mean())),
        "mean_error": float(errors.mean()),
        "share_inside_95": float(inside.mean()),
    }


def _jump(rows: pd.DataFrame, x: str, y: str, continuous: str, group: str) -> dict[str, Any]:
    """The label of the jump with its numbers; None for what is not determined."""
    step = asdict(metric_step(*(rows[column].to_numpy() for column in (x, y, continuous, group))))
    intervals = {
        name: records(pd.DataFrame([value]))[0]
        for name, value in step.items()
        if isinstance(value, dict)
    }
    return {"continuous_metric": continuous, **step, **intervals}


def as_json(result: dict[str, Any]) -> str:
    return json_text(result)


def summary(result: dict[str, Any]) -> str:
    """The printed summary."""
    best, forms = result["best"], result["forms"]
    lines = [
        _head_line(result),
        "",
        "Forms, by the error of predicting whole groups from the others (r2: against the mean of the other groups):",
        *table_lines(pd.DataFrame(forms)),
        "",
    ]
    if best != forms[0]["form"]:
        lines += [
            f"{best} is kept: the simplest form within one standard error of {forms[0]['form']}.",
            "",
        ]
    if result["parameters"]:
        lines += [
            f"{best}: {result['formula']}, 95 % intervals by leaving out each group (jackknife):",
            *table_lines(pd.DataFrame(result["parameters"])),
        ]
    if "break" in result or "no_break" in result:
        lines += [""] if result["parameters"] else []
        lines += _break_lines(result)
    if "beyond" in result:
        lines += ["", _beyond_line(result["beyond"])]
    if "jump" in result:
        lines += ["", *_jump_lines(result)]
    if result["notes"]:
        lines += ["", *(f"Note: {note}." for note in result["notes"])]
    return "\n".join(lines)


def _head_line(result: dict[str, Any]) -> str:
    causes = "; ".join(str(LeftOut(**part)) for part in result["left_out"])
    missing = (
        f" ({result['n_missing']} more were left out: {causes})" if result["n_missing"] else ""
    )
    against = f"{result['y']} against {' and '.join(result['x'])}"
    return f"{against}: {result['n_rows']} rows{missing}, groups: {result['group']}"


def _beyond_line(beyond: dict[str, Any]) -> str:
    return (
        f"Beyond: {beyond['n_rows']} rows, rmse {beyond['rmse']:.4g}, mean error {beyond['mean_error']:+.4g} (predicted - seen), "
        f"{100 * beyond['share_inside_95']:.0f} % inside the 95 % interval"
    )


def _break_lines(result: dict[str, Any]) -> list[str]:
    if "no_break" in result:
        return [f"No break was looked for: {result['no_break']}."]
    test, x = result["break"], result["x"][0]
    place = f"at log10 {x} {test['psi']:.3f} [{test['lower']:.3f}, {test['upper']:.3f}]"
    if np.isnan(test["lower"]):
        place = f"best at log10 {x} {test['psi']:.3f}, but no single break fits all groups"
    return [
        f"A break of the slope? p = {test['p']:.3g} (t = {test['t']:.2f} over the bends of {test['n_groups']} groups); {place}"
    ]


def _jump_lines(result: dict[str, Any]) -> list[str]:
    jump = result["jump"]
    rows = [
        {"": name, **{k: jump[key][k] for k in ("estimate", "lower", "upper")}}
        for name, key in (
            (f"share of {result['y']}", "thresholded"),
            (f"share of {jump['continuous_metric']}", "continuous"),
            ("difference", "sensitivity"),
            ("explained", "explained"),
        )
    ]
    return [
        f"The jump of {result['y']} beside {jump['continuous_metric']}: {jump['label']} ({jump['reason']}).",
        f"  between {result['x'][0]} {jump['below']:.4g} and {jump['above']:.4g}, the largest change in {jump['n_agree']} of "
        f"{jump['n_groups']} groups; a rise within {jump['gap']:.2g} decades, the distance of neighbouring x, counts as a jump",
        "  share: of the range, taken by a step beyond a smooth curve; explained: of the step, by a smooth "
        f"{jump['continuous_metric']} under the same threshold",
        *table_lines(pd.DataFrame(rows)),
    ]
