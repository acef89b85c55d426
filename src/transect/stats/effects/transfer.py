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

from collections.abc import Callable, Mapping, Sequence
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
    n_groups = int(frame[group].nunique()) if group in frame else 0
    row: dict[str, Any] = {"n_units": len(frame), "n_groups": n_groups}
    nothing = pd.DataFrame(columns=["factor", "delta", "lower", "upper", "reason"]), pd.DataFrame()
    if n_groups < MIN_UNITS:
        plural = "" if n_groups == 1 else "s"
        reason = f"{n_groups} level{plural} of {group}, fewer than {MIN_UNITS}"
        return row | {"reason": f"not identifiable: {reason}"}, *nothing
    terms = [*scale, *factors]
    sizes = _determined(frame, group, scale)
    others = _determined(frame, group, terms)
    row |= {
        "model": _formula(others),
        "left_out_terms": ", ".join(term for term in terms if term not in others),
    }
    try:
        whole = predict_left_out(frame, _formula(others), group, _formula(sizes))
        alone = predict_left_out(frame, _formula(sizes), group)
    except InputError as error:
        return row | {"reason": f"not identifiable: {error}"}, *nothing
    sums = _sums(whole, alone, frame)
    row |= _r_squared(sums, "model", "mean", "r2")
    row |= _r_squared(sums, "scale", "mean", "r2_scale_only")
    row |= _r_squared(sums, "model", "scale", "r2_over_scale")
    for score in ("coverage", "log_score", "log_score_mean", "log_score_scale"):
        row[score] = float(whole.overall[score])
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
        if group in columns or any(frame[column].nunique() < 2 for column in columns):
            continue
        x = Design(parse(_formula([*kept, term])).fixed, frame).matrix(frame)
        if _all_predictable(x, frame[group].to_numpy()):
            kept.append(term)
    return kept


def _all_predictable(x: np.ndarray, groups: np.ndarray) -> bool:
    """Whether the rows of each group lie in the span of the others', which leave a residual df."""
    for level in pd.unique(groups):
        outside = x[groups != level]
        if len(outside) - np.linalg.matrix_rank(outside) < 1:
            return False
        if any(linear.undetermined(row, outside).any() for row in x[groups == level]):
            return False
    return True


def _sums(whole: GroupedPrediction, alone: GroupedPrediction, frame: pd.DataFrame) -> pd.DataFrame:
    """Squared errors summed by group: model, scale, mean."""
    groups, n = whole.rows["left_out"], len(frame)
    y = whole.rows["observed"]
    by_group = y.groupby(groups)
    outside = (y.sum() - by_group.transform("sum")) / (n - by_group.transform("size"))
    errors = {
        "model": y - whole.rows["predicted"],
        "scale": y - alone.rows["predicted"],
        "mean": y - outside,
    }
    return (pd.DataFrame(errors) ** 2).groupby(groups).sum()


def _r_squared(sums: pd.DataFrame, above: str, below: str, name: str) -> dict[str, float]:
    """1 - sum above / sum below, with the jackknife's interval over the groups."""

    def measure(part: pd.DataFrame) -> float:
        if part[below].sum() > 0:
            return 1 - float(part[above].sum() / part[below].sum())
        return float("nan")

    interval = _jackknife(sums, measure)
    return {
        name: interval["estimate"],
        f"{name}_lower": interval["lower"],
        f"{name}_upper": float(np.minimum(interval["upper"], 1)),
    }


def _jackknife(sums: pd.DataFrame, measure: Callable[[pd.DataFrame], float]) -> Mapping[str, float]:
    """The interval of a measure of the groups' sums."""
    n = len(sums)
    estimate = measure(sums)
    without = np.array([measure(sums.drop(index=group)) for group in sums.index])
    pseudo = n * estimate - (n - 1) * without
    se = float(pseudo.std(ddof=1) / np.sqrt(n))
    return t_interval(estimate, se, n - 1)


def _delta(
    frame: pd.DataFrame, group: str, sizes: list[str], factor: str, alone: GroupedPrediction
) -> dict[str, Any]:
    """What one factor (an interaction: with its parts) adds to the scale-only model."""
    parts = factor.split(":") if ":" in factor else []
    added = [part for part in (*parts, factor) if part not in sizes]
    terms = _determined(frame, group, [*sizes, *added])
    if factor not in terms:
        return {
            "factor": factor,
            "delta": np.nan,
            "lower": np.nan,
            "upper": np.nan,
            "reason": f"not identifiable: the other levels of {group} do not determine it",
        }
    sums = _sums(predict_left_out(frame, _formula(terms), group), alone, frame)

    def gain(part: pd.DataFrame) -> float:
        if part["mean"].sum() > 0:
            return float((part["scale"].sum() - part["model"].sum()) / part["mean"].sum())
        return np.nan

    interval = _jackknife(sums, gain)
    return {
        "factor": factor,
        "delta": interval["estimate"],
        "lower": interval["lower"],
        "upper": interval["upper"],
        "reason": "",
    }
