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

from transect.stats.design.aliasing import known
from transect.stats.design.factorial import columns

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
    factors = list(dict.fromkeys(name for term in terms for name in term.split(":")))
    here = frame[np.logical_and.reduce([known(frame[n]).to_numpy() for n in factors])]
    usable = np.flatnonzero(
        np.logical_and.reduce([known(candidates[n]).to_numpy() for n in factors])
    )
    if here.empty:
        raise ValueError(f"no unit is known in all of {', '.join(factors)}")
    both = pd.concat([here, candidates.iloc[usable]], ignore_index=True)
    n = len(here)
    x, starts = _coded(both, n, terms, numeric)
    v = np.eye(len(both)) + _shared(both, n, factors, numeric, nuisance)
    rows, found = list(range(n)), []
    for _ in range(min(k, len(usable))):
        inside = np.linalg.inv(
            x[rows].T @ np.linalg.solve(v[np.ix_(rows, rows)], x[rows])
            + np.eye(x.shape[1]) / PRIOR**2
        )
        left = [i for i in range(n, len(both)) if i not in rows]
        solved = np.linalg.solve(v[np.ix_(rows, rows)], v[np.ix_(rows, left)])
        w = x[left] - solved.T @ x[rows]
        s = v[left, left] - np.einsum("rc,rc->c", v[np.ix_(rows, left)], solved)
        reach = w @ inside
        gained = np.einsum("cp,cp->c", reach, w)
        d, a = np.log1p(gained / s), (reach**2).sum(axis=1) / (s + gained)
        best = int(np.argmax(np.round(d if criterion == "D" else a, 9)))  # of equals the first
        after = inside - np.outer(reach[best], reach[best]) / (s[best] + gained[best])
        resolved = tuple(
            t for t, part in starts.items() if _lost(inside, part) > LOST >= _lost(after, part)
        )
        found.append(
            Addition(int(usable[left[best] - n]), float(d[best]), float(a[best]), resolved)
        )
        rows.append(left[best])
    return found


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
    factors = list(dict.fromkeys(name for term in terms for name in term.split(":")))
    here = frame[np.logical_and.reduce([known(frame[n]).to_numpy() for n in factors])].reset_index(
        drop=True
    )
    x, starts = _coded(here, len(here), terms, numeric)
    v = np.eye(len(here)) + _shared(here, len(here), factors, numeric, nuisance)
    inside = np.linalg.inv(x.T @ np.linalg.solve(v, x) + np.eye(x.shape[1]) / PRIOR**2)
    varies = {name: here[name].nunique() > 1 for name in factors}
    return {
        term: 1 - _lost(inside, part) if all(varies[n] for n in term.split(":")) else 0.0
        for term, part in starts.items()
    }


def _lost(inverse: np.ndarray, part: slice) -> float:
    """The largest variance of a contrast of a term, of its prior variance."""
    return float(np.linalg.eigvalsh(inverse[part, part])[-1] / PRIOR**2)


def _coded(
    both: pd.DataFrame, n: int, terms: Sequence[str], numeric: Collection[str]
) -> tuple[np.ndarray, dict[str, slice]]:
    """Intercept and the columns of all terms, [unit, column], and where each term's are; `n` units
    are at hand.
    """
    parts, starts, at = [np.ones((len(both), 1))], {}, 1
    for term in terms:
        product = np.ones((len(both), 1))
        for name in term.split(":"):
            own = _factor(both[name], n, name in numeric)
            product = np.einsum("ri,rj->rij", product, own).reshape(len(both), -1)
        starts[term] = slice(at, at + product.shape[1])
        at += product.shape[1]
        parts.append(product)
    return np.hstack(parts), starts


def _factor(values: pd.Series, n: int, numeric: bool) -> np.ndarray:
    """The columns of a factor; rows of a level that no unit at hand has are 0: what they say of it
    is a nuisance.
    """
    if numeric:
        logs = np.log10(values.to_numpy(float))
        low, high = float(logs[:n].min()), float(logs[:n].max())
        scale = (high - low) / 2 or 0.5  # one value: a tenfold is 2, as from end to end
        return np.clip((logs - (low + high) / 2) / scale, -REACH, REACH)[:, None]
    levels = list(pd.unique(values[:n].astype(object)))
    if len(levels) == 1:
        return np.where(values.astype(object) == levels[0], -1.0, 1.0)[:, None]
    fresh = ~values.isin(levels).to_numpy()
    runs = [{"f": levels[0] if new else value} for value, new in zip(values, fresh, strict=True)]
    return np.asarray(np.where(fresh[:, None], 0.0, columns(runs, "f", {"f": levels})))


def _shared(
    both: pd.DataFrame,
    n: int,
    factors: Sequence[str],
    numeric: Collection[str],
    nuisance: Sequence[str],
) -> np.ndarray:
    """The nuisances that two units have in common, [unit, unit]: levels of what is no term, and
    levels that no unit at hand has.
    """
    total = np.zeros((len(both), len(both)))
    for name in nuisance:
        codes = pd.factorize(both[name].astype(str))[0]
        total += codes[:, None] == codes[None, :]
    for name in (f for f in factors if f not in numeric):
        codes = pd.factorize(both[name].astype(object))[0]
        fresh = ~np.isin(codes, codes[:n])
        total += (codes[:, None] == codes[None, :]) & fresh[:, None]
    return total
