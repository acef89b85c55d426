"""The suite of novels: its facts and its design."""

import pytest
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from transect.registry import recipe, suites
from transect.stimuli.corpora import novels
from transect.store.project import SHIPPED, Project


@pytest.fixture(scope="module")
def runs():
    return suites.load(Project(SHIPPED)).select("suite == 'novels'")


def test_parameters_are_those_of_the_configuration(runs):
    """params_* against a network built by transformers on the meta device, the tied embedding
    counted once.
    """
    import torch

    for run in (r for r in runs if r.get("model_type") == "gpt_neox"):
        with torch.device("meta"):
            model = GPTNeoXForCausalLM(
                GPTNeoXConfig(
                    vocab_size=run.get("vocab_size"),
                    hidden_size=run.get("d_model"),
                    num_hidden_layers=run.get("n_layers"),
                    num_attention_heads=run.get("n_heads"),
                    intermediate_size=run.get("d_ff"),
                    max_position_embeddings=run.get("context_length"),
                    tie_word_embeddings=run.get("tied_embeddings"),
                )
            )
        model.tie_weights()
        total = sum(p.numel() for p in model.parameters())
        assert (run.get("params_total"), run.get("params_non_embedding")) == (
            total,
            total - 4096 * run.get("d_model"),
        )


def test_design_is_crossed(runs):
    """Languages x sizes x seeds, once each, and three n-gram models a language."""
    trained = [
        (r.get("language"), r.get("size"), r.get("seed"))
        for r in runs
        if r.get("mixer") == "attention"
    ]
    assert sorted(trained) == sorted(
        (lang, size, seed) for lang in ("eng", "spa") for size in "SM" for seed in (0, 1)
    )
    counted = [
        (r.get("language"), r.get("architecture"), r.trained_here["order"])
        for r in runs
        if r.get("mixer") == "ngram"
    ]
    orders = {"unigram": 1, "bigram": 2, "trigram": 3}
    assert sorted(counted) == sorted(
        (lang, name, order) for lang in ("eng", "spa") for name, order in orders.items()
    )


def test_recipes_end_at_five_million_tokens(runs):
    """Steps, batch and checkpoint rule agree; checkpoints lie at the stated tokens within one step
    of 1,024.
    """
    stated = [0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5]
    for run in (r for r in runs if r.get("mixer") == "attention"):
        read = recipe.read(run)
        assert (
            read.steps * read.batch_size * read.context_length
            == run.get("train_tokens")
            == run.checkpoints[-1].tokens_seen
        )
        assert [c.tokens_seen / 1e6 for c in run.checkpoints] == pytest.approx(
            stated, abs=1024 / 1e6
        )


def test_vocabulary_is_that_of_the_corpus(runs):
    """The registry's vocabulary is what the corpus unit builds."""
    assert {r.get("vocab_size") for r in runs} == {novels.VOCABULARY}
