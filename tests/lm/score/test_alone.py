"""Tests that what one sequence does to the numbers stays with it: values that are no numbers, and
forwards that raise.
"""

import numpy as np
import pytest

from tests.architectures import BOTH_WAYS, CAUSAL, MORE_CAUSAL, SEQ2SEQ, model_of
from tests.lm.broken import BAD, overflowing, refusing
from transect.errors import ForwardError
from transect.lm.generate.generation import answers
from transect.lm.score.scoring import Line, errors

SEQUENCES = [[0, 6, 7, 8], [0, 6, BAD, 8], [0, 6, 7, 9, 11], [0, 12]]
SOURCES = [[6, 7, 9], [8, 6], [6, 7, 9], [BAD, 9, 8, 11]]


def scores(model):
    """Of each of SEQUENCES."""
    if model.objective == "masked":
        return model.pll(
            [[*ids, 1] for ids in SEQUENCES], [[-1, *range(len(ids) - 1), -1] for ids in SEQUENCES]
        )
    return model.token_logprobs(SEQUENCES)


def of_one(model, ids):
    """Scored by itself."""
    if model.objective == "masked":
        return model.pll([[*ids, 1]], [[-1, *range(len(ids) - 1), -1]], batch_size=1)[0]
    return model.token_logprobs([ids], batch_size=1)[0]


@pytest.mark.parametrize("kind", [*CAUSAL, *MORE_CAUSAL, *BOTH_WAYS])
def test_a_token_whose_embedding_is_no_number_costs_its_own_sequence_only(kind):
    """Every architecture, packed or padded: the three others have the values that they have alone."""
    model = model_of(kind)
    overflowing(model)
    found = scores(model)
    assert np.isnan(found[1]).any()
    for i in (0, 2, 3):
        np.testing.assert_allclose(found[i], of_one(model, SEQUENCES[i]), atol=1e-5, equal_nan=True)
        assert np.isfinite(found[i][1 : len(SEQUENCES[i])]).all()


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_such_a_token_that_an_encoder_or_a_decoder_reads_costs_its_own_pair_only(kind):
    """In the target of one and the source of another: the others have the values of a sound model,
    to rounding.
    """
    model, broken = model_of(kind), model_of(kind)
    expected = [s.logprob for s in model.token_scores(SEQUENCES, sources=SOURCES)]
    overflowing(broken)
    found = [s.logprob for s in broken.token_scores(SEQUENCES, sources=SOURCES)]
    assert np.isfinite(expected[1][1:]).all() and np.isfinite(expected[3][1:]).all()
    assert np.isnan(found[1]).sum() > 1 and np.isnan(found[3]).all()
    for i in (0, 2):
        np.testing.assert_allclose(found[i], expected[i], atol=2e-5, equal_nan=True)


@pytest.mark.parametrize("kind", [*CAUSAL, *MORE_CAUSAL, *BOTH_WAYS])
def test_a_forward_that_raises_costs_the_sequence_on_which_it_does(kind):
    """Planted, an error of any type: one sentence for that sequence, the others as before."""
    model, sound = model_of(kind), model_of(kind)
    refusing(model)
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
    with pytest.raises(
        ForwardError, match="the network's own forward raises IndexError: list index out of range"
    ):
        scores(model)


def test_a_set_of_next_tokens_stays_with_its_sequence_too():
    """set_logprobs, one embedding that is no number: the others are as alone."""
    model = model_of("llama")
    overflowing(model)
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
    found = answers(model, texts, max_new_tokens=3)
    expected = answers(sound, texts, max_new_tokens=3)
    assert "forward raises" in found[1].error and [found[i] for i in (0, 2, 3)] == [
        expected[i] for i in (0, 2, 3)
    ]


@pytest.mark.parametrize("kind", [*CAUSAL, *MORE_CAUSAL, *SEQ2SEQ])
def test_a_prompt_without_numbers_costs_no_other_prompt_its_continuation(kind):
    """Every architecture that writes, one embedding that is none: refused, the others continue as
    in a sound model.
    """
    model, broken = model_of(kind), model_of(kind)
    texts = ["the dog", "a big", "the red", "this dog"]
    overflowing(broken, model.encode("big")[0])
    expected, found = (
        answers(m, texts, max_new_tokens=1) for m in (model, broken)
    )  # a second one might be read
    assert found[1].error == "the model's logits are not numbers (NaN)"
    assert [found[i] for i in (0, 2, 3)] == [expected[i] for i in (0, 2, 3)]


def test_prompts_whose_rows_reach_each_other_are_continued_alone():
    """Planted: every embedding takes a part of the batch's mean; the continuations are those of
    each prompt alone.
    """
    texts = ["the dog", "a big", "the red", "this dog"]

    def touching():
        model = model_of("gpt2")
        model.network.get_input_embeddings().register_forward_hook(
            lambda m, args, x: x + 2 * x.mean(0, keepdim=True)
        )
        return model

    alone = [answers(touching(), [text], max_new_tokens=4)[0] for text in texts]
    assert answers(touching(), texts, max_new_tokens=4) == alone
