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
    explained = {family: _adjusted(y, family, frame) for family in _families(terms)}
    weights = _orders(terms, list(explained))
    shares = {}
    for term in terms:
        gains = [
            weight * (explained[before | {term}] - explained[before])
            for before, weight in weights[term].items()
        ]
        shares[":".join(term)] = float(sum(gains))
    return shares


def _families(terms: list[Term]) -> list[frozenset[Term]]:
    """The sets of terms that contain the parts of all their interactions."""
    sizes = range(len(terms) + 1)
    every = [frozenset(chosen) for size in sizes for chosen in combinations(terms, size)]
    return [family for family in every if all(_allowed(t, family, terms) for t in family)]


def _allowed(term: Term, present: frozenset[Term], terms: list[Term]) -> bool:
    """Whether all parts of a term are present."""
    parts = [other for other in terms if set(other) < set(term)]
    return present.issuperset(parts)


def _orders(
    terms: list[Term], families: list[frozenset[Term]]
) -> dict[Term, dict[frozenset[Term], float]]:
    """term -> set present when it enters -> share of the allowed orders of entry."""
    before = _orders_into(families)
    after = _orders_from(terms, families)
    total = before[frozenset(terms)]
    assert 1 <= total <= factorial(len(terms))
    shares: dict[Term, dict[frozenset[Term], float]] = {}
    for term in terms:
        entered = {family: family | {term} for family in families if term not in family}
        shares[term] = {
            family: before[family] * after[larger] / total
            for family, larger in entered.items()
            if larger in after
        }
    return shares


def _orders_into(families: list[frozenset[Term]]) -> dict[frozenset[Term], int]:
    """In how many orders the terms of each set can enter, before all others."""
    orders: dict[frozenset[Term], int] = {frozenset(): 1}
    for family in sorted(families, key=len)[1:]:
        smaller = [family - {term} for term in family]
        orders[family] = sum(orders[part] for part in smaller if part in orders)
    return orders


def _orders_from(terms: list[Term], families: list[frozenset[Term]]) -> dict[frozenset[Term], int]:
    """In how many orders all other terms can enter after those of each set."""
    orders: dict[frozenset[Term], int] = {frozenset(terms): 1}
    for family in sorted(families, key=len, reverse=True)[1:]:
        larger = [family | {term} for term in terms if term not in family]
        orders[family] = sum(orders[whole] for whole in larger if whole in orders)
    return orders


def _adjusted(y: np.ndarray, family: frozenset[Term], frame: pd.DataFrame) -> float:
    """Adjusted R^2 of the terms of a set; NaN without residual df."""
    terms = sorted(family, key=lambda term: (len(term), term))
    x = Design(((), *terms), frame).matrix(frame)
    free = len(y) - int(np.linalg.matrix_rank(x))
    total = np.sum((y - y.mean()) ** 2) / (len(y) - 1)
    if free < 1 or total == 0:
        return float("nan")
    coefficients = np.linalg.lstsq(x, y, rcond=None)[0]
    residual = y - x @ coefficients
    return float(1 - residual @ residual / free / total)
