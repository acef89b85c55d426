"""What a model needs of a table before it is fitted: complete rows, groups, a response, columns
that tell each other apart.

Each function refuses, in one sentence with names, what cannot be fitted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.stats.formula.notation import Design, Formula, Random, column_of, is_category, values
from transect.stats.formula.offsets import less_offset
from transect.stats.inference import linear
from transect.stats.mixed.standard_units import StandardColumns
from transect.stats.table.inference_units import codes_of

# of a column's spread, left beside the others: numbers rounded to 7 digits can leave so much
NEARLY = 1e-7
FLAT = 1e-10  # of a column's size: numbers have 16 digits
SHOWN = 4  # columns that a message names
# of a predictor and a weight, and 1 over it the least: their squares, and sums of these, must be
# numbers
LARGEST = 1e60
LARGEST_RESPONSE = 1e152  # the same of a response, of which variances are told
FAR = 1e3  # spreads off 0: from there a predictor and its interactions are hard to tell apart


def complete_rows(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """The rows without a missing value in these columns, and the number of the others."""
    for column in columns:
        if column not in frame:
            raise InputError(
                f"unknown column '{column}'; the table has {', '.join(map(str, frame))}.{nearest(column, list(frame))}"
            )
        if pd.api.types.is_float_dtype(frame[column]) and np.isinf(frame[column]).any():
            raise InputError(
                f"the column '{column}' holds infinite values; drop or mend those rows first"
            )
        if pd.api.types.is_datetime64_any_dtype(frame[column]):
            raise InputError(
                f"the column '{column}' holds dates; turn them into numbers (days since ...) or text first"
            )
    if frame.empty:
        raise InputError("the table is empty: it has columns, but no rows")
    missing = frame[list(columns)].isna().any(axis=1)
    rows = (frame[~missing] if missing.any() else frame).reset_index(
        drop=True
    )  # no copy of a complete table
    rows = rows.infer_objects()  # true and false again, without the gaps
    if rows.empty:
        counts = ", ".join(
            f"{c} {int(frame[c].isna().sum())}" for c in columns if frame[c].isna().any()
        )
        raise InputError(f"no row is complete: of {len(frame)} rows, missing values in {counts}")
    return rows, len(frame) - len(rows)


def fitted_rows(
    frame: pd.DataFrame, formula: Formula, weights: str | None, family: str
) -> tuple[pd.DataFrame, int, list[str]]:
    """The complete rows that say something, the number of incomplete ones, and a note on those of
    no trial or weight 0 (as in R).
    """
    rows, n_missing = complete_rows(frame, [*formula.columns, *([weights] if weights else [])])
    columns, counted = (
        ([weights], "a weight of 0") if weights else (list(formula.counts or ()), "no trial")
    )
    if not columns or not all(pd.api.types.is_numeric_dtype(rows[c]) for c in columns):
        return rows, n_missing, []
    empty = (rows[columns] == 0).all(axis=1)
    if empty.all():
        raise InputError(
            f"every row has {counted} ({' and '.join(columns)}): there is nothing to fit"
        )
    note = f"{int(empty.sum())} rows with {counted} ({' and '.join(columns)} 0) were left out"
    return (
        (rows[~empty].reset_index(drop=True), n_missing, [note])
        if empty.any()
        else (rows, n_missing, [])
    )


def check_groups(formula: Formula, rows: pd.DataFrame, several_trials: bool = False) -> None:
    """That there is something to estimate: a fixed effect, random effects that differ, 2 levels or
    more, fewer than rows.

    several_trials: of a binomial response, where one effect for each row can be told from chance.
    """
    if not formula.fixed:
        raise InputError(
            f"formula '{formula.text}' has no fixed effect, not even an intercept; write 1 +"
        )
    n_effects: dict[str, int] = {}
    for random in formula.random:
        if not random.terms:
            raise InputError(
                f"formula '{formula.text}': (0 | {':'.join(random.group)}) has no effect; write (1 | ...)"
            )
        _refuse_repeated(random, formula)
        random_design = Design(random.terms, rows)
        _refuse_one_level(random_design, f" in (... | {':'.join(random.group)})")
        refuse_aliased(
            random_design, random_design.matrix(rows), f" in (... | {':'.join(random.group)})"
        )
        name, levels = ":".join(random.group), int(codes_of(random.group, rows).max()) + 1
        if levels < 2:
            only = ":".join(str(rows[column_of(v)].iloc[0]) for v in random.group)
            raise InputError(
                f"the grouping factor {name} has one level ({only}); a variance needs at least two"
            )
        if several_trials and levels == len(rows) and len(random_design.names) == 1:
            # the rows of a binomial model without a residual may differ more than chance:
            # overdispersion
            continue
        if levels == len(rows):
            raise InputError(
                f"the grouping factor {name} has as many levels as there are rows ({levels}); its variance is the residual's"
            )
        n_effects[name] = n_effects.get(name, 0) + levels * len(random_design.names)
        if n_effects[name] >= len(rows):
            raise InputError(
                f"by {name} there are {n_effects[name]} random effects and {len(rows)} rows, which cannot tell them from the "
                f"residual; leave out slopes by {name}"
            )


def _refuse_repeated(random: Random, formula: Formula) -> None:
    same = [t for r in formula.random if set(r.group) == set(random.group) for t in r.terms]
    for term in random.terms:
        if sum(set(term) == set(t) for t in same) > 1:
            raise InputError(
                f"formula '{formula.text}' has ({':'.join(term) or '1'} | {':'.join(random.group)}) twice: their variances "
                "cannot be told apart"
            )


def apart(formula: Formula, rows: pd.DataFrame) -> list[str]:
    """A note on categories in (f || g), whose meaning programs differ in."""
    found = {
        v: ":".join(r.group)
        for r in formula.random
        if r.apart
        for t in r.terms
        for v in t
        if is_category(v, rows)
    }
    return [
        f"({v} || {group}): each column of {v}'s coding has a variance of its own and no correlation (lme4 correlates them); "
        f"({v} | {group}) does not depend on the coding"
        for v, group in found.items()
    ]


def independent_design(design: Design, rows: pd.DataFrame) -> tuple[Design, np.ndarray]:
    """The design without the columns of empty cells, and its matrix; refused where others determine
    a column, or nearly.
    """
    _refuse_one_level(design)
    x = design.matrix(rows)
    design = without_empty_cells(design, x)
    x = x[:, design.kept]
    refuse_aliased(design, x)
    refuse_nearly_aliased(design, x)
    return design, x


def _refuse_one_level(design: Design, where: str = "") -> None:
    """Raise InputError with the first category that is the same in all rows (R: contrasts need 2 or
    more levels).
    """
    for variable, levels in design.levels.items():
        if len(levels) < 2:
            only = levels[0] if levels else "none"
            raise InputError(
                f"'{variable}'{where} has one level in these rows ({only}); its effect needs at least two. Leave it out."
            )


def without_empty_cells(design: Design, x: np.ndarray) -> Design:
    """The design without the columns of interactions that have no rows of their own: those that the
    interaction's other columns and the terms within it determine. An interaction that is lost
    wholly is left to `refuse_aliased`.
    """
    kept = set(linear.independent_columns(x))
    lost = [j for j in range(x.shape[1]) if j not in kept and len(design.term_of[j]) > 1]
    wholly = {
        t
        for t in design.term_of
        if all(j in lost for j, own in enumerate(design.term_of) if own == t)
    }
    cells = []
    for j in lost:
        term = set(design.term_of[j])
        within = [i for i in sorted(kept) if set(design.term_of[i]) <= term]
        if design.term_of[j] not in wholly and linear.column_rank(x[:, [*within, j]]) == len(
            within
        ):
            cells.append(j)
    return design.without(cells, x) if cells else design


def computed(formula: Formula, rows: pd.DataFrame) -> list[str]:
    """A note where the table holds a column that is called as a transform of the formula (log10(p),
    beside p).
    """
    terms = [
        *formula.fixed,
        *(t for r in formula.random for t in r.terms),
        (() if formula.counts else (formula.response,)),
    ]
    names = [
        v
        for v in dict.fromkeys(v for t in terms for v in t)
        if v in rows and column_of(v) not in (v, v.strip("`"))
    ]
    return [
        f"{v} is computed from {column_of(v)}; the table's own column of that name would be `{v}` in backticks"
        for v in names
        if column_of(v) in rows
    ]


def refuse_aliased(design: Design, x: np.ndarray, where: str = "") -> None:
    """Raise InputError with the first column that others determine; also for values beyond 1e60."""
    if len(x) and np.abs(x).max(initial=0.0) > LARGEST:
        name = design.names[int(np.abs(x).max(0).argmax())]
        raise InputError(
            f"'{name}' has values beyond {LARGEST:g}{where}; take its logarithm, or another unit"
        )
    size = np.abs(x).max(0, initial=0.0)
    for j in np.flatnonzero((size > 0) & (size < 1 / LARGEST)):
        raise InputError(
            f"'{design.names[j]}' has no value beyond {1 / LARGEST:g}{where}; take another unit"
        )
    kept = set(linear.independent_columns(x))
    lost = [j for j in range(x.shape[1]) if j not in kept]
    if lost:
        weights = np.linalg.lstsq(x[:, sorted(kept)], x[:, lost[0]], rcond=None)[0]
        partners = [
            design.names[j] for j, w in zip(sorted(kept), weights, strict=True) if abs(w) > 1e-8
        ]
        partners = [p for p in partners if p != "(Intercept)"] or partners
        shown = ", ".join(partners[:SHOWN]) + (
            f" and {len(partners) - SHOWN} more" if len(partners) > SHOWN else ""
        )
        raise InputError(
            f"'{design.names[lost[0]]}' is aliased{where}: in these rows it is determined by {shown or 'nothing (all 0)'}. "
            "Leave one of them out."
        )


def refuse_nearly_aliased(design: Design, x: np.ndarray) -> None:
    """Raise InputError with the first column of which next to nothing is left beside its mean, or
    beside the others and its mean.
    """
    spread, size = x.std(axis=0), np.abs(x).max(axis=0, initial=0.0)
    for j in np.flatnonzero((spread > 0) & (spread < FLAT * size)):
        raise InputError(
            f"'{design.names[j]}' varies by only {spread[j] / size[j]:.0e} of its size, which leaves its numbers too few digits; "
            "take a number off that is near all of them (of dates the first)"
        )
    constant = np.ones((len(x), 1))
    spanned = linear.column_rank(np.column_stack([constant, x])) == linear.column_rank(x)
    columns = StandardColumns.of(np.column_stack([constant, x]) if spanned else x)
    root = columns.root[1:, 1:] if spanned else columns.root
    beside = np.sqrt((root**2).sum(0))
    for j in np.flatnonzero(
        (np.diag(root) < NEARLY * beside) & (columns.standard[:, -len(root) :] != 0).any(0)
    ):
        weights = np.abs(root[:j, j])
        others = [design.names[i] for i in np.flatnonzero(weights > 1e-3 * beside[j])]
        raise InputError(
            f"'{design.names[j]}' is nearly collinear with {', '.join(others)}: only {np.diag(root)[j] / beside[j]:.0e} of its spread is "
            f"its own, so that rounding decides the estimates. Leave one of them out{_or_centred(design, x, int(j))}."
        )


def _or_centred(design: Design, x: np.ndarray, j: int) -> str:
    """What else helps where a column is an interaction of a number that lies far from 0."""
    parts = [v for v in design.term_of[j] if len(design.term_of[j]) > 1 and v in design.names]
    far = [
        v
        for v in parts
        if np.ptp(x[:, design.names.index(v)]) * FAR < np.abs(x[:, design.names.index(v)]).max()
    ]
    return f", or write scale({far[0]}) for {far[0]}, which is far from 0" if far else ""


def response_of(formula: Formula, rows: pd.DataFrame) -> np.ndarray:
    """The response of a gaussian model, less its offsets. Raises InputError where there is nothing
    to explain.
    """
    if formula.counts:
        raise InputError("cbind(successes, failures) is a binomial response; add --family binomial")
    if is_category(formula.response, rows) and not pd.api.types.is_bool_dtype(
        values(formula.response, rows)
    ):
        raise InputError(f"the response '{formula.response}' holds text, not numbers")
    response = less_offset(formula, rows)
    less = (
        f" less {' and '.join(f'offset({v})' for v in formula.offsets)}" if formula.offsets else ""
    )
    size = float(np.abs(response).max())
    if size > LARGEST_RESPONSE or 0 < size < 1 / LARGEST_RESPONSE:
        beyond = (
            f"values beyond {LARGEST_RESPONSE:g}"
            if size > 1
            else f"no value beyond {1 / LARGEST_RESPONSE:g}"
        )
        raise InputError(f"the response '{formula.response}'{less} has {beyond}; take another unit")
    if np.ptp(response) == 0:
        raise InputError(
            f"the response '{formula.response}'{less} is {response[0]:g} in every row: there is nothing to explain"
        )
    for random in formula.random:
        within = pd.Series(response).groupby(codes_of(random.group, rows))
        if (within.nunique() == 1).all():
            group = ":".join(random.group)
            raise InputError(
                f"the response '{formula.response}'{less} is the same in all rows of each level of {group}: no residual variance can be "
                f"estimated; take one row per level and leave (... | {group}) out"
            )
    return response


class Counts(NamedTuple):
    """Successes and trials of every row, and what is to be said of them."""

    successes: np.ndarray
    trials: np.ndarray
    notes: list[str]


def counts_of(formula: Formula, rows: pd.DataFrame, weights: str | None) -> Counts:
    """Proportions are taken for the whole number of successes that they are, or, rounded, can only
    be.
    """
    if weights is not None and formula.counts:
        raise InputError("cbind(successes, failures) gives the trials; leave --weights out")
    if formula.counts:
        for column in formula.counts:
            if not pd.api.types.is_numeric_dtype(rows[column]):
                raise InputError(f"the column '{column}' of the response holds text, not counts")
        successes, failures = (rows[c].to_numpy(float) for c in formula.counts)
        broken = int(((successes != successes.round()) | (failures != failures.round())).sum())
        parts = f"{broken} rows of {formula.response} hold parts of a trial, which no binomial count does; they are taken as they are"
        return Counts(successes, successes + failures, [parts] * bool(broken))
    response = values(formula.response, rows)
    if is_category(formula.response, rows) and not pd.api.types.is_bool_dtype(response):
        raise InputError(
            f"the response '{formula.response}' holds text; a binomial response is 0 or 1, true or false"
        )
    share = response.to_numpy(float)
    trials = np.ones(len(rows)) if weights is None else weights_of(rows[weights], weights)
    successes, allowed = share * trials, _rounding(share) * trials
    off = np.abs(successes - successes.round())
    whole = np.abs(trials - trials.round()).max() <= 1e-6
    rounded = (off > 1e-6) & (off <= 1.001 * allowed) & (allowed < 0.5) & whole
    if (off[~rounded] > 1e-6).any() or share.min() < 0 or share.max() > 1:
        hint = "" if weights else "; for proportions name the column of trials with --weights"
        if weights is None and share.min() >= 0 and (share == share.round()).all():
            hint = f"; for counts write cbind({formula.response}, FAILURES), FAILURES a column of the trials that failed"
        raise InputError(
            f"the response '{formula.response}' is neither 0 or 1 nor a proportion of whole trials{hint}"
        )
    note = [
        f"{int(rounded.sum())} proportions of '{formula.response}' are rounded, e.g. {share[j]:g} of {trials[j]:g}; taken for "
        f"{successes[j].round():g} of {trials[j]:g}"
        for j in np.flatnonzero(rounded)[:1]
    ]
    return Counts(successes.round(), trials, note)


def _rounding(shares: np.ndarray) -> float:
    """The most by which numbers with so few decimals differ from what they were; 0 where they have
    many.
    """
    digits = next((d for d in range(8) if np.abs(shares - shares.round(d)).max() < 1e-12), None)
    return 0.0 if digits is None else 0.5 * 10.0**-digits


def weights_of(column: pd.Series, name: str) -> np.ndarray:
    if not pd.api.types.is_numeric_dtype(column) or not (column > 0).all():
        raise InputError(f"the weights '{name}' must be numbers above 0 in every row")
    if column.max() > LARGEST or column.min() < 1 / LARGEST:
        raise InputError(
            f"the weights '{name}' lie between {column.min():g} and {column.max():g}; they may between {1 / LARGEST:g} and "
            f"{LARGEST:g}, where only what they are to each other counts"
        )
    return column.to_numpy(float)
