"""The precision that a network computes in for a while."""

import torch

from tests.architectures import model_of
from transect.lm.precision import in_float32


def test_widened_weights_give_float32_logits_and_are_put_back():
    """in_float32 equals a float32 copy of the same bfloat16 weights; afterwards the network is as
    it was.
    """
    network = model_of("llama").network.bfloat16()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = network(ids).logits
        with in_float32(network):
            wide = network(ids).logits
        assert torch.equal(network(ids).logits, before)
        expected = network.float()(ids).logits
    torch.testing.assert_close(wide, expected, atol=1e-5, rtol=0)
