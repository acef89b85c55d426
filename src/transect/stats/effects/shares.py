"""How the differences between a few units divide over design factors.

share(f) = mean over all orders of entry of the gain in adjusted R^2 when f enters, an interaction
only after its parts (Lindeman, Merenda & Gold 1980; Shapley). Adjusted, so that a factor of pure
noise has an expected share of 0; an estimate may then lie below 0. What no factor explains is 1 -
sum.
"""

from collections.abc import Sequence
from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd

from transect.stats.formula.notation import Design, Term, parse


def factor_shares(frame: pd.DataFrame, factors: Sequence[str]) -> dict[str, float]:
    """factor -> share of the variance of `value` between the rows (units) of `frame`; NaN without
    residual df.

    `factors` are terms such as architecture, log10(params), architecture:corpus_variant; at most 8.
    """
    terms = list(parse("value ~ " + (" + ".join(factors) or "1")).fixed)[1:]
    y = frame["value"].to_numpy(float)
    explained = {chosen: _adjusted(y, chosen, frame) for chosen in _families(terms)}
    weights = _orders(terms, list(explained))
    shares = {
        term: sum(w * (explained[c | {term}] - explained[c]) for c, w in weights[term].items())
        for term in terms
    }
    return {":".join(term): float(share) for term, share in shares.items()}


def _families(terms: list[Term]) -> list[frozenset[Term]]:
    """The sets of terms that contain the parts of all their interactions."""
    every = (frozenset(c) for size in range(len(terms) + 1) for c in combinations(terms, size))
    return [c for c in every if all(_allowed(t, c, terms) for t in c)]


def _allowed(term: Term, present: frozenset[Term], terms: list[Term]) -> bool:
    return all(other in present for other in terms if set(other) < set(term))


def _orders(
    terms: list[Term], families: list[frozenset[Term]]
) -> dict[Term, dict[frozenset[Term], float]]:
    """term -> set present when it enters -> share of the allowed orders of entry."""
    before: dict[frozenset[Term], int] = {
        frozenset(): 1
    }  # number of orders in which a set can be the first to enter
    for family in sorted(families, key=len)[1:]:
        before[family] = sum(before[family - {t}] for t in family if family - {t} in before)
    after: dict[frozenset[Term], int] = {frozenset(terms): 1}
    for family in sorted(families, key=len, reverse=True)[1:]:
        after[family] = sum(
            after[family | {t}] for t in terms if t not in family and family | {t} in after
        )
    total = before[frozenset(terms)]
    assert 1 <= total <= factorial(len(terms))
    return {
        t: {
            c: before[c] * after[c | {t}] / total
            for c in families
            if t not in c and c | {t} in after
        }
        for t in terms
    }


def _adjusted(y: np.ndarray, chosen: frozenset[Term], frame: pd.DataFrame) -> float:
    x = Design(((), *sorted(chosen, key=lambda t: (len(t), t))), frame).matrix(frame)
    free = len(y) - int(np.linalg.matrix_rank(x))
    total = np.sum((y - y.mean()) ** 2) / (len(y) - 1)
    if free < 1 or total == 0:
        return float("nan")
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(1 - residual @ residual / free / total)
