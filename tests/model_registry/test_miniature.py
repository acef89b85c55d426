"""The miniature suite: exact sizes, the promised coverage, and that its fraction is the one that
stats/design/factorial.py chooses.
"""

import itertools
from collections import Counter

import pytest
import torch

from transect.lm.train import architectures
from transect.registry import recipe, suites
from transect.registry.run import Run
from transect.stats.design import factorial
from transect.stimuli.corpora import grammar
from transect.store.project import SHIPPED, Project

FACTORS = {
    "architecture": ["gpt_neox parallel", "gpt_neox sequential", "mamba2"],
    "d_model": [32, 48, 64, 80],
    "word_order": ["SVO", "SOV"],
    "marking": ["verb", "adjective"],
    "corpus_variant": ["bursty", "fresh"],
}
TERMS = [*FACTORS, "architecture:corpus_variant", "word_order:marking"]
POSSIBLE = [f"{a}:{b}" for a, b in itertools.combinations(FACTORS, 2) if f"{a}:{b}" not in TERMS]


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return [run for run in suites.load(Project(SHIPPED)).runs.values() if run.suite == "miniature"]


def in_fraction(run: Run) -> bool:
    return run.get("architecture") in FACTORS["architecture"] and run.get("n_layers") == 2


def test_sizes_are_exact(runs: list[Run]) -> None:
    """params_total and params_non_embedding equal the network's own, built without memory."""
    tokenizer = grammar.tokenizer()
    for run in runs:
        if run.get("mixer") == "ngram":
            continue
        with torch.device("meta"):
            model = architectures.network(run, recipe.read(run), tokenizer)
        assert architectures.count_parameters(model) == (
            run.get("params_total"),
            run.get("params_non_embedding"),
        ), run.id


def test_the_fraction_is_as_good_as_the_one_that_is_searched_for(runs: list[Run]) -> None:
    """24 of 96 configurations by the same search from the same seed: as likely to tell the terms
    apart (which of equals it finds depends on rounding, so on the processor)."""
    candidates = factorial.factorial(FACTORS)
    chosen = factorial.d_optimal(
        candidates, TERMS, FACTORS, 24, seed=1, possible=POSSIBLE, starts=200
    )
    listed = {tuple(run.get(name) for name in FACTORS) for run in runs if in_fraction(run)}
    assert len(listed) == len(chosen) == 24
    efficiency = [
        factorial.d_efficiency(sampled, TERMS, FACTORS)
        for sampled in (
            [dict(zip(FACTORS, values, strict=True)) for values in listed],
            [candidates[i] for i in chosen],
        )
    ]
    assert efficiency[0] == pytest.approx(efficiency[1], rel=1e-9)


def test_the_fraction_is_a_good_design(runs: list[Run]) -> None:
    """At least 8 residual df between configurations, efficiency above 0.9, and no term half aliased
    with the model.
    """
    configurations = {
        tuple(run.get(name) for name in FACTORS): run for run in runs if in_fraction(run)
    }
    sampled = [{name: run.get(name) for name in FACTORS} for run in configurations.values()]
    report = factorial.describe(sampled, TERMS, FACTORS)
    assert report.residual_df >= 8 and report.efficiency > 0.9
    assert max(t.aliased_share for t in report.terms + report.others) < 0.5
    assert all(t.estimable == t.df for t in report.terms + report.others)


def test_coverage(runs: list[Run]) -> None:
    """At least 24 networks, four configurations with two seeds, a masked control, one with one
    layer, both baselines of all eight corpora.
    """
    networks = [run for run in runs if run.get("mixer") != "ngram"]
    seeds = Counter(
        tuple(run.get(name) for name in FACTORS) for run in networks if in_fraction(run)
    )
    assert len(networks) >= 24 and sum(n >= 2 for n in seeds.values()) >= 4
    assert {run.get("objective") for run in networks} == {"causal", "masked"}
    assert any(run.get("n_layers") == 1 for run in networks)
    assert len(runs) - len(networks) == 16


def test_recipes_can_be_read_and_differ(runs: list[Run]) -> None:
    """Every recipe is understood, and no two runs have the same digest."""
    assert len({recipe.recipe_digest(run) for run in runs}) == len(runs)
    for run in runs:
        recipe.read(run)


def test_tokens_of_training(runs: list[Run]) -> None:
    """train_tokens is what the last checkpoint has seen; the n-gram models count every word of the
    corpus once.
    """
    for run in runs:
        last = run.checkpoints[-1]
        if last.step is not None:
            assert run.get("train_tokens") == last.tokens_seen
        else:
            assert run.get("train_tokens") == 12_000 * 63
