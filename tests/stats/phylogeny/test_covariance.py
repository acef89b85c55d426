"""Related groups: covariances by hand, likelihood and regression against statsmodels at fixed
lambda, lambda in simulations.
"""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from transect.errors import InputError
from transect.stats.phylogeny.covariance import (
    distance_covariance,
    estimate_lambda,
    phylogenetic_regression,
    tree_covariance,
    ultrametric,
)

PARENTS = {
    "root": None,
    "base": "root",
    "chat": "base",
    "code": "base",
    "other": "root",
    "alone": None,
}


def _grown(n: int, rng: np.random.Generator) -> tuple[dict, dict, list[str]]:
    """A random binary tree of n tips at one depth: two of the lines are joined again and again
    (coalescent).
    """
    tips = [f"t{i}" for i in range(n)]
    live, depth = list(tips), dict.fromkeys(tips, 0.0)
    parents: dict[str, str | None] = {}
    lengths: dict[str, float] = {}
    now = 0.0
    while len(live) > 1:
        now += rng.exponential(1 / len(live))
        joined = f"n{len(live)}"
        for child in (
            live.pop(int(rng.integers(len(live)))),
            live.pop(int(rng.integers(len(live)))),
        ):
            parents[child], lengths[child] = joined, now - depth[child]
        depth[joined] = now
        live.append(joined)
    return parents | {live[0]: None}, lengths | {live[0]: 0.0}, tips


def _drawn(v: pd.DataFrame, value: float, rng: np.random.Generator) -> np.ndarray:
    full = v.to_numpy()
    mixed = value * full + (1 - value) * np.diag(np.diag(full))
    return np.linalg.cholesky(mixed + 1e-12 * np.eye(len(v))) @ rng.standard_normal(len(v))


def test_shared_paths_by_hand() -> None:
    """chat and code share root and base; an inner node is a group like any other; another root
    shares nothing.
    """
    found = tree_covariance(
        PARENTS, ["chat", "code", "base", "other", "alone"], {"chat": 0.5, "root": 0.25}
    )
    expected = [
        [1.75, 1.25, 1.25, 0.25, 0],
        [1.25, 2.25, 1.25, 0.25, 0],
        [1.25, 1.25, 1.25, 0.25, 0],
        [0.25, 0.25, 0.25, 1.25, 0],
        [0, 0, 0, 0, 1],
    ]
    assert found.to_numpy() == pytest.approx(np.array(expected))


def test_distances_of_a_tree_give_its_covariance() -> None:
    """Patristic distances of tips at one depth: 1 - D / max D is V / depth; average linkage finds
    the same tree.
    """
    parents, lengths, tips = _grown(20, np.random.default_rng(3))
    v = tree_covariance(parents, tips, lengths)
    depth = np.diag(v)
    distances = pd.DataFrame(depth[:, None] + depth - 2 * v.to_numpy(), index=tips, columns=tips)
    distances = (distances + distances.T) / 2 * (1 - np.eye(20))
    assert distance_covariance(distances).to_numpy() == pytest.approx(v.to_numpy() / depth[0])
    assert ultrametric(distances).to_numpy() == pytest.approx(distances.to_numpy())


@pytest.fixture(scope="module")
def related() -> tuple[pd.DataFrame, pd.DataFrame]:
    """60 groups of 3 rows with a planted lambda of 0.8 and slope of 0.5, and their covariance."""
    rng = np.random.default_rng(5)
    parents, lengths, tips = _grown(60, rng)
    v = tree_covariance(parents, tips, lengths)
    x = rng.normal(size=60)
    y = 1 + 0.5 * x + _drawn(v, 0.8, rng)
    frame = pd.DataFrame({"model": np.repeat(tips, 3), "x": np.repeat(x, 3), "y": np.repeat(y, 3)})
    return frame.assign(y=frame["y"] + np.tile([-0.1, 0.0, 0.1], 60)).sample(
        frac=1, random_state=1
    ), v


@pytest.mark.parametrize("phylogeny", ["star", "estimated", "tree"])
def test_regression_equals_gls_of_statsmodels(
    related: tuple[pd.DataFrame, pd.DataFrame], phylogeny: str
) -> None:
    """Coefficients, standard errors and p at the lambda that the row names; lambda = 0 is least
    squares.
    """
    frame, v = related
    effects, _ = phylogenetic_regression(frame, "y ~ x", "model", v)
    part = effects[effects["phylogeny"] == phylogeny]
    value = part["lambda"].iloc[0]
    means = frame.groupby("model")[["x", "y"]].mean().loc[v.index]
    sigma = value * v.to_numpy() + (1 - value) * np.diag(np.diag(v))
    other = sm.GLS(means["y"], sm.add_constant(means["x"]), sigma=sigma).fit()
    assert part["estimate"].to_numpy() == pytest.approx(other.params.to_numpy(), rel=1e-6)
    assert part["se"].to_numpy() == pytest.approx(other.bse.to_numpy(), rel=1e-6)
    assert part["p"].to_numpy() == pytest.approx(other.pvalues.to_numpy(), rel=1e-5, abs=1e-12)
    if phylogeny == "star":
        plain = sm.OLS(means["y"], sm.add_constant(means["x"])).fit()
        assert part["se"].to_numpy() == pytest.approx(plain.bse.to_numpy())


def test_the_likelihood_is_that_of_statsmodels_and_the_estimate_its_best(
    related: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    """ML: -2 llf of GLS at the estimate, at 0, and nowhere on a grid lower; interval ends lie chi2
    / 2 below it.
    """
    frame, v = related
    means = frame.groupby("model")[["x", "y"]].mean().loc[v.index]
    x = sm.add_constant(means["x"])

    def criterion(value: float) -> float:
        sigma = value * v.to_numpy() + (1 - value) * np.diag(np.diag(v))
        return -2 * float(sm.GLS(means["y"], x, sigma=sigma).fit().llf)

    found = estimate_lambda(means["y"].to_numpy(), x.to_numpy(), v, reml=False)
    assert found.criterion == pytest.approx(criterion(found.estimate), abs=1e-6)
    assert found.criterion_star == pytest.approx(criterion(0.0), abs=1e-6)
    assert min(criterion(value) for value in np.linspace(0, 0.999, 50)) >= found.criterion - 1e-6
    assert 0 < found.lower and criterion(found.lower) - found.criterion == pytest.approx(
        3.8415, abs=1e-3
    )


def test_restricted_likelihood_by_hand(related: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """REML: the log density of n - p orthonormal contrasts that are free of beta, up to log |X'X|."""
    frame, v = related
    means = frame.groupby("model")[["x", "y"]].mean().loc[v.index]
    x = sm.add_constant(means["x"]).to_numpy()
    found = estimate_lambda(means["y"].to_numpy(), x, v)
    sigma = found.estimate * v.to_numpy() + (1 - found.estimate) * np.diag(np.diag(v))
    free = np.linalg.svd(x)[0][:, 2:]
    inner, z = free.T @ sigma @ free, free.T @ means["y"].to_numpy()
    scale = z @ np.linalg.solve(inner, z) / 58
    by_hand = (
        np.linalg.slogdet(inner)[1]
        + 58 * (1 + np.log(2 * np.pi * scale))
        + np.linalg.slogdet(x.T @ x)[1]
    )
    assert found.criterion == pytest.approx(by_hand, abs=1e-6)


def test_what_a_lambda_can_say_is_said(related: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """60 related groups inform; 12 do not; 60 of which only two are related leave lambda open."""
    frame, v = related
    _, found = phylogenetic_regression(frame, "y ~ x", "model", v)
    assert (
        found.informative
        and found.lower < 0.8 < found.upper
        and "against the star" in found.sentence
    )
    few = frame[frame["model"].isin(v.index[:12])]
    _, found = phylogenetic_regression(few, "y ~ 1", "model", v)
    assert not found.informative and "uninformative, fewer than 50" in found.sentence
    pair = np.eye(60)
    pair[0, 1] = pair[1, 0] = 0.5
    y = np.random.default_rng(0).normal(size=60)
    found = estimate_lambda(y, np.ones((60, 1)), pd.DataFrame(pair))
    assert not found.informative and "wider than 0.8" in found.sentence


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 0.5, 0.9])
def test_intervals_of_lambda_cover_with_60_groups(value: float) -> None:
    """REML, 1,000 draws over 50 random trees, one predictor: 95 % - 2.5 MC SE or more (more than 95
    % at the edge 0).
    """
    rng = np.random.default_rng(9)
    covered, stars = 0, 0
    for draw in range(1000):
        if draw % 20 == 0:
            parents, lengths, tips = _grown(60, rng)
            v = tree_covariance(parents, tips, lengths)
        x = np.column_stack([np.ones(60), rng.normal(size=60)])
        found = estimate_lambda(x @ [1, 0.5] + _drawn(v, value, rng), x, v)
        covered += found.lower - 1e-9 <= value <= found.upper + 1e-9
        stars += found.p_star < 0.05
    assert covered / 1000 >= 0.95 - 2.5 * np.sqrt(0.05 * 0.95 / 1000)
    assert value > 0 or stars / 1000 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.slow
def test_a_predictor_that_follows_the_tree_is_not_taken_for_a_cause() -> None:
    """500 draws, 60 groups, lambda 0.9, no effect: the star calls over 25 % significant, the
    estimated lambda 5 % + 3 MC SE.
    """
    rng, alarms = np.random.default_rng(1), {"star": 0, "estimated": 0}
    for draw in range(500):
        if draw % 20 == 0:
            parents, lengths, tips = _grown(60, rng)
            v = tree_covariance(parents, tips, lengths)
        frame = pd.DataFrame({"g": tips, "x": _drawn(v, 1.0, rng), "y": _drawn(v, 0.9, rng)})
        effects = (
            phylogenetic_regression(frame, "y ~ x", "g", v)[0]
            .query("term == 'x'")
            .set_index("phylogeny")
        )
        for name in alarms:
            alarms[name] += bool(effects.loc[name, "p"] < 0.05)
    assert alarms["star"] > 0.25 * 500
    assert alarms["estimated"] <= (0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)) * 500


def test_a_twin_of_distance_0_is_no_obstacle() -> None:
    """The tree's own lambda of 1 has no inverse then; the largest one that is tried lies just
    below.
    """
    v = tree_covariance(
        {"r": None, "a": "r", "b": "r", "c": None, "d": None}, list("abcd"), {"a": 0, "b": 0}
    )
    frame = pd.DataFrame({"g": list("abcd"), "y": [1.0, 1.1, 2.0, 3.0]})
    effects, _ = phylogenetic_regression(frame, "y ~ 1", "g", v)
    assert np.isfinite(effects["se"]).all() and effects["lambda"].iloc[-1] == pytest.approx(
        1, abs=1e-5
    )


def test_wrong_trees_and_distances_are_explained() -> None:
    """One sentence for each."""
    for call, message in [
        (lambda: tree_covariance(PARENTS, ["chta"]), "Did you mean 'chat'"),
        (lambda: tree_covariance({"a": "b", "b": "a"}, ["a"]), "circle"),
        (lambda: tree_covariance(PARENTS, ["chat", "chat"]), "name twice"),
        (lambda: tree_covariance(PARENTS, ["root"], {"root": 0}), "no branch length above it"),
        (lambda: tree_covariance(PARENTS, ["chat"], {"chat": -1}), "not below 0"),
        (lambda: distance_covariance(pd.DataFrame([[0, 1], [2, 0]])), "symmetric"),
        (lambda: distance_covariance(pd.DataFrame([[0, 1]])), "same groups"),
    ]:
        with pytest.raises(InputError, match=message):
            call()
    far = np.array([[0, 1, 1, 0.1], [1, 0, 1, 0.1], [1, 1, 0, 0.1], [0.1, 0.1, 0.1, 0]])
    with pytest.raises(InputError, match="fit a tree to them first"):
        distance_covariance(pd.DataFrame(far))
    assert np.linalg.eigvalsh(distance_covariance(ultrametric(pd.DataFrame(far))))[0] > -1e-9


def test_wrong_regressions_are_explained(related: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Random terms, unknown columns, groups that the tree lacks, aliased predictors, unrelated or
    too few groups.
    """
    frame, v = related
    for change, formula, group, tree, message in [
        ({}, "y ~ x + (1 | model)", "model", v, "no random terms"),
        ({}, "y ~ x", "modl", v, "Did you mean 'model'"),
        ({}, "y ~ x", "model", v.iloc[1:, 1:], "lacks 1 groups"),
        ({"z": frame["x"] * 2}, "y ~ x + z", "model", v, "'z' is aliased"),
        ({}, "y ~ x", "model", v * np.eye(60), "no two groups are related"),
    ]:
        with pytest.raises(InputError, match=message):
            phylogenetic_regression(frame.assign(**change), formula, group, tree)
    with pytest.raises(InputError, match="no covariance"):
        estimate_lambda(
            np.arange(3.0), np.ones((3, 1)), pd.DataFrame([[1, 2, 0], [2, 1, 0], [0, 0, 1.0]])
        )
    with pytest.raises(InputError, match="too few"):
        estimate_lambda(np.arange(2.0), np.ones((2, 1)), v.iloc[:2, :2])
    with pytest.raises(InputError, match="do not match"):
        estimate_lambda(np.arange(3.0), np.ones((2, 1)), v)
