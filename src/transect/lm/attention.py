"""Attention patterns A[batch, head, query, key] (weights, rows sum to 1), read inside the model's own forward.

One function is registered with transformers for all architectures. It delegates to the architecture's own
``eager_attention_forward`` and hands the pattern on at once, so nothing query x key is kept. Its mask function must be
registered too: without it transformers passes no mask to an attention it does not know, and causality is silently lost.
A model that never calls the registry would silently give nothing: no call at all is refused.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from transect.errors import NotApplicable

VERSION = 1  # part of the key of every cell that rests on this file: raise it when values change

NAME = "transect"

Receive = Callable[[int, torch.Tensor], None]  # (layer, pattern [batch, head, query, key])
_receiver: ContextVar[Receive | None] = ContextVar("attention_receiver", default=None)


def _own_eager(module: torch.nn.Module) -> Callable[..., Any] | None:
    return getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)


def _read(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    eager = _own_eager(module)
    if eager is None:
        raise NotApplicable(f"{type(module).__name__} defines no eager attention to read from")
    output, pattern = eager(module, *args, **kwargs)
    receive = _receiver.get()
    layer = getattr(module, "layer_idx", None)
    if receive is not None:
        receive(-1 if layer is None else layer, pattern)
    return output, pattern


AttentionInterface.register(NAME, _read)
AttentionMaskInterface.register(NAME, eager_mask)


def readable(network: PreTrainedModel) -> bool:
    """Whether the architecture uses transformers' attention registry (its module defines the eager function)."""
    return _own_eager(network) is not None


@contextmanager
def _registered(network: PreTrainedModel) -> Iterator[None]:
    before = network.config._attn_implementation
    network.set_attn_implementation(NAME)
    try:
        yield
    finally:
        network.set_attn_implementation(before)


def read(network: PreTrainedModel, ids: torch.Tensor, receive: Receive) -> None:
    """Run the body of the model (no unembedding) on ids [batch, position], all of one length, and hand every pattern to
    `receive`.

    Layers are 0-based, from the module's own ``layer_idx`` or, where it has none, the order of the calls.
    Raises NotApplicable when no layer called the registered attention.
    """
    calls = 0

    def count(layer: int, pattern: torch.Tensor) -> None:
        nonlocal calls
        receive(calls if layer < 0 else layer, pattern)
        calls += 1

    token = _receiver.set(count)
    try:
        with _registered(network), torch.inference_mode():
            network.base_model(input_ids=ids)
    finally:
        _receiver.reset(token)
    if calls == 0:
        raise NotApplicable(f"{type(network).__name__} never calls transformers' attention registry")


def head_rows(item: str, metric: str, scores: np.ndarray) -> pd.DataFrame:
    """The rows of scores [layer, head]: columns item, metric, value, layer, head."""
    layers, heads = np.indices(scores.shape)
    return pd.DataFrame(
        {"item": item, "metric": metric, "value": scores.ravel(), "layer": layers.ravel(), "head": heads.ravel()}
    )
