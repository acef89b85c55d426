"""Tests of sums over tiles of the vocabulary, and of the trial that decides about packing."""

import numpy as np
import pytest
import torch

from tests.architectures import model_of
from transect.lm.forward import in_float32
from transect.lm.packing import LogSum


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_over_tiles_equal_logsumexp(dtype):
    """Large, shifted logits in tiles of 7 columns, one tile of nothing but -inf: torch's logsumexp in float64."""
    generator = torch.Generator().manual_seed(0)
    logits = (30 * torch.randn(5, 50, generator=generator) - 400).to(dtype)
    logits[:, 7:14] = -torch.inf
    sums = LogSum(5)
    for tile in logits.clone().split(7, 1):
        sums.add(tile)
    np.testing.assert_allclose(sums.value(), torch.logsumexp(logits.double(), 1), rtol=0, atol=5e-7)


def test_a_nan_makes_its_row_nan():
    """And no other row."""
    logits = torch.zeros(2, 6)
    logits[1, 4] = torch.nan
    sums = LogSum(2)
    for tile in logits.split(2, 1):
        sums.add(tile)
    assert np.isnan(sums.value().numpy()).tolist() == [False, True]


def test_widened_weights_give_float32_logits_and_are_put_back():
    """in_float32 equals a float32 copy of the same bfloat16 weights; afterwards the network is as it was."""
    network = model_of("llama").network.bfloat16()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = network(ids).logits
        with in_float32(network):
            wide = network(ids).logits
        assert torch.equal(network(ids).logits, before)
        expected = network.float()(ids).logits
    torch.testing.assert_close(wide, expected, atol=1e-5, rtol=0)


def test_a_window_is_found_at_the_depth_where_it_matters():
    """A sliding window of 16 tokens: shallow sequences pack, those deeper than the window do not."""
    model = model_of("mistral", sliding_window=16, max_position_embeddings=256)
    assert model._packing._is_exact(10)
    assert not model._packing._is_exact(40)


def test_a_sequence_near_the_end_of_the_context_is_not_packed():
    """The trial's row would not fit: not exact, no error."""
    model = model_of("gpt2")
    assert model._packing._is_exact(58) and not model._packing._is_exact(64)
