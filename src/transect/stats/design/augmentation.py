"""Which further units add most to the contrasts in question of a set of units at hand.

    y_i = x_i' b + sum_f u_f(i) + e_i        var(e) = 1, var(u) = 1 for every level of a factor f that is no term, var(b) = PRIOR^2

Terms are factors or products of two ("size:corpus"), coded over the units at hand: categories by
deviations from their mean (stats/design/factorial.py), numbers by log10, scaled to [-1, 1] over them and
credited up to REACH beyond. A term's factor that has one value there is coded as that value against
any other. What is no term, and what differs from all levels at hand, is a nuisance of the size of
the error: a unit that brings five new things along says less than one that brings one. With V = I +
sum_f [same level of f] between units,

    M = X' V^-1 X + I / PRIOR^2,    a further unit with row x, covariances v: w = x - X' V^-1 v,  s = V_00 - v' V^-1 v,  M' = M + w w' / s
    D gain   log det M' - log det M = log(1 + w' M^-1 w / s)                      A gain   tr M^-1 - tr M'^-1
    resolved   terms of which some contrast kept more than half of its prior variance before, and keeps less than half after

Sources: Atkinson, Donev & Tobias 2007, Optimum Experimental Designs with SAS, 10 and 19
(augmentation); DuMouchel & Jones 1994, Technometrics 36 (possible effects with prior variance;
theirs is the error's too).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transect.stats.design.aliasing import known_in_all
from transect.stats.design.factorial import columns, products

PRIOR = 10.0  # sd of an effect beforehand, in sd of the error: nearly nothing is known
REACH = 1.5  # a straight line is not trusted far beyond the units at hand
LOST = 0.5  # of its prior variance, above which a contrast counts as not estimated


@dataclass(frozen=True)
class Addition:
    """One candidate (its row), given those before it: its gains by both criteria and the terms that
    it makes estimable.
    """

    row: int
    d_gain: float
    a_gain: float
    resolved: tuple[str, ...]


def rank(
    frame: pd.DataFrame,
    candidates: pd.DataFrame,
    terms: Sequence[str],
    numeric: Collection[str] = (),
    nuisance: Sequence[str] = (),
    *,
    k: int,
    criterion: str = "D",
) -> list[Addition]:
    """The k best candidates, each given those before it. `nuisance`: further categorical factors,
    columns of both tables.

    Candidates (and units at hand) of which a term's factor is unknown are left out; an unknown
    nuisance is a level of its own. Raises ValueError for another criterion than D or A, and where
    no unit is left.
    """
    if criterion not in ("D", "A"):
        raise ValueError(f"unknown criterion {criterion!r}; allowed: D, A")
    factors = _factors(terms)
    here = frame[known_in_all(frame, factors)]
    usable = np.flatnonzero(known_in_all(candidates, factors))
    if here.empty:
        raise ValueError(f"no unit is known in all of {', '.join(factors)}")
    both = pd.concat([here, candidates.iloc[usable]], ignore_index=True)
    n = len(here)
    model = _Model.of(both, n, terms, numeric, nuisance)
    rows = list(range(n))
    additions = []
    for _ in range(min(k, len(usable))):
        inside = model.variances(rows)
        waiting = [i for i in range(n, len(both)) if i not in rows]
        gains = model.gains(rows, waiting, inside)
        gain = gains.d if criterion == "D" else gains.a
        best = int(np.argmax(np.round(gain, 9)))  # of equals the first
        after = gains.variances_after(inside, best)
        additions.append(
            Addition(
                row=int(usable[waiting[best] - n]),
                d_gain=float(gains.d[best]),
                a_gain=float(gains.a[best]),
                resolved=model.resolved(inside, after),
            )
        )
        rows.append(waiting[best])
    return additions


@dataclass(frozen=True)
class _Gains:
    """What each further unit adds [unit]: d and a gain; w M^-1 as `reach`, w M^-1 w' + s as `sizes`."""

    d: np.ndarray
    a: np.ndarray
    reach: np.ndarray
    sizes: np.ndarray

    def variances_after(self, inside: np.ndarray, unit: int) -> np.ndarray:
        """M'^-1 from M^-1, by the Sherman-Morrison formula."""
        reach = self.reach[unit]
        return inside - np.outer(reach, reach) / self.sizes[unit]


@dataclass(frozen=True)
class _Model:
    """Rows X and covariances V of units, those at hand first; `parts`: the columns of each term."""

    x: np.ndarray
    v: np.ndarray
    parts: dict[str, slice]

    @classmethod
    def of(
        cls,
        both: pd.DataFrame,
        n: int,
        terms: Sequence[str],
        numeric: Collection[str],
        nuisance: Sequence[str],
    ) -> "_Model":
        """Of units of which `n` are at hand."""
        x, parts = _coded(both, n, terms, numeric)
        categories = [name for name in _factors(terms) if name not in numeric]
        return cls(x, np.eye(len(both)) + _shared(both, n, categories, nuisance), parts)

    def variances(self, rows: Sequence[int]) -> np.ndarray:
        """M^-1 of these units."""
        x, v = self.x[rows], self.v[np.ix_(rows, rows)]
        prior = np.eye(x.shape[1]) / PRIOR**2
        return np.linalg.inv(x.T @ np.linalg.solve(v, x) + prior)

    def gains(self, rows: Sequence[int], further: Sequence[int], inside: np.ndarray) -> _Gains:
        """What each of `further` adds to the units `rows`, whose M^-1 is `inside`."""
        between = self.v[np.ix_(rows, further)]
        solved = np.linalg.solve(self.v[np.ix_(rows, rows)], between)
        w = self.x[further] - solved.T @ self.x[rows]
        s = self.v[further, further] - np.einsum("rc,rc->c", between, solved)
        reach = w @ inside
        gained = np.einsum("cp,cp->c", reach, w)
        return _Gains(
            d=np.log1p(gained / s),
            a=(reach**2).sum(axis=1) / (s + gained),
            reach=reach,
            sizes=s + gained,
        )

    def resolved(self, before: np.ndarray, after: np.ndarray) -> tuple[str, ...]:
        """The terms that are estimable with M^-1 `after`, and not with `before`."""
        terms = []
        for term, part in self.parts.items():
            if _lost(before, part) > LOST >= _lost(after, part):
                terms.append(term)
        return tuple(terms)


def _factors(terms: Sequence[str]) -> list[str]:
    """The factors of all terms, each once."""
    return list(dict.fromkeys(name for term in terms for name in term.split(":")))


def estimability(
    frame: pd.DataFrame,
    terms: Sequence[str],
    numeric: Collection[str] = (),
    nuisance: Sequence[str] = (),
) -> dict[str, float]:
    """Of each term, what its worst contrast has lost of its prior variance at the units at hand: 0
    nothing is known, near 1 well known.

    0 for a term with a factor that does not vary: what is known of it there is the mean.
    """
    factors = _factors(terms)
    here = frame[known_in_all(frame, factors)].reset_index(drop=True)
    model = _Model.of(here, len(here), terms, numeric, nuisance)
    inside = model.variances(range(len(here)))
    constant = {name for name in factors if here[name].nunique() < 2}
    return {
        term: 0.0 if constant.intersection(term.split(":")) else 1 - _lost(inside, part)
        for term, part in model.parts.items()
    }


def _lost(inverse: np.ndarray, part: slice) -> float:
    """The largest variance of a contrast of a term, of its prior variance."""
    variances = np.linalg.eigvalsh(inverse[part, part])
    return float(variances[-1] / PRIOR**2)


def _coded(
    both: pd.DataFrame, n: int, terms: Sequence[str], numeric: Collection[str]
) -> tuple[np.ndarray, dict[str, slice]]:
    """Intercept and the columns of all terms, [unit, column], and where each term's are; `n` units
    are at hand.
    """
    blocks = [np.ones((len(both), 1))]
    parts = {}
    start = 1
    for term in terms:
        product = np.ones((len(both), 1))
        for name in term.split(":"):
            own = _factor(both[name], n, name in numeric)
            product = products(product, own)
        end = start + product.shape[1]
        parts[term] = slice(start, end)
        start = end
        blocks.append(product)
    return np.hstack(blocks), parts


def _factor(values: pd.Series, n: int, numeric: bool) -> np.ndarray:
    """The columns of a factor; rows of a level that no unit at hand has are 0: what they say of it
    is a nuisance.
    """
    if numeric:
        logs = np.log10(values.to_numpy(float))
        low, high = float(logs[:n].min()), float(logs[:n].max())
        middle = (low + high) / 2
        scale = (high - low) / 2 or 0.5  # one value: a tenfold is 2, as from end to end
        return np.clip((logs - middle) / scale, -REACH, REACH)[:, None]
    levels = list(pd.unique(values[:n].astype(object)))
    if len(levels) == 1:
        same = values.astype(object) == levels[0]
        return np.where(same, -1.0, 1.0)[:, None]
    fresh = ~values.isin(levels).to_numpy()
    known_levels = values.astype(object).where(~fresh, levels[0])
    runs = [{"f": level} for level in known_levels]
    coding = columns(runs, "f", {"f": levels})
    return np.asarray(np.where(fresh[:, None], 0.0, coding))


def _shared(
    both: pd.DataFrame, n: int, categories: Sequence[str], nuisance: Sequence[str]
) -> np.ndarray:
    """The nuisances that two units have in common, [unit, unit]: levels of what is no term, and
    levels that no unit at hand has.
    """
    total = np.zeros((len(both), len(both)))
    for name in nuisance:
        codes = pd.factorize(both[name].astype(str))[0]
        total += codes[:, None] == codes[None, :]
    for name in categories:
        codes = pd.factorize(both[name].astype(object))[0]
        fresh = ~np.isin(codes, codes[:n])
        same = codes[:, None] == codes[None, :]
        total += same & fresh[:, None]
    return total
