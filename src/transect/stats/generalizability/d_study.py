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

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import prod

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.stats.generalizability.facets import Effect, FacetDesign, parse_design
from transect.stats.generalizability.g_study import QUANTITIES, GStudy, planned_weights

WISHES = ("phi", "e_rho2", "absolute_error_sd", "relative_error_sd")
COEFFICIENTS = ("phi", "e_rho2")
ABSOLUTE = ("phi", "absolute_error_sd")  # the others are of the relative error
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
    precision = study.precision(planned_weights(study, n, plan)).set_index("quantity")
    row: dict[str, float] = {**n, "scores": prod(n.values()), "cost": _cost(n, prices)}
    for quantity, value in precision.iterrows():
        row[f"{quantity}"] = value["estimate"]
        row[f"{quantity}_lower"] = value["lower"]
        row[f"{quantity}_upper"] = value["upper"]
    return row


def _planned(
    study: GStudy, levels: Levels, plan: FacetDesign | None
) -> tuple[FacetDesign, dict[str, list[int]]]:
    """The plan and the numbers of levels of each of its facets but the object's, in rising order."""
    plan = plan or study.design
    _refuse_other_nesting(study, plan)
    own = plan.closure(frozenset({study.object}))
    free = [facet for facet in plan.facets if facet not in own]
    _refuse_facets(free, levels)
    return plan, {facet: _numbers(study, facet, levels.get(facet, [])) for facet in free}


def _refuse_other_nesting(study: GStudy, plan: FacetDesign) -> None:
    """Raise InputError for a plan whose error variances the effects of the study do not give."""
    design = study.design
    if set(plan.facets) != set(design.facets):
        raise InputError(
            f"the plan must have the facets of the study ({', '.join(design.facets)}), "
            f"not {', '.join(plan.facets)}"
        )
    for facet in design.facets:
        if crossed := design.within[facet] - plan.within[facet]:
            raise InputError(
                f"'{facet}' is nested in '{min(crossed)}' in the study: "
                "its effects cannot be told apart for a plan that crosses them"
            )
    own = frozenset({study.object})
    if plan.closure(own) != design.closure(own):
        raise InputError(
            f"the object of measurement '{study.object}' must not be nested otherwise in the plan "
            "than in the study"
        )


def _refuse_facets(free: Sequence[str], levels: Levels) -> None:
    """Raise InputError for a facet named as a column of the table is, and for levels of what is not
    planned.
    """
    for facet in free:
        if facet in RESERVED:
            raise InputError(
                f"a facet cannot be called '{facet}' in a D study, which has a column of that name"
            )
    for facet in levels:
        if facet not in free:
            raise InputError(
                f"levels of '{facet}': the facets with a number of levels to plan are "
                f"{', '.join(free)}.{nearest(facet, free)}"
            )


def _numbers(study: GStudy, facet: str, wanted: Sequence[int]) -> list[int]:
    """The numbers of levels of a facet that are compared: those wanted, else the table's."""
    sizes, within = study.observations.sizes, study.design.within[facet]
    seen = sizes[within | {facet}] / sizes[within]
    chosen = sorted(set(wanted))
    if not chosen:
        if seen != int(seen):
            raise InputError(
                f"the number of levels of '{facet}' varies in the table: "
                f"say how many the plan has, e.g. {facet}={round(seen)}"
            )
        return [int(seen)]
    if facet in study.fixed and chosen != [seen]:
        raise InputError(f"'{facet}' is fixed: it keeps its {seen:g} levels in every plan")
    if chosen[0] < 1 or any(n != int(n) for n in chosen):
        raise InputError(
            f"levels of '{facet}': {chosen[0]} is no number of levels; they are integers from 1"
        )
    return [int(n) for n in chosen]


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
    bounds = _bounds(study, wish, {facet: numbers[-1] for facet, numbers in full.items()}, plan)
    notes = []
    priced = frozenset().union(*prices)
    for facet in [f for f in full if f not in priced]:
        full[facet], idle = full[facet][-1:], full[facet]
        if len(idle) > 1:
            notes.append(f"no cost depends on {facet}: taken at its most, {idle[-1]}")
    search = _Search(full, prices, bounds)
    designs = search.run()
    rows = pd.DataFrame([_row(study, n, prices, plan) for n in designs[:MOST_ROWS]])
    role = "absolute" if next(iter(wish)) in ABSOLUTE else "relative"
    rows, why = _most_precise_first(rows, role)
    if why:
        notes.append(f"{len(rows)} designs cost the same; the one named first {why}")
    return Cheapest(rows, tuple(notes), search.examined)


def _most_precise_first(rows: pd.DataFrame, role: str) -> tuple[pd.DataFrame, str]:
    """Designs of equal cost by their error variance, then by their scores, and why the first is
    first ('' of one).
    """
    error = rows[f"{role}_error_variance"]
    errors = (error / error.min()).round(9)  # of the least
    ordered = rows.assign(_key=errors).sort_values(
        ["_key", "scores"], kind="stable", ignore_index=True
    )
    first = ordered["_key"] == ordered["_key"][0]
    ordered = ordered.drop(columns="_key")
    if len(ordered) == 1:
        return ordered, ""
    if first.all():
        return ordered, "needs no more scores"
    why = f"has the smallest {role} error"
    if first.sum() > 1:
        why += ", and among those no more scores"
    return ordered, why


@dataclass(frozen=True)
class _Wish:
    """A coefficient of at least `value`, or the SD of an error of at most `value`."""

    name: str
    value: float

    @property
    def coefficient(self) -> bool:
        return self.name in COEFFICIENTS

    def refuse(self) -> None:
        """Raise InputError for a quantity that nobody can wish for, and a value that none can have."""
        if self.name not in WISHES:
            raise InputError(
                f"unknown wish '{self.name}'; allowed: {', '.join(WISHES)}."
                f"{nearest(self.name, WISHES)}"
            )
        possible = 0 < self.value < 1 if self.coefficient else self.value > 0
        if not possible:
            where = "between 0 and 1" if self.coefficient else "above 0"
            raise InputError(f"the wish {self.name}={self.value:g} must lie {where}")

    def allowed(self, tau: float) -> float:
        """The highest error variance that fulfils it, with the universe score variance tau."""
        variance = tau * (1 - self.value) / self.value if self.coefficient else self.value**2
        return variance * (1 + 1e-12)


@dataclass(frozen=True)
class _ErrorBound:
    """An error variance and the highest value allowed of it; parts: {facets that divide:
    component}.
    """

    parts: dict[Effect, float]
    allowed: float

    def error(self, n: Mapping[str, int]) -> float:
        """The error variance with these numbers of levels."""
        return sum(
            component / prod(n[facet] for facet in divided)
            for divided, component in self.parts.items()
        )


def _bounds(
    study: GStudy, wish: Mapping[str, float], most: Mapping[str, int], plan: FacetDesign
) -> list[_ErrorBound]:
    """The bound that each wish sets. Raises InputError for wishes that not even `most` levels
    fulfil.
    """
    if not wish:
        raise InputError(f"no wish: give at least one of {', '.join(WISHES)}")
    single = dict.fromkeys(most, 1) | {facet: most[facet] for facet in study.fixed}
    weights = planned_weights(study, single, plan)
    tau = float(study.variance @ weights.universe)
    reached = study.precision(planned_weights(study, most, plan)).set_index("quantity")["estimate"]
    bounds = []
    for one in (_Wish(name, value) for name, value in wish.items()):
        one.refuse()
        role = weights.absolute if one.name in ABSOLUTE else weights.relative
        bound = _ErrorBound(_error_parts(study, role > 0, plan), one.allowed(tau))
        if bound.error(most) > bound.allowed or np.isnan(reached[one.name]):
            widest = max(most, key=lambda f: most[f])
            remedy = f"allow more levels, e.g. --levels {widest}=1..{10 * most[widest]}"
            if one.coefficient and tau == 0:
                remedy = f"the universe score variance of {study.object} is estimated as 0"
            raise InputError(f"{_out_of_reach(one, most, reached[one.name])}; {remedy}")
        bounds.append(bound)
    return bounds


def _error_parts(study: GStudy, used: np.ndarray, plan: FacetDesign) -> dict[Effect, float]:
    """Facets that divide -> the sum of the components `used` [effect] of an error that they divide."""
    own = plan.closure(frozenset({study.object}))
    parts: dict[Effect, float] = {}
    for s, variance, counts in zip(study.observations.effects, study.variance, used, strict=True):
        divided = plan.closure(s) - own
        parts[divided] = parts.get(divided, 0.0) + float(variance) * counts
    return parts


def _out_of_reach(wish: _Wish, most: Mapping[str, int], reached: float) -> str:
    sign = ">=" if wish.coefficient else "<="
    largest = ", ".join(f"{facet}={n}" for facet, n in most.items())
    return (
        f"no design reaches {wish.name} {sign} {wish.value:g}: "
        f"the largest allowed ({largest}) has {reached:.4g}"
    )


class _Search:
    """Exact enumeration, one facet after the other, the one with the most numbers of levels last
    (all its numbers at once).
    """

    def __init__(
        self,
        levels: dict[str, list[int]],
        prices: Mapping[Effect, float],
        bounds: Sequence[_ErrorBound],
    ):
        self.order = sorted(levels, key=lambda facet: len(levels[facet]))
        self.written = list(levels)
        self.levels = [np.array(levels[facet], float) for facet in self.order]
        self.price = np.array(list(prices.values()))
        self.counted = self._holds(prices)
        self.errors = [np.array(list(bound.parts.values())) for bound in bounds]
        self.divided = [self._holds(bound.parts) for bound in bounds]
        self.allowed = [bound.allowed for bound in bounds]
        self.examined = 0
        self.best = np.inf
        self.sufficient: list[tuple[float, tuple[int, ...]]] = []

    def _holds(self, sets: Collection[Effect]) -> np.ndarray:
        """Whether each set holds each facet [set, facet in the order searched]."""
        rows = [[facet in facets for facet in self.order] for facets in sets]
        return np.array(rows, bool).reshape(len(sets), len(self.order))

    def run(self) -> list[dict[str, int]]:
        """All designs of the least cost."""
        most = np.array([numbers[-1] for numbers in self.levels])
        # what does not suffice with all others at their most never does
        for k, numbers in enumerate(self.levels):
            self.levels[k] = numbers[self._meets(self._varied(most, k))]
        self.best = min(
            float(self._cost_of(self._descend(order)))
            for order in permutations(range(len(self.order)))
        )
        self._visit(0, np.empty(0))
        least = min(cost for cost, _ in self.sufficient)
        chosen = [n for cost, n in self.sufficient if cost <= least * (1 + CLOSE)]
        places = {facet: self.order.index(facet) for facet in self.written}
        return [{facet: n[k] for facet, k in places.items()} for n in chosen]

    def _visit(self, k: int, chosen: np.ndarray) -> None:
        """Go on from the first k numbers: keep what can still cost no more than the best and can
        still be precise enough.
        """
        self.examined += 1
        if self.examined > MOST_BRANCHES:
            raise InputError(
                f"more than {MOST_BRANCHES:,} groups of designs would have to be looked at: "
                "give fewer numbers of levels"
            )
        values = self.levels[k]
        precise = self._meets(self._completed(chosen, k, -1))
        cheap = self._cost_of(self._completed(chosen, k, 0)) <= self.best * (1 + CLOSE)
        open_values = values[precise & cheap]
        if k + 1 < len(self.levels):
            for value in open_values:
                self._visit(k + 1, np.append(chosen, value))
        elif len(open_values):
            n = np.append(chosen, open_values[0])
            cost = float(self._cost_of(n))
            self.best = min(self.best, cost)
            self.sufficient.append((cost, tuple(int(v) for v in n)))

    def _completed(self, chosen: np.ndarray, k: int, end: int) -> np.ndarray:
        """The first k numbers as chosen, every number of facet k, and the fewest (end 0) or the
        most (-1) of the rest.
        """
        rest = [numbers[end] for numbers in self.levels[k + 1 :]]
        size = len(self.levels[k])
        return np.column_stack(
            [np.tile(chosen, (size, 1)), self.levels[k], np.tile(rest, (size, 1))]
        )

    def _varied(self, n: np.ndarray, k: int) -> np.ndarray:
        """A design with every number of facet k in turn."""
        designs = np.tile(n, (len(self.levels[k]), 1))
        designs[:, k] = self.levels[k]
        return designs

    def _descend(self, order: Sequence[int]) -> np.ndarray:
        """A sufficient design: each facet in turn as low as the others allow."""
        n = np.array([numbers[-1] for numbers in self.levels])
        for k in order:
            sufficient = self._meets(self._varied(n, k))
            n[k] = self.levels[k][np.argmax(sufficient)]
        return n

    def _meets(self, n: np.ndarray) -> np.ndarray:
        """Whether designs [..., facet] fulfil all wishes."""
        fulfilled = []
        for components, divided, allowed in zip(
            self.errors, self.divided, self.allowed, strict=True
        ):
            divisors = np.where(divided, n[..., None, :], 1).prod(-1)
            fulfilled.append((components / divisors).sum(-1) <= allowed)
        return np.all(fulfilled, axis=0)

    def _cost_of(self, n: np.ndarray) -> np.ndarray:
        multiples = np.where(self.counted, n[..., None, :], 1).prod(-1)
        return (self.price * multiples).sum(-1)
