"""One forward of a network, written down: which module ran when, on what, and where attention
patterns arose.

What lm/anatomy/anatomy.py finds the parts of an architecture in. A few tokens are enough: what is kept is
small.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from transect.lm.anatomy.attention import intercept

ENGINE_PART = "tracing"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change
SERVES = ("hidden", "attention", "heads")


@dataclass(eq=False)
class Call:
    """One call of a module: when it began and ended (places in the order of all events), its hidden
    states in and out.

    input, output: [batch, position, features] (hidden_in, hidden_out), float64 on the CPU; None
    where there is none.
    """

    module: nn.Module
    name: str
    start: int
    end: int = -1
    input: torch.Tensor | None = None
    output: torch.Tensor | None = None


@dataclass(eq=False)
class Pattern:
    """An attention pattern: when it arose, shape [batch, head, query, key] or [batch x head, query,
    key].
    """

    time: int
    shape: tuple[int, ...]
    kv_heads: int | None


@dataclass(eq=False)
class Trace:
    """The calls in the order in which they began, and the patterns in theirs."""

    calls: list[Call] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)

    def of(self, module: nn.Module) -> list[Call]:
        """The calls of one module."""
        return self._by_module.get(module, [])

    def within(self, outer: Call) -> list[Call]:
        """The calls inside another one of modules that ran only once, in the order in which they
        ended.
        """
        inner = [
            call for call in self.calls if outer.start < call.start and -1 < call.end < outer.end
        ]
        return sorted(
            (call for call in inner if len(self.of(call.module)) == 1), key=lambda call: call.end
        )

    @cached_property
    def _by_module(self) -> dict[nn.Module, list[Call]]:
        found: dict[nn.Module, list[Call]] = {}
        for call in self.calls:
            found.setdefault(call.module, []).append(call)
        return found


def hidden_in(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor | None:
    """The hidden states that a module is given: its first positional argument or its keyword
    hidden_states.
    """
    for value in (*args[:1], kwargs.get("hidden_states"), *args[1:], *kwargs.values()):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value
    return None


def hidden_out(output: Any) -> torch.Tensor | None:
    """The hidden states that a module gives back: the tensor itself, or the first place of a tuple.

    [batch, position, features], or [batch x position, features] inside blocks that flatten them
    (OPT's MLP).
    """
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) and output.is_floating_point() else None


def with_hidden_in(
    args: tuple[Any, ...], kwargs: dict[str, Any], hidden: torch.Tensor
) -> tuple[Any, Any]:
    """A module's arguments with other hidden states."""
    old = hidden_in(args, kwargs)
    return (
        tuple(hidden if value is old else value for value in args),
        {name: hidden if value is old else value for name, value in kwargs.items()},
    )


def with_hidden_out(output: Any, hidden: torch.Tensor) -> Any:
    """`output` of a module with other hidden states, which take the shape of the old ones."""
    if isinstance(output, tuple | list):
        return type(output)([hidden.reshape(output[0].shape), *output[1:]])
    return hidden.reshape(output.shape)


def before(module: nn.Module, see: Callable[[torch.Tensor], None]) -> Callable[[], None]:
    """Show the module's hidden states to `see` before every call; call what is returned to end it."""

    def hook(called: nn.Module, args: Any, kwargs: Any) -> None:
        hidden = hidden_in(args, kwargs)
        assert hidden is not None
        see(hidden)

    return module.register_forward_pre_hook(hook, with_kwargs=True).remove


def after(module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
    """Put `change` of the module's hidden states in their place after every call; call what is
    returned to end it.
    """

    def hook(called: nn.Module, args: Any, output: Any) -> Any:
        hidden = hidden_out(output)
        assert hidden is not None
        return with_hidden_out(output, change(hidden))

    return module.register_forward_hook(hook).remove


def trace(network: PreTrainedModel, inputs: Mapping[str, torch.Tensor], mechanism: str) -> Trace:
    """One forward, recorded, its patterns by `mechanism` (lm/anatomy/attention.py). What the forward raises
    is passed on.
    """
    made = Trace()
    clock = iter(range(1 << 62))
    running: list[Call] = []

    def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
        call = Call(module, names[module], next(clock), input=kept(hidden_in(args, kwargs)))
        made.calls.append(call)
        running.append(call)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        call = running.pop()
        call.end, call.output = next(clock), kept(hidden_out(output))

    def visit(pattern: torch.Tensor, kv_heads: int | None) -> None:
        made.patterns.append(Pattern(next(clock), tuple(pattern.shape), kv_heads))

    def kept(tensor: torch.Tensor | None) -> torch.Tensor | None:
        if tensor is not None and tensor.dim() == 2 and tensor.shape[0] == ids.numel():
            tensor = tensor.reshape(*ids.shape, -1)
        # copied: some architectures add to their tensors in place
        return (
            None if tensor is None or tensor.dim() != 3 else tensor.detach().double().cpu().clone()
        )

    ids = inputs.get("decoder_input_ids", inputs["input_ids"])
    names = {module: name for name, module in network.named_modules()}
    with ExitStack() as stack:
        for module in names:
            stack.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        with intercept(network, mechanism, visit), torch.inference_mode():
            network(**inputs)
    return made
