"""The precision that a network computes in: which it has, and a wider one for a while.

One part of keys with lm/score/forward.py, which reads it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

ENGINE_PART = "forward"  # the name of both in the keys of cells: it stays when a file moves
VERSION = 2  # raise it when values of either change

HALF = (torch.float16, torch.bfloat16)


def in_half(network: torch.nn.Module) -> bool:
    """Whether any weight is in half precision."""
    return any(parameter.dtype in HALF for parameter in network.parameters())


@contextmanager
def in_float32(network: torch.nn.Module) -> Iterator[None]:
    """While this is open the network computes in float32, its half-precision weights widened one
    module at a time.
    """
    with in_precision(network, torch.float32):
        yield


@contextmanager
def in_precision(network: torch.nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """While this is open the network computes in `dtype`, its weights of lower precision widened
    one module at a time.
    """
    kept: list[tuple[torch.nn.Parameter, torch.Tensor]] = []

    def widen(module: torch.nn.Module, args: Any) -> None:
        for parameter in module.parameters(recurse=False):
            if parameter.dtype in (*HALF, torch.float32) and parameter.itemsize < dtype.itemsize:
                kept.append((parameter, parameter.data))
                parameter.data = parameter.data.to(dtype)

    def narrow(module: torch.nn.Module, args: Any, output: Any) -> None:
        own = {id(parameter) for parameter in module.parameters(recurse=False)}
        for parameter, data in [pair for pair in kept if id(pair[0]) in own]:
            parameter.data = data
        kept[:] = [pair for pair in kept if id(pair[0]) not in own]

    modules = list(network.modules())
    hooks = [module.register_forward_pre_hook(widen) for module in modules]
    hooks += [module.register_forward_hook(narrow, always_call=True) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, data in kept:
            parameter.data = data
