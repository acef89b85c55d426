"""Every analysis on a study that never ran, with its truth planted (simulated.py)."""

import numpy as np
import pandas as pd
import pytest

from analyses import (
    acquisition_order,
    attribution,
    baselines,
    emergence,
    heads,
    held_out_size,
    population,
    relatedness,
    size_trend,
    transfer,
    variance_shares,
)
from tests.analyses import simulated
from tests.analyses.simulated import row_of
from transect.errors import InputError

AGREEMENT = {"measure": "minimal_pair", "metric": "correct"}
NATS = {"measure": "minimal_pair", "metric": "difference_nats", "name": "nats"}
PREFIX = {
    "measure": "induction",
    "metric": "prefix_matching",
    "reduce": "max_head",
    "item": "length6_gap3",
    "name": "prefix",
}


def test_burstiness_raises_prefix_matching_in_parallel_models_only(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """The planted simple effect (4 of 6 two-layer configurations rise by 0.75: 0.5), the
    interaction, and nothing elsewhere.
    """
    outcome = PREFIX | {
        "influence": [],
        "factors": ["architecture", "corpus_variant", "architecture:corpus_variant"],
        "where": {"n_layers": 2},
    }
    effects = attribution.tables(
        measured, registry, outcomes=[outcome], reference={"corpus_variant": "fresh"}
    )["effects"]
    within = row_of(
        effects, term="corpus_variant[bursty - fresh] in architecture[gpt_neox parallel]"
    )
    assert within["lower"] < 0.5 < within["upper"] and within["lower"] > 0
    elsewhere = row_of(
        effects, term="corpus_variant[bursty - fresh] in architecture[gpt_neox sequential]"
    )
    assert abs(elsewhere["estimate"]) < 0.01 and elsewhere["lower"] < 0 < elsewhere["upper"]
    assert (
        row_of(
            effects,
            term="architecture[gpt_neox sequential - gpt_neox parallel] x corpus_variant[bursty - fresh]",
        )["upper"]
        < 0
    )
    assert within["units"] == "6 against 6 configurations (24 runs)"


def test_item_model_recovers_the_size_effect(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """0.5 nats per doubling of the width inside the interval, df from configurations."""
    outcome = NATS | {
        "items": True,
        "influence": [],
        "factors": ["architecture", "log2(d_model)", "item_condition"],
    }
    found = attribution.tables(measured, registry, outcomes=[outcome])
    row = row_of(found["effects"], term="log2(d_model)")
    assert row["lower"] < 0.5 < row["upper"]
    assert row["df"] <= 37 - 4
    variance = found["components"].set_index(["group", "effect"])["variance"]
    assert variance["item", "1"] == pytest.approx(1.5**2, rel=0.5)


def test_masked_models_never_enter(measured: pd.DataFrame, registry: pd.DataFrame) -> None:
    """BERT has other metrics; no architecture contrast names it."""
    outcome = AGREEMENT | {"influence": [], "factors": ["architecture"]}
    assert (
        not attribution.tables(measured, registry, outcomes=[outcome])["effects"]["term"]
        .str.contains("bert|gram")
        .any()
    )
    masked = {
        "measure": "minimal_pair",
        "metric": "pll_correct",
        "influence": [],
        "factors": ["marking"],
    }
    assert attribution.tables(measured, registry, outcomes=[masked])["models"][
        "n_configurations"
    ].tolist() == [2]


def test_wrong_reference_is_explained(measured: pd.DataFrame, registry: pd.DataFrame) -> None:
    """A level that no run has."""
    with pytest.raises(InputError, match="Did you mean 'fresh'"):
        attribution.tables(
            measured,
            registry,
            outcomes=[PREFIX | {"factors": ["architecture"]}],
            reference={"corpus_variant": "fres"},
        )


def test_emergence_finds_the_planted_onsets(measured: pd.DataFrame, registry: pd.DataFrame) -> None:
    """Prefix matching at 10^5.6 tokens where it was planted, never elsewhere; agreement comes
    first.
    """
    outcomes = [
        AGREEMENT | {"name": "agreement", "threshold": 0.75},
        PREFIX
        | {
            "threshold": 0.4,
            "by": ["architecture", "corpus_variant"],
            "where": {"n_layers": 2, "d_model": [32, 64]},
        },
    ]
    found = emergence.tables(measured, registry, outcomes=outcomes)
    row = row_of(found["pooled"], outcome="prefix", group="gpt_neox parallel, bursty")
    assert row["lower"] < 5.6 < row["upper"] and row["n_reached"] == 8
    assert row_of(found["pooled"], outcome="prefix", group="gpt_neox parallel, fresh")[
        "reason"
    ].startswith("not reached in any")
    order = found["order"].iloc[0]
    assert order["after"] == 0 and order["before"] >= 4 and order["n_configurations"] == 16


def test_curves_take_their_interval_from_configurations(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """The band at the end is Student's over configuration means, computed here by hand."""
    found = emergence.tables(
        measured, registry, outcomes=[AGREEMENT | {"threshold": 0.75, "by": ["architecture"]}]
    )
    row = row_of(found["curves"], group="mamba2", tokens_seen=simulated.TOKENS[-1] * 1024)
    runs = measured[measured["metric"].eq("correct") & measured["step"].eq(1500)].merge(
        registry[["run", "configuration", "architecture"]], on="run"
    )
    means = (
        runs[runs["architecture"] == "mamba2"]
        .groupby(["configuration", "run"])["value"]
        .mean()
        .groupby("configuration")
        .mean()
    )
    assert row["estimate"] == pytest.approx(means.mean())
    assert row["se"] == pytest.approx(means.std(ddof=1) / np.sqrt(12))
    assert row["df"] == 11


def test_size_trend_recovers_the_slope(measured: pd.DataFrame, registry: pd.DataFrame) -> None:
    """0.5 nats per doubling of the width are 0.83 per tenfold parameters (which grow with its
    square).
    """
    found = size_trend.tables(
        measured, registry, outcomes=[NATS | {"by": ["architecture"], "where": {"n_layers": 2}}]
    )
    row = row_of(found["slopes"], group="all")
    assert row["lower"] < 0.5 / np.log10(4) < row["upper"]
    assert row["df"] == 36 - 4
    assert set(found["lines"]["group"]) == {
        "all",
        "gpt_neox parallel",
        "gpt_neox sequential",
        "mamba2",
    }


def test_each_line_of_the_size_trend_runs_through_its_points(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """Mamba shifted by 3 nats: a line per architecture, through the mean of its own points
    (balanced: equal), none between.
    """
    mamba = measured["run"].str.startswith("mamba2") & measured["metric"].eq("difference_nats")
    moved = measured.assign(value=measured["value"] + 3.0 * mamba)
    adjust = {
        "adjust": ["word_order", "architecture"],
        "by": ["corpus_variant"],
        "where": {"n_layers": 2},
    }
    found = size_trend.tables(moved, registry, outcomes=[NATS | adjust])
    points, lines = (found[name][found[name]["group"] == "fresh"] for name in ("points", "lines"))
    assert set(points["factor"]) == set(lines["factor"]) == {"architecture"}
    for level, line in lines.groupby("level"):
        own = points[points["level"] == level]
        at = np.interp(np.log10(own["x"]), np.log10(line["x"]), line["estimate"])
        assert own["adjusted"].mean() == pytest.approx(at.mean(), abs=1e-6)
    between = points.groupby("level")["adjusted"].mean()
    assert between["mamba2"] - between["gpt_neox parallel"] == pytest.approx(3, abs=0.5)


def test_the_largest_size_is_predicted_from_the_others(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """A linear truth: the 12 held-out configurations lie inside, the trend errs less than the mean."""
    found = held_out_size.tables(measured, registry, outcomes=[NATS | {"by": ["architecture"]}])
    summary = found["summary"]
    assert summary["n_held_out"].sum() == 12
    assert summary["n_inside"].sum() >= 11
    assert (summary["mean_absolute_error"] < summary["mean_absolute_error_of_mean"]).all()
    assert not found["predictions"]["units"].str.contains("4 sizes").any()


def test_runs_marked_as_held_out_are_those_predicted(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """The role in the study decides, and they do not enter the other analyses."""
    marked = registry.assign(
        role=registry["role"].mask(
            registry["d_model"].eq(32) & registry["role"].eq("population"), "held_out"
        )
    )
    predictions = held_out_size.tables(measured, marked, outcomes=[NATS])["predictions"]
    assert predictions["configuration"].str.contains("d32").all()
    slopes = size_trend.tables(measured, marked, outcomes=[NATS])["slopes"]
    assert row_of(slopes, group="all")["n_sizes"] == 2


def test_variance_is_where_it_was_planted(measured: pd.DataFrame, registry: pd.DataFrame) -> None:
    """Items 1.5^2, seeds 0.3^2, noise 1; width takes most of what configurations have."""
    outcome = NATS | {"items": True, "factors": ["architecture", "log2(d_model)", "corpus_variant"]}
    shares = variance_shares.tables(measured, registry, outcomes=[outcome])["shares"].set_index(
        "component"
    )
    assert shares.loc["items", "variance"] == pytest.approx(
        1.5**2 + 0.25, rel=0.5
    )  # simple and attractor differ by 1 nat
    assert shares.loc["items × models, noise", "variance"] == pytest.approx(1.0, rel=0.1)
    assert shares.loc["seeds", "variance"] == pytest.approx(0.09, rel=0.5)
    assert shares.loc["log2(d_model)", "estimate"] > 5 * shares.loc["architecture", "estimate"]
    assert shares["estimate"].sum() == pytest.approx(1)


def test_gain_over_the_bigram_is_found_with_attractors_only(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """Simple items are known to the bigram; attractors are not."""
    outcome = AGREEMENT | {
        "match": ["word_order", "marking"],
        "by": ["item_condition"],
        "balance": "item_number",
    }
    gains = baselines.tables(measured, registry, outcomes=[outcome])["gains"]
    attractor = gains["group"].str.endswith("attractor")
    assert len(gains) == 8
    assert (gains.loc[attractor, "lower"] > 0).all()
    assert (gains.loc[~attractor, "estimate"].abs() < 0.2).all()
    assert set(gains.loc[~attractor, "baseline"]) == {"2gram"}


def test_order_of_acquisition_within_runs(measured: pd.DataFrame, registry: pd.DataFrame) -> None:
    """Simple before attractor in nats (planted: 4 against 3); items count as a sample, so the
    interval is wide.
    """
    outcome = NATS | {"sets": "item_condition", "balance": "item_number", "by": ["word_order"]}
    found = acquisition_order.tables(measured, registry, outcomes=[outcome])
    for group in ("svo", "sov"):
        row = row_of(found["differences"], group=group)
        assert row["lower"] < -1 < row["upper"]
        assert row["se"] > np.sqrt(2) * 1.5 / np.sqrt(20) * 0.5
    assert set(found["baselines"]["architecture"]) == {"1gram", "2gram"}


def test_the_planted_head_is_found(measured: pd.DataFrame, registry: pd.DataFrame) -> None:
    """Last layer, head 1, in the runs where it was planted."""
    found = heads.tables(
        measured,
        registry,
        outcomes=[
            PREFIX | {"by": ["architecture", "corpus_variant"], "against": "uniform_attention"}
        ],
    )
    strong = found["top"][found["top"]["value"] > 0.4]
    assert len(strong) == 8
    assert set(zip(strong["layer"], strong["head"], strong["without_function"], strict=True)) == {
        (1, 1, 0.04)
    }
    assert found["maps"].groupby("group")["run"].nunique().eq(1).all()


def test_population_counts(measured: pd.DataFrame, registry: pd.DataFrame) -> None:
    """Runs and configurations of each level; unknown factors are named."""
    levels = population.tables(measured, registry, factors=["architecture"])["levels"]
    assert row_of(levels, level="mamba2")[["n_runs", "n_configurations"]].tolist() == [24, 12]
    with pytest.raises(InputError, match="Did you mean 'architecture'"):
        population.tables(measured, registry, factors=["architectur"])


@pytest.mark.parametrize(
    "analysis",
    [
        attribution,
        emergence,
        size_trend,
        held_out_size,
        variance_shares,
        baselines,
        acquisition_order,
        heads,
        population,
        transfer,
        relatedness,
    ],
)
def test_unknown_options_are_input_errors(
    analysis, measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """Every analysis names the option that it does not know."""
    with pytest.raises(InputError, match="unknown option 'outcoms'"):
        analysis.tables(measured, registry, outcoms=[])


@pytest.mark.parametrize(
    "analysis",
    [
        attribution,
        emergence,
        size_trend,
        held_out_size,
        variance_shares,
        transfer,
        relatedness,
        heads,
    ],
)
def test_nothing_measured_is_not_an_error(
    analysis, measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """A measure without any row gives tables, so that a partial study has its report."""
    own = (
        {"factors": ["architecture"]}
        if analysis in (attribution, variance_shares)
        else {"threshold": 0.5}
        if analysis is emergence
        else {}
    )
    analysis.tables(measured[measured["measure"] != "induction"], registry, outcomes=[PREFIX | own])


def test_two_entries_are_compared_item_by_item(
    measured: pd.DataFrame, registry: pd.DataFrame
) -> None:
    """Planted: the second entry is 0.3 nats above the first on every item, with noise of sd 0.05
    per run and item.

    Items differ by 1.5 nats (sd), the same in both entries, so unpaired the interval would be some
    0.9 wide; a noise mean over 38 runs x 40 items has a standard error near 0.05 / sqrt(1520) =
    0.0013.
    """
    nats = measured[measured["metric"] == "difference_nats"]
    other = nats.assign(
        entry="bare",
        value=nats["value"] + 0.3 + np.random.default_rng(5).normal(0, 0.05, len(nats)),
    )
    both = pd.concat([nats.assign(entry="opened"), other])
    outcome = NATS | {"entry": ["opened", "bare"], "sets": "entry"}
    row = acquisition_order.tables(both, registry, outcomes=[outcome])["differences"].iloc[0]
    assert (
        row["term"] == "bare - opened"
        and row["lower"] < 0.3 < row["upper"]
        and row["upper"] - row["lower"] < 0.02
    )
    assert row["n_items"] == 40
