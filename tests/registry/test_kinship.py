"""The tree of models."""

from pathlib import Path

from tests.kin_project import kin_registry
from transect.registry import kinship
from transect.stats.phylogeny.covariance import tree_covariance


def runs_of(registry, *ids):
    return [registry.runs[i] for i in ids]


def test_levels_are_nested(tmp_path: Path) -> None:
    """Class > family > suite > configuration > run, each named with those around it."""
    registry = kin_registry(tmp_path)
    row = kinship.levels(runs_of(registry, "other-64"), registry).iloc[0]
    assert list(row) == [
        "state-space",
        "state-space/two",
        "state-space/two/other",
        "state-space/two/other/other-64",
        "other-64",
    ]


def test_a_run_stands_under_its_parent(tmp_path: Path) -> None:
    """The chain of post-training is part of the tree."""
    registry = kin_registry(tmp_path)
    parents = kinship.parents(runs_of(registry, "small-chat-rl"), registry)
    assert parents["small-chat-rl"] == "small-chat" and parents["small-chat"] == "small-128-web"


def test_shared_paths_give_the_covariance(tmp_path: Path) -> None:
    """Two runs of a suite share class, family and suite (3 branches); runs of two classes share
    nothing.
    """
    registry = kin_registry(tmp_path)
    ids = ["small-64-pile", "small-64-web", "other-64"]
    found = tree_covariance(kinship.parents(runs_of(registry, *ids), registry), ids)
    assert found.loc[ids[0], ids[1]] == 3 and found.loc[ids[0], ids[2]] == 0


def test_printed_counts(tmp_path: Path) -> None:
    """One line per suite with the numbers of its runs and configurations."""
    registry = kin_registry(tmp_path)
    lines = kinship.printed(
        [r for r in registry.runs.values() if r.suite in ("small", "other")], registry
    )
    assert lines == [
        "decoder (6)",
        "  one (6)",
        "    small: 6 runs in 6 configurations",
        "encoder (1)",
        "  two (1)",
        "    other: 1 run in 1 configuration",
        "state-space (1)",
        "  two (1)",
        "    other: 1 run in 1 configuration",
    ]
