"""Faults that one token brings: numbers that are none, and a forward that raises. What the tests of
refusals plant.
"""

import math

import torch

BAD = 20  # the token that is made to fail


def overflowing(model, token=BAD):
    """What is read of the token is no number; its logit, where the same matrix gives it, is one."""

    def spoil(module, args, output):
        # IBert's embedding hands on a scale beside it
        x = output[0] if isinstance(output, tuple) else output
        x = x.masked_fill((args[0] == token)[..., None], math.nan)
        return (x, *output[1:]) if isinstance(output, tuple) else x

    for module in tables(model.network):
        module.register_forward_hook(spoil)


def tables(network):
    """The tables that ids are looked up in: encoder and decoder may have one each, of one matrix."""
    own = network.get_input_embeddings()
    return [
        m
        for m in network.modules()
        if m is own or getattr(m, "weight", None) is own.weight and type(m) is type(own)
    ]


def refusing(model, token=BAD, module=None):
    """The forward of the module (None: the network) raises where its input holds the token."""
    module = model.network if module is None else module
    plain = module.forward

    def forward(*args, **kwargs):
        ids = kwargs.get("input_ids", args[0] if args else None)
        if isinstance(ids, torch.Tensor) and bool((ids == token).any()):
            raise ValueError("planted\nin two lines")
        return plain(*args, **kwargs)

    module.forward = forward
