"""What a model needs of a table before it is fitted: complete rows, groups, a response, columns
that tell each other apart.

Each function refuses, in one sentence with names, what cannot be fitted.
"""

from collections import Counter
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
        _refuse_column(frame, column)
    if frame.empty:
        raise InputError("the table is empty: it has columns, but no rows")
    gaps = frame[list(columns)].isna()
    missing = gaps.any(axis=1)
    rows = frame[~missing] if missing.any() else frame  # no copy of a complete table
    rows = rows.reset_index(drop=True).infer_objects()  # true and false again, without the gaps
    if rows.empty:
        n_missing = {column: int(frame[column].isna().sum()) for column in columns}
        counts = ", ".join(f"{column} {n}" for column, n in n_missing.items() if n)
        raise InputError(f"no row is complete: of {len(frame)} rows, missing values in {counts}")
    return rows, len(frame) - len(rows)


def _refuse_column(frame: pd.DataFrame, column: str) -> None:
    """Raise InputError where there is no such column, or its values are no numbers or names."""
    if column not in frame:
        raise InputError(
            f"unknown column '{column}'; the table has {', '.join(map(str, frame))}.{nearest(column, list(frame))}"
        )
    values = frame[column]
    if pd.api.types.is_float_dtype(values) and np.isinf(values).any():
        raise InputError(
            f"the column '{column}' holds infinite values; drop or mend those rows first"
        )
    if pd.api.types.is_datetime64_any_dtype(values):
        raise InputError(
            f"the column '{column}' holds dates; turn them into numbers (days since ...) or text first"
        )


def fitted_rows(
    frame: pd.DataFrame, formula: Formula, weights: str | None, family: str
) -> tuple[pd.DataFrame, int, list[str]]:
    """The complete rows that say something, the number of incomplete ones, and a note on those of
    no trial or weight 0 (as in R).
    """
    if weights:
        columns, counted = [weights], "a weight of 0"
        needed = [*formula.columns, weights]
    else:
        columns, counted = list(formula.counts or ()), "no trial"
        needed = list(formula.columns)
    rows, n_missing = complete_rows(frame, needed)
    if not columns or not all(pd.api.types.is_numeric_dtype(rows[c]) for c in columns):
        return rows, n_missing, []
    names = " and ".join(columns)
    empty = (rows[columns] == 0).all(axis=1)
    if empty.all():
        raise InputError(f"every row has {counted} ({names}): there is nothing to fit")
    if not empty.any():
        return rows, n_missing, []
    note = f"{int(empty.sum())} rows with {counted} ({names} 0) were left out"
    return rows[~empty].reset_index(drop=True), n_missing, [note]


def check_groups(formula: Formula, rows: pd.DataFrame, several_trials: bool = False) -> None:
    """That there is something to estimate: a fixed effect, random effects that differ, 2 levels or
    more, fewer than rows.

    several_trials: of a binomial response, where one effect for each row can be told from chance.
    """
    if not formula.fixed:
        raise InputError(
            f"formula '{formula.text}' has no fixed effect, not even an intercept; write 1 +"
        )
    n_effects: Counter[str] = Counter()
    for random in formula.random:
        name = ":".join(random.group)
        design = _random_design(random, formula, rows)
        n_columns, n_levels = len(design.names), _n_levels(random, rows)
        if n_levels == len(rows):
            if several_trials and n_columns == 1:
                # the rows of a binomial model without a residual may differ more than chance:
                # overdispersion
                continue
            raise InputError(
                f"the grouping factor {name} has as many levels as there are rows ({n_levels}); its variance is the residual's"
            )
        n_effects[name] += n_levels * n_columns
        if n_effects[name] >= len(rows):
            raise InputError(
                f"by {name} there are {n_effects[name]} random effects and {len(rows)} rows, which cannot tell them from the "
                f"residual; leave out slopes by {name}"
            )


def _random_design(random: Random, formula: Formula, rows: pd.DataFrame) -> Design:
    """The effects of a random term; refused where it has none, has one twice, or where others
    determine one.
    """
    group = ":".join(random.group)
    if not random.terms:
        raise InputError(f"formula '{formula.text}': (0 | {group}) has no effect; write (1 | ...)")
    _refuse_repeated(random, formula)
    design = Design(random.terms, rows)
    where = f" in (... | {group})"
    _refuse_one_level(design, where)
    refuse_aliased(design, design.matrix(rows), where)
    return design


def _n_levels(random: Random, rows: pd.DataFrame) -> int:
    """The number of levels of a grouping factor, at least two."""
    n_levels = int(codes_of(random.group, rows).max()) + 1
    if n_levels < 2:
        only = ":".join(str(rows[column_of(v)].iloc[0]) for v in random.group)
        raise InputError(
            f"the grouping factor {':'.join(random.group)} has one level ({only}); a variance needs at least two"
        )
    return n_levels


def _refuse_repeated(random: Random, formula: Formula) -> None:
    same_group = [other for other in formula.random if set(other.group) == set(random.group)]
    effects = [frozenset(term) for other in same_group for term in other.terms]
    for term in random.terms:
        if effects.count(frozenset(term)) > 1:
            raise InputError(
                f"formula '{formula.text}' has ({':'.join(term) or '1'} | {':'.join(random.group)}) twice: their variances "
                "cannot be told apart"
            )


def apart(formula: Formula, rows: pd.DataFrame) -> list[str]:
    """A note on categories in (f || g), whose meaning programs differ in."""
    groups: dict[str, str] = {}
    for random in formula.random:
        if random.apart:
            group = ":".join(random.group)
            variables = dict.fromkeys(variable for term in random.terms for variable in term)
            groups |= {v: group for v in variables if is_category(v, rows)}
    return [
        f"({v} || {group}): each column of {v}'s coding has a variance of its own and no correlation (lme4 correlates them); "
        f"({v} | {group}) does not depend on the coding"
        for v, group in groups.items()
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
    kept = linear.independent_columns(x)
    lost = [j for j in range(x.shape[1]) if j not in kept and len(design.term_of[j]) > 1]
    in_part = {term for j, term in enumerate(design.term_of) if j not in lost}
    cells = [
        j for j in lost if design.term_of[j] in in_part and _within_its_term(j, kept, design, x)
    ]
    return design.without(cells, x) if cells else design


def _within_its_term(j: int, kept: Sequence[int], design: Design, x: np.ndarray) -> bool:
    """Whether the kept columns of an interaction and of the terms within it determine a column."""
    term = set(design.term_of[j])
    within = [i for i in sorted(kept) if set(design.term_of[i]) <= term]
    return linear.column_rank(x[:, [*within, j]]) == len(within)


def computed(formula: Formula, rows: pd.DataFrame) -> list[str]:
    """A note where the table holds a column that is called as a transform of the formula (log10(p),
    beside p).
    """
    terms = list(formula.fixed)
    for random in formula.random:
        terms += random.terms
    if not formula.counts:
        terms.append((formula.response,))
    variables = dict.fromkeys(variable for term in terms for variable in term)
    return [
        f"{v} is computed from {column_of(v)}; the table's own column of that name would be `{v}` in backticks"
        for v in variables
        if v in rows and column_of(v) in rows and column_of(v) not in (v, v.strip("`"))
    ]


def refuse_aliased(design: Design, x: np.ndarray, where: str = "") -> None:
    """Raise InputError with the first column that others determine; also for values beyond 1e60."""
    size = np.abs(x).max(0, initial=0.0)
    _refuse_extreme(design.names, size, where)
    kept = sorted(linear.independent_columns(x))
    lost = [j for j in range(x.shape[1]) if j not in kept]
    if lost:
        weights = np.linalg.lstsq(x[:, kept], x[:, lost[0]], rcond=None)[0]
        names = [
            design.names[j] for j, weight in zip(kept, weights, strict=True) if abs(weight) > 1e-8
        ]
        raise InputError(
            f"'{design.names[lost[0]]}' is aliased{where}: in these rows it is determined by {_partners(names)}. "
            "Leave one of them out."
        )


def _refuse_extreme(names: list[str], size: np.ndarray, where: str) -> None:
    """Raise InputError for a column whose largest number has a square, or 1 over it, that is none."""
    if size.max(initial=0.0) > LARGEST:
        name = names[int(size.argmax())]
        raise InputError(
            f"'{name}' has values beyond {LARGEST:g}{where}; take its logarithm, or another unit"
        )
    for j in np.flatnonzero((size > 0) & (size < 1 / LARGEST)):
        raise InputError(
            f"'{names[j]}' has no value beyond {1 / LARGEST:g}{where}; take another unit"
        )


def _partners(names: Sequence[str]) -> str:
    """The first columns that determine another, the intercept only where it does alone."""
    partners = [name for name in names if name != "(Intercept)"] or list(names)
    if not partners:
        return "nothing (all 0)"
    further = f" and {len(partners) - SHOWN} more" if len(partners) > SHOWN else ""
    return ", ".join(partners[:SHOWN]) + further


def refuse_nearly_aliased(design: Design, x: np.ndarray) -> None:
    """Raise InputError with the first column of which next to nothing is left beside its mean, or
    beside the others and its mean.
    """
    _refuse_flat(design.names, x)
    with_constant = np.column_stack([np.ones((len(x), 1)), x])
    spanned = linear.column_rank(with_constant) == linear.column_rank(x)
    columns = StandardColumns.of(with_constant if spanned else x)
    root = columns.root[1:, 1:] if spanned else columns.root
    own = np.diag(root)
    spread = np.sqrt((root**2).sum(0))
    varies = (columns.standard[:, -len(root) :] != 0).any(0)
    for j in np.flatnonzero((own < NEARLY * spread) & varies):
        partners = np.flatnonzero(np.abs(root[:j, j]) > 1e-3 * spread[j])
        others = ", ".join(design.names[i] for i in partners)
        raise InputError(
            f"'{design.names[j]}' is nearly collinear with {others}: only {own[j] / spread[j]:.0e} of its spread is "
            f"its own, so that rounding decides the estimates. Leave one of them out{_or_centred(design, x, int(j))}."
        )


def _refuse_flat(names: list[str], x: np.ndarray) -> None:
    """Raise InputError with the first column that varies by next to nothing of its size."""
    spread = x.std(axis=0)
    size = np.abs(x).max(axis=0, initial=0.0)
    for j in np.flatnonzero((spread > 0) & (spread < FLAT * size)):
        raise InputError(
            f"'{names[j]}' varies by only {spread[j] / size[j]:.0e} of its size, which leaves its numbers too few digits; "
            "take a number off that is near all of them (of dates the first)"
        )


def _or_centred(design: Design, x: np.ndarray, j: int) -> str:
    """What else helps where a column is an interaction of a number that lies far from 0."""
    term = design.term_of[j]
    for variable in term if len(term) > 1 else ():
        if variable in design.names:
            numbers = x[:, design.names.index(variable)]
            if np.ptp(numbers) * FAR < np.abs(numbers).max():
                return f", or write scale({variable}) for {variable}, which is far from 0"
    return ""


def response_of(formula: Formula, rows: pd.DataFrame) -> np.ndarray:
    """The response of a gaussian model, less its offsets. Raises InputError where there is nothing
    to explain.
    """
    if formula.counts:
        raise InputError("cbind(successes, failures) is a binomial response; add --family binomial")
    _refuse_text(formula, rows, f"the response '{formula.response}' holds text, not numbers")
    name = f"the response '{formula.response}'"
    if formula.offsets:
        name += f" less {' and '.join(f'offset({v})' for v in formula.offsets)}"
    response = less_offset(formula, rows)
    size = float(np.abs(response).max())
    if size > LARGEST_RESPONSE:
        raise InputError(f"{name} has values beyond {LARGEST_RESPONSE:g}; take another unit")
    if 0 < size < 1 / LARGEST_RESPONSE:
        raise InputError(f"{name} has no value beyond {1 / LARGEST_RESPONSE:g}; take another unit")
    if np.ptp(response) == 0:
        raise InputError(f"{name} is {response[0]:g} in every row: there is nothing to explain")
    for random in formula.random:
        within = pd.Series(response).groupby(codes_of(random.group, rows))
        if (within.nunique() == 1).all():
            group = ":".join(random.group)
            raise InputError(
                f"{name} is the same in all rows of each level of {group}: no residual variance can be "
                f"estimated; take one row per level and leave (... | {group}) out"
            )
    return response


def _refuse_text(formula: Formula, rows: pd.DataFrame, sentence: str) -> None:
    """Raise InputError with a sentence where the response is a category other than true or false."""
    if is_category(formula.response, rows):
        if not pd.api.types.is_bool_dtype(values(formula.response, rows)):
            raise InputError(sentence)


class Counts(NamedTuple):
    """Successes and trials of every row, and what is to be said of them."""

    successes: np.ndarray
    trials: np.ndarray
    notes: list[str]


def counts_of(formula: Formula, rows: pd.DataFrame, weights: str | None) -> Counts:
    """Proportions are taken for the whole number of successes that they are, or, rounded, can only
    be.
    """
    if formula.counts:
        if weights is not None:
            raise InputError("cbind(successes, failures) gives the trials; leave --weights out")
        return _counted(formula, rows)
    _refuse_text(
        formula,
        rows,
        f"the response '{formula.response}' holds text; a binomial response is 0 or 1, true or false",
    )
    share = values(formula.response, rows).to_numpy(float)
    trials = np.ones(len(rows)) if weights is None else weights_of(rows[weights], weights)
    return _of_shares(formula.response, share, trials, weights is not None)


def _counted(formula: Formula, rows: pd.DataFrame) -> Counts:
    """Of cbind(successes, failures)."""
    columns = list(formula.counts or ())
    for column in columns:
        if not pd.api.types.is_numeric_dtype(rows[column]):
            raise InputError(f"the column '{column}' of the response holds text, not counts")
    successes, failures = (rows[column].to_numpy(float) for column in columns)
    broken = (successes != successes.round()) | (failures != failures.round())
    notes = []
    if broken.any():
        notes.append(
            f"{int(broken.sum())} rows of {formula.response} hold parts of a trial, which no binomial count does; they are taken as they are"
        )
    return Counts(successes, successes + failures, notes)


def _of_shares(name: str, share: np.ndarray, trials: np.ndarray, with_trials: bool) -> Counts:
    """Of proportions of whole trials. `with_trials`: a column of the table gives the trials."""
    successes = share * trials
    allowed = _rounding(share) * trials
    off = np.abs(successes - successes.round())
    whole = np.abs(trials - trials.round()).max() <= 1e-6
    rounded = (off > 1e-6) & (off <= 1.001 * allowed) & (allowed < 0.5) & whole
    if (off[~rounded] > 1e-6).any() or share.min() < 0 or share.max() > 1:
        hint = "" if with_trials else _how_to_give_trials(name, share)
        raise InputError(
            f"the response '{name}' is neither 0 or 1 nor a proportion of whole trials{hint}"
        )
    notes = [
        f"{int(rounded.sum())} proportions of '{name}' are rounded, e.g. {share[j]:g} of {trials[j]:g}; taken for "
        f"{successes[j].round():g} of {trials[j]:g}"
        for j in np.flatnonzero(rounded)[:1]
    ]
    return Counts(successes.round(), trials, notes)


def _how_to_give_trials(name: str, share: np.ndarray) -> str:
    """A hint, for counts or for proportions."""
    if share.min() >= 0 and (share == share.round()).all():
        return f"; for counts write cbind({name}, FAILURES), FAILURES a column of the trials that failed"
    return "; for proportions name the column of trials with --weights"


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
