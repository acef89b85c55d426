"""What `transect fit` does: a formula on a table, and what was asked for beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from transect.cli.table.fit_files import check_predictions, write_predictions
from transect.cli.table.fit_in_r import export_to_r
from transect.cli.table.fit_plots import write_plots
from transect.errors import InputError
from transect.stats.formula.notation import Formula, column_of, parse, values
from transect.stats.formula.reference_levels import with_references
from transect.stats.inference.equivalence import tost
from transect.stats.mixed.binomial import GeneralizedFit
from transect.stats.mixed.bootstrap import bootstrap_intervals
from transect.stats.mixed.profile import profile_intervals
from transect.stats.mixed.random_effects import conditional_modes
from transect.stats.phylogeny.covariance import Lambda
from transect.stats.phylogeny.relatedness import covariance_of, related_effects, tree_of
from transect.stats.table.comparison import compare
from transect.stats.table.fit_notes import beyond_shares
from transect.stats.table.influence import groupings, influence
from transect.stats.table.information import (
    codings,
    effect_covariance,
    information,
    residual_quantiles,
)
from transect.stats.table.marginal_means import marginal_means
from transect.stats.table.omitted_slopes import omitted_slopes
from transect.stats.table.table_model import TableModel, fit_table
from transect.stats.table.term_tests import term_tests
from transect.store.tables.reading import is_table, read
from transect.store.tables.text_file import read_text

INTERVALS = {
    "profile": "profile likelihood, with the estimates by maximum likelihood",
    "bootstrap": "parametric bootstrap",
}


@dataclass(frozen=True)
class Beside:
    """What is asked for beside the fit. `left_out`: columns, or "all"; `means`: factors, "A" or
    "A:B"; `margin`: of an equivalence.
    """

    intervals: str | None = None  # "profile" or "bootstrap"
    against: str | None = None
    means: Sequence[str] = ()
    left_out: Sequence[str] = ()
    modes: bool = False
    relatedness: Path | None = None
    of: str | None = None
    margin: float | None = None
    references: Sequence[str] = ()  # "COLUMN=LEVEL"
    predict: Path | None = (
        None  # the file to write predictions to, of the rows of `new` or of the table
    )
    new: Path | None = None
    plots: Path | None = None  # a folder
    export_r: Path | None = None  # a folder
    n: int = 1000
    seed: int = 1


def fit_file(
    path: Path, formula: str, beside: Beside | None = None, **options: Any
) -> tuple[TableModel, dict[str, Any]]:
    """The fitted table and, by name, what was asked for beside it; `options` are those of
    `fit_table`.
    """
    beside = beside or Beside()
    if (beside.relatedness is None) != (beside.of is None):
        raise InputError(
            "--relatedness FILE and --of COLUMN go together: a file, and the column whose levels it relates"
        )
    check_predictions(beside.predict, beside.new, path)
    table, parsed = read(path), parse(formula, offsets=True)
    frame = with_references(table.frame, _references(beside.references), parsed)
    weights = options.get("weights")
    used = [*parsed.columns, *([weights] if weights else [])]
    table.check(used)
    notes = table.notes_on([c for c in used if c not in _groupings(parsed)])
    try:
        model = fit_table(frame, formula, **options)
    except InputError as error:
        raise InputError("; ".join([str(error), *notes])) from None
    found: dict[str, Any] = {
        "left_out_rows": pd.DataFrame(table.left_out(used)),
        "table_notes": notes,
        "terms": term_tests(model),
        "information": information(model),
        "residual_quantiles": residual_quantiles(model),
        "factors": codings(model),
        "omitted_slopes": omitted_slopes(model),
        "vcov": effect_covariance(model).to_dict(),
    }
    if beside.intervals:
        found["intervals"] = _intervals(model, beside)
        found["intervals_by"] = INTERVALS[beside.intervals]
    if beside.against is not None:
        found["comparison"] = compare(
            frame, formula, beside.against, n=beside.n, seed=beside.seed, **options
        )
    if beside.means:
        found["means"], found["differences"] = marginal_means(model, beside.means)
        if model.family != "binomial":
            response = values(parsed.response, model.rows).to_numpy(float)
            notes += beyond_shares(response, found["means"])
    if beside.margin is not None:
        found["equivalence"] = _equivalence(model, beside.margin)
    if beside.left_out:
        found |= _influence(model, frame, beside.left_out, options.get("weights"))
    if beside.modes:
        found["modes"] = conditional_modes(model.mixed)
    if beside.predict is not None:
        found["predicted"] = {
            "file": str(beside.predict),
            **write_predictions(model, frame, beside.predict, beside.new),
        }
    if beside.plots is not None:
        found["plots"] = [str(path) for path in write_plots(model, beside.plots)]
    if beside.export_r is not None:
        found["in_r"] = [str(path) for path in export_to_r(model, beside.export_r, weights)]
    if beside.relatedness is not None and beside.of is not None:
        found["relatedness"] = _relatedness(model, frame, beside.relatedness, beside.of)
    return model, found


def _references(texts: Sequence[str]) -> dict[str, str]:
    chosen = dict(text.partition("=")[::2] for text in texts)
    if wrong := [text for text in texts if "=" not in text]:
        raise InputError(
            f"--reference {wrong[0]}: write COLUMN=LEVEL, as in --reference arch=dense"
        )
    return chosen


def _groupings(formula: Formula) -> set[str]:
    """The columns that are groupings and nothing else."""
    terms = [*formula.fixed, *(t for r in formula.random for t in r.terms)]
    return {column_of(v) for r in formula.random for v in r.group} - {
        column_of(v) for t in terms for v in t
    }


def _intervals(model: TableModel, beside: Beside) -> pd.DataFrame:
    if beside.intervals == "bootstrap":
        return bootstrap_intervals(model.mixed, beside.n, beside.seed)
    fit = model.mixed
    if isinstance(fit, GeneralizedFit):
        raise InputError("profile intervals are for gaussian models; take --intervals bootstrap.")
    return profile_intervals(fit)


def _equivalence(model: TableModel, margin: float) -> pd.DataFrame:
    """Of every effect but the intercept: whether it lies within `margin` of 0
    (stats/inference/equivalence.py).
    """
    effects = model.effects[model.effects["term"] != "(Intercept)"]
    rows = [
        {"term": r["term"], **tost(r["estimate"], r["se"], r["df"], margin)}
        for r in effects.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _influence(
    model: TableModel, frame: pd.DataFrame, asked: Sequence[str], weights: str | None
) -> dict[str, Any]:
    columns = [c for c in asked if c != "all" or "all" in frame]
    skipped: list[str] = []
    if len(columns) < len(asked):
        every, skipped = groupings(model)
        columns += [c for c in every if c not in columns]
        if not columns and not skipped:
            raise InputError(
                "--leave-out all: the formula has no grouping; name a column to leave its levels out"
            )
        if not columns:
            raise InputError(
                f"--leave-out all: no grouping has 60 levels or fewer ({', '.join(skipped)} have more); name one to leave it out"
            )
    result = influence(model, frame, columns, weights)
    return {
        "influence": result.terms,
        "left_out": result.left_out,
        "not_left_out": [c for c in skipped if c not in columns],
    }


def _relatedness(model: TableModel, frame: pd.DataFrame, path: Path, of: str) -> dict[str, Any]:
    """effects (star, estimated, tree), lambda with its interval, and what the file was taken for."""
    if model.family == "binomial":
        raise InputError(
            "--relatedness compares means, which binomial models do not have; fit the shares as gaussian"
        )
    if of not in model.rows:
        raise InputError(
            f"--of {of}: the table has no such column; it has {', '.join(map(str, model.rows))}"
        )
    levels = sorted(model.rows[of].dropna().astype(str).unique())
    if not path.is_file():
        raise InputError(f"there is no file of relations {path}.")
    matrix = read(path).frame if is_table(path) else None
    try:
        covariance, taken_for = _covariance(path, matrix, levels)
        effects, found, alike = related_effects(frame, model.formula.text, of, covariance)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return {
        "file": str(path),
        "taken_for": taken_for,
        "of": of,
        "n_levels": len(levels),
        "lambda": _lambda(found),
        "effects": effects,
        "left_out": alike,
    }


def _covariance(
    path: Path, matrix: pd.DataFrame | None, levels: list[str]
) -> tuple[pd.DataFrame, str]:
    if matrix is None:
        return tree_of(read_text(path, "the tree", guess=False).text, levels), "a tree"
    labels = [
        c for c in matrix if not pd.api.types.is_numeric_dtype(matrix[c])
    ]  # pandas writes an index last
    return covariance_of(matrix.set_index((labels or [matrix.columns[0]])[0]), levels)


def _lambda(found: Lambda) -> dict[str, Any]:
    return {
        "estimate": found.estimate,
        "lower": found.lower,
        "upper": found.upper,
        "p_star": found.p_star,
        "n_groups": found.n_groups,
        "method": found.method,
        "informative": found.informative,
        "sentence": found.sentence,
    }
