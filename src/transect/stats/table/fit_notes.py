"""What is to be said of a fitted table beside its numbers: singular fits, coarser units, clusters,
disagreement.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from transect.stats.formula.notation import Design, Formula, quoted
from transect.stats.mixed.binomial import GeneralizedFit
from transect.stats.mixed.deviance_search import rounding
from transect.stats.mixed.gaussian import ROUNDED, MixedFit
from transect.stats.mixed.least_squares import LeastSquaresFit
from transect.stats.mixed.random_effects import TableFit, correlations, informative_trials
from transect.stats.table.inference_units import Shared, Unit

CLUSTERED = 1e-3  # a smaller p of all columns together, by Bonferroni, is said
SAID = 2  # columns at most, those with the least p
APART = 2  # times: standard errors of model and cross-check that differ by more
NONE = 1e-4  # residual standard deviations (binomial: logits): less is no variance
FLAT = 1e-4  # the same, of what is left of an effect beside those before it
# 5 rows a level: its sd is 6 % too small, 3 rows: 12 %, 2 rows: 25 % (80 levels, sd 0.5 to 2;
# test_fit_notes.py)
FEW = 1.0
RISING = 0.999  # a rank correlation above this is that of one column in other words


def singular(fit: TableFit) -> list[str]:
    """Variances of 0, correlations of 1 and -1, and other effects that move together, all judged in
    standard columns.
    """
    if isinstance(fit, LeastSquaresFit):
        return []
    deviance = fit.laplace.without if isinstance(fit, GeneralizedFit) else fit.deviance
    pairs = correlations(fit)
    found = []
    parts = zip(deviance.terms, deviance.columns, deviance.factors(fit.theta), strict=True)
    flat = [bool((np.diag(t) < FLAT).any()) for t in deviance.standard_factors(fit.theta)]
    for (term, columns, factor), singular in zip(parts, flat, strict=True):
        sizes = np.sqrt((factor**2).sum(1)) * np.diag(columns.root)
        none = [effect for effect, size in zip(term.effects, sizes, strict=True) if size < NONE]
        said = [
            f"the variance of {e} by {term.name} is estimated as 0 (a singular fit): the data show none"
            for e in none
        ]
        own = pairs[
            (pairs["group"] == term.name)
            & pairs["effect"].isin(term.effects)
            & pairs["other"].isin(term.effects)
        ]
        said += [
            f"the correlation of {effect} and {other} by {group} is estimated as {value:+.0f} (a singular fit)"
            for group, effect, other, value in own.to_numpy()
            if singular and abs(value) > 1 - 1e-6
        ]
        if singular and not said:
            said = [
                f"the effects {', '.join(term.effects)} by {term.name} move together (a singular fit): fewer would do"
            ]
        found += said
    return found


def rounded(fit: TableFit) -> list[str]:
    """A residual so small beside the random effects that few of its digits are left."""
    if not isinstance(fit, MixedFit) or (lost := rounding(fit.deviance, fit.theta)) < ROUNDED:
        return []
    return [
        f"the residual is so small beside the random effects that rounding may move the criterion by {lost:.0e}; numbers that depend on "
        "the residual have few digits"
    ]


def few_trials(fit: TableFit) -> list[str]:
    """Groupings whose levels hold so few 0 and 1 that the Laplace approximation is off."""
    if not isinstance(fit, GeneralizedFit) or fit.laplace.points > 1:
        return []
    told = informative_trials(fit)
    return [
        f"the levels of {group} hold a median of {trials:.2g} informative trials (the sum of n p (1 - p)); with less than {FEW:g} the "
        "approximation gives a standard deviation between them that is 5 to 25 % too small, and coefficients that are too near "
        "to 0; for one random effect take --quadrature 25"
        for group, trials in told.items()
        if trials < FEW
    ]


def empty_cells(design: Design) -> list[str]:
    names = [design.whole.names[j] for j in design.lost]
    return [
        f"left out of the model, since no row tells {'them' if names[1:] else 'it'} from the other effects (an empty cell): "
        f"{', '.join(names)}; means and differences that need {'them' if names[1:] else 'it'} are not estimable"
    ] * bool(names)


def coarser(shared: Sequence[Shared], units: Mapping[str, Unit]) -> list[str]:
    return [
        f"'{term}' does not vary within {unit.column} ({unit.n_levels} levels), which has no random effect and holds several levels "
        f"of {unit.unit} in one: df are at most those of {unit.column}, but the standard error is too small where its levels "
        f"differ; add (1 | {quoted(unit.column)}), or count {unit.unit} as units with --allow-pseudoreplication"
        for term, unit in units.items()
        if unit.column
    ] + [
        f"'{term}' does not vary within {column} ({levels} levels) either, which has no random effect: "
        f"its units, {unit or 'the rows'}, are independent only if nothing else differs between the levels of {column}"
        for term, column, levels, unit, _ in shared
        if not units[term].column
    ]


def clustered(e: np.ndarray, formula: Formula, rows: pd.DataFrame) -> list[str]:
    """Columns outside the formula whose levels differ in their residuals (one-way analysis of
    variance).
    """
    columns = [
        c for c in rows if c not in formula.columns and not pd.api.types.is_float_dtype(rows[c])
    ]
    used = [rows[c] for c in formula.columns]
    found: dict[str, float] = {}
    for column in columns:
        codes, levels = pd.factorize(rows[column])
        if (
            not 2 <= len(levels) <= len(rows) / 2
            or (codes < 0).any()
            or any(_same(rows[column], u) for u in used)
        ):
            continue
        counts = np.bincount(codes)
        between = float((np.bincount(codes, e) ** 2 / counts).sum() - e.sum() ** 2 / len(e))
        df = len(e) - len(levels)
        f = between / (len(levels) - 1) / ((float(e @ e) - e.sum() ** 2 / len(e) - between) / df)
        p = stats.f.sf(f, len(levels) - 1, df)
        if p < CLUSTERED / len(columns):
            found |= {f"the {len(levels)} levels of {column}": p}
    said = sorted(found, key=lambda name: found[name])[:SAID]
    return [
        f"the residuals differ between {' and between '.join(said)}, not in the formula: rows of one level are not independent of "
        f"each other; put {'them' if said[1:] else 'it'} in, as random or fixed terms"
    ] * bool(said)


def _same(column: pd.Series, other: pd.Series) -> bool:
    """Whether two columns are one in other words: one-to-one, or numbers that rise together but for
    rounding.
    """
    a, b = (pd.factorize(c)[0] for c in (column, other))
    n_pairs = len(np.unique(a * (b.max() + 1) + b))
    if n_pairs == a.max() + 1 == b.max() + 1:
        return True
    numbers = pd.api.types.is_numeric_dtype(column) and pd.api.types.is_numeric_dtype(other)
    return numbers and abs(column.rank().corr(other.rank())) > RISING


def disagreeing(means: pd.DataFrame) -> list[str]:
    apart = means[(means["se_ratio"] > APART) | (means["se_ratio"] < 1 / APART)]
    return [
        f"cross-check: the model's standard error of {row['term']} is "
        f"{f'{ratio:.2g} times' if ratio > 1 else f'1/{1 / ratio:.2g} of'} that on the {row['by']} of {row['unit']} ({row['n_units']})"
        for ratio, (_, row) in zip(apart["se_ratio"], apart.iterrows(), strict=True)
    ] + [
        f"cross-check: {row['term']} has another {row['differs'].replace(', ', ' and another ')} by least squares on "
        f"the {row['by']} of {row['unit']} ({row['n_units']})"
        for _, row in means.iterrows()
        if row["differs"]
    ]


def beyond_shares(response: np.ndarray, means: pd.DataFrame) -> list[str]:
    """Marginal means of a response in [0, 1] whose interval leaves it: a linear model knows no
    bounds.
    """
    beyond = (means["lower"] < 0) | (means["upper"] > 1)
    if response.min() < 0 or response.max() > 1 or not beyond.any():
        return []
    return [
        f"every value of the response lies in [0, 1], and the intervals of {beyond.sum()} of {len(means)} marginal means do not: a "
        "linear model knows no bounds (right and wrong answers: --family binomial)"
    ]
