"""G studies against Brennan's tables, lme4, closed formulas and planted truth."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tests.stats.brennan import PUBLISHED, scores
from tests.stats.crossed_data import penicillin
from tests.stats.generalizability.planted_scores import planted
from transect.errors import InputError
from transect.stats.generalizability import g_study as generalizability
from transect.stats.generalizability import variance_components
from transect.stats.generalizability.facets import parse_design
from transect.stats.generalizability.g_study import GStudy, g_study, planned_weights


def study(design: str, frame: pd.DataFrame | None = None, **options: object) -> GStudy:
    return g_study(scores(design) if frame is None else frame, "y", parse_design(design), **options)  # type: ignore[arg-type]


def components(found: GStudy) -> dict[str, float]:
    return dict(found.components()[["effect", "estimate"]].itertuples(index=False))


def precision(found: GStudy, **levels: int) -> dict[str, float]:
    table = found.precision(planned_weights(found, levels) if levels else None)
    return dict(table[["quantity", "estimate"]].itertuples(index=False))


@pytest.mark.parametrize("design", PUBLISHED)
def test_components_are_brennans(design: str) -> None:
    """Balanced ANOVA and, for the unbalanced p x (i:h), Henderson's method I, to the four published
    decimals.
    """
    assert components(study(design)) == pytest.approx(PUBLISHED[design], abs=5.1e-5)


@pytest.mark.parametrize("design", [d for d in PUBLISHED if d != "p x (i:h)"])
def test_balanced_reml_equals_anova(design: str) -> None:
    """Two ways that share no code, to 1e-6."""
    assert components(study(design, method="reml")) == pytest.approx(
        components(study(design)), abs=1e-6
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_likelihood_of_mean_squares_is_that_of_the_mixed_model(seed: int) -> None:
    """Balanced tables with estimates at 0: large ones are fitted by their mean squares, small ones
    as any mixed model.
    """
    design, rng = parse_design("p x i x o"), np.random.default_rng(seed)
    truth = {s: float(rng.choice([0.0, 1.0])) for s in design.effects()} | {frozenset("pio"): 1.0}
    frame = planted(design, {"p": 6, "i": 4, "o": 3}, truth, rng)
    found, anova = study("p x i x o", frame, method="reml"), study("p x i x o", frame)
    assert (anova.estimates < 0).any()
    assert variance_components.balanced_likelihood(anova.anova) == pytest.approx(
        found.estimates, abs=2e-5
    )


def test_unbalanced_reml_is_the_optimum_of_the_dense_likelihood() -> None:
    """p x (i:h): log |V| + log |1'V^-1 1| + y'Py, written out with the 64 x 64 V, falls no further;
    Henderson's values lie elsewhere.
    """
    found = study("p x (i:h)", method="reml")
    y, one = found.observations.y, np.ones((64, 1))
    shared = [
        np.equal.outer(c, c)
        for c in (found.observations.codes[s] for s in found.observations.effects)
    ]

    def criterion(variance: np.ndarray) -> float:
        v = np.tensordot(variance, shared, 1)
        inverse = np.linalg.inv(v)
        information = (one.T @ inverse @ one).item()
        rest = y - (one.T @ inverse @ y).item() / information
        return float(np.linalg.slogdet(v)[1] + np.log(information) + rest @ inverse @ rest)

    least = criterion(found.estimates)
    for step in 1e-3 * np.diag(found.estimates):
        slope = (criterion(found.estimates + step) - criterion(found.estimates - step)) / 2e-3
        assert abs(slope) < 1e-4  # by the relative size of the component; the curvature is about 1
        assert (
            min(criterion(found.estimates + 10 * step), criterion(found.estimates - 10 * step))
            > least
        )
    expected = {"p": 1.0178, "h": 3.6377, "p x h": 1.0210, "i:h": 0.2967, "p x i:h": 0.8377}
    assert components(found) == pytest.approx(expected, abs=1e-4)


def test_missing_cells_by_henderson() -> None:
    """p x i without 10 % of its cells: T terms and their expectations written out for this design
    give the same.
    """
    frame = scores("p x i")
    frame = frame[np.random.default_rng(3).uniform(size=len(frame)) > 0.1]
    n, n_p, n_i = len(frame), frame.groupby("p")["y"].size(), frame.groupby("i")["y"].size()
    t = [(frame.groupby(f)["y"].sum() ** 2 / m).sum() for f, m in (("p", n_p), ("i", n_i))]
    own = [
        (1 / n_p[frame["p"]]).sum(),
        (1 / n_i[frame["i"]]).sum(),
    ]  # sum over cells of n_pi^2 / n_p, of n_pi^2 / n_i
    square_p, square_i = (n_p**2).sum() / n, (n_i**2).sum() / n
    matrix = [
        [n, own[0], own[0], n],
        [own[1], n, own[1], n],
        [n, n, n, n],
        [square_p, square_i, 1, n],
    ]
    right = [t[0], t[1], (frame["y"] ** 2).sum(), frame["y"].sum() ** 2 / n]
    assert list(components(study("p x i", frame)).values()) == pytest.approx(
        np.linalg.solve(matrix, right)[:3], rel=1e-9
    )
    assert list(components(study("p x i", frame)).values()) == pytest.approx(
        [0.058004, 0.078732, 0.124799], abs=1e-6
    )


def test_penicillin_agrees_with_lme4() -> None:
    """lme4 1.1-31, REML: plates, samples and the residual."""
    frame = penicillin().rename(columns={"diameter": "y"})
    for method in ("anova", "reml"):
        found = list(components(study("plate x sample", frame, method=method)).values())
        assert found == pytest.approx(
            [0.71690817676607, 3.73091758834559, 0.302415462713223], rel=2e-5
        )


def test_coefficients_of_the_published_example() -> None:
    """Twelve items: E rho^2 = .844, Phi = .773 (Brennan 2001, ch. 2); eight items within each
    person: .71.
    """
    one, nested = precision(study("p x i")), precision(study("i:p"))
    assert (one["e_rho2"], one["phi"]) == pytest.approx((0.844, 0.773), abs=5e-4)
    assert nested["e_rho2"] == nested["phi"] == pytest.approx(0.71, abs=5e-3)


def test_coefficient_equals_cronbachs_alpha() -> None:
    """One-facet E rho^2 is alpha."""
    table = scores("p x i").pivot(index="p", columns="i", values="y")
    alpha = 12 / 11 * (1 - table.var(ddof=1).sum() / table.sum(axis=1).var(ddof=1))
    assert precision(study("p x i"))["e_rho2"] == pytest.approx(alpha, rel=1e-12)


def test_errors_of_two_facets_by_the_closed_formulas() -> None:
    """p x (R:T) with n'_t = 5, n'_r = 2 (Brennan 2001, ch. 4)."""
    s, found = components(study("p x (r:t)")), precision(study("p x (r:t)"), t=5, r=2)
    delta = s["p x t"] / 5 + s["p x r:t"] / 10
    assert found["relative_error_variance"] == pytest.approx(delta, rel=1e-12)
    assert found["absolute_error_variance"] == pytest.approx(
        delta + s["t"] / 5 + s["r:t"] / 10, rel=1e-12
    )
    assert found["phi"] == pytest.approx(
        s["p"] / (s["p"] + delta + s["t"] / 5 + s["r:t"] / 10), rel=1e-12
    )


def test_unbalanced_nests_count_by_their_squared_shares() -> None:
    """p x (i:h), 2, 4 and 2 items: tests divide by 64 / 24 (Brennan 2001, ch. 7), items by 8."""
    s, found = components(study("p x (i:h)")), precision(study("p x (i:h)"))
    delta = s["p x h"] * 24 / 64 + s["p x i:h"] / 8
    assert found["relative_error_variance"] == pytest.approx(delta, rel=1e-12)
    assert found["absolute_error_variance"] == pytest.approx(
        delta + s["h"] * 24 / 64 + s["i:h"] / 8, rel=1e-12
    )


def test_items_that_objects_do_not_share_count_as_relative_error() -> None:
    """With missing cells the relative error variance is half the mean variance of the difference of
    two objects.
    """
    frame = scores("p x i")
    frame = frame[np.random.default_rng(3).uniform(size=len(frame)) > 0.3]
    found, s = study("p x i", frame), components(study("p x i", frame))
    share = frame.assign(w=1.0).pivot(index="p", columns="i", values="w").fillna(0).to_numpy()
    share = share / share.sum(axis=1, keepdims=True)
    pairs = [(share[a], share[b]) for a in range(10) for b in range(a)]
    expected = (
        np.mean(
            [((a - b) ** 2).sum() * s["i"] + (a**2 + b**2).sum() * s["p x i"] for a, b in pairs]
        )
        / 2
    )
    assert precision(found)["relative_error_variance"] == pytest.approx(expected, rel=1e-10)


def test_a_fixed_facet_is_part_of_the_universe_score() -> None:
    """p x i x o, occasions fixed: tau = p + po / 2, delta = pi / 4 + pio / 8, Delta adds i / 4 + io
    / 8 but not o (Brennan 2001, ch. 4).
    """
    s, found = components(study("p x i x o")), precision(study("p x i x o", fixed=["o"]))
    assert found["universe_variance"] == pytest.approx(s["p"] + s["p x o"] / 2, rel=1e-12)
    delta = s["p x i"] / 4 + s["p x i x o"] / 8
    assert found["relative_error_variance"] == pytest.approx(delta, rel=1e-12)
    assert found["absolute_error_variance"] == pytest.approx(
        delta + s["i"] / 4 + s["i x o"] / 8, rel=1e-12
    )


def test_objects_in_families_are_compared_over_all_families() -> None:
    """(m:f) x i: the universe score is that of model and family, family x item is error."""
    design = parse_design("(m:f) x i")
    truth = dict.fromkeys(design.effects(), 1.0)
    found = study(
        "(m:f) x i", planted(design, {"f": 5, "m": 3, "i": 6}, truth, np.random.default_rng(1))
    )
    s = components(found)
    assert found.object == "m"
    assert precision(found)["universe_variance"] == pytest.approx(s["f"] + s["m:f"], rel=1e-12)
    assert precision(found)["relative_error_variance"] == pytest.approx(
        (s["f x i"] + s["m x i:f"]) / 6, rel=1e-12
    )


def test_negative_estimates_are_said_and_set_to_zero() -> None:
    """Both values are kept; the others are as they were computed (Brennan's procedure)."""
    frame = pd.DataFrame(
        {"p": list("aabbcc"), "i": [1, 2] * 3, "y": [1.0, 3.0, 2.0, 2.5, 3.0, 1.0]}
    )
    found = study("p x i", frame)
    row = found.components().iloc[0]
    assert row["estimate"] < 0 and row["variance"] == 0
    assert found.notes[0].startswith("the estimate for p is negative")
    assert precision(found)["phi"] == 0
    assert found.anova.ms[0] == pytest.approx(2 * found.estimates[0] + found.estimates[2])


def test_planted_truth_with_five_facets() -> None:
    """63 effects of six crossed columns, 14,700 scores: each component within four standard errors
    of the truth; E MS exact on average.
    """
    design = parse_design("p x a x b x c x d x e")
    levels = {"p": 15, "a": 7, "b": 7, "c": 5, "d": 2, "e": 2}
    rng = np.random.default_rng(4)
    variance = {s: float(rng.choice([0.0, 0.2, 1.0])) for s in design.effects()} | {
        frozenset(levels): 0.5
    }
    found = g_study(planted(design, levels, variance, rng), "y", design)
    truth = np.array([variance[s] for s in found.observations.effects])
    expected = found.anova.ems @ truth
    error = np.linalg.inv(found.anova.ems) ** 2 @ (
        2 * expected**2 / found.anova.df
    )  # balanced: independent mean squares
    assert len(truth) == 63
    assert (np.abs(found.estimates - truth) <= 4 * np.sqrt(error)).all()


def test_planted_truth_with_nested_unbalanced_facets() -> None:
    """(m:f) x (i:b) x s with families and tasks of different sizes: the mean of 60 estimates is the
    truth within four standard errors.
    """
    design = parse_design("(m:f) x (i:b) x s")
    truth = {s: 0.3 + 0.1 * k for k, s in enumerate(design.effects())}
    rng, found = np.random.default_rng(6), []
    for _ in range(60):
        frame = planted(
            design,
            {"f": 4, "m": 3, "b": 3, "i": 4, "s": 3},
            truth,
            rng,
            lambda t: (t["m"] <= t["f"]) & (t["i"] <= t["b"] + 1),
        )
        observed = generalizability.observe(frame, "y", design)
        anova = generalizability.analyse(observed)
        found.append(generalizability.solve(anova, anova.ms))
    error = np.std(found, axis=0, ddof=1) / np.sqrt(60)
    assert (np.abs(np.mean(found, axis=0) - list(truth.values())) <= 4 * error).all()


@pytest.mark.parametrize(
    ("design", "change", "options", "message"),
    [
        ("p x i", lambda t: t[t["i"] == 1], {}, "'i' has one level: its variance"),
        ("i:p", lambda t: t[t["i"] == 1], {}, "'i' has one level in each level of p"),
        (
            "p x i",
            lambda t: pd.concat([t, t.head(3)]),
            {},
            "3 cells of the design hold more than one score, e.g. 2 for p 0, i 0",
        ),
        ("p x q", lambda t: t, {}, "unknown column 'q'"),
        ("p x i", lambda t: t.assign(y="a"), {}, "not numbers"),
        ("p x i", lambda t: t.assign(y=1.0), {}, "are equal"),
        ("p x i", lambda t: t.assign(y=np.nan), {}, "no scores left"),
        (
            "p x i",
            lambda t: t.assign(i=t["i"] + 100 * t["p"]),
            {},
            "not crossed: every i occurs with one p only; write i:p",
        ),
        (
            "p x i",
            lambda t: t[(t["p"] == t["i"]) | (t["p"] == t["i"] - 1)],
            {},
            "no degrees of freedom",
        ),
        ("p x i", lambda t: t, {"object": "j"}, "'j' is no facet"),
        ("p x i", lambda t: t, {"fixed": ["p"]}, "cannot be fixed"),
        ("p x i", lambda t: t, {"fixed": ["i"]}, "all facets are fixed"),
        ("i:p", lambda t: t, {"object": "i"}, "leaves no facet to generalize over"),
        ("p x i", lambda t: t, {"method": "ml"}, "unknown method 'ml'"),
    ],
)
def test_what_cannot_be_studied_is_said(
    design: str, change: Callable, options: dict, message: str
) -> None:
    """One sentence each."""
    with pytest.raises(InputError, match=message):
        g_study(change(scores("p x i")), "y", parse_design(design), **options)


def test_what_was_left_out_is_counted() -> None:
    """Missing scores, empty cells and averaged scores."""
    frame = scores("p x i").astype({"y": float})
    frame.loc[[3, 50], "y"] = np.nan
    found = study("p x i", pd.concat([frame, frame.head(2)]), repeats="average")
    assert found.notes[:3] == (
        "2 rows with missing values were left out",
        "4 scores that share a cell were averaged within it",
        "2 cells of the design are empty",
    )
    assert found.notes[3].startswith("unbalanced")
