"""Tests of which rows share a batch: the values are those of each sequence alone, in float64."""

import copy

import numpy as np
import pytest
import torch

from tests.architectures import LEAKING, MASKED, MORE_MASKED, SEQ2SEQ, model_of
from transect.lm.model import Model

SEQUENCES = [[0, *range(5, 5 + n), 1] for n in (2, 4, 9, 15)]  # [CLS] ... [SEP]
WORDS = [[-1, *range(len(ids) - 2), -1] for ids in SEQUENCES]


def true_pll(model: Model, ids: list[int]) -> list[float]:
    """log p of each token but the ends, itself masked, by the network's own forward in float64: one
    row, no padding.
    """
    network, found = copy.deepcopy(model.network).double(), []
    for t in range(1, len(ids) - 1):
        row = [*ids[:t], model.mask_id, *ids[t + 1 :]]
        with torch.no_grad():
            found.append(
                float(torch.log_softmax(network(torch.tensor([row])).logits[0, t], -1)[ids[t]])
            )
    return found


@pytest.mark.parametrize("kind", [*MASKED, *MORE_MASKED, *LEAKING])
def test_a_masked_model_scores_each_sequence_as_alone(kind):
    """Sequences of 4 to 17 tokens together: float64 alone, 1e-5 nats per token."""
    model = model_of(kind)
    found = model.pll(SEQUENCES, WORDS, variant="original")
    for values, ids in zip(found, SEQUENCES, strict=True):
        np.testing.assert_allclose(values[1:-1], true_pll(model, ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind, together", [("bert", "any"), ("roberta", "any"), ("fnet", "equal")])
def test_only_rows_that_do_not_touch_each_other_share_a_batch(kind, together):
    """FNet mixes positions without a mask; a mask covers BERT's padding."""
    assert model_of(kind)._packing.padding.together(17) == together


def reaching(model: Model, share: float) -> None:
    """Every row's logits take a share of the mean of all rows': rows reach each other."""
    plain = model.network.forward

    def forward(*args, **kwargs):
        output = plain(*args, **kwargs)
        output.logits = output.logits + share * output.logits.mean((0, 1), keepdim=True)
        return output

    model.network.forward = forward


def test_rows_that_reach_each_other_run_alone():
    """Planted: the mean over the batch is added to the logits; the values are those of one row."""
    model = model_of("gpt2")
    reaching(model, 0.3)
    sequences = [[5, 6, 7, 8, 9], [5, 6, 9], [7, 8, 9, 10, 11]]
    alone = [model.token_logprobs([ids], batch_size=1)[0] for ids in sequences]
    model._packing.allowed = False  # what packing makes of such a model is its own trial's matter
    for found, expected in zip(model.token_logprobs(sequences), alone, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert model._packing.padding.together(5) == "alone"


@pytest.mark.parametrize("kind", SEQ2SEQ)
@pytest.mark.parametrize("leaks", [False, True])
def test_sources_of_two_lengths_share_a_batch_where_their_padding_is_covered(kind, leaks):
    """As it is, and with an encoder that takes no notice of its mask (planted): the values of each
    pair alone.
    """
    model = model_of(kind)
    if leaks:
        encoder = model.network.get_encoder()
        plain = encoder.forward
        encoder.forward = lambda input_ids, attention_mask=None, **more: plain(
            input_ids=input_ids, **more
        )
        attend = model.network.forward
        model.network.forward = lambda attention_mask=None, **inputs: attend(**inputs)
    sources, sequences = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14]], [[0, 6, 7, 8], [0, 9]]
    found = model.token_scores(sequences, sources=sources)
    alone = [
        model.token_scores([ids], sources=[source], batch_size=1)[0]
        for ids, source in zip(sequences, sources, strict=True)
    ]
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_allclose(one.logprob, other.logprob, atol=1e-5)
    assert model._packing.padding.together(7) == ("equal" if leaks else "any")
