"""Decision studies: the precision of planned measurements, and the cheapest that is precise enough.

cost = sum over priced combinations C of price(C) * product of n'(f) over the facets of C and those
they are nested in. A price on `item` counts the items of the whole measurement (n_task * n_item
where items are nested in tasks), one on `item x rater` each pair, one on all facets each score. The
number of objects is not planned: prices are for whatever number of objects they are stated for. The
cheapest design is found by exact enumeration. No error variance grows and no cost falls with a
number of levels, so a branch is left where its cheapest completion costs more than the best design
known, or where its most precise completion does not suffice; nothing else is left out. Intervals
are those of the components of the G study, see generalizability.py. Source: Brennan (2001), ch. 4
and 5; cost-constrained D studies: Marcoulides & Goldstein (1990), Educ. Psychol. Meas. 50.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import prod

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.stats.generalizability.facets import Effect, FacetDesign, parse_design
from transect.stats.generalizability.g_study import QUANTITIES, GStudy, planned_weights

WISHES = ("phi", "e_rho2", "absolute_error_sd", "relative_error_sd")
RESERVED = ("scores", "cost", *QUANTITIES)
MOST_ROWS = 2_000  # of a D study table
MOST_BRANCHES = 500_000  # about a minute
CLOSE = 1e-9  # costs that differ by less, relatively, are equal

Levels = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Cheapest:
    """`designs`: d_study rows of all designs of the least cost, the chosen one first; `notes` say
    why it was chosen.
    """

    designs: pd.DataFrame
    notes: tuple[str, ...]
    examined: int


def d_study(
    study: GStudy,
    levels: Levels,
    costs: Mapping[str, float] | None = None,
    plan: FacetDesign | None = None,
) -> pd.DataFrame:
    """One row per combination of numbers of levels: a column per facet, scores (per object), cost,
    QUANTITIES with _lower, _upper.

    A facet that is not in `levels` keeps the number it has in the table, as a fixed facet must.
    `plan`: see `planned_weights`. Raises InputError for facets that the design has not, numbers
    below 1 and more than MOST_ROWS combinations.
    """
    plan, full = _planned(study, levels, plan)
    if (rows := prod(len(v) for v in full.values())) > MOST_ROWS:
        raise InputError(
            f"the D study has {rows:,} designs; at most {MOST_ROWS:,} are listed: give fewer numbers of levels"
        )
    prices = _prices(study, plan, costs)
    return pd.DataFrame(
        [
            _row(study, dict(zip(full, n, strict=True)), prices, plan)
            for n in product(*full.values())
        ]
    )


def _row(
    study: GStudy, n: dict[str, int], prices: Mapping[Effect, float], plan: FacetDesign
) -> dict[str, float]:
    found = study.precision(planned_weights(study, n, plan)).set_index("quantity")
    row: dict[str, float] = {**n, "scores": prod(n.values()), "cost": _cost(n, prices)}
    for quantity, value in found.iterrows():
        row |= {
            f"{quantity}": value["estimate"],
            f"{quantity}_lower": value["lower"],
            f"{quantity}_upper": value["upper"],
        }
    return row


def _planned(
    study: GStudy, levels: Levels, plan: FacetDesign | None
) -> tuple[FacetDesign, dict[str, list[int]]]:
    """The plan and the numbers of levels of each of its facets but the object's, in rising order."""
    plan, design = plan or study.design, study.design
    own = design.closure(frozenset({study.object}))
    if set(plan.facets) != set(design.facets):
        raise InputError(
            f"the plan must have the facets of the study ({', '.join(design.facets)}), not {', '.join(plan.facets)}"
        )
    for f in design.facets:
        if lost := design.within[f] - plan.within[f]:
            raise InputError(
                f"'{f}' is nested in '{min(lost)}' in the study: its effects cannot be told apart for a plan that crosses them"
            )
    if plan.closure(frozenset({study.object})) != own:
        raise InputError(
            f"the object of measurement '{study.object}' must not be nested otherwise in the plan than in the study"
        )
    free = [f for f in plan.facets if f not in own]
    for f in free:
        if f in RESERVED:
            raise InputError(
                f"a facet cannot be called '{f}' in a D study, which has a column of that name"
            )
    for f in levels:
        if f not in free:
            raise InputError(
                f"levels of '{f}': the facets with a number of levels to plan are {', '.join(free)}.{nearest(f, free)}"
            )
    full = {}
    for f in free:
        seen = (
            study.observations.sizes[design.within[f] | {f}]
            / study.observations.sizes[design.within[f]]
        )
        chosen = sorted(set(levels.get(f, [])))
        if not chosen and seen != int(seen):
            raise InputError(
                f"the number of levels of '{f}' varies in the table: say how many the plan has, e.g. {f}={round(seen)}"
            )
        if f in study.fixed and chosen not in ([], [seen]):
            raise InputError(f"'{f}' is fixed: it keeps its {seen:g} levels in every plan")
        if chosen and (chosen[0] < 1 or any(n != int(n) for n in chosen)):
            raise InputError(
                f"levels of '{f}': {chosen[0]} is no number of levels; they are integers from 1"
            )
        full[f] = [int(n) for n in chosen] or [int(seen)]
    return plan, full


def _prices(
    study: GStudy, plan: FacetDesign, costs: Mapping[str, float] | None
) -> dict[Effect, float]:
    """Facets that multiply -> price; without `costs` each score costs 1."""
    own = plan.closure(frozenset({study.object}))
    free = frozenset(plan.facets) - own
    if not costs:
        return {free: 1.0}
    prices: dict[Effect, float] = {}
    for text, price in costs.items():
        named = frozenset(parse_design(text).facets)
        for f in sorted(named - free):
            raise InputError(
                f"cost of '{text}': '{f}' is not planned; prices are for {', '.join(sorted(free))} or their combinations.{nearest(f, free)}"
            )
        if not (np.isfinite(price) and price >= 0):
            raise InputError(f"cost of '{text}': {price} is no price; it must be a number from 0")
        counted = plan.closure(named) - own
        prices[counted] = prices.get(counted, 0.0) + float(price)
    return {c: p for c, p in prices.items() if p > 0}


def _cost(n: Mapping[str, int], prices: Mapping[Effect, float]) -> float:
    return float(sum(price * prod(n[f] for f in counted) for counted, price in prices.items()))


def cheapest(
    study: GStudy,
    levels: Levels,
    wish: Mapping[str, float],
    costs: Mapping[str, float] | None = None,
    plan: FacetDesign | None = None,
) -> Cheapest:
    """The design of least cost among `levels` whose estimated precision meets all of `wish`
    (WISHES: coefficients at least, SDs at most).

    Of designs of equal cost the more precise one is chosen, then the one of fewer scores. Raises
    InputError for a wish out of reach.
    """
    plan, full = _planned(study, levels, plan)
    prices = _prices(study, plan, costs)
    bounds = _bounds(study, wish, {f: v[-1] for f, v in full.items()}, plan)
    idle = [f for f in full if not any(f in c for c in prices)]
    notes = [
        f"no cost depends on {f}: taken at its most, {full[f][-1]}"
        for f in idle
        if len(full[f]) > 1
    ]
    full = {f: v[-1:] if f in idle else v for f, v in full.items()}
    search = _Search(full, prices, bounds)
    found = search.run()
    role = "absolute" if next(iter(wish)) in ("phi", "absolute_error_sd") else "relative"
    rows = pd.DataFrame([_row(study, n, prices, plan) for n in found[:MOST_ROWS]])
    error = rows[f"{role}_error_variance"]
    rows = rows.assign(_key=(error / error.min()).round(9)).sort_values(
        ["_key", "scores"], kind="stable", ignore_index=True
    )
    if len(rows) > 1:
        why = (
            "has the smallest " + role + " error"
            if (rows["_key"] > rows["_key"][0]).any()
            else "needs no more scores"
        )
        if (rows["_key"] == rows["_key"][0]).sum() > 1 and (rows["_key"] > rows["_key"][0]).any():
            why += ", and among those no more scores"
        notes.append(f"{len(rows)} designs cost the same; the one named first {why}")
    return Cheapest(rows.drop(columns="_key"), tuple(notes), search.examined)


def _bounds(
    study: GStudy, wish: Mapping[str, float], most: Mapping[str, int], plan: FacetDesign
) -> list[tuple[dict[Effect, float], float]]:
    """Per wish: the error variance as {facets that divide: component} and the highest value allowed
    of it.
    """
    own = plan.closure(frozenset({study.object}))
    if not wish:
        raise InputError(f"no wish: give at least one of {', '.join(WISHES)}")
    weights = planned_weights(
        study, dict.fromkeys(most, 1) | {f: most[f] for f in study.fixed}, plan
    )
    tau, out = float(study.variance @ weights.universe), []
    reached = study.precision(planned_weights(study, most, plan)).set_index("quantity")["estimate"]
    for name, value in wish.items():
        if name not in WISHES:
            raise InputError(
                f"unknown wish '{name}'; allowed: {', '.join(WISHES)}.{nearest(name, WISHES)}"
            )
        coefficient = name in ("phi", "e_rho2")
        if not (0 < value < 1 if coefficient else value > 0):
            raise InputError(
                f"the wish {name}={value:g} must lie {'between 0 and 1' if coefficient else 'above 0'}"
            )
        role = weights.absolute if name in ("phi", "absolute_error_sd") else weights.relative
        parts: dict[Effect, float] = {}
        for s, variance, used in zip(
            study.observations.effects, study.variance, role > 0, strict=True
        ):
            divided = plan.closure(s) - own
            parts[divided] = parts.get(divided, 0.0) + float(variance) * used
        allowed = (tau * (1 - value) / value if coefficient else value**2) * (1 + 1e-12)
        least = sum(v / prod(most[f] for f in divided) for divided, v in parts.items())
        if least > allowed or np.isnan(reached[name]):
            widest = max(most, key=lambda f: most[f])
            more = f"allow more levels, e.g. --levels {widest}=1..{10 * most[widest]}"
            if coefficient and tau == 0:
                more = f"the universe score variance of {study.object} is estimated as 0"
            raise InputError(
                f"no design reaches {name} {'>=' if coefficient else '<='} {value:g}: the largest allowed "
                f"({', '.join(f'{f}={n}' for f, n in most.items())}) has {reached[name]:.4g}; {more}"
            )
        out.append((parts, allowed))
    return out


class _Search:
    """Exact enumeration, one facet after the other, the one with the most numbers of levels last
    (all its numbers at once).
    """

    def __init__(self, levels: dict[str, list[int]], prices: Mapping[Effect, float], bounds: list):
        self.order = sorted(levels, key=lambda f: len(levels[f]))
        self.written = list(levels)
        self.levels = [np.array(levels[f], float) for f in self.order]
        self.price = np.array(list(prices.values()))
        self.counted = np.array([[f in c for f in self.order] for c in prices]).reshape(
            len(prices), len(self.order)
        )
        self.errors = [np.array(list(parts.values())) for parts, _ in bounds]
        self.divided = [
            np.array([[f in d for f in self.order] for d in parts]) for parts, _ in bounds
        ]
        self.allowed = [allowed for _, allowed in bounds]
        self.examined = 0
        self.best = np.inf
        self.found: list[tuple[float, tuple[int, ...]]] = []

    def run(self) -> list[dict[str, int]]:
        """All designs of the least cost."""
        most = np.array([v[-1] for v in self.levels])
        for k, values in enumerate(
            self.levels
        ):  # what does not suffice with all others at their most never does
            tried = np.tile(most, (len(values), 1))
            tried[:, k] = values
            self.levels[k] = values[self._meets(tried)]
        self.best = min(
            float(self._cost_of(self._descend(order)))
            for order in permutations(range(len(self.order)))
        )
        self._visit(0, np.empty(0))
        least = min(cost for cost, _ in self.found)
        chosen = [n for cost, n in self.found if cost <= least * (1 + CLOSE)]
        return [{f: n[self.order.index(f)] for f in self.written} for n in chosen]

    def _visit(self, k: int, chosen: np.ndarray) -> None:
        """Go on from the first k numbers: keep what can still cost no more than the best and can
        still be precise enough.
        """
        values, size = self.levels[k], len(self.levels[k])
        self.examined += 1
        if self.examined > MOST_BRANCHES:
            raise InputError(
                f"more than {MOST_BRANCHES:,} groups of designs would have to be looked at: give fewer numbers of levels"
            )
        ends = [[v[i] for v in self.levels[k + 1 :]] for i in (0, -1)]
        low, high = (
            np.column_stack([np.tile(chosen, (size, 1)), values, np.tile(e, (size, 1))])
            for e in ends
        )
        left = values[self._meets(high) & (self._cost_of(low) <= self.best * (1 + CLOSE))]
        if k + 1 < len(self.levels):
            for value in left:
                self._visit(k + 1, np.append(chosen, value))
        elif len(left):
            n = np.append(chosen, left[0])
            cost = float(self._cost_of(n))
            self.best = min(self.best, cost)
            self.found.append((cost, tuple(int(v) for v in n)))

    def _descend(self, order: Sequence[int]) -> np.ndarray:
        """A sufficient design: each facet in turn as low as the others allow."""
        n = np.array([v[-1] for v in self.levels])
        for k in order:
            tried = np.tile(n, (len(self.levels[k]), 1))
            tried[:, k] = self.levels[k]
            n[k] = self.levels[k][np.argmax(self._meets(tried))]
        return n

    def _meets(self, n: np.ndarray) -> np.ndarray:
        """Whether designs [..., facet] fulfil all wishes."""
        parts = zip(self.errors, self.divided, self.allowed, strict=True)
        return np.all(
            [(e / np.where(d, n[..., None, :], 1).prod(-1)).sum(-1) <= a for e, d, a in parts],
            axis=0,
        )

    def _cost_of(self, n: np.ndarray) -> np.ndarray:
        return (self.price * np.where(self.counted, n[..., None, :], 1).prod(-1)).sum(-1)
