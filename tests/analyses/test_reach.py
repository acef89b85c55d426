"""What stands beside an effect: fragility, refusals, transfer, relatedness, tests of heads; truth
planted (simulated.py).
"""

import numpy as np
import pandas as pd
import pytest

from analyses import attribution, heads, relatedness, size_trend, transfer, variance_shares
from tests.analyses.simulated import row_of

NATS = {"measure": "minimal_pair", "metric": "difference_nats", "name": "nats"}
PREFIX = {
    "measure": "induction",
    "metric": "prefix_matching",
    "reduce": "max_head",
    "item": "length6_gap3",
    "name": "prefix",
}


def test_the_planted_effect_is_not_fragile_and_its_cross_check_agrees(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """No configuration carries the simple effect alone; OLS on configurations has the same
    estimate.
    """
    outcome = PREFIX | {
        "influence": ["configuration"],
        "factors": ["architecture", "corpus_variant", "architecture:corpus_variant"],
        "where": {"n_layers": 2},
    }
    found = attribution.tables(
        measured, registry, outcomes=[outcome], reference={"corpus_variant": "fresh"}
    )
    row = row_of(
        found["effects"], term="corpus_variant[bursty - fresh] in architecture[gpt_neox parallel]"
    )
    assert not row["fragile"] and row["lowest"] > 0.3
    assert row["ols_estimate"] == pytest.approx(row["estimate"], abs=1e-9)
    removed = found["influence"]
    assert set(removed["group"]) == {"configuration"} and removed["outcome"].eq("prefix").all()


def test_architecture_is_refused_where_the_objective_goes_with_it(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """An outcome of both objectives: bert against the others is an objective too; the others stay
    comparable.
    """
    both = measured.assign(metric=measured["metric"].str.removeprefix("pll_"))
    outcome = NATS | {
        "objective": ["causal", "masked"],
        "influence": [],
        "factors": ["architecture"],
    }
    effects = attribution.tables(
        both, registry, outcomes=[outcome], reference={"architecture": "mamba2"}
    )["effects"]
    refused = row_of(effects, term="architecture[bert - mamba2]")
    assert (
        "architecture differs together with objective (masked against causal)" in refused["reason"]
    )
    assert np.isnan(refused["lower"])
    assert row_of(effects, term="architecture[gpt_neox parallel - mamba2]")["reason"] == ""


def test_what_is_planted_everywhere_reaches_other_sizes_and_languages(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """The size effect on nats is planted in all languages; the prefix effect depends on an
    architecture that was left out.
    """
    outcomes = [
        NATS,
        PREFIX | {"factors": ["architecture", "corpus_variant", "architecture:corpus_variant"]},
    ]
    groups = {
        "language": "language",
        "size": "d_model",
        "architecture": "architecture",
        "suite": "suite",
    }
    found = transfer.tables(measured, registry, outcomes=outcomes, groups=groups)
    reach = found["reach"].set_index(["outcome", "left_out"])
    assert reach.loc[("nats", "language"), "r2"] > 0.3
    assert reach.loc[("nats", "language"), "r2"] == pytest.approx(
        reach.loc[("nats", "language"), "r2_scale_only"]
    )
    assert (
        reach.loc[("nats", "suite"), "reason"] == "not identifiable: 1 level of suite, fewer than 3"
    )
    assert found["predictions"]["level"].map(type).eq(str).all()
    added = found["delta"].set_index(["outcome", "left_out", "factor"])["delta"]
    assert added[("prefix", "language", "architecture:corpus_variant")] > 0.3


def test_related_models_have_their_slope_beside_the_star(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """Two classes: three rows, the star equals OLS; 37 configurations say nothing of lambda."""
    kin = registry.assign(
        model_class=np.where(registry["architecture"] == "mamba2", "state-space", "decoder")
    )
    found = relatedness.tables(measured, kin, outcomes=[NATS])
    assert found["effects"]["phylogeny"].tolist() == ["star", "estimated", "tree"]
    alone = size_trend.tables(measured, registry, outcomes=[NATS])["slopes"].iloc[0]
    star = row_of(found["effects"], phylogeny="star")
    assert (star["estimate"], star["lower"]) == pytest.approx(
        (alone["estimate"], alone["lower"]), abs=1e-9
    )
    assert "fewer than 50 groups" in found["lambdas"]["sentence"].iloc[0]


def test_a_child_is_related_to_the_run_it_was_trained_from(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """One class and suite, so all are equally related, until one configuration descends from
    another.
    """
    flat = relatedness.tables(measured, registry, outcomes=[NATS])
    assert flat["effects"]["phylogeny"].tolist() == ["star"]
    first, second = registry["run"].iloc[0], registry["run"].iloc[4]
    kin = registry.assign(parent=registry["run"].map({second: first}))
    assert len(relatedness.tables(measured, kin, outcomes=[NATS])["effects"]) == 3


def test_only_the_planted_head_survives(measured: pd.DataFrame, registry: pd.DataFrame) -> None:
    """32 sequences per run: layer 1, head 1 exceeds uniform attention by 0.1 in the 8 planted runs
    that have 2 layers, no other head.
    """
    rng = np.random.default_rng(4)
    last = measured[
        (measured["metric"] == "prefix_matching") & (measured["step"] == measured["step"].max())
    ]
    parts = [
        last.assign(
            metric="by_sequence",
            item=last["item"] + f"#{k}",
            value=last["value"] + rng.normal(0, 0.05, len(last)),
        )
        for k in range(32)
    ]
    outcome = PREFIX | {"against": "uniform_attention", "sequences": "by_sequence", "margin": 0.1}
    tests = heads.tables(pd.concat([measured, *parts]), registry, outcomes=[outcome])["tests"]
    planted = (
        tests["run"].str.contains("parallel d(?:32|64) L2 bursty")
        & tests["layer"].eq(1)
        & tests["head"].eq(1)
    )
    assert planted.sum() == 8 and tests["n_sequences"].eq(32).all()
    assert (tests["family_wise"] == planted).all() and (tests["tree"] == planted).all()
    assert (tests["p_map"] >= tests["p_cell"]).all()


def test_shares_are_not_zero_where_nothing_can_be_told(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """Four configurations under four factors: no share, a reason, and the configurations' variance
    in one row.
    """
    few = registry[registry["architecture"].eq("mamba2") & registry["d_model"].isin([16, 32])]
    few = few[few["configuration"].isin(few["configuration"].unique()[[0, 1, 2, 4]])]
    outcome = NATS | {"factors": ["d_model", "corpus_variant", "word_order", "marking"]}
    found = variance_shares.tables(measured, few, outcomes=[outcome])["shares"].set_index(
        "component"
    )
    assert np.isnan(found.loc["d_model", "estimate"])
    assert "no degree of freedom" in found.loc["d_model", "reason"]
    assert found.loc["configurations", "estimate"] > 0
