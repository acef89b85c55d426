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

from collections.abc import Sequence
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
    rows, predictors = model.rows, {column_of(v) for term in model.formula.fixed for v in term}
    grouped = [
        c
        for c in dict.fromkeys(column_of(v) for r in model.formula.random for v in r.group)
        if c not in predictors
    ]
    levels = {c: rows[c].nunique() for c in grouped}
    for column in rows:
        if (
            column in grouped
            or column in model.formula.columns
            or pd.api.types.is_numeric_dtype(rows[column])
        ):
            continue
        n = rows[column].nunique()
        nested = [
            g
            for g in grouped
            if 2 <= n < rows[g].nunique() and rows.groupby(g)[column].nunique().max() == 1
        ]
        levels |= {column: n} if nested else {}
    return [c for c, n in levels.items() if n <= MOST], [c for c, n in levels.items() if n > MOST]


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
        if group not in data.rows:
            known = ", ".join(map(str, data.rows))
            raise InputError(
                f"unknown column '{group}'; the table has {known}.{nearest(group, data.rows)}"
            )
        if data.rows[group].nunique() < 2:
            raise InputError(
                f"'{group}' has {data.rows[group].nunique()} level in these rows; leaving it out leaves nothing"
            )
    found = []
    for group in dict.fromkeys(groups):
        column = data.rows[group]
        for level in sorted(column.dropna().unique(), key=lambda v: (str(type(v)), v)):
            found += [
                {"group": group, "left_out": level, **row}
                for row in _without(data, (column != level).to_numpy())
            ]
    whole = model.effects.set_index("term")[["estimate", "lower", "upper"]]
    table = pd.DataFrame(found)
    before = whole.loc[table["term"]].reset_index(drop=True)
    known = table["estimate"].notna()
    table["sign_flips"] = known & (np.sign(table["estimate"]) != np.sign(before["estimate"]))
    table["verdict_changes"] = (
        table["lower"].notna() & before["lower"].notna() & (_verdict(table) != _verdict(before))
    )
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
    table = table[columns]
    return Influence(table.drop(columns="lost"), _summary(whole, table))


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
    empty = {"estimate": np.nan, "lower": np.nan, "upper": np.nan, "p": np.nan, "lost": False}
    factor = linear.column_factor(data.x[kept])
    columns = linear.independent_columns(factor)
    lost = [bool(linear.undetermined(e, factor).any()) for e in np.eye(len(names))]
    try:
        fit = _refit(data, kept, columns)
    except (InputError, np.linalg.LinAlgError) as error:
        return [empty | {"term": name, "reason": f"not fitted: {error}"} for name in names]
    rows, x = data.rows[kept], data.x[kept]
    units = inference_units(data.model.formula, data.design, rows, x)
    units = bounded(units, [u.column for u in data.model.units], rows, x)
    found: list[dict[str, object]] = []
    for j, name in enumerate(names):
        if lost[j]:
            found.append(
                empty
                | {
                    "term": name,
                    "reason": "cannot be estimated from the rows that are left",
                    "lost": True,
                }
            )
            continue
        row = fit.contrasts(np.eye(len(columns))[columns.index(j)], [units[j].bound]).iloc[0]
        found.append(
            {"term": name, **row[["estimate", "lower", "upper", "p"]], "reason": "", "lost": False}
        )
    return found


def _refit(data: _Data, kept: np.ndarray, columns: list[int]) -> MixedFit | GeneralizedFit:
    names = [data.design.names[j] for j in columns]
    terms = [term.at(kept) for term in data.terms]
    for term in terms:
        if term.n_levels < 2:
            raise InputError(f"the grouping factor {term.name} has one level left")
    x, y, fit = data.x[kept][:, columns], data.y[kept], data.model.mixed
    if isinstance(fit, GeneralizedFit):
        trials, offset = fit.laplace.trials[kept], fit.laplace.offset[kept]
        return binomial.fit_binomial(
            y, trials, x, names, terms, fit.method, start=fit, offset=offset
        )
    weights = None if fit.deviance.weights is None else fit.deviance.weights[kept]
    return gaussian.fit(y, x, names, terms, fit.deviance.reml, weights=weights, start=fit)


def _verdict(table: pd.DataFrame) -> pd.Series:
    return (table["lower"] > 0) | (table["upper"] < 0)


def _summary(whole: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for term, part in table.groupby("term", sort=False):
        reasons = []
        for column, text in (
            ("sign_flips", "the sign flips"),
            ("verdict_changes", ""),
            ("lost", "it cannot be estimated"),
        ):
            hits = part[part[column]]
            if hits.empty:
                continue
            excluded = bool(_verdict(whole.loc[[term]]).iloc[0])
            said = text or (
                "the 95 % interval includes 0" if excluded else "the 95 % interval excludes 0"
            )
            levels = [
                f"{group} {level_text(level)}"
                for group, level in hits[["group", "left_out"]].to_numpy()
            ]
            more = f" and {len(levels) - SHOWN} more" if len(levels) > SHOWN else ""
            reasons.append(f"{said} without {', '.join(levels[:SHOWN])}{more}")
        estimates = {"lowest": part["estimate"].min(), "highest": part["estimate"].max()}
        rows.append(
            {
                "term": term,
                **whole.loc[term],
                **estimates,
                "fragile": bool(reasons),
                "reason": "; ".join(reasons),
            }
        )
    return pd.DataFrame(rows)
