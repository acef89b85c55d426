"""Tests of the log-probability of a set of next tokens."""

import math

import numpy as np
import pytest
import torch

from tests.architectures import CAUSAL as ARCHITECTURES
from tests.architectures import model_of
from tests.shelf import CAUSAL, random_sequences, tiny_model
from transect.errors import InputError, NotApplicable
from transect.lm import load

KINDS = [*dict.fromkeys([*CAUSAL, "lstm", "ngram"])]


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory):
    """Each kind of causal model."""
    return load(tiny_model(tmp_path_factory.mktemp("set"), request.param))


def asked(model):
    """Sequences of several lengths, places in each (the last one too, one twice, none), and a third
    of the tokens.
    """
    sequences = random_sequences(9, model.vocab_size, shortest=3)
    positions = [[len(s) - 1, 0, 1, 1] for s in sequences]
    positions[4] = []
    return sequences, positions, np.arange(model.vocab_size) % 3 == 0


def test_a_set_is_the_sum_of_its_tokens(model):
    """Against the token's own log-probability, one continuation at a time, to 1e-5."""
    sequences, positions, members = asked(model)
    found = model.set_logprobs(sequences, positions, members)
    ids, places = sequences[2], positions[2]
    for place, value in zip(places, found[2], strict=True):
        longer = [[*ids[: place + 1], token] for token in np.flatnonzero(members).tolist()]
        one_by_one = [scores[-1] for scores in model.token_logprobs(longer)]
        assert value == pytest.approx(np.logaddexp.reduce(one_by_one), abs=1e-5)
    assert [len(values) for values in found] == [len(places) for places in positions]


def test_a_set_and_the_others_sum_to_one(model):
    """p(set) + p(all others) = 1 at every place to 1e-12: the sums are taken in float64."""
    sequences, positions, members = asked(model)
    one, other = (model.set_logprobs(sequences, positions, m) for m in (members, ~members))
    assert np.concatenate(
        [np.exp(a) + np.exp(b) for a, b in zip(one, other, strict=True)]
    ) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_batches_change_nothing(model, batch_size):
    """To 1e-5, padding included."""
    sequences, positions, members = asked(model)
    whole = np.concatenate(model.set_logprobs(sequences, positions, members))
    split = np.concatenate(model.set_logprobs(sequences, positions, members, batch_size=batch_size))
    assert split == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_plain_forward_agrees(kind):
    """Against transformers' own logits, one unpadded sequence at a time, to 1e-5, in every causal
    architecture.
    """
    model = model_of(kind)
    sequences, positions, members = asked(model)
    for ids, places, found in zip(
        sequences, positions, model.set_logprobs(sequences, positions, members), strict=True
    ):
        with torch.inference_mode():
            p = model.network(input_ids=torch.tensor([ids])).logits[0].double().softmax(-1).numpy()
        assert found == pytest.approx(np.log(p[places][:, members].sum(1)), abs=1e-5)


def test_an_empty_set_is_impossible(model):
    """log 0, and no warning."""
    (found,) = model.set_logprobs([[1, 2, 3]], [[0, 2]], np.zeros(model.vocab_size, dtype=bool))
    assert np.isneginf(found).all()


def test_a_set_of_impossible_tokens_has_log_0(tmp_path):
    """Logits of minus infinity, as padded vocabularies have them: no NaN, also where other tokens
    are possible.
    """
    model = load(tiny_model(tmp_path, "llama"))
    bias = torch.zeros(model.vocab_size)
    bias[:10] = -math.inf
    model.network.lm_head.bias = torch.nn.Parameter(bias)
    for below, possible in ((10, False), (11, True)):
        (found,) = model.set_logprobs([[1, 2, 3]], [[0, 2]], np.arange(model.vocab_size) < below)
        assert (np.isfinite(found) == possible).all() and not np.isnan(found).any()


@pytest.mark.parametrize("place", [3, -1])
def test_a_position_out_of_range_is_told(model, place):
    """It names the sequence and what there is."""
    with pytest.raises(
        InputError, match=f"Sequence 1: there is no position {place}; it has 0 to 2."
    ):
        model.set_logprobs(
            [[1, 2], [1, 2, 3]], [[1], [0, place]], np.ones(model.vocab_size, dtype=bool)
        )


def test_masked_models_have_none(tmp_path):
    """They do not predict the next token."""
    model = load(tiny_model(tmp_path, "bert"))
    with pytest.raises(NotApplicable, match="needs a causal model"):
        model.set_logprobs([[1]], [[0]], np.ones(model.vocab_size, dtype=bool))
