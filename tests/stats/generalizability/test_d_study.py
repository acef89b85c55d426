"""D studies against closed formulas, and the cheapest design against every design there is."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from tests.stats.brennan import scores
from tests.stats.generalizability.planted_scores import planted
from transect.errors import InputError
from transect.stats.generalizability.d_study import cheapest, d_study
from transect.stats.generalizability.facets import parse_design
from transect.stats.generalizability.g_study import GStudy, g_study


def study(design: str, **options: object) -> GStudy:
    return g_study(scores(design), "y", parse_design(design), **options)  # type: ignore[arg-type]


def components(found: GStudy) -> dict[str, float]:
    return dict(found.components()[["effect", "variance"]].itertuples(index=False))


def test_a_table_of_plans_follows_the_closed_formulas() -> None:
    """p x (R:T), 4 x 3 numbers of levels: errors, coefficients, scores and cost of each, from the
    published components.
    """
    found, s = study("p x (r:t)"), components(study("p x (r:t)"))
    table = d_study(found, {"t": [1, 2, 3, 6], "r": [1, 2, 12]}, {"t": 5, "r": 0.5, "r x t": 0.25})
    assert len(table) == 12
    for row in table.itertuples():
        t, r = row.t, row.r
        delta = s["p x t"] / t + s["p x r:t"] / (t * r)
        absolute = delta + s["t"] / t + s["r:t"] / (t * r)
        assert row.relative_error_variance == pytest.approx(delta, rel=1e-12)
        assert (row.absolute_error_sd, row.phi) == pytest.approx(
            (absolute**0.5, s["p"] / (s["p"] + absolute)), rel=1e-12
        )
        assert row.e_rho2 == pytest.approx(s["p"] / (s["p"] + delta), rel=1e-12)
        assert row.phi_lower <= row.phi <= row.phi_upper
        assert (row.scores, row.cost) == (t * r, pytest.approx(5 * t + 0.75 * t * r))


def test_spearman_brown() -> None:
    """E rho^2 of k times as many items is k a / (1 + (k - 1) a), its interval too."""
    table = d_study(study("p x i"), {"i": [12, 36]})
    for column in ("e_rho2", "e_rho2_lower", "e_rho2_upper"):
        a, b = table[column]
        assert b == pytest.approx(3 * a / (1 + 2 * a), rel=5e-3 if column != "e_rho2" else 1e-12)


def test_a_plan_may_nest_what_was_crossed() -> None:
    """p x (I:O) from p x i x o: sigma2(i:o) = sigma2(i) + sigma2(io) (Brennan 2001, ch. 5)."""
    found, s = study("p x i x o"), components(study("p x i x o"))
    row = d_study(found, {"i": [3], "o": [2]}, plan=parse_design("p x (i:o)")).iloc[0]
    delta = (s["p x i"] + s["p x i x o"]) / 6 + s["p x o"] / 2
    assert row["relative_error_variance"] == pytest.approx(delta, rel=1e-12)
    assert row["absolute_error_variance"] == pytest.approx(
        delta + (s["i"] + s["i x o"]) / 6 + s["o"] / 2, rel=1e-12
    )
    every_person_its_own = d_study(found, {"i": [3], "o": [2]}, plan=parse_design("i:p x o")).iloc[
        0
    ]
    delta = (s["i"] + s["p x i"]) / 3 + s["p x o"] / 2 + (s["i x o"] + s["p x i x o"]) / 6
    assert every_person_its_own["relative_error_variance"] == pytest.approx(delta, rel=1e-12)


@pytest.mark.parametrize(
    ("wish", "costs", "plan"),
    [
        ({"phi": 0.6}, None, None),
        ({"phi": 0.6}, {"a": 3, "b": 1, "a x b x c": 0.2}, None),
        ({"e_rho2": 0.7}, {"a": 1, "b": 1, "c": 1}, None),
        ({"absolute_error_sd": 0.6}, {"a x b": 2, "c": 7}, None),
        (
            {"relative_error_sd": 0.5, "phi": 0.55},
            {"a": 0.3, "b": 0.1, "c": 0.7, "a x c": 0.01},
            None,
        ),
        ({"phi": 0.6}, {"a": 1, "b": 4, "c": 2}, "p x (a:b) x c"),
        ({"phi": 0.6}, {"a": 1, "c": 2}, None),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_cheapest_design_is_that_of_a_full_enumeration(
    wish: dict[str, float], costs: dict[str, float] | None, plan: str | None, seed: int
) -> None:
    """Every one of 12 x 11 x 10 designs, priced and measured: the same least cost, the same ties."""
    design, rng = parse_design("p x a x b x c"), np.random.default_rng(seed)
    truth = {s: float(rng.choice([0.0, 0.1, 0.5])) for s in design.effects()} | {
        frozenset("p"): 1.0
    }
    found = g_study(planted(design, {"p": 30, "a": 4, "b": 4, "c": 3}, truth, rng), "y", design)
    levels = {"a": range(1, 13), "b": range(1, 12), "c": range(1, 11)}
    planned = parse_design(plan) if plan else None
    got = cheapest(found, levels, wish, costs, planned)
    every = []
    for chosen in product(*levels.values()):
        n = dict(zip(levels, chosen, strict=True))
        every.append(_by_hand(found, n, costs or {"a x b x c": 1.0}, nested=plan is not None))
    table = pd.DataFrame(every)
    meets = np.all(
        [table[k] >= v if k in ("phi", "e_rho2") else table[k] <= v for k, v in wish.items()],
        axis=0,
    )
    least = table[meets & (table["cost"] <= table["cost"][meets].min() * (1 + 1e-9))]
    if costs and not any("b" in c for c in costs):  # what costs nothing is taken at its most
        assert "no cost depends on b" in got.notes[0]
        least = least[least["b"] == 11]
    assert sorted(got.designs[list("abc")].itertuples(index=False, name=None)) == sorted(
        least[list("abc")].itertuples(index=False, name=None)
    )
    assert got.designs["cost"][0] == pytest.approx(least["cost"].min(), rel=1e-12)
    error = (
        "absolute_error_sd"
        if next(iter(wish)) in ("phi", "absolute_error_sd")
        else "relative_error_sd"
    )
    assert got.designs[error][0] == pytest.approx(least[error].min(), rel=1e-8)


def _by_hand(
    found: GStudy, n: dict[str, int], costs: dict[str, float], nested: bool
) -> dict[str, float]:
    """Errors, coefficients and cost of one plan, by the definitions; `nested`: a within b."""

    def times(facets: set[str]) -> int:
        return int(
            np.prod([n[f] for f in (facets | {"b"} if nested and "a" in facets else facets)])
        )

    delta = absolute = 0.0
    for effect, variance in zip(found.observations.effects, found.variance, strict=True):
        facets = set(effect) - {"p"}
        if facets:
            absolute += variance / times(facets)
            delta += variance / times(facets) if "p" in effect else 0.0
    tau = found.variance[0]
    cost = sum(price * times(set(text.split(" x "))) for text, price in costs.items())
    return {
        **n,
        "phi": tau / (tau + absolute),
        "e_rho2": tau / (tau + delta),
        "absolute_error_sd": absolute**0.5,
        "relative_error_sd": delta**0.5,
        "cost": cost,
    }


def test_ties_are_explained() -> None:
    """Of equal cost, the more precise."""
    got = cheapest(study("p x i x o"), {"i": [6, 12], "o": [2, 4]}, {"phi": 0.68}, {"i": 1, "o": 3})
    assert got.designs[["i", "o", "cost"]].to_numpy().tolist() == [[12, 2, 18], [6, 4, 18]]
    assert got.notes == (
        "2 designs cost the same; the one named first has the smallest absolute error",
    )


def test_fixed_facets_keep_their_levels() -> None:
    """The occasions of the table, in every plan."""
    got = cheapest(study("p x i x o", fixed=["o"]), {"i": range(1, 50)}, {"phi": 0.7})
    assert got.designs[["i", "o"]].to_numpy().tolist() == [[7, 2]]
    with pytest.raises(InputError, match="'o' is fixed: it keeps its 2 levels"):
        d_study(study("p x i x o", fixed=["o"]), {"o": [3]})


def test_five_facets_are_searched_in_seconds() -> None:
    """20^5 designs of p x a x b x c x d x e: what is found suffices, and one level less anywhere
    does not or is no cheaper.
    """
    design, rng = parse_design("p x a x b x c x d x e"), np.random.default_rng(0)
    truth = {s: 1 / len(s) ** 2 for s in design.effects()}
    found = g_study(
        planted(design, {"p": 12, "a": 4, "b": 4, "c": 3, "d": 3, "e": 3}, truth, rng), "y", design
    )
    got = cheapest(found, dict.fromkeys("abcde", range(1, 21)), {"e_rho2": 0.7})
    best = got.designs.iloc[0]
    assert best["e_rho2"] >= 0.7 and got.examined < 20_000
    for facet in "abcde":
        if best[facet] > 1:
            fewer = {f: [int(best[f]) - (f == facet)] for f in "abcde"}
            assert d_study(found, fewer)["e_rho2"][0] < 0.7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda s: cheapest(s, {"i": range(1, 4)}, {"phi": 0.9}),
            r"no design reaches phi >= 0.9: the largest allowed \(i=3\) has 0.4599",
        ),
        (lambda s: cheapest(s, {}, {}), "no wish"),
        (lambda s: cheapest(s, {}, {"fi": 0.8}), "unknown wish 'fi'; allowed: phi"),
        (lambda s: cheapest(s, {}, {"phi": 1.2}), "must lie between 0 and 1"),
        (lambda s: d_study(s, {"j": [3]}), "levels of 'j'"),
        (lambda s: d_study(s, {"p": [3]}), "levels of 'p'"),
        (lambda s: d_study(s, {"i": [0]}), "integers from 1"),
        (lambda s: d_study(s, {"i": range(1, 3000)}), "2,999 designs"),
        (lambda s: d_study(s, {"i": [3]}, {"p": 1}), "'p' is not planned"),
        (lambda s: d_study(s, {"i": [3]}, {"i": -1}), "must be a number from 0"),
        (
            lambda s: d_study(s, {"i": [3]}, plan=parse_design("p:i")),
            "must not be nested otherwise",
        ),
        (
            lambda s: d_study(s, {"i": [3]}, plan=parse_design("p x j")),
            "must have the facets of the study",
        ),
    ],
)
def test_what_cannot_be_planned_is_said(call, message: str) -> None:
    """One sentence each."""
    with pytest.raises(InputError, match=message):
        call(study("p x i"))


def test_what_was_nested_cannot_be_crossed() -> None:
    """The effects of i and of p x i are one in i:p; a varying number of levels has to be given."""
    with pytest.raises(InputError, match="'i' is nested in 'p' in the study"):
        d_study(study("i:p"), {"i": [3]}, plan=parse_design("p x i"))
    with pytest.raises(InputError, match="the number of levels of 'i' varies in the table"):
        d_study(study("p x (i:h)"), {"h": [3]})
