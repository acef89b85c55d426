"""Tests that what one sequence does to the numbers stays with it: values that are no numbers, and forwards that raise."""

import math

import numpy as np
import pytest

from tests.architectures import BOTH_WAYS, CAUSAL, model_of
from transect.errors import ForwardError
from transect.lm.scoring import Line, errors

BAD = 20  # the token that is made to fail
SEQUENCES = [[0, 6, 7, 8], [0, 6, BAD, 8], [0, 6, 7, 9, 11], [0, 12]]


def overflowing(embedding):
    """What is read of BAD is no number; its logit, where the same matrix gives it, is one."""
    embedding.register_forward_hook(lambda _, args, x: x.masked_fill((args[0] == BAD)[..., None], math.nan))


def scores(model):
    """Of each of SEQUENCES."""
    if model.objective == "masked":
        return model.pll([[*ids, 1] for ids in SEQUENCES], [[-1, *range(len(ids) - 1), -1] for ids in SEQUENCES])
    return model.token_logprobs(SEQUENCES)


def of_one(model, ids):
    """Scored by itself."""
    if model.objective == "masked":
        return model.pll([[*ids, 1]], [[-1, *range(len(ids) - 1), -1]], batch_size=1)[0]
    return model.token_logprobs([ids], batch_size=1)[0]


@pytest.mark.parametrize("kind", [*CAUSAL, *(kind for kind in BOTH_WAYS if kind != "ibert")])
def test_a_token_whose_embedding_is_no_number_costs_its_own_sequence_only(kind):
    """Every architecture, packed or padded: the three others have the values that they have alone."""
    model = model_of(kind)
    overflowing(model.network.get_input_embeddings())
    found = scores(model)
    assert np.isnan(found[1]).any()
    for i in (0, 2, 3):
        np.testing.assert_allclose(found[i], of_one(model, SEQUENCES[i]), atol=1e-5, equal_nan=True)
        assert np.isfinite(found[i][1 : len(SEQUENCES[i])]).all()


def refusing(model, token):
    """The model's forward raises where its input holds the token."""
    plain = model.network.forward

    def forward(*args, **kwargs):
        if bool((kwargs["input_ids"] == token).any()):
            raise ValueError("planted\nin two lines")
        return plain(*args, **kwargs)

    model.network.forward = forward


@pytest.mark.parametrize("kind", ["gpt2", "mamba2", "bert", "fnet"])
def test_a_forward_that_raises_costs_the_sequence_on_which_it_does(kind):
    """Planted, an error of any type: one sentence for that sequence, the others as before."""
    model, sound = model_of(kind), model_of(kind)
    refusing(model, BAD)
    found, expected = scores(model), scores(sound)
    for i in (0, 2, 3):
        np.testing.assert_allclose(found[i], expected[i], atol=1e-5, equal_nan=True)
    ids = [*SEQUENCES[1], 1] if model.objective == "masked" else SEQUENCES[1]
    (told,) = errors(model, [Line(ids, [-1, 0, 1, 2])], np.array([np.nan]))
    assert told == "the network's own forward raises ValueError: planted in two lines"


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_forward_that_raises_on_everything_is_one_sentence(kind):
    """No traceback of the network's: a ForwardError, as a checkpoint that cannot be loaded."""
    model = model_of(kind)
    model.network.forward = lambda *args, **kwargs: [][0]
    with pytest.raises(ForwardError, match="the network's own forward raises IndexError: list index out of range"):
        scores(model)


def test_a_set_of_next_tokens_stays_with_its_sequence_too():
    """set_logprobs, one embedding that is no number: the others are as alone."""
    model = model_of("llama")
    overflowing(model.network.get_input_embeddings())
    members = np.arange(model.vocab_size) % 2 == 0
    found = model.set_logprobs(SEQUENCES, [[1], [1, 3], [4], [1]], members)
    assert np.isnan(found[1][1])
    for i, place in ((0, 1), (2, 4), (3, 1)):
        alone = model.set_logprobs([SEQUENCES[i]], [[place]], members, batch_size=1)
        np.testing.assert_allclose(found[i], alone[0], atol=1e-6)


@pytest.mark.parametrize("kind", ["gpt2", "mamba2", "t5"])
def test_a_prompt_that_fails_costs_no_other_prompt_its_continuation(kind):
    """Planted in one prompt: it is refused in one sentence, the others continue as without it."""
    model, sound = model_of(kind), model_of(kind)
    texts = ["the dog", "a big", "the red cabinet", "this dog"]
    token = model.encode("big")[0]
    refusing(model, token)
    if kind == "t5":
        plain = model.network.get_encoder().forward

        def forward(input_ids, **more):
            if bool((input_ids == token).any()):
                raise KeyError("planted")
            return plain(input_ids=input_ids, **more)

        model.network.forward = sound.network.forward.__func__.__get__(model.network)
        model.network.get_encoder().forward = forward
    found = model.answers(texts, max_new_tokens=3)
    expected = sound.answers(texts, max_new_tokens=3)
    assert "forward raises" in found[1].error and [found[i] for i in (0, 2, 3)] == [expected[i] for i in (0, 2, 3)]
