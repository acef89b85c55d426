"""Tests of logits that grow by a token: with a cache, without, and the check that decides between
them.
"""

import numpy as np
import pytest
import torch

from tests import architectures
from tests.shelf import random_sequences
from transect.lm.decoding import NetworkDecoder, cache_is_right

WITHOUT = {
    "openai-gpt",
    "recurrent_gemma",
    "rwkv",
}  # no cache, inside the modules, mixes up the rows of a batch


@pytest.mark.parametrize(
    "kind",
    ["gpt2", "gemma2", "bloom", "falcon_h1", "mamba", "openai-gpt", "recurrent_gemma", "rwkv"],
)
def test_a_cache_is_used_where_it_is_right(kind):
    """By its logits, for attention, windows, alibi, hybrids and state-space models; not by the
    architecture's name.
    """
    assert cache_is_right(architectures.network_of(kind)) == (kind not in WITHOUT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_check_knows_the_dtype(dtype):
    """Rounding of another size passes it."""
    assert cache_is_right(architectures.network_of("llama").to(dtype))


def test_a_cache_that_forgets_is_not_used():
    """A planted error: the cached steps look at the wrong position."""
    network = architectures.network_of("gpt2")
    plain = network.transformer.forward

    def off_by_one(*args, past_key_values=None, **options):
        if past_key_values is not None:
            options["position_ids"] = torch.tensor([[past_key_values.get_seq_length() + 1]])
        return plain(*args, past_key_values=past_key_values, **options)

    network.transformer.forward = off_by_one
    assert not cache_is_right(network)


@pytest.mark.parametrize("kind", ["gpt2", "mamba2", "rwkv"])
@pytest.mark.parametrize("cached", [True, False])
def test_kept_rows_go_on_from_where_they_were(kind, cached):
    """Rows left out, exchanged and repeated after three tokens: the logits of whole sequences,
    1e-5.
    """
    network = architectures.network_of(kind)
    rows = random_sequences(3, 60, shortest=9, longest=9)
    steps = NetworkDecoder(
        network, [ids[:3] for ids in rows], None, cached and cache_is_right(network)
    )
    steps.keep([2, 0, 2])
    for t in range(3, 9):
        steps.push([rows[place][t] for place in (2, 0, 2)])
    with torch.no_grad():
        expected = network(
            torch.tensor([rows[place] for place in (2, 0, 2)]), use_cache=False
        ).logits[:, -1]
    np.testing.assert_allclose(steps.logits(), expected, atol=1e-5)
    np.testing.assert_allclose(steps.alone(1), expected[1], atol=1e-5)
