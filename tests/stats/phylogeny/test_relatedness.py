"""Trees and matrices as they are written, against R's ape, and the regression of what varies
between the levels.
"""

import numpy as np
import pandas as pd
import pytest

from transect.errors import InputError
from transect.stats.phylogeny.covariance import phylogenetic_regression
from transect.stats.phylogeny.relatedness import (
    covariance_of,
    read_newick,
    related_effects,
    tree_of,
)

TREE = "((a:1,b:1)x:0.5,(c:0.7,('d e':0.2,f:0.3):0.5)[a comment]:0.9);"
LEVELS = ["a", "b", "c", "d e", "f"]
# ape 5.7: vcv(read.tree(text = TREE))
VCV = [
    [1.5, 0.5, 0, 0, 0],
    [0.5, 1.5, 0, 0, 0],
    [0, 0, 1.6, 0.9, 0.9],
    [0, 0, 0.9, 1.6, 1.4],
    [0, 0, 0.9, 1.4, 1.7],
]


def test_the_covariance_of_a_tree_equals_ape() -> None:
    """Names in quotes, nodes without names, comments; an inner node is a level like any other."""
    assert tree_of(TREE, LEVELS).to_numpy() == pytest.approx(np.array(VCV))
    assert tree_of(TREE, ["x", "a"]).to_numpy() == pytest.approx(np.array([[0.5, 0.5], [0.5, 1.5]]))


def test_branches_without_lengths_are_one_long() -> None:
    """And the root 0."""
    assert tree_of("((a,b),c);", ["a", "b", "c"]).to_numpy() == pytest.approx(
        np.array([[2, 1, 0], [1, 2, 0], [0, 0, 1]])
    )
    assert read_newick("(it''s:1,'it''s':2e-1)pythia-70m;")[1] == {
        "it''s": 1.0,
        "it's": 0.2,
        "pythia-70m": 0.0,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("((a,b)", "not closed"),
        ("a,b;", "no single root"),
        (")a;", r"a '\)' too many"),
        ("(a:1,b:x);", "branch length 'x' of 'b'"),
        ("(a:1,,b:1);", "tip without a name"),
        ("(a:1,a:2);", "holds 'a' twice"),
        ("(a:1 (b:1));", "lacks a comma before"),
        ("((a:1,b:1),(c:1,d:1):1);", "none for"),
        ("[", "no Newick tree"),
        ("(a:1,c:1);", "lacks 1 levels, e.g. 'b'"),
        ("(a:-1,b:1);", "not below 0"),
    ],
)
def test_what_is_no_tree_is_said(text: str, message: str) -> None:
    """One sentence for each."""
    with pytest.raises(InputError, match=message):
        tree_of(text, ["a", "b"])


def test_a_matrix_is_taken_for_what_its_diagonal_says() -> None:
    """Distances of a tree give its covariance over its depth, in the order of the levels; a line of
    points has no covariance as it stands.
    """
    v = np.array([[2, 1, 0], [1, 2, 0], [0, 0, 2.0]])
    names = ["a", "b", "c"]
    distances = pd.DataFrame(np.diag(v)[:, None] + np.diag(v) - 2 * v, index=names, columns=names)
    found, said = covariance_of(distances, ["c", "a", "b"])
    assert list(found.index) == ["c", "a", "b"] and found.loc["a", "b"] == pytest.approx(0.5)
    assert said.startswith("distances")
    assert covariance_of(pd.DataFrame(v, index=names, columns=names), names)[1] == "covariances"
    line = pd.DataFrame(
        np.abs(np.subtract.outer(np.arange(3.0) ** 2, np.arange(3.0) ** 2)) ** 2,
        index=names,
        columns=names,
    )
    assert "average-linkage" in covariance_of(line, names)[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0, 1], [2, 0]], "symmetric"),
        ([[0, np.nan], [np.nan, 0]], "no gaps"),
        ([[0, 1], [1, 3]], "all 0"),
        ([[1, 3], [3, 1]], "negative eigenvalue"),
        ([["x", "y"], ["y", "x"]], "one number for each pair"),
    ],
)
def test_what_is_no_matrix_of_relations_is_said(values: list, message: str) -> None:
    """One sentence for each; and for a level that it lacks."""
    matrix = pd.DataFrame(values, index=["a", "b"], columns=["a", "b"])
    with pytest.raises(InputError, match=message):
        covariance_of(matrix, ["a", "b"])
    with pytest.raises(InputError, match="lacks 1 levels"):
        covariance_of(matrix, ["a", "d"])


def test_terms_within_the_levels_are_left_out() -> None:
    """cond, balanced in every model, leaves the regression of the models' means on size as it is."""
    rng = np.random.default_rng(2)
    names = [f"m{i}" for i in range(16)]
    tree = f"{''.join('(' * 15)}m0:1{''.join(f',m{i}:1):1' for i in range(1, 16))};"
    frame = pd.DataFrame(
        {
            "model": np.repeat(names, 4),
            "size": np.repeat(rng.normal(size=16), 4),
            "cond": ["p", "q"] * 32,
        }
    )
    frame["y"] = frame["size"] + rng.normal(size=64)
    v = tree_of(tree, names)
    effects, found, left_out = related_effects(frame, "y ~ size*cond + (1 | model)", "model", v)
    alone, expected = phylogenetic_regression(frame, "y ~ size", "model", v)
    assert left_out == ["cond", "size:cond"]
    assert set(effects["phylogeny"]) == {"star", "estimated", "tree"} and not found.informative
    pd.testing.assert_frame_equal(effects, alone)
    assert found == expected
