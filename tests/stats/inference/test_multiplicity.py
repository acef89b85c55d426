"""Adjusted p values against statsmodels; the tree against Benjamini & Bogomolov by hand and in
simulations.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from transect.errors import InputError
from transect.stats.inference.multiplicity import (
    benjamini_hochberg,
    holm,
    nested_tree,
    simes,
    tree_bh,
)

LISTS = [
    [0.04, 0.001, 0.03, 0.03, 0.5],
    [0.0, 1.0],
    [0.2],
    list(np.random.default_rng(0).beta(0.3, 1, 200)),
]


@pytest.mark.parametrize("p", LISTS)
def test_holm_equals_that_of_statsmodels(p: list[float]) -> None:
    """Adjusted p of unsorted lists with ties."""
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@pytest.mark.parametrize("p", LISTS)
def test_benjamini_hochberg_equals_that_of_statsmodels(p: list[float]) -> None:
    """Adjusted p of unsorted lists with ties."""
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])


def test_simes_by_hand() -> None:
    """min(3 * 0.03, 3 * 0.04 / 2, 0.5) = 0.06."""
    assert simes([0.04, 0.5, 0.03]) == pytest.approx(0.06)


def _families(p: dict[str, list[float]]) -> tuple[pd.Series, dict]:
    frame = pd.DataFrame(
        [(f, i, v) for f, values in p.items() for i, v in enumerate(values)],
        columns=["f", "i", "p"],
    )
    return nested_tree(frame, ["f", "i"]), {(f, i): v for f, i, v in frame.itertuples(index=False)}


def test_two_levels_are_benjamini_and_bogomolov() -> None:
    """Three families with Simes p 0.002, 0.03, 0.6: BH at 0.05 takes two of three, so within them
    BH at 0.05 * 2 / 3 = 0.0333: in the second family 0.03 * 2 / 2 = 0.03 passes, 0.04 in the first
    does not."""
    parents, p = _families({"a": [0.001, 0.04], "b": [0.03, 0.03], "c": [0.6, 0.4]})
    found = tree_bh(parents, p).set_index("node")
    assert found["p"][[("a",), ("b",), ("c",)]].tolist() == pytest.approx([0.002, 0.03, 0.6])
    assert found["at"][("a", 0)] == pytest.approx(0.05 * 2 / 3)
    assert np.isnan(found["at"][("c", 0)])
    rejected = found.index[found["rejected"]].tolist()
    assert rejected == [("a",), ("b",), ("a", 0), ("b", 0), ("b", 1)]


def test_a_flat_tree_is_benjamini_hochberg() -> None:
    """Nodes without parents are one family."""
    p = dict(enumerate(LISTS[3]))
    found = tree_bh(dict.fromkeys(p), p)
    assert found["rejected"].tolist() == multipletests(LISTS[3], 0.05, "fdr_bh")[0].tolist()


def test_a_rejected_node_has_a_rejected_child() -> None:
    """With Simes' p at every inner node, over 200 random trees of three levels."""
    rng = np.random.default_rng(2)
    cells = pd.DataFrame(
        [(a, b, c) for a in range(4) for b in range(3) for c in range(5)], columns=["a", "b", "c"]
    )
    parents = nested_tree(cells, ["a", "b", "c"])
    leaves = [node for node in parents.index if len(node) == 3]
    for _ in range(200):
        found = tree_bh(parents, dict(zip(leaves, rng.beta(0.15, 1, 60), strict=True)))
        inner = found[found["rejected"] & (found["depth"] < 2)]["node"]
        below = set(found[found["rejected"]]["parent"])
        assert all(node in below for node in inner)


def test_an_own_test_of_an_inner_node_is_used() -> None:
    """A layer with p = 1 of its own closes the way to its heads."""
    found = tree_bh({"layer": None, "head": "layer"}, {"layer": 1.0, "head": 1e-9})
    assert not found["rejected"].any()


def _rates(effect: float, n: int) -> tuple[float, float]:
    """Share of trees (8 layers x 10 heads) with any false rejection; mean over trees of the
    families' mean false share.
    """
    rng = np.random.default_rng(7)
    parents, _ = _families({str(f): [0.0] * 10 for f in range(8)})
    leaves = [node for node in parents.index if len(node) == 2]
    true = np.array([int(f) < 3 and i < 5 for f, i in leaves])
    anyone, selective = [], []
    for _ in range(n):
        z = rng.standard_normal(80) + effect * true
        p = 2 * stats.norm.sf(np.abs(z))
        found = tree_bh(parents, dict(zip(leaves, p, strict=True))).set_index("node")
        hit = found["rejected"][pd.Index(leaves, tupleize_cols=False)].to_numpy().reshape(8, 10)
        false = hit & ~true.reshape(8, 10)
        anyone.append(false.any())
        chosen = hit.any(1)
        selective.append(
            (false.sum(1) / np.maximum(hit.sum(1), 1))[chosen].mean() if chosen.any() else 0.0
        )
    return float(np.mean(anyone)), float(np.mean(selective))


@pytest.mark.slow
def test_null_trees_have_at_most_5_percent_of_discoveries() -> None:
    """2,000 trees without any effect: 5 % + 2 MC SE."""
    assert _rates(0.0, 2000)[0] <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.slow
def test_the_selective_false_discovery_rate_is_held() -> None:
    """1,000 trees with effects of 3.5 sd in half of three layers: the families' mean share of false
    heads at most 5 % + 2 MC SE.
    """
    assert 0.005 < _rates(3.5, 1000)[1] <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize(
    ("parents", "p", "message"),
    [
        ({"a": None}, {}, "leaf 'a' has no p"),
        ({"a": None}, {"a": 1.2}, "outside 0 to 1"),
        ({"a": None, "b": "c"}, {"a": 0.1, "b": 0.1}, "parent 'c' is no node"),
        ({"a": None, "b": "c", "c": "b"}, {"a": 0.1}, "a circle"),
        ({"a": None}, {"a": 0.1, "z": 0.2}, "'z', which is no node"),
        ({}, {}, "no nodes"),
    ],
)
def test_wrong_trees_are_explained(parents: dict, p: dict, message: str) -> None:
    """One sentence for each."""
    with pytest.raises(InputError, match=message):
        tree_bh(parents, p)


def test_wrong_tables_are_explained() -> None:
    """A leaf given twice, a column that does not exist, a missing p, a rate that is none."""
    frame = pd.DataFrame({"layer": [1, 1], "head": [2, 2]})
    with pytest.raises(InputError, match="1 rows repeat"):
        nested_tree(frame, ["layer", "head"])
    with pytest.raises(InputError, match="Did you mean 'layer'"):
        nested_tree(frame, ["layr"])
    with pytest.raises(InputError, match="1 of 2 p values are missing"):
        benjamini_hochberg([0.1, np.nan])
    with pytest.raises(InputError, match="between 0 and 1"):
        tree_bh({"a": None}, {"a": 0.1}, q=5)
    with pytest.raises(InputError, match="at least one"):
        simes([])
