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
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.linalg import null_space

from transect.stats.formula.notation import Design, Term
from transect.stats.table.table_model import TableModel

NOTHING = 1e-9  # weights below this share of the largest are rounding


def term_tests(model: TableModel) -> pd.DataFrame:
    """One row per term but the intercept: term, num_df, den_df, F, p, hypothesis ("" where it is
    the usual one of type III); of a binomial model chi2 and p_chi2 too."""
    design, binomial = model.design, model.family == "binomial"
    said = _hypotheses(design.whole)
    to_sums, owners = _to_sum_coding(design.whole)
    rows = []
    for term in design.terms:
        if not term:
            continue
        whole = to_sums[[owner == term for owner in owners]]
        hypothesis = _estimable(design, whole)
        if not len(hypothesis):
            none = "not tested, as all of it needs a cell that has no rows"
            rows.append(
                {"term": ":".join(term), "num_df": 0}
                | dict.fromkeys(["den_df", "F", "p"], np.nan)
                | {"hypothesis": none}
            )
            continue
        f, den_df = _f_test(model, hypothesis)
        q = len(hypothesis)
        row = {
            "term": ":".join(term),
            "num_df": q,
            "den_df": den_df,
            "F": f,
            "p": float(stats.f.sf(f, q, den_df)),
        }
        if binomial:
            row |= {"chi2": q * f, "p_chi2": float(stats.chi2.sf(q * f, q))}
        fewer = (
            f"{q} of its {len(whole)} parts, which need no cell without rows"
            if q < len(whole)
            else ""
        )
        rows.append(
            row | {"hypothesis": "; ".join(part for part in (said.get(term, ""), fewer) if part)}
        )
    return pd.DataFrame(rows)


def _hypotheses(design: Design) -> dict[Term, str]:
    """In words, of terms that stand for effects which the formula leaves out, and of those within
    terms that lack a margin.
    """
    there, categories = {frozenset(t) for t in design.terms}, set(design.levels)
    found: dict[Term, str] = {}
    over: dict[Term, list[str]] = {}
    for term in design.terms:
        more = sorted(
            (e for e, owner in design.margins().items() if owner == term and set(e) != set(term)),
            key=len,
        )
        others = [v for t in design.terms if set(t) <= categories for v in t if v not in term]
        averaged = f", averaged over the levels of {_and(others)}" if others else ""
        if () in more:
            found[term] = (
                f"whether the means of all its levels are 0{averaged}, not whether they are equal: the formula has no intercept"
            )
        elif more:
            found[term] = (
                f"stands for {_and([':'.join(e) for e in more])} too, which the formula leaves out"
            )
        margins = {frozenset(part) for n in range(1, len(term)) for part in combinations(term, n)}
        for inner in (t for t in design.terms if t and set(t) < set(term) and not margins <= there):
            over[inner] = over.get(inner, []) + [
                v for v in term if v not in inner and v in categories
            ]
    means = {
        t: f"averaged over the levels of {_and(v)}, each with the same weight"
        for t, v in over.items()
        if v
    }
    return means | found


def _and(names: list[str]) -> str:
    first = list(dict.fromkeys(names))
    return " and ".join([", ".join(first[:-1]), first[-1]] if len(first) > 1 else first)


def _f_test(model: TableModel, hypothesis: np.ndarray) -> tuple[float, float]:
    """F and its denominator df; the parts are the eigenvectors of the hypothesis' covariance."""
    fit = model.fit
    values, vectors = np.linalg.eigh(hypothesis @ fit.vcov @ hypothesis.T)
    parts = vectors.T @ hypothesis
    df = []
    for part in parts:
        weight = np.abs(part) * model.sizes
        carried = weight > NOTHING * weight.max()
        bounds = [unit.bound for unit, used in zip(model.units, carried, strict=True) if used]
        df.append(float(fit.contrasts(np.where(carried, part, 0.0), bounds)["df"].iloc[0]))
    f = float(np.mean((parts @ fit.beta) ** 2 / values))
    return f, _denominator_df(np.array(df), model.family == "binomial")


def _estimable(design: Design, hypothesis: np.ndarray) -> np.ndarray:
    """What the rows tell of a hypothesis about all columns of the whole design: its combinations
    that need no empty cell.
    """
    kept, lost = hypothesis[:, design.kept], hypothesis[:, design.lost]
    needed = lost - kept @ design.alias
    needed[np.abs(needed) < NOTHING * (np.abs(lost) + np.abs(kept) @ np.abs(design.alias))] = (
        0.0  # rounding
    )
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
    summed, owner = copy.copy(design), design.margins()
    summed.sum_coded, summed.terms = True, tuple(owner)
    rng = np.random.default_rng(1)
    n = 20 * len(design.names)
    while True:  # rows of all combinations, until they tell all columns apart
        rows = _made_up_rows(design, rng, n)
        there, here = summed.matrix(rows, transformed=True), design.matrix(rows, transformed=True)
        if n > 10**6 or np.linalg.matrix_rank(there) == there.shape[1]:
            owners = [owner[term] for term in summed.terms for _ in summed.columns_of(term)]
            found = np.linalg.lstsq(there, here, rcond=None)[0]
            return np.where(np.abs(found) < NOTHING, 0.0, found), owners
        n *= 4


def _made_up_rows(design: Design, rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Rows with levels and numbers drawn at random: what the columns mean does not depend on the
    table.
    """
    columns: dict[str, np.ndarray] = {}
    for variable in dict.fromkeys(v for term in design.terms for v in term):
        if variable in design.levels:
            columns[variable] = rng.choice(np.array(design.levels[variable], dtype=object), n)
        elif variable in design.polynomials:
            across = design.polynomials[variable]
            columns[variable] = across.centre + rng.normal(size=n) * np.sqrt(
                across.norms[1] / across.norms[0]
            )
        else:
            columns[variable] = rng.normal(size=n)
    return pd.DataFrame(columns)
