"""What `transect fit` does: a formula on a table, and what was asked for beside it."""

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class _Fitted:
    """A fitted table, and what it was fitted from."""

    model: TableModel
    frame: pd.DataFrame
    formula: str
    options: Mapping[str, Any]

    @property
    def weights(self) -> str | None:
        return self.options.get("weights")


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
    fitted = _Fitted(model, frame, formula, options)
    results: dict[str, Any] = {
        "left_out_rows": pd.DataFrame(table.left_out(used)),
        "table_notes": notes,
        **_of_every_fit(model),
        **_statistics(fitted, beside),
        **_written(fitted, beside),
    }
    if "means" in results and model.family != "binomial":
        response = values(parsed.response, model.rows).to_numpy(float)
        notes += beyond_shares(response, results["means"])
    if beside.relatedness is not None and beside.of is not None:
        results["relatedness"] = _relatedness(model, frame, beside.relatedness, beside.of)
    return model, results


def _of_every_fit(model: TableModel) -> dict[str, Any]:
    """What is reported of a fit without being asked for."""
    return {
        "terms": term_tests(model),
        "information": information(model),
        "residual_quantiles": residual_quantiles(model),
        "factors": codings(model),
        "omitted_slopes": omitted_slopes(model),
        "vcov": effect_covariance(model).to_dict(),
    }


def _statistics(fitted: _Fitted, beside: Beside) -> dict[str, Any]:
    """The further estimates and tests that are asked for."""
    model, frame = fitted.model, fitted.frame
    results: dict[str, Any] = {}
    if beside.intervals:
        results["intervals"] = _intervals(model, beside)
        results["intervals_by"] = INTERVALS[beside.intervals]
    if beside.against is not None:
        draws = {"n": beside.n, "seed": beside.seed}
        results["comparison"] = compare(
            frame, fitted.formula, beside.against, **draws, **fitted.options
        )
    if beside.means:
        results["means"], results["differences"] = marginal_means(model, beside.means)
    if beside.margin is not None:
        results["equivalence"] = _equivalence(model, beside.margin)
    if beside.left_out:
        results |= _influence(model, frame, beside.left_out, fitted.weights)
    if beside.modes:
        results["modes"] = conditional_modes(model.mixed)
    return results


def _written(fitted: _Fitted, beside: Beside) -> dict[str, Any]:
    """The files that are asked for, which are written here."""
    results: dict[str, Any] = {}
    if beside.predict is not None:
        predictions = write_predictions(fitted.model, fitted.frame, beside.predict, beside.new)
        results["predicted"] = {"file": str(beside.predict), **predictions}
    if beside.plots is not None:
        results["plots"] = [str(path) for path in write_plots(fitted.model, beside.plots)]
    if beside.export_r is not None:
        paths = export_to_r(fitted.model, beside.export_r, fitted.weights)
        results["in_r"] = [str(path) for path in paths]
    return results


def _references(texts: Sequence[str]) -> dict[str, str]:
    chosen = dict(text.partition("=")[::2] for text in texts)
    if wrong := [text for text in texts if "=" not in text]:
        raise InputError(
            f"--reference {wrong[0]}: write COLUMN=LEVEL, as in --reference arch=dense"
        )
    return chosen


def _groupings(formula: Formula) -> set[str]:
    """The columns that are groupings and nothing else."""
    slopes = [term for random in formula.random for term in random.terms]
    variables = [variable for term in [*formula.fixed, *slopes] for variable in term]
    groups = {column_of(variable) for random in formula.random for variable in random.group}
    return groups - {column_of(variable) for variable in variables}


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
    """How the estimates change when each level of a column is left out."""
    named = [column for column in asked if column != "all" or "all" in frame]
    columns: list[str] = named
    skipped: list[str] = []
    if len(named) < len(asked):
        columns, skipped = _every_grouping(model, named)
    result = influence(model, frame, columns, weights)
    return {
        "influence": result.terms,
        "left_out": result.left_out,
        "not_left_out": [column for column in skipped if column not in columns],
    }


def _every_grouping(model: TableModel, named: Sequence[str]) -> tuple[list[str], list[str]]:
    """`--leave-out all`: the named columns and all groupings; and the groupings with too many
    levels.
    """
    every, skipped = groupings(model)
    columns = [*named, *(column for column in every if column not in named)]
    if columns:
        return columns, skipped
    if not skipped:
        raise InputError(
            "--leave-out all: the formula has no grouping; name a column to leave its levels out"
        )
    raise InputError(
        f"--leave-out all: no grouping has 60 levels or fewer ({', '.join(skipped)} have more); name one to leave it out"
    )


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
        effects, signal, alike = related_effects(frame, model.formula.text, of, covariance)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return {
        "file": str(path),
        "taken_for": taken_for,
        "of": of,
        "n_levels": len(levels),
        "lambda": _lambda(signal),
        "effects": effects,
        "left_out": alike,
    }


def _covariance(
    path: Path, matrix: pd.DataFrame | None, levels: list[str]
) -> tuple[pd.DataFrame, str]:
    """The covariance of the levels, and what the file was taken for: a tree, or a matrix."""
    if matrix is None:
        return tree_of(read_text(path, "the tree", guess=False).text, levels), "a tree"
    # pandas writes an index last
    texts = [c for c in matrix if not pd.api.types.is_numeric_dtype(matrix[c])]
    labels = texts[0] if texts else matrix.columns[0]
    return covariance_of(matrix.set_index(labels), levels)


def _lambda(signal: Lambda) -> dict[str, Any]:
    """The phylogenetic signal as a record."""
    return {
        "estimate": signal.estimate,
        "lower": signal.lower,
        "upper": signal.upper,
        "p_star": signal.p_star,
        "n_groups": signal.n_groups,
        "method": signal.method,
        "informative": signal.informative,
        "sentence": signal.sentence,
    }
