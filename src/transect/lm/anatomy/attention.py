"""Attention patterns A[batch, head, query, key], read and edited inside the model's own forward.

Weights after the softmax: rows sum to 1, or to less where a learned sink takes a share (gpt_oss).

registry: one function, registered with transformers for all architectures, delegates to the
architecture's own ``eager_attention_forward`` and hands the pattern on at once, so nothing query x
key is kept. Its mask function must be registered too: without it transformers passes no mask to an
attention it does not know, and causality is silently lost. softmax: where an architecture never
calls the registry, the pattern is the output of the softmax that runs inside a block (an ATen
operation, seen below autograd). Which of the two, and in which blocks, lm/anatomy/anatomy.py finds and
checks.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from transect.errors import NotApplicable

if TYPE_CHECKING:
    from transect.lm.anatomy.anatomy import Anatomy

ENGINE_PART = "attention"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change
SERVES = ("attention", "heads")

NAME = "transect"

# (layer, pattern [batch, head, query, key]) -> the pattern to go on with, None: as it is
Receive = Callable[[int, torch.Tensor], torch.Tensor | None]
# (pattern, heads of keys and values) -> the pattern to go on with, None: as it is. From the
# registry the pattern is [batch, head, query, key]; from a softmax it is any tensor of three
# dimensions or more, and the second is None.
Visit = Callable[[torch.Tensor, int | None], torch.Tensor | None]
_visit: ContextVar[Visit | None] = ContextVar("attention_visit", default=None)


def own_eager(module: nn.Module) -> Callable[..., Any] | None:
    """The eager attention of the file that defines the module's class; None where it has none."""
    return getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)


def _registered(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *args: Any,
    **kwargs: Any,
) -> Any:
    eager = own_eager(module)
    if eager is None:
        raise NotApplicable(f"{type(module).__name__} defines no eager attention to read from")
    output, pattern = eager(module, query, key, value, *args, **kwargs)
    visit = _visit.get()
    changed = visit(pattern, key.shape[1]) if visit is not None else None
    if changed is not None:
        # keys and values come once per group of heads
        groups = changed.shape[1] // value.shape[1]
        output = (
            (changed.to(value.dtype) @ value.repeat_interleave(groups, 1))
            .transpose(1, 2)
            .contiguous()
        )
        pattern = changed
    return output, pattern


AttentionInterface.register(NAME, _registered)
AttentionMaskInterface.register(NAME, eager_mask)


# in inference mode the first arrives whole, otherwise as the second
_SOFTMAX = (torch.ops.aten.softmax.int, torch.ops.aten._softmax.default)


class _Softmaxes(TorchDispatchMode):
    """Hands the output of every softmax over the last of three or more dimensions to a Visit."""

    def __init__(self, visit: Visit) -> None:
        super().__init__()
        self._visit = visit

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in _SOFTMAX and output.dim() > 2 and args[1] in (-1, output.dim() - 1):
            changed = self._visit(output, None)
            if changed is not None:
                return changed.reshape(output.shape).to(output.dtype)
        return output


@contextmanager
def implementation(network: PreTrainedModel, name: str) -> Iterator[None]:
    """While open, the network's attention runs as `name` ("eager", ...), whatever the class says it
    can be set to.
    """
    configs = {
        id(m.config): m.config for m in network.modules() if isinstance(m, PreTrainedModel)
    }.values()
    before = [(config, config._attn_implementation) for config in configs]
    try:
        for config in configs:
            config._attn_implementation = name
        yield
    finally:
        for config, old in before:
            config._attn_implementation = old


@contextmanager
def intercept(network: PreTrainedModel, mechanism: str, visit: Visit) -> Iterator[None]:
    """While open, every forward of the network hands each pattern to `visit`. mechanism: "registry"
    or "softmax".
    """
    if mechanism == "softmax":
        with implementation(network, "eager"), _Softmaxes(visit):
            yield
        return
    token = _visit.set(visit)
    try:
        with implementation(network, NAME):
            yield
    finally:
        _visit.reset(token)


@contextmanager
def watch(network: PreTrainedModel, anatomy: "Anatomy", receive: Receive) -> Iterator[None]:
    """While open, every forward hands each layer's pattern to `receive`, which may give back
    another: an edit.

    Once per block and forward; layers are 0-based, those of `anatomy.blocks`; where there are no
    blocks (one layer run many times) they are counted from where the network was entered. Raises
    NotApplicable where nothing can be read.
    """
    mechanism = anatomy.mechanism
    if mechanism is None:
        raise NotApplicable(anatomy.absent["pattern"])
    current: int | None = None  # the layer whose pattern comes next
    calls = 0

    def enter(layer: int) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            nonlocal current
            current = layer

        return hook

    def restart(module: nn.Module, args: Any) -> None:
        nonlocal calls
        calls = 0

    def visit(pattern: torch.Tensor, kv_heads: int | None) -> torch.Tensor | None:
        nonlocal current, calls
        if not anatomy.blocks:
            calls += 1
            return receive(calls - 1, pattern)
        layer, heads = current, anatomy.blocks[current].n_heads if current is not None else None
        queries, keys = pattern.shape[-2:]
        # a softmax of something else (a router, a gate) has another shape
        if layer is None or heads is None or pattern.numel() % (heads * queries * keys):
            return None
        if pattern.shape[0] not in (whole := pattern.numel() // (queries * keys), whole // heads):
            return None
        current = None  # an encoder-decoder block goes on with its cross-attention
        return receive(layer, pattern.reshape(-1, heads, queries, keys))

    with ExitStack() as stack:
        stack.callback(network.register_forward_pre_hook(restart).remove)
        stack.callback(network.base_model.register_forward_pre_hook(restart).remove)
        for block in anatomy.blocks:
            if block.n_heads is not None:
                # a hook that is prepended runs before any that resumes or replaces the block
                handle = block.module.register_forward_pre_hook(enter(block.layer), prepend=True)
                stack.callback(handle.remove)
        with intercept(network, mechanism, visit):
            yield


def read(network: PreTrainedModel, anatomy: "Anatomy", ids: torch.Tensor, receive: Receive) -> None:
    """Run the body of the model (no unembedding) on ids [batch, position], all of one length, and
    hand every pattern to `receive`, see `watch`. Raises NotApplicable unless every layer with heads
    gave one.
    """
    seen: list[int] = []

    def count(layer: int, pattern: torch.Tensor) -> torch.Tensor | None:
        seen.append(layer)
        return receive(layer, pattern)

    with watch(network, anatomy, count), torch.inference_mode():
        network.base_model(input_ids=ids)
    expected = [block.layer for block in anatomy.blocks if block.n_heads is not None]
    if not seen or (anatomy.blocks and seen != expected):
        raise NotApplicable(
            f"attention was read in layers {seen}; {type(network).__name__} has it in {expected}"
        )
