"""Tests of factors that differ together."""

import numpy as np
import pandas as pd
import pytest

from transect.stats.effects.attribution import attribute
from transect.stats.effects.factor_table import differs_together


def models() -> pd.DataFrame:
    """bert (masked) and two causal architectures, four configurations each, sizes shared."""
    rows = [
        {
            "architecture": a,
            "objective": o,
            "d_model": d,
            "corpus": None if a == "bert" else "x",
            "value": i + d / 100 + (d * (i + 3)) % 7 / 10,
        }
        for i, (a, o) in enumerate([("bert", "masked"), ("gpt", "causal"), ("mamba", "causal")])
        for d in (16, 32, 48, 64)
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(configuration=frame.index.astype(str), run=frame.index.astype(str))


def test_architecture_is_refused_where_the_objective_differs_too() -> None:
    """bert against gpt has a reason and no interval; gpt against mamba is an effect."""
    found = attribute(
        models(),
        ["architecture", "d_model"],
        reference={"architecture": "gpt"},
        separate={"architecture": ["objective"]},
    )["effects"].set_index("term")
    refused = found.loc["architecture[bert - gpt]"]
    assert np.isnan(refused["lower"])
    assert (
        refused["reason"]
        == "not identifiable: architecture differs together with objective (masked against causal)"
    )
    assert found.loc["architecture[mamba - gpt]", "reason"] == ""


@pytest.mark.parametrize(
    ("column", "expected"),
    [("objective", ["objective (masked against causal)"]), ("corpus", []), ("d_model", [])],
)
def test_only_what_both_sides_know_and_never_share_counts(column: str, expected: list[str]) -> None:
    """Unknown values and shared sizes are no confounding."""
    frame = models()
    sides = [frame[frame["architecture"] == a] for a in ("bert", "gpt")]
    assert differs_together(sides[0], sides[1], [column]) == expected
