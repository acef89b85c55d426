"""Variance components of random designs, crossed, nested and unbalanced: analogous ANOVA (Henderson
I) and REML.

X = mu + sum over effects S of nu_S,  Var(nu_S) = sigma2(S);  the effect of all facets includes the residual.
ANOVA: T(S) = sum over levels of S of n mean^2;  SS(S) = T(S) - sum of SS over the effects within S;  MS = SS / df;
E MS(S) = sum_R k(S, R) sigma2(R), solved for sigma2. Balanced data: the usual ANOVA estimates. The
estimates are unbiased and may be negative; as Brennan does, a negative one is set to 0 after all
have been computed, and both are kept. REML: the same random effects in `mixed.fit` (large balanced
tables: the likelihood of the mean squares), never negative; equal to ANOVA where the data are
balanced and no estimate is negative. Sources: Henderson (1953), Biometrics 9; Brennan (2001), ch.
3.4 (balanced) and 7.1 (analogous ANOVA).
"""

from dataclasses import dataclass
from itertools import permutations
from math import prod

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.optimize import minimize

from transect.errors import InputError, nearest
from transect.stats.generalizability.facets import Effect, FacetDesign
from transect.stats.mixed.crossed_cholesky import Grouping
from transect.stats.mixed.gaussian import fit

MEAN: Effect = frozenset()
# up to so many levels outside the largest effect, seconds, REML is fitted as any mixed model
SMALL_COLUMNS = 500
REML_COLUMNS = 1500  # a minute or more
BATCH = 4_000_000  # simulated scores held at a time


@dataclass(frozen=True)
class Observations:
    """Scores, one per cell of the design. `codes[S]` [row] names the level 0..sizes[S]-1 of each
    effect and of the mean.
    """

    design: FacetDesign
    y: np.ndarray
    codes: dict[Effect, np.ndarray]
    sizes: dict[Effect, int]
    missing: int  # rows left out, their score or a facet being missing
    averaged: int  # rows that went into the mean of a cell with several
    empty: int  # cells that the design has and the table has not

    @property
    def effects(self) -> list[Effect]:
        return list(self.codes)[1:]

    def counts(self, effect: Effect) -> np.ndarray:
        """Scores per level of an effect."""
        return np.bincount(self.codes[effect], minlength=self.sizes[effect])

    def balanced(self) -> bool:
        """Whether every level of every effect has as many scores as the others, and every cell of
        every crossing is there.
        """
        levels = {}
        for facet in self.design.facets:
            within = self.design.within[facet]
            levels[facet] = self.sizes[within | {facet}] / self.sizes[within]
        for effect in self.effects:
            n_crossed = prod(levels[facet] for facet in effect)
            if self.sizes[effect] != n_crossed or np.ptp(self.counts(effect)) != 0:
                return False
        return True


@dataclass(frozen=True)
class Anova:
    """Degrees of freedom, sums of squares and mean squares [effect]; E MS = ems @ sigma2, ems
    [effect, effect].
    """

    df: np.ndarray
    ss: np.ndarray
    ms: np.ndarray
    ems: np.ndarray


def observe(
    frame: pd.DataFrame, score: str, design: FacetDesign, repeats: str = "refuse"
) -> Observations:
    """The scores of a table by the effects of a design. `repeats`: a cell with several scores is a
    fault, or is averaged.

    Raises InputError for an unknown column, scores that are no numbers, a facet with one level,
    crossed facets that are nested.
    """
    complete = _complete_scores(frame, score, design)
    cells = complete.groupby(list(design.facets), sort=False, observed=True)[score]
    table, averaged = complete, 0
    if cells.ngroups < len(complete):
        sizes = cells.size()
        if repeats != "average":
            raise InputError(
                f"{int((sizes > 1).sum())} cells of the design hold more than one score, e.g. {sizes.max()} for {_cell(sizes)}; "
                "name the facet that tells them apart, or have them averaged with --repeats average"
            )
        table = cells.mean().reset_index()
        averaged = int(sizes[sizes > 1].sum())
    y = table[score].to_numpy(float)
    if np.ptp(y) <= 1e-12 * np.abs(y).max():
        raise InputError(f"all scores '{score}' are equal: there is no variance to divide")
    codes, n_levels = _levels(table, design)
    _check(design, n_levels)
    return Observations(
        design,
        y,
        codes,
        n_levels,
        missing=len(frame) - len(complete),
        averaged=averaged,
        empty=_cells(table, design) - len(table),
    )


def _complete_scores(frame: pd.DataFrame, score: str, design: FacetDesign) -> pd.DataFrame:
    """The score and the facets of the complete rows. Raises InputError for scores that are no
    finite numbers.
    """
    for column in (score, *design.facets):
        if column not in frame:
            columns = list(frame.columns)
            raise InputError(
                f"unknown column '{column}'; the table has {', '.join(map(str, columns))}.{nearest(column, columns)}"
            )
    table = frame[[score, *design.facets]].dropna()
    values = table[score]
    if not pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        if table.empty:
            raise InputError("no scores")
        raise InputError(f"the scores '{score}' are not numbers, e.g. {values.iloc[0]!r}")
    if table.empty:
        raise InputError(f"'{score}' has no scores left without missing values")
    table[score] = values.astype(float)  # no assign: a column may be called self
    if not np.isfinite(table[score]).all():
        raise InputError(f"'{score}' has infinite scores")
    return table


def _cell(sizes: pd.Series) -> str:
    """The cell with most scores, in words."""
    labels = sizes.idxmax()
    if not isinstance(labels, tuple):
        labels = (labels,)
    pairs = zip(sizes.index.names, labels, strict=True)
    return ", ".join(f"{facet} {label}" for facet, label in pairs)


def _levels(
    table: pd.DataFrame, design: FacetDesign
) -> tuple[dict[Effect, np.ndarray], dict[Effect, int]]:
    """A nested facet's label counts within the levels it is nested in: item 1 of task a is not item
    1 of task b.
    """
    own = {facet: pd.factorize(table[facet]) for facet in design.facets}
    codes = {MEAN: np.zeros(len(table), np.int64)}
    sizes = {MEAN: 1}
    for effect in design.effects():
        varying = design.varying(effect)
        last = next(facet for facet in reversed(design.facets) if facet in varying)
        labels, uniques = own[last]
        before = codes[effect - {last}].astype(np.int64)
        codes[effect], levels = pd.factorize(before * len(uniques) + labels)
        sizes[effect] = len(levels)
    return codes, sizes


def _check(design: FacetDesign, sizes: dict[Effect, int]) -> None:
    """Raise InputError for a facet with one level, and for crossed facets that are nested."""
    for facet in design.facets:
        within = design.within[facet]
        if sizes[within | {facet}] == sizes[within]:
            each = f" in each level of {design.name(within)}" if within else ""
            raise InputError(
                f"the facet '{facet}' has one level{each}: its variance cannot be estimated; leave it out of the design"
            )
    for a, b in permutations(design.facets, 2):
        inner = design.closure(frozenset({a}))
        both = design.closure(frozenset({a, b}))
        nested = a in design.within[b] or b in inner
        if not nested and sizes[both] == sizes[inner]:
            raise InputError(
                f"'{a}' and '{b}' are not crossed: every {a} occurs with one {b} only; write {a}:{b}"
            )


def _cells(table: pd.DataFrame, design: FacetDesign) -> int:
    """Cells of the complete crossing of the levels that occur; facets nested in a common one are
    crossed within it.
    """
    total, done = 1, MEAN
    tops = design.varying(frozenset(design.facets))
    groups = [design.closure(frozenset({facet})) for facet in design.facets if facet in tops]
    for group in groups:
        if group & done:
            continue
        joined, columns = _levels_of(table, group), group
        for other in groups:
            if other is not group and other & columns:
                levels = _levels_of(table, other)
                joined = joined.merge(levels, on=sorted(other & columns))
                columns = columns | other
        total *= len(joined)
        done = done | columns
    return total


def _levels_of(table: pd.DataFrame, facets: Effect) -> pd.DataFrame:
    """The combinations of levels that occur."""
    return table[sorted(facets)].drop_duplicates()


def analyse(observations: Observations) -> Anova:
    """The analogous ANOVA of the scores. Raises InputError where an effect has no degrees of
    freedom or cannot be told apart.
    """
    design, effects = observations.design, observations.effects
    n_levels = {s: np.array(float(size)) for s, size in observations.sizes.items()}
    df = _within(n_levels)
    ss = _squares(observations)
    for effect in effects:
        if df[effect] < 1:
            raise InputError(
                f"the effect '{design.name(effect)}' has no degrees of freedom: its {observations.sizes[effect]} cells are too few for this design"
            )
    frees = np.array([df[effect] for effect in effects])
    sums = np.array([ss[effect] for effect in effects])
    totals = {
        s: np.array([_overlap(observations, s, r) for r in effects]) for s in observations.codes
    }
    expected = _within(totals)
    ems = np.array([expected[effect] for effect in effects]) / frees[:, None]
    if np.linalg.cond(ems / np.abs(ems).max(axis=0)) > 1e8:
        raise InputError(
            "the table does not tell the effects of this design apart: too many of its cells are empty"
        )
    return Anova(frees, sums, sums / frees, ems)


def _within(totals: dict[Effect, np.ndarray]) -> dict[Effect, np.ndarray]:
    """What each effect adds to the effects within it: SS from T, df from numbers of levels, E SS
    from E T.
    """
    own: dict[Effect, np.ndarray] = {}
    for effect in sorted(totals, key=len):
        inside = np.zeros_like(totals[effect])
        for other in own:
            if other < effect:
                inside = inside + own[other]
        own[effect] = totals[effect] - inside
    return own


def _squares(observations: Observations) -> dict[Effect, np.ndarray]:
    y = observations.y - observations.y.mean()  # T would lose digits otherwise; SS stay as they are
    totals = {}
    for effect, codes in observations.codes.items():
        sums = np.bincount(codes, y, observations.sizes[effect])
        totals[effect] = np.sum(sums**2 / observations.counts(effect))
    return _within(totals)


def _overlap(observations: Observations, s: Effect, r: Effect) -> float:
    """The factor of sigma2(R) in E T(S): sum over levels of S of sum over levels of R in it of
    n_SR^2 / n_S.
    """
    both = s | r
    n = observations.counts(both)
    row = np.empty(observations.sizes[both], np.int64)
    row[observations.codes[both]] = np.arange(len(observations.y))  # some row of each cell
    of_s = observations.codes[s][row]
    return float(np.sum(n.astype(float) ** 2 / observations.counts(s)[of_s]))


def solve(anova: Anova, mean_squares: np.ndarray) -> np.ndarray:
    """The components that have these expected mean squares, [..., effect]."""
    return np.linalg.solve(anova.ems, mean_squares[..., None])[..., 0]


def restricted_likelihood(observations: Observations, anova: Anova) -> np.ndarray:
    """REML estimates [effect], in the order of `Observations.effects`. Raises InputError for a
    design too large for it.
    """
    effects = observations.effects[:-1]
    sizes = [observations.sizes[effect] for effect in effects]
    columns = sum(sizes) - max(sizes)
    if columns > SMALL_COLUMNS and observations.balanced():
        return balanced_likelihood(anova)
    if columns > REML_COLUMNS:
        raise InputError(
            f"REML of this unbalanced design needs {columns} dense columns, at most {REML_COLUMNS}; use ANOVA"
        )
    name = observations.design.name
    ones = np.ones((len(observations.y), 1))
    terms = [
        Grouping(name(s), observations.codes[s], observations.sizes[s], ones, ("(Intercept)",))
        for s in effects
    ]
    spread = observations.y.std()
    standard = (observations.y - observations.y.mean()) / spread
    fitted = fit(standard, ones, ["(Intercept)"], terms)
    fitted_terms = [term.name for term in fitted.deviance.terms]
    variance = dict(zip(fitted_terms, fitted.components["variance"], strict=False))
    components = [variance[name(effect)] for effect in effects]
    return spread**2 * np.array([*components, fitted.sigma**2])


def balanced_likelihood(anova: Anova) -> np.ndarray:
    """REML of balanced data, where -2 log L = sum over effects of df (log E MS + MS / E MS) +
    constant: any size at once.
    """
    scale = anova.ms.mean()
    start = np.maximum(solve(anova, anova.ms) / scale, 0.0)
    start[-1] = max(start[-1], 1e-6)

    def deviance(sigma2: np.ndarray) -> tuple[float, np.ndarray]:
        expected = anova.ems @ sigma2
        ratio = anova.ms / scale / expected
        value = anova.df @ (np.log(expected) + ratio)
        slope = anova.df * (1 - ratio) / expected
        return float(value), anova.ems.T @ slope

    least = minimize(
        deviance,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * (len(start) - 1) + [(1e-9, None)],
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000, "maxfun": 20000},
    )
    return scale * least.x


def mean_square_ratios(
    observations: Observations,
    anova: Anova,
    variance: np.ndarray,
    draws: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """MS / E MS of normal scores with these components [draw, effect]: chi2(df) / df where
    balanced, else simulated.
    """
    if observations.balanced():
        return rng.chisquare(anova.df, (draws, len(anova.df))) / anova.df
    n = len(observations.y)
    indicators = {}
    for effect, codes in observations.codes.items():
        ones, shape = np.ones(n), (observations.sizes[effect], n)
        indicators[effect] = sp.csr_matrix((ones, (codes, np.arange(n))), shape)
    at_once = max(1, BATCH // n)
    batches = []
    for start in range(0, draws, at_once):
        y = _simulated(observations, variance, min(at_once, draws - start), rng)
        totals = {}
        for effect, indicator in indicators.items():
            counts = observations.counts(effect)[:, None]
            totals[effect] = np.sum((indicator @ y) ** 2 / counts, axis=0)
        own = _within(totals)
        batches.append(np.array([own[effect] for effect in observations.effects]).T)
    return np.concatenate(batches) / anova.df / (anova.ems @ variance)


def _simulated(
    observations: Observations, variance: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Normal scores with these components, [row, draw]."""
    y = np.zeros((len(observations.y), size))
    for effect, sd in zip(observations.effects, np.sqrt(variance), strict=True):
        effects = sd * rng.standard_normal((observations.sizes[effect], size))
        y += effects[observations.codes[effect]]
    return y
