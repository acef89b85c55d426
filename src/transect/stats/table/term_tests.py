"""Tests of whole terms: does a factor, or an interaction, of a fitted model matter at all?

Of a term with q coefficients the hypothesis L beta = 0 is that of type III: the coefficients of the
term where every category is coded as deviations from the mean of its levels (sum coding), so that a
main effect is averaged over the levels of what it interacts with, each with the same weight, and
does not depend on the coding of the formula. Numbers stay as they are: with x in an interaction, a
factor is tested at x = 0. An interaction without the main effects within it stands for them too:
a:b alone is whether all cells are equal, and without an intercept the first category is whether all
its means are 0. `hypothesis` says so. These are the hypotheses of emmeans' joint_tests, one by one
or together; where a margin of an interaction is left out lmerTest and car test some at first levels
instead.
    gaussian    F = (L beta)' (L V L')^-1 (L beta) / q,  with q and Satterthwaite's df: over the q independent parts of L V L' with
                df v_m,  E = sum v_m / (v_m - 2),  df = 2 E / (E - q)     (2 where a v_m is 2 or less)
    binomial    chi2 = q F, by the chi-squared distribution with q df; and F with the df of the units
df of each part never exceed those of the units that carry the coefficients taking part
(inference_units.py), as for single effects. Source: Kuznetsova, Brockhoff & Christensen (2017), J.
Stat. Software 82(13) (lmerTest's anova); Fai & Cornelius (1996) on the df.
"""

import copy
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.linalg import null_space

from transect.stats.formula.notation import Design, Term
from transect.stats.table.table_model import TableModel

NOTHING = 1e-9  # weights below this share of the largest are rounding
MOST_ROWS = 10**6  # made-up rows, above which no more are drawn


def term_tests(model: TableModel) -> pd.DataFrame:
    """One row per term but the intercept: term, num_df, den_df, F, p, hypothesis ("" where it is
    the usual one of type III); of a binomial model chi2 and p_chi2 too."""
    notes = _hypotheses(model.design.whole)
    to_sums, owners = _to_sum_coding(model.design.whole)
    rows = []
    for term in filter(None, model.design.terms):
        whole = to_sums[[owner == term for owner in owners]]
        rows.append(_row(model, term, whole, notes.get(term, "")))
    return pd.DataFrame(rows)


def _row(model: TableModel, term: Term, whole: np.ndarray, note: str) -> dict[str, Any]:
    """The test of one term. `whole`: its hypothesis about all columns of the whole design."""
    row: dict[str, Any] = {"term": ":".join(term)}
    hypothesis = _estimable(model.design, whole)
    q = len(hypothesis)
    if not q:
        return row | {
            "num_df": 0,
            "den_df": np.nan,
            "F": np.nan,
            "p": np.nan,
            "hypothesis": "not tested, as all of it needs a cell that has no rows",
        }
    f, den_df = _f_test(model, hypothesis)
    row |= {
        "num_df": q,
        "den_df": den_df,
        "F": f,
        "p": float(stats.f.sf(f, q, den_df)),
    }
    if model.family == "binomial":
        row |= {
            "chi2": q * f,
            "p_chi2": float(stats.chi2.sf(q * f, q)),
        }
    notes = [note] if note else []
    if q < len(whole):
        notes.append(f"{q} of its {len(whole)} parts, which need no cell without rows")
    return row | {"hypothesis": "; ".join(notes)}


def _hypotheses(design: Design) -> dict[Term, str]:
    """In words, of terms that stand for effects which the formula leaves out, and of those within
    terms that lack a margin.
    """
    averaged = {}
    for term, variables in _averaged_over(design).items():
        averaged[term] = f"averaged over the levels of {_and(variables)}, each with the same weight"
    stand_ins = {}
    for term in design.terms:
        left_out = _left_out(term, design)
        if left_out:
            stand_ins[term] = _stands_for(term, left_out, design)
    return averaged | stand_ins


def _left_out(term: Term, design: Design) -> list[Term]:
    """The effects that a term stands for and that the formula leaves out, the smallest first."""
    owned = [effect for effect, owner in design.margins().items() if owner == term]
    return sorted((effect for effect in owned if set(effect) != set(term)), key=len)


def _stands_for(term: Term, left_out: Sequence[Term], design: Design) -> str:
    """What is tested of a term that stands for effects which the formula leaves out."""
    if () not in left_out:
        names = _and([":".join(effect) for effect in left_out])
        return f"stands for {names} too, which the formula leaves out"
    categories = [other for other in design.terms if set(other) <= set(design.levels)]
    others = [variable for other in categories for variable in other if variable not in term]
    averaged = f", averaged over the levels of {_and(others)}" if others else ""
    return f"whether the means of all its levels are 0{averaged}, not whether they are equal: the formula has no intercept"


def _averaged_over(design: Design) -> dict[Term, list[str]]:
    """Of each term within a larger one that lacks a margin, the categories of the larger one over
    whose levels it is averaged.
    """
    terms = {frozenset(term) for term in design.terms}
    averaged: dict[Term, list[str]] = {}
    for outer in design.terms:
        if _proper_parts(outer) <= terms:
            continue
        for inner in design.terms:
            others = [v for v in outer if v not in inner and v in design.levels]
            if inner and set(inner) < set(outer) and others:
                averaged.setdefault(inner, []).extend(others)
    return averaged


def _proper_parts(term: Term) -> set[frozenset[str]]:
    """The sets of fewer than all of a term's variables, one at least."""
    sizes = range(1, len(term))
    return {frozenset(part) for size in sizes for part in combinations(term, size)}


def _and(names: list[str]) -> str:
    *first, last = dict.fromkeys(names)
    return f"{', '.join(first)} and {last}" if first else last


def _f_test(model: TableModel, hypothesis: np.ndarray) -> tuple[float, float]:
    """F and its denominator df; the parts are the eigenvectors of the hypothesis' covariance."""
    covariance = hypothesis @ model.fit.vcov @ hypothesis.T
    values, vectors = np.linalg.eigh(covariance)
    parts = vectors.T @ hypothesis
    df = np.array([_df_of_part(model, part) for part in parts])
    f = float(np.mean((parts @ model.fit.beta) ** 2 / values))
    return f, _denominator_df(df, model.family == "binomial")


def _df_of_part(model: TableModel, part: np.ndarray) -> float:
    """The df of one independent part, bounded by the units of the coefficients that take part."""
    weight = np.abs(part) * model.sizes
    carried = weight > NOTHING * weight.max()
    bounds = [unit.bound for unit, used in zip(model.units, carried, strict=True) if used]
    contrast = model.fit.contrasts(np.where(carried, part, 0.0), bounds)
    return float(contrast["df"].iloc[0])


def _estimable(design: Design, hypothesis: np.ndarray) -> np.ndarray:
    """What the rows tell of a hypothesis about all columns of the whole design: its combinations
    that need no empty cell.
    """
    kept = hypothesis[:, design.kept]
    lost = hypothesis[:, design.lost]
    needed = lost - kept @ design.alias
    largest = np.abs(lost) + np.abs(kept) @ np.abs(design.alias)
    needed[np.abs(needed) < NOTHING * largest] = 0.0  # rounding
    if not needed.any():
        return kept
    known = null_space(needed.T / np.abs(needed).max(), rcond=1e-9).T
    return known @ kept


def _denominator_df(df: np.ndarray, binomial: bool) -> float:
    """df of a mean of squared t with these df each (Fai & Cornelius 1996); of binomial models the
    units' own.
    """
    if binomial or np.ptp(df) < 1e-8:
        return float(df.min())
    if (df <= 2).any():
        return 2.0
    expected = (df / (df - 2)).sum()
    return float(2 * expected / (expected - len(df)))


def _to_sum_coding(design: Design) -> tuple[np.ndarray, list[Term]]:
    """[coefficient of the sum-coded model, coefficient of this one], both giving every row the same
    mean; and the term of each of the former.
    """
    margins = design.margins()
    summed = copy.copy(design)
    summed.sum_coded = True
    summed.terms = tuple(margins)
    owners = [margins[term] for term in summed.terms for _ in summed.columns_of(term)]
    x_summed, x = _telling_rows(summed, design)
    coding = np.linalg.lstsq(x_summed, x, rcond=None)[0]
    return np.where(np.abs(coding) < NOTHING, 0.0, coding), owners


def _telling_rows(summed: Design, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """The two model matrices of made-up rows of all combinations, as many as it takes until they
    tell all columns apart.
    """
    rng = np.random.default_rng(1)
    n = 20 * len(design.names)
    while True:
        rows = _made_up_rows(design, rng, n)
        x_summed = summed.matrix(rows, transformed=True)
        if n > MOST_ROWS or np.linalg.matrix_rank(x_summed) == x_summed.shape[1]:
            return x_summed, design.matrix(rows, transformed=True)
        n *= 4


def _made_up_rows(design: Design, rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Rows with levels and numbers drawn at random: what the columns mean does not depend on the
    table.
    """
    columns: dict[str, np.ndarray] = {}
    for variable in dict.fromkeys(v for term in design.terms for v in term):
        if variable in design.levels:
            levels = np.array(design.levels[variable], dtype=object)
            columns[variable] = rng.choice(levels, n)
            continue
        numbers = rng.normal(size=n)
        if variable in design.polynomials:
            across = design.polynomials[variable]
            spread = np.sqrt(across.norms[1] / across.norms[0])
            numbers = across.centre + numbers * spread
        columns[variable] = numbers
    return pd.DataFrame(columns)
