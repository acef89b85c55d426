"""Influence: every fixed effect of a fitted table again, with each single level of a grouping (run,
family, suite) left out.

    b_j(-g): the coefficient j of the same formula fitted to the rows outside level g, the columns
    of the model matrix as in
             the whole table (scale() and poly() keep their meaning), interval and df as there, of
             the units that are left
    fragile  where for any one g left out b_j changes its sign, the verdict changes (whether the 95 % interval excludes 0), or
             b_j cannot be estimated any more (it rests on g alone)
A verdict can also change because fewer units are left: with 4 to 6 of them that is common, and said
by `reason`. Rows that lack the grouping's value are never left out. A refit starts from the
estimates of the whole table and ends where any fit does. Sources: Cook (1977); Nieuwenhuis, te
Grotenhuis & Pelzer (2012), R Journal 4(2), on levels of mixed models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.stats.formula.notation import Design, column_of, level_text
from transect.stats.formula.offsets import less_offset
from transect.stats.inference import linear
from transect.stats.mixed import binomial, gaussian
from transect.stats.mixed.binomial import GeneralizedFit
from transect.stats.mixed.crossed_cholesky import Grouping
from transect.stats.mixed.gaussian import MixedFit
from transect.stats.table.inference_units import bounded, inference_units
from transect.stats.table.model_input import fitted_rows
from transect.stats.table.table_model import TableModel

SHOWN = 3  # levels that a reason names of each kind
MOST = 60  # levels of a grouping that are left out without being asked for by name


@dataclass(frozen=True)
class Influence:
    """What leaving levels out does.

    left_out: term, group, left_out, estimate, lower, upper, p, sign_flips, verdict_changes, reason
    (why there is no estimate). terms: term, estimate, lower, upper (of the whole table), lowest,
    highest (of the refits), fragile, reason.
    """

    left_out: pd.DataFrame
    terms: pd.DataFrame


def groupings(model: TableModel) -> tuple[list[str], list[str]]:
    """What "all" leaves out: the grouping factors of the formula, and text columns that these are
    nested in (family, suite).

    The columns with at most 60 levels, and the grouping factors that have more. Predictors are no
    groupings: without one of their levels there is another question.
    """
    predictors = {column_of(v) for term in model.formula.fixed for v in term}
    grouped = dict.fromkeys(column_of(v) for r in model.formula.random for v in r.group)
    n_levels = {name: model.rows[name].nunique() for name in grouped if name not in predictors}
    n_levels |= _coarser(n_levels, model)
    few = [column for column, n in n_levels.items() if n <= MOST]
    return few, [column for column in n_levels if column not in few]


def _coarser(groupings: Mapping[str, int], model: TableModel) -> dict[str, int]:
    """The text columns outside the formula in whose levels those of a grouping lie, and their
    numbers of levels. `groupings`: the same of these.
    """
    rows = model.rows
    outside = [
        column
        for column in rows
        if column not in {*groupings, *model.formula.columns}
        and not pd.api.types.is_numeric_dtype(rows[column])
    ]
    n_levels = {column: rows[column].nunique() for column in outside}
    return {
        column: n
        for column, n in n_levels.items()
        if any(2 <= n < m and _nested(finer, column, rows) for finer, m in groupings.items())
    }


def _nested(grouping: str, column: str, rows: pd.DataFrame) -> bool:
    """Whether every level of a grouping lies in one level of a column."""
    return bool(rows.groupby(grouping)[column].nunique().max() == 1)


def influence(
    model: TableModel, frame: pd.DataFrame, groups: Sequence[str], weights: str | None = None
) -> Influence:
    """Leave out each level of each column in `groups` in turn; `frame` and `weights` are those the
    model was fitted with.

    Raises InputError for a column that is unknown or has one level, and for another table than the
    model's.
    """
    data = _Data.of(model, frame, weights)
    for group in groups:
        _refuse_grouping(group, data.rows)
    refits: list[dict[str, object]] = []
    for group in dict.fromkeys(groups):
        column = data.rows[group]
        for level in sorted(column.dropna().unique(), key=lambda v: (str(type(v)), v)):
            rows = _without(data, (column != level).to_numpy())
            refits += [{"group": group, "left_out": level, **row} for row in rows]
    whole = model.effects.set_index("term")[["estimate", "lower", "upper"]]
    table = _compared(pd.DataFrame(refits), whole)
    return Influence(table.drop(columns="lost"), _summary(whole, table))


def _refuse_grouping(group: str, rows: pd.DataFrame) -> None:
    """Raise InputError where there is no such column, or no second level of it."""
    if group not in rows:
        known = ", ".join(map(str, rows))
        raise InputError(f"unknown column '{group}'; the table has {known}.{nearest(group, rows)}")
    if rows[group].nunique() < 2:
        raise InputError(
            f"'{group}' has {rows[group].nunique()} level in these rows; leaving it out leaves nothing"
        )


def _compared(refits: pd.DataFrame, whole: pd.DataFrame) -> pd.DataFrame:
    """The refits in the order of columns of `Influence`, with lost, and with whether the sign and
    the verdict are others than in the whole table.
    """
    before = whole.loc[refits["term"]].reset_index(drop=True)
    signs = np.sign(refits["estimate"]) != np.sign(before["estimate"])
    refits["sign_flips"] = refits["estimate"].notna() & signs
    with_verdict = refits["lower"].notna() & before["lower"].notna()
    refits["verdict_changes"] = with_verdict & (_verdict(refits) != _verdict(before))
    columns = [
        "term",
        "group",
        "left_out",
        "estimate",
        "lower",
        "upper",
        "p",
        "sign_flips",
        "verdict_changes",
        "reason",
        "lost",
    ]
    return refits[columns]


@dataclass(frozen=True)
class _Data:
    """The rows of a model with all that a refit takes from them."""

    model: TableModel
    rows: pd.DataFrame
    design: Design
    x: np.ndarray
    y: np.ndarray  # successes, for a binomial model
    terms: list[Grouping]

    @classmethod
    def of(cls, model: TableModel, frame: pd.DataFrame, weights: str | None) -> "_Data":
        rows = fitted_rows(frame, model.formula, weights, model.family)[0]
        design, fit = model.design, model.mixed
        x = design.matrix(rows)
        other = fit.laplace.x if isinstance(fit, GeneralizedFit) else fit.deviance.x
        if x.shape != other.shape or not np.array_equal(x, other):
            raise InputError(
                f"this table ({len(rows)} complete rows) is not the one that the model was fitted to ({fit.n} rows)"
            )
        y = (
            fit.laplace.successes
            if isinstance(fit, GeneralizedFit)
            else less_offset(model.formula, rows)
        )
        return cls(model, rows, design, x, y, gaussian.groupings(model.formula.random, rows))


def _without(data: _Data, kept: np.ndarray) -> list[dict[str, object]]:
    """One row per coefficient of the fit to the rows that are kept; without numbers, but with a
    reason, where there is none.
    """
    names = data.design.names
    factor = linear.column_factor(data.x[kept])
    columns = linear.independent_columns(factor)
    lost = [bool(linear.undetermined(weights, factor).any()) for weights in np.eye(len(names))]
    try:
        fit = _refit(data, kept, columns)
    except (InputError, np.linalg.LinAlgError) as error:
        return [_no_estimate(name, f"not fitted: {error}", lost=False) for name in names]
    rows, x = data.rows[kept], data.x[kept]
    units = inference_units(data.model.formula, data.design, rows, x)
    units = bounded(units, [unit.column for unit in data.model.units], rows, x)
    coefficients: list[dict[str, object]] = []
    for j, name in enumerate(names):
        if lost[j]:
            reason = "cannot be estimated from the rows that are left"
            coefficients.append(_no_estimate(name, reason, lost=True))
            continue
        weights = np.eye(len(columns))[columns.index(j)]
        row = fit.contrasts(weights, [units[j].bound]).iloc[0]
        numbers = row[["estimate", "lower", "upper", "p"]]
        coefficients.append({"term": name, **numbers, "reason": "", "lost": False})
    return coefficients


def _no_estimate(term: str, reason: str, lost: bool) -> dict[str, object]:
    return {
        "estimate": np.nan,
        "lower": np.nan,
        "upper": np.nan,
        "p": np.nan,
        "lost": lost,
        "term": term,
        "reason": reason,
    }


def _refit(data: _Data, kept: np.ndarray, columns: list[int]) -> MixedFit | GeneralizedFit:
    names = [data.design.names[j] for j in columns]
    terms = [term.at(kept) for term in data.terms]
    for term in terms:
        if term.n_levels < 2:
            raise InputError(f"the grouping factor {term.name} has one level left")
    x, y = data.x[kept][:, columns], data.y[kept]
    fit = data.model.mixed
    if isinstance(fit, GeneralizedFit):
        return binomial.fit_binomial(
            y,
            fit.laplace.trials[kept],
            x,
            names,
            terms,
            fit.method,
            start=fit,
            offset=fit.laplace.offset[kept],
        )
    weights = fit.deviance.weights
    if weights is not None:
        weights = weights[kept]
    return gaussian.fit(
        y,
        x,
        names,
        terms,
        fit.deviance.reml,
        weights=weights,
        start=fit,
    )


def _verdict(table: pd.DataFrame) -> pd.Series:
    return (table["lower"] > 0) | (table["upper"] < 0)


def _summary(whole: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for term, part in table.groupby("term", sort=False):
        now = "includes" if _verdict(whole.loc[[term]]).iloc[0] else "excludes"
        sentences = {
            "sign_flips": "the sign flips",
            "verdict_changes": f"the 95 % interval {now} 0",
            "lost": "it cannot be estimated",
        }
        reasons = [
            _without_levels(sentence, part[part[column]])
            for column, sentence in sentences.items()
            if part[column].any()
        ]
        rows.append(
            {
                "term": term,
                **whole.loc[term],
                "lowest": part["estimate"].min(),
                "highest": part["estimate"].max(),
                "fragile": bool(reasons),
                "reason": "; ".join(reasons),
            }
        )
    return pd.DataFrame(rows)


def _without_levels(sentence: str, refits: pd.DataFrame) -> str:
    """What happens without which levels, the first of them."""
    left_out = refits[["group", "left_out"]].to_numpy()
    levels = [f"{group} {level_text(level)}" for group, level in left_out]
    further = f" and {len(levels) - SHOWN} more" if len(levels) > SHOWN else ""
    return f"{sentence} without {', '.join(levels[:SHOWN])}{further}"
