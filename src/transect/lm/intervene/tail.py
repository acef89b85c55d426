"""Only what is read goes through a network's tail: chosen positions, and chosen tokens of the
unembedding.

The model's own tail runs (norms, soft caps, scaling), on less; checked once per network against the
whole forward.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from transect.lm.anatomy.anatomy import example
from transect.lm.memory import out_of_memory
from transect.lm.score.forward import replaced

if TYPE_CHECKING:
    from transect.lm.network import NetworkModel

ENGINE_PART = "tail"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change

Forward = Callable[..., Any]

# units of rounding: more than another shape of a product costs, less than another function would
TOLERANCE = 64
# of the largest number: where rounding is coarser than that (half precision), another function
# could hide in it
WORST = 0.02


@contextmanager
def tail(model: "NetworkModel", read: Sequence[int], tokens: torch.Tensor | None) -> Iterator[None]:
    """While open, the network's logits are [sequence, read position, token].

    The body's output is cut down on its way into the model's own tail; the unembedding, where it is
    a plain linear map, multiplies the rows of the tokens alone. Where that does not give what the
    whole tail gives, the whole tail runs.
    """
    with _few(model, read, tokens, _exact(model)):
        yield


@contextmanager
def _few(
    model: "NetworkModel", read: Sequence[int], tokens: torch.Tensor | None, early: bool
) -> Iterator[None]:
    """early: the hidden states are cut down and the unembedding is; else the logits are."""
    entered: list[nn.Module] = []  # the first is what the network calls its body
    few = {"positions": False, "tokens": tokens is None}

    def enter(module: nn.Module, args: Any) -> None:
        entered.append(module)

    def cut(module: nn.Module, args: Any, output: Any) -> Any:
        if module is entered[0] and hasattr(output, "last_hidden_state"):
            output.last_hidden_state = output.last_hidden_state[:, read]
            few["positions"] = True
        return output

    def choose(module: nn.Module, args: Any, output: Any) -> Any:
        if not few["positions"]:
            output.logits = output.logits[:, read]
        if not few["tokens"]:
            output.logits = output.logits[..., tokens]
        return output

    with ExitStack() as stack:
        for module in _bodies(model) if early else ():
            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(cut).remove)
        unembedding = model.anatomy.unembedding
        if early and tokens is not None and isinstance(unembedding, nn.Linear):
            weight = unembedding.weight[tokens]
            bias = None if unembedding.bias is None else unembedding.bias[tokens]
            stack.enter_context(
                replaced(unembedding, lambda x: nn.functional.linear(x, weight, bias))
            )
            few["tokens"] = True
        stack.callback(model.network.register_forward_hook(choose).remove)
        yield


_held: WeakKeyDictionary[nn.Module, list[nn.Module]] = WeakKeyDictionary()


def _bodies(model: "NetworkModel") -> list[nn.Module]:
    """The modules that hold the last block, but for the whole network; found once per network."""
    if model.network not in _held:
        last = model.anatomy.blocks[-1].module
        holding = [
            m
            for m in model.network.modules()
            if m not in (model.network, last) and last in set(m.modules())
        ]
        _held[model.network] = [m for m in holding if not isinstance(m, nn.ModuleList)]
    return _held[model.network]


_checked: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def _exact(model: "NetworkModel") -> bool:
    """Whether cutting down early gives the same logits; tried once per network on a few tokens."""
    if model.network not in _checked:
        _checked[model.network] = _tried(model)
    return _checked[model.network]


def _tried(model: "NetworkModel") -> bool:
    inputs, tokens = example(model.network), torch.tensor([3, 1], device=model.network.device)
    logits = []
    with torch.no_grad():
        for early in (False, True):
            try:
                with _few(model, [2, 0], tokens, early):
                    logits.append(model.network(**inputs).logits.float())
            except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
                if out_of_memory(error):
                    raise  # that says nothing about the tail
                # a tail that needs whole sequences, or adds something of the vocabulary's size
                return False
    whole, cut = logits
    return alike(cut, whole, TOLERANCE, model.network.dtype)


def alike(found: torch.Tensor, expected: torch.Tensor, units: float, dtype: torch.dtype) -> bool:
    """Whether two ways to compute something in `dtype` give the same: numbers in the same places,
    and these apart by at most `units` of rounding (`WORST` where that is less) of the largest one,
    at least 1."""
    if found.shape != expected.shape:
        return False
    numbers = expected.isfinite()
    if not torch.equal(found.isfinite(), numbers):
        return False
    expected, found = expected[numbers].float(), found[numbers].float()
    if not len(expected):
        return True
    allowed = min(WORST, units * torch.finfo(dtype).eps) * max(1.0, float(expected.abs().max()))
    return float((found - expected).abs().max()) <= allowed
