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
from itertools import product
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
        within = self.design.within
        levels = {
            f: self.sizes[within[f] | {f}] / self.sizes[within[f]] for f in self.design.facets
        }
        return all(
            self.sizes[s] == prod(levels[f] for f in s) and np.ptp(self.counts(s)) == 0
            for s in self.effects
        )


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
    for column in (score, *design.facets):
        if column not in frame:
            raise InputError(
                f"unknown column '{column}'; the table has {', '.join(map(str, frame.columns))}.{nearest(column, list(frame.columns))}"
            )
    table = frame[[score, *design.facets]].dropna()
    if not (
        pd.api.types.is_numeric_dtype(table[score]) or pd.api.types.is_bool_dtype(table[score])
    ):
        raise InputError(
            f"the scores '{score}' are not numbers, e.g. {table[score].iloc[0]!r}"
            if len(table)
            else "no scores"
        )
    table[score] = table[score].astype(float)  # no assign: a column may be called self
    if table.empty or not np.isfinite(table[score]).all():
        raise InputError(
            f"'{score}' has no scores left without missing values"
            if table.empty
            else f"'{score}' has infinite scores"
        )
    missing, rows = len(frame) - len(table), len(table)
    cells = table.groupby(list(design.facets), sort=False, observed=True)[score]
    averaged = 0
    if cells.ngroups < rows:
        sizes = cells.size()
        if repeats != "average":
            raise InputError(
                f"{int((sizes > 1).sum())} cells of the design hold more than one score, e.g. {sizes.max()} for {_cell(sizes)}; "
                "name the facet that tells them apart, or have them averaged with --repeats average"
            )
        averaged, table = int(sizes[sizes > 1].sum()), cells.mean().reset_index()
    y = table[score].to_numpy(float)
    if np.ptp(y) <= 1e-12 * np.abs(y).max():
        raise InputError(f"all scores '{score}' are equal: there is no variance to divide")
    codes, sizes_ = _levels(table, design)
    _check(design, sizes_)
    return Observations(
        design, y, codes, sizes_, missing, averaged, _cells(table, design) - len(table)
    )


def _cell(sizes: pd.Series) -> str:
    level, names = sizes.idxmax(), sizes.index.names
    return ", ".join(
        f"{n} {v}"
        for n, v in zip(names, level if isinstance(level, tuple) else (level,), strict=True)
    )


def _levels(
    table: pd.DataFrame, design: FacetDesign
) -> tuple[dict[Effect, np.ndarray], dict[Effect, int]]:
    """A nested facet's label counts within the levels it is nested in: item 1 of task a is not item
    1 of task b.
    """
    own = {f: pd.factorize(table[f]) for f in design.facets}
    codes, sizes = {MEAN: np.zeros(len(table), np.int64)}, {MEAN: 1}
    for effect in design.effects():
        last = next(f for f in reversed(design.facets) if f in design.varying(effect))
        labels, uniques = own[last]
        codes[effect], found = pd.factorize(
            codes[effect - {last}].astype(np.int64) * len(uniques) + labels
        )
        sizes[effect] = len(found)
    return codes, sizes


def _check(design: FacetDesign, sizes: dict[Effect, int]) -> None:
    for f in design.facets:
        within = design.within[f]
        if sizes[within | {f}] == sizes[within]:
            each = f" in each level of {design.name(within)}" if within else ""
            raise InputError(
                f"the facet '{f}' has one level{each}: its variance cannot be estimated; leave it out of the design"
            )
    for a, b in product(design.facets, repeat=2):
        inner, both = design.closure(frozenset({a})), design.closure(frozenset({a, b}))
        if a != b and a not in design.within[b] and b not in inner and sizes[both] == sizes[inner]:
            raise InputError(
                f"'{a}' and '{b}' are not crossed: every {a} occurs with one {b} only; write {a}:{b}"
            )


def _cells(table: pd.DataFrame, design: FacetDesign) -> int:
    """Cells of the complete crossing of the levels that occur; facets nested in a common one are
    crossed within it.
    """
    total, done = 1, MEAN
    tops = design.varying(frozenset(design.facets))
    for facet in (f for f in design.facets if f in tops):
        own = design.closure(frozenset({facet}))
        if own & done:
            continue
        joined = table[sorted(own)].drop_duplicates()
        for other in (f for f in design.facets if f in tops and f != facet):
            group = design.closure(frozenset({other}))
            if group & own:
                joined, own = (
                    joined.merge(table[sorted(group)].drop_duplicates(), on=sorted(group & own)),
                    own | group,
                )
        total, done = total * len(joined), done | own
    return total


def analyse(observations: Observations) -> Anova:
    """The analogous ANOVA of the scores. Raises InputError where an effect has no degrees of
    freedom or cannot be told apart.
    """
    design, effects = observations.design, observations.effects
    df, ss = (
        _within({s: np.array(float(observations.sizes[s])) for s in observations.codes}),
        _squares(observations),
    )
    for s in effects:
        if df[s] < 1:
            raise InputError(
                f"the effect '{design.name(s)}' has no degrees of freedom: its {observations.sizes[s]} cells are too few for this design"
            )
    frees = np.array([df[s] for s in effects])
    sums = np.array([ss[s] for s in effects])
    expected = _within(
        {s: np.array([_overlap(observations, s, r) for r in effects]) for s in observations.codes}
    )
    ems = np.array([expected[s] for s in effects]) / frees[:, None]
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
    for s in sorted(totals, key=len):
        own[s] = totals[s] - sum((own[r] for r in own if r < s), np.zeros_like(totals[s]))
    return own


def _squares(observations: Observations) -> dict[Effect, np.ndarray]:
    y = observations.y - observations.y.mean()  # T would lose digits otherwise; SS stay as they are
    totals = {}
    for s, codes in observations.codes.items():
        totals[s] = np.sum(
            np.bincount(codes, y, observations.sizes[s]) ** 2 / observations.counts(s)
        )
    return _within(totals)


def _overlap(observations: Observations, s: Effect, r: Effect) -> float:
    """The factor of sigma2(R) in E T(S): sum over levels of S of sum over levels of R in it of
    n_SR^2 / n_S.
    """
    both = s | r
    n = observations.counts(both)
    first = np.empty(observations.sizes[both], np.int64)
    first[observations.codes[both]] = np.arange(len(observations.y))  # some row of each cell
    return float(
        np.sum(n.astype(float) ** 2 / observations.counts(s)[observations.codes[s][first]])
    )


def solve(anova: Anova, mean_squares: np.ndarray) -> np.ndarray:
    """The components that have these expected mean squares, [..., effect]."""
    return np.linalg.solve(anova.ems, mean_squares[..., None])[..., 0]


def restricted_likelihood(observations: Observations, anova: Anova) -> np.ndarray:
    """REML estimates [effect], in the order of `Observations.effects`. Raises InputError for a
    design too large for it.
    """
    effects = observations.effects[:-1]
    columns = sum(observations.sizes[s] for s in effects) - max(
        observations.sizes[s] for s in effects
    )
    if columns > SMALL_COLUMNS and observations.balanced():
        return balanced_likelihood(anova)
    if columns > REML_COLUMNS:
        raise InputError(
            f"REML of this unbalanced design needs {columns} dense columns, at most {REML_COLUMNS}; use ANOVA"
        )
    name, ones = observations.design.name, np.ones((len(observations.y), 1))
    terms = [
        Grouping(name(s), observations.codes[s], observations.sizes[s], ones, ("(Intercept)",))
        for s in effects
    ]
    spread = observations.y.std()
    found = fit((observations.y - observations.y.mean()) / spread, ones, ["(Intercept)"], terms)
    variance = dict(
        zip([t.name for t in found.deviance.terms], found.components["variance"], strict=False)
    )
    return spread**2 * np.array([*(variance[name(s)] for s in effects), found.sigma**2])


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
        return float(anova.df @ (np.log(expected) + ratio)), anova.ems.T @ (
            anova.df * (1 - ratio) / expected
        )

    bounds = [(0.0, None)] * (len(start) - 1) + [(1e-9, None)]
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000, "maxfun": 20000}
    return (
        scale
        * minimize(deviance, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    )


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
    n, sizes = len(observations.y), observations.sizes
    sums = {
        s: sp.csr_matrix((np.ones(n), (codes, np.arange(n))), (sizes[s], n))
        for s, codes in observations.codes.items()
    }
    batches = []
    for start in range(0, draws, max(1, BATCH // n)):
        size = min(max(1, BATCH // n), draws - start)
        y = np.zeros((n, size))
        for s, sd in zip(observations.effects, np.sqrt(variance), strict=True):
            y += (sd * rng.standard_normal((sizes[s], size)))[observations.codes[s]]
        totals = {
            s: np.sum((z @ y) ** 2 / observations.counts(s)[:, None], axis=0)
            for s, z in sums.items()
        }
        own = _within(totals)
        batches.append(np.array([own[s] for s in observations.effects]).T)
    return np.concatenate(batches) / anova.df / (anova.ems @ variance)
