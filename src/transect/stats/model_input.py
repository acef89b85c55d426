"""What a model needs of a table before it is fitted: complete rows, groups, a response, columns that tell each other apart.

Each function refuses, in one sentence with names, what cannot be fitted.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.stats import linear
from transect.stats.formula import Design, Formula, Random, column_of, is_category, values
from transect.stats.inference_units import codes_of

LARGEST = 1e60  # of a predictor: its squares and their sums must be numbers


def complete_rows(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """The rows without a missing value in these columns, and the number of the others."""
    for column in columns:
        if column not in frame:
            raise InputError(
                f"unknown column '{column}'; the table has {', '.join(map(str, frame))}.{nearest(column, list(frame))}"
            )
        if pd.api.types.is_float_dtype(frame[column]) and np.isinf(frame[column]).any():
            raise InputError(f"the column '{column}' holds infinite values; drop or mend those rows first")
        if pd.api.types.is_datetime64_any_dtype(frame[column]):
            raise InputError(
                f"the column '{column}' holds dates; turn them into numbers (days since ...) or text first"
            )
    if frame.empty:
        raise InputError("the table is empty: it has columns, but no rows")
    missing = frame[list(columns)].isna().any(axis=1)
    rows = (frame[~missing] if missing.any() else frame).reset_index(drop=True)  # no copy of a complete table
    rows = rows.infer_objects()  # true and false again, without the gaps
    if rows.empty:
        counts = ", ".join(f"{c} {int(frame[c].isna().sum())}" for c in columns if frame[c].isna().any())
        raise InputError(f"no row is complete: of {len(frame)} rows, missing values in {counts}")
    return rows, len(frame) - len(rows)


def check_groups(formula: Formula, rows: pd.DataFrame) -> None:
    """That there is something to estimate: a fixed effect, random effects that differ, 2 levels or more, fewer than rows."""
    if not formula.fixed:
        raise InputError(f"formula '{formula.text}' has no fixed effect, not even an intercept; write 1 +")
    n_effects: dict[str, int] = {}
    for random in formula.random:
        if not random.terms:
            raise InputError(f"formula '{formula.text}': (0 | {':'.join(random.group)}) has no effect; write (1 | ...)")
        _refuse_repeated(random, formula)
        random_design = Design(random.terms, rows)
        refuse_aliased(random_design, random_design.matrix(rows), f" in (... | {':'.join(random.group)})")
        name, levels = ":".join(random.group), int(codes_of(random.group, rows).max()) + 1
        if levels < 2:
            only = ":".join(str(rows[column_of(v)].iloc[0]) for v in random.group)
            raise InputError(f"the grouping factor {name} has one level ({only}); a variance needs at least two")
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


def refuse_aliased(design: Design, x: np.ndarray, where: str = "") -> None:
    """Raise InputError with the first column that others determine; also for values beyond 1e60."""
    if len(x) and np.abs(x).max(initial=0.0) > LARGEST:
        name = design.names[int(np.abs(x).max(0).argmax())]
        raise InputError(f"'{name}' has values beyond {LARGEST:g}{where}; take its logarithm, or another unit")
    kept = set(linear.independent_columns(x))
    lost = [j for j in range(x.shape[1]) if j not in kept]
    if lost:
        weights = np.linalg.lstsq(x[:, sorted(kept)], x[:, lost[0]], rcond=None)[0]
        partners = [design.names[j] for j, w in zip(sorted(kept), weights, strict=True) if abs(w) > 1e-8]
        partners = [p for p in partners if p != "(Intercept)"] or partners
        raise InputError(
            f"'{design.names[lost[0]]}' is aliased{where}: in these rows it is determined by {', '.join(partners) or 'nothing (all 0)'}. "
            "Leave one of them out."
        )


def response_of(formula: Formula, rows: pd.DataFrame) -> np.ndarray:
    if formula.counts:
        raise InputError("cbind(successes, failures) is a binomial response; add --family binomial")
    if is_category(formula.response, rows) and not pd.api.types.is_bool_dtype(values(formula.response, rows)):
        raise InputError(f"the response '{formula.response}' holds text, not numbers")
    response = values(formula.response, rows).to_numpy(float)
    if response.std() == 0:
        raise InputError(
            f"the response '{formula.response}' is {response[0]:g} in every row: there is nothing to explain"
        )
    return response


def counts_of(formula: Formula, rows: pd.DataFrame, weights: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Successes and trials of every row."""
    if weights is not None and formula.counts:
        raise InputError("cbind(successes, failures) gives the trials; leave --weights out")
    if formula.counts:
        for column in formula.counts:
            if not pd.api.types.is_numeric_dtype(rows[column]):
                raise InputError(f"the column '{column}' of the response holds text, not counts")
        successes, failures = (rows[c].to_numpy(float) for c in formula.counts)
        return successes, successes + failures
    response = values(formula.response, rows)
    if is_category(formula.response, rows) and not pd.api.types.is_bool_dtype(response):
        raise InputError(f"the response '{formula.response}' holds text; a binomial response is 0 or 1, true or false")
    share = response.to_numpy(float)
    trials = np.ones(len(rows)) if weights is None else weights_of(rows[weights], weights)
    successes = share * trials
    if np.abs(successes - successes.round()).max() > 1e-6 or share.min() < 0 or share.max() > 1:
        hint = "" if weights else "; for proportions name the column of trials with --weights"
        if weights is None and share.min() >= 0 and (share == share.round()).all():
            hint = (
                f"; for counts write cbind({formula.response}, FAILURES), FAILURES a column of the trials that failed"
            )
        raise InputError(f"the response '{formula.response}' is neither 0 or 1 nor a proportion of whole trials{hint}")
    return successes.round(), trials


def weights_of(column: pd.Series, name: str) -> np.ndarray:
    if not pd.api.types.is_numeric_dtype(column) or not (column > 0).all():
        raise InputError(f"the weights '{name}' must be numbers above 0 in every row")
    return column.to_numpy(float)
