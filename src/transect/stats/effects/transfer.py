"""Transfer: whole groups of units (a family, a size, a language) predicted from the others, beside
what size alone predicts.

    R2       = 1 - sum (y - f)^2 / sum (y - m)^2     f: prediction by the model fitted without the unit's group, m: mean of the
                                                     units outside it ("scale": f of the scale-only
                                                     model)
    R2 over scale = 1 - sum (y - f)^2 / sum (y - s)^2                s: prediction of the scale-only model without the group
    delta of a factor = R2 of scale + factor - R2 of scale, both without the group (an interaction:
    with its parts)
Each with an interval by the jackknife over the groups (Tukey 1958; t with groups - 1 df): the
groups are the sample, not the units, and the interval is wide where they are few (cut at 1, which
no R2 exceeds). A term that the other groups do not determine for the group that is left out (its
own category) cannot enter: it is left out of the model, and `model` and `left_out_terms` say so.
Source: stats/effects/grouped_prediction.py for the predictions, coverage and log score; Efron & Stein
(1981) on the jackknife.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.stats.effects.grouped_prediction import GroupedPrediction, predict_left_out
from transect.stats.formula.notation import Design, column_of, parse
from transect.stats.inference import linear
from transect.stats.inference.bounded import UNBOUNDED, Bounds, cut_rows
from transect.stats.inference.intervals import MIN_UNITS, t_interval

MEASURES = ("r2", "r2_scale_only", "r2_over_scale")


def transfer(
    frame: pd.DataFrame,
    group: str,
    scale: Sequence[str],
    factors: Sequence[str],
    bounds: Bounds = UNBOUNDED,
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Leave out each level of `group` of a table with one row per unit (value, the columns of scale
    and factors).

    Returns the row of the whole model (r2, r2_scale_only, r2_over_scale each with _lower and
    _upper, coverage, log_score, log_score_mean, log_score_scale, n_units, n_groups, model,
    left_out_terms, reason), one row per factor (factor, delta, lower, upper, reason) and the
    predictions (left_out, observed, predicted, lower, upper), cut at the outcome's bounds after
    they were scored. A group that cannot be left out gives a reason.
    """
    row: dict[str, Any] = {
        "n_units": len(frame),
        "n_groups": int(frame[group].nunique()) if group in frame else 0,
    }
    nothing = pd.DataFrame(columns=["factor", "delta", "lower", "upper", "reason"]), pd.DataFrame()
    if row["n_groups"] < MIN_UNITS:
        reason = f"{row['n_groups']} level{'s' * (row['n_groups'] != 1)} of {group}, fewer than {MIN_UNITS}"
        return row | {"reason": f"not identifiable: {reason}"}, *nothing
    sizes, others = (_determined(frame, group, terms) for terms in (scale, [*scale, *factors]))
    row |= {
        "model": _formula(others),
        "left_out_terms": ", ".join(t for t in [*scale, *factors] if t not in others),
    }
    try:
        whole = predict_left_out(frame, _formula(others), group, _formula(sizes))
        alone = predict_left_out(frame, _formula(sizes), group)
    except InputError as error:
        return row | {"reason": f"not identifiable: {error}"}, *nothing
    sums = _sums(whole, alone, frame)
    row |= _interval(sums, "model", "mean", "r2") | _interval(
        sums, "scale", "mean", "r2_scale_only"
    )
    row |= _interval(sums, "model", "scale", "r2_over_scale")
    row |= {
        c: float(whole.overall[c])
        for c in ("coverage", "log_score", "log_score_mean", "log_score_scale")
    }
    added = [_delta(frame, group, sizes, factor, alone) for factor in factors]
    return row | {"reason": ""}, pd.DataFrame(added), cut_rows(whole.rows, bounds, "predicted")


def _formula(terms: Sequence[str]) -> str:
    return "value ~ " + (" + ".join(terms) or "1")


def _determined(frame: pd.DataFrame, group: str, terms: Sequence[str]) -> list[str]:
    """The terms that can enter, in order: not of the group's own column, and determined for each
    group by the others.
    """
    kept: list[str] = []
    for term in terms:
        columns = {column_of(v) for t in parse(_formula([term])).fixed for v in t}
        if group in columns or any(frame[c].nunique() < 2 for c in columns):
            continue
        x = Design(parse(_formula([*kept, term])).fixed, frame).matrix(frame)
        held = frame[group].to_numpy()
        left = [(x[held == level], x[held != level]) for level in pd.unique(held)]
        free = min(len(rest) - np.linalg.matrix_rank(rest) for _, rest in left)
        if free >= 1 and not any(
            linear.undetermined(row, rest).any() for new, rest in left for row in new
        ):
            kept.append(term)
    return kept


def _sums(whole: GroupedPrediction, alone: GroupedPrediction, frame: pd.DataFrame) -> pd.DataFrame:
    """Squared errors summed by group: model, scale, mean."""
    held, n = whole.rows["left_out"], len(frame)
    y = whole.rows["observed"]
    outside = (y.sum() - y.groupby(held).transform("sum")) / (n - y.groupby(held).transform("size"))
    errors = {
        "model": y - whole.rows["predicted"],
        "scale": y - alone.rows["predicted"],
        "mean": y - outside,
    }
    return (pd.DataFrame(errors) ** 2).groupby(held).sum()


def _interval(sums: pd.DataFrame, above: str, below: str, name: str) -> dict[str, float]:
    """1 - sum above / sum below, with the jackknife's interval over the groups."""

    def measure(part: pd.DataFrame) -> float:
        return (
            1 - float(part[above].sum() / part[below].sum())
            if part[below].sum() > 0
            else float("nan")
        )

    found = _jackknife(measure(sums), np.array([measure(sums.drop(index=g)) for g in sums.index]))
    return {
        name: found["estimate"],
        f"{name}_lower": found["lower"],
        f"{name}_upper": float(np.minimum(found["upper"], 1)),
    }


def _jackknife(estimate: float, without: np.ndarray) -> Mapping[str, float]:
    n = len(without)
    pseudo = n * estimate - (n - 1) * without
    return t_interval(estimate, float(pseudo.std(ddof=1) / np.sqrt(n)), n - 1)


def _delta(
    frame: pd.DataFrame, group: str, sizes: list[str], factor: str, alone: GroupedPrediction
) -> dict[str, Any]:
    """What one factor (an interaction: with its parts) adds to the scale-only model."""
    row: dict[str, Any] = {"factor": factor, "delta": np.nan, "lower": np.nan, "upper": np.nan}
    parts = [*(factor.split(":") if ":" in factor else []), factor]
    terms = _determined(frame, group, [*sizes, *(p for p in parts if p not in sizes)])
    if factor not in terms:
        return row | {
            "reason": f"not identifiable: the other levels of {group} do not determine it"
        }
    sums = _sums(predict_left_out(frame, _formula(terms), group), alone, frame)

    def gain(part: pd.DataFrame) -> float:
        return (
            float((part["scale"].sum() - part["model"].sum()) / part["mean"].sum())
            if part["mean"].sum() > 0
            else np.nan
        )

    found = _jackknife(gain(sums), np.array([gain(sums.drop(index=g)) for g in sums.index]))
    return row | {
        "delta": found["estimate"],
        "lower": found["lower"],
        "upper": found["upper"],
        "reason": "",
    }
