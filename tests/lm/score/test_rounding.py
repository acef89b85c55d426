"""What rounding may change in a log-probability."""

import copy

import numpy as np
import pytest
import torch

from tests.architectures import model_of
from tests.shelf import tiny_model
from transect.lm import load
from transect.lm.score import rounding

KINDS = (
    "gpt2",
    "gemma",
    "mamba",
    "qwen2",
    "bert",
    "modernbert",
)  # those with the largest errors, and two common ones


def _exact(model, ids):
    """log p of the ids by a copy of the network in float64, one sequence, the network's own
    forward.
    """
    with torch.no_grad():
        logits = copy.deepcopy(model.network).double()(torch.tensor([ids])).logits[0]
    return logits.log_softmax(-1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_no_error_is_larger(kind):
    """In float32, log p of 24 tokens is off by less than of_token and, summed, by less than of_sum
    (truth: float64).
    """
    model = model_of(kind)
    ids = np.random.default_rng(1).integers(6, model.vocab_size, 25).tolist()
    with torch.no_grad():
        logits = model.network(torch.tensor([ids])).logits[0].double()
    apart = logits.log_softmax(-1)[torch.arange(24), torch.tensor(ids[1:])].numpy() - _exact(
        model, ids
    )
    assert 0 < np.abs(apart).max() < rounding.of_token(model) < 1e-3
    assert abs(apart.sum()) < rounding.of_sum(model, 24)


def test_it_follows_the_size_of_the_logits():
    """A bias of 1000 on every logit changes no probability and costs ten bits of each: 1000 / the
    largest logit before.
    """
    model = model_of("codegen")  # its unembedding has a bias
    before = rounding.unit(model)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.network.lm_head.bias += 1000
    largest = before / torch.finfo(torch.float32).eps
    assert rounding.unit(changed) / before == pytest.approx(1000 / largest, rel=largest / 1000)


def test_a_token_that_is_masked_by_a_huge_number_does_not_count():
    """A logit of -1e9 says that a token is never drawn, and nothing about rounding of the others."""
    model = model_of("codegen")
    before = rounding.unit(model)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.network.lm_head.bias[0] = -1e9
    assert rounding.unit(changed) == pytest.approx(before, rel=0.2)


def test_half_precision_is_coarser():
    """A unit of bfloat16 is 2^16 units of float32."""
    model, half = model_of("gpt2"), model_of("gpt2")
    half.network.to(torch.bfloat16)
    assert rounding.unit(half) / rounding.unit(model) == pytest.approx(2**16, rel=0.1)


def test_a_table_of_counts_is_exact(tmp_path):
    """A model that is no network computes in float64."""
    assert rounding.of_token(load(tiny_model(tmp_path, "ngram"))) < 1e-11


def test_encoder_decoder():
    """The text is read by both sides."""
    assert 0 < rounding.of_token(model_of("t5")) < 1e-3
