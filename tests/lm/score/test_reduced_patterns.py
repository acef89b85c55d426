"""Tests that what one sequence does to the attention patterns stays with it, in every architecture
that has patterns.
"""

import numpy as np
import pytest

from tests.architectures import CAUSAL, LEAKING, MASKED, MORE, model_of
from tests.lm.broken import BAD, overflowing, refusing
from transect.errors import ForwardError, NotApplicable
from transect.lm.score.reduced_patterns import NOT_NUMBERS

IDS = np.array([[0, 6, 7, 8], [0, 6, BAD, 8], [0, 6, 7, 9], [0, 12, 9, 11]])
KEPT = [0, 2, 3]


def mean(pattern):
    """[batch, head]: of no meaning, but every entry has a part in it."""
    return (pattern * pattern).mean((-1, -2))


# no heads, heads in some layers only, or patterns that were not found
WITHOUT = {
    *(
        "recurrent_gemma",
        "mamba",
        "mamba2",
        "rwkv",
        "lstm",
        "jamba",
        "lfm2",
        "falcon_mamba",
        "jetmoe",
        "bitnet",
        "diffllama",
    ),
    *("minimax", "convbert", "xlm", "flaubert", "fnet"),
}
READABLE = [kind for kind in (*CAUSAL, *MASKED, *MORE, *LEAKING) if kind not in WITHOUT]


def readable(kind):
    """A model, and its values as it is."""
    model = model_of(kind)
    return model, model.attention(IDS, mean)


@pytest.mark.parametrize("kind", READABLE)
def test_a_token_whose_embedding_is_no_number_costs_its_own_sequence_only(kind):
    """The three others are bit for bit what they were, that one has no value in any layer, and the
    reason.
    """
    model, expected = readable(kind)
    overflowing(model)
    found = model.attention(IDS, mean)
    assert np.isnan(found[:, 1]).all() and np.isfinite(expected).all()
    np.testing.assert_allclose(found[:, KEPT], expected[:, KEPT], atol=1e-7)
    assert model.no_number(IDS[1].tolist()) == NOT_NUMBERS


@pytest.mark.parametrize("kind", sorted(WITHOUT))
def test_an_architecture_without_patterns_is_not_applicable(kind):
    """Also where a token's embedding is no number: that is no reason to call it a run that
    diverged.
    """
    model = model_of(kind)
    overflowing(model)
    with pytest.raises(NotApplicable):
        model.attention(IDS, mean)


@pytest.mark.parametrize("kind", ["gpt2", "albert", "falcon"])
def test_a_forward_that_raises_costs_the_sequence_on_which_it_does(kind):
    """Planted, an error of any type: the others as before."""
    model, expected = readable(kind)
    refusing(model, BAD, model.network.base_model)
    found = model.attention(IDS, mean)
    np.testing.assert_allclose(found[:, KEPT], expected[:, KEPT], atol=1e-7)
    assert np.isnan(found[:, 1]).all()
    assert (
        model.no_number(IDS[1].tolist())
        == "the network's own forward raises ValueError: planted in two lines"
    )


def test_a_forward_that_raises_on_everything_is_one_sentence():
    """A ForwardError, as where scores are asked for."""
    model, _ = readable("gpt2")
    model.network.base_model.forward = lambda *args, **kwargs: [][0]
    with pytest.raises(ForwardError, match="raises IndexError"):
        model.attention(IDS, mean)


@pytest.mark.parametrize("kind", ["gpt_neox", "bert"])
def test_a_run_that_diverged_has_no_numbers(kind):
    """Weights that are NaN: its parts cannot be found, but that is no property of the architecture."""
    model = model_of(kind)
    for parameter in model.network.parameters():
        parameter.data.fill_(np.nan)
    assert np.isnan(model.attention(IDS, mean)).all()
    assert model.no_number(IDS[0].tolist()) == NOT_NUMBERS


def test_rows_that_reach_each_other_run_alone():
    """Planted: every embedding takes a part of the batch's mean; the values are those of one row."""
    model, _ = readable("gpt2")
    model = model_of("gpt2")
    model.network.get_input_embeddings().register_forward_hook(
        lambda m, args, x: x + 0.5 * x.mean(0, keepdim=True)
    )
    alone = np.concatenate([model.attention(IDS[i : i + 1], mean) for i in range(len(IDS))], axis=1)
    np.testing.assert_allclose(model.attention(IDS, mean), alone, atol=1e-7)
