"""The form of blocks, from the configuration alone, against what papers say of the architecture."""

import pytest
from transformers import AutoConfig

from transect.lm.describe.form import form

PARALLEL = ("gpt_neox", "falcon", "phi", "cohere")
SEQUENTIAL = ("gpt2", "opt", "bloom", "llama", "olmo2", "gemma2", "qwen3", "mistral", "modernbert")
POST = ("bert", "roberta", "distilbert", "openai-gpt")
ELSEWHERE = {"olmo2": "post-reordered", "gemma2": "sandwich", **dict.fromkeys(POST, "post")}


@pytest.mark.parametrize("kind", [*PARALLEL, *SEQUENTIAL, *POST])
def test_form(kind):
    """Of the full-sized example of each class: Black et al. 2022 (GPT-NeoX) and others are
    parallel, BERT and GPT-1 post-norm.
    """
    config = AutoConfig.for_model(kind)
    found = form(
        config, "masked" if kind in ("bert", "roberta", "distilbert", "modernbert") else "causal"
    )
    assert found["parallel_residual"] == (kind in PARALLEL)
    assert found["norm_placement"] == ELSEWHERE.get(kind, "pre")


def test_a_sequential_neox_is_no_parallel_one():
    """The configuration decides, not the class."""
    assert (
        form(AutoConfig.for_model("gpt_neox", use_parallel_residual=False), "causal")[
            "parallel_residual"
        ]
        is False
    )


@pytest.mark.parametrize("kind", ["mamba", "mamba2", "falcon_mamba"])
def test_blocks_of_one_mixer_alone_have_a_norm_and_nothing_that_runs_beside_another(kind):
    """Gu & Dao (2023): normalised before the mixer. Mamba 2's example has sizes that do not become
    small together.
    """
    assert form(AutoConfig.for_model(kind), "causal") == (
        {} if kind == "mamba2" else {"norm_placement": "pre"}
    )


@pytest.mark.parametrize("kind", ["gptj", "lstm", "jetmoe"])
def test_what_cannot_be_told_is_left_out(kind):
    """Sizes that the class refuses, no attention, equations that do not hold for parts that were
    found: nothing is said.
    """
    assert form(AutoConfig.for_model(kind), "causal") == {}
