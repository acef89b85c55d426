"""Where a block normalises, found by intervention: its attention and its MLP are made to read, and
to write, larger numbers.

before  what the first linear map reads does not change with the size of the stream: a norm stands between them
after   what is added to the stream does not change with the size of what the last linear map writes
pre: before alone; post-reordered (OLMo 2): after alone; sandwich (Gemma 2): both; none: neither;
post (BERT): the sums themselves are normalised (the form post-norm of lm/anatomy/residual.py). Attention
(or another mixer) and MLP of every block must answer alike, and clearly: without a norm the numbers
follow the size exactly in proportion, but for a constant (a bias). Anything else is not told.
"""

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from transect.lm.anatomy.anatomy import Anatomy, Block, example, is_linear
from transect.lm.anatomy.residual import sums
from transect.lm.anatomy.tracing import Call, Trace, after, before, hidden_in, trace, with_hidden_in

# the largest number, as a power of 2 (which rounds nothing): what a norm adds to the variance, 1e-5
# say, is far below rounding then
SIZE = 2.0**20
SIZES = (1, 2, 3)
TOLERANCE = 64  # units of rounding of the largest number compared
NAMES = {
    (True, False): "pre",
    (False, True): "post-reordered",
    (True, True): "sandwich",
    (False, False): "none",
}

Hook = Callable[[nn.Module, float], Callable[[], None]]


class _Part(NamedTuple):
    """Attention (or another mixer) or MLP of a block: what reads the stream, the calls that may
    hold its maps, the call whose output it adds.
    """

    reader: nn.Module
    calls: list[Call]
    term: Call


def norm_placement(network: PreTrainedModel, anatomy: Anatomy) -> str | None:
    """pre, post, post-reordered, sandwich or none; None where that is not clear. The network, in
    float32, is left as it was.
    """
    if anatomy.blocks and all(block.form == "post-norm" for block in anatomy.blocks):
        return "post"
    made = trace(network, example(network), anatomy.mechanism or "softmax")
    parts = [_parts(made, block) for block in anatomy.blocks]
    if not all(parts):
        return None
    found = set()
    for part in (part for some in parts for part in some):
        norms = _before(network, part), _after(network, part)
        if norms[0] is False and _is_normalised(network, made, part):
            # by the norm of the embedding, beside which a first one of its own is left out
            # (ModernBERT)
            continue
        found.add(norms)
    return NAMES.get(found.pop()) if len(found) == 1 else None  # type: ignore[arg-type]


def _parts(made: Trace, block: Block) -> list[_Part]:
    """All that adds to the stream in a block; nothing where that is not known of all of it."""
    (call,) = made.of(block.module)
    inner = made.within(call)
    found = sums(call, inner, None, torch.finfo(torch.float32).eps)
    # without heads another mixer is in their place
    attention, mlp = block.attention or found.attention, block.mlp or found.mlp
    form = found.form if block.attention is None else block.form
    if (
        attention is None
        or form not in ("sequential", "parallel", "single")
        or mlp is None
        and form != "single"
    ):
        return []
    term = _first_with(inner, attention)
    parts = [_Part(block.module, [c for c in inner if c.end <= term.end], term)]
    if mlp is None:
        return parts
    last, whole = _first_with(inner, mlp), made.of(mlp)[0]
    reader = block.reads_mid or found.reads_mid if form == "sequential" else None
    start = whole.start if reader is None else made.of(reader)[0].start
    until = whole.end if reader is None else last.end
    inside = [c for c in inner if start <= c.start and c.end <= until]
    return [*parts, _Part(block.module if reader is None else reader, inside, last)]


def _is_normalised(network: PreTrainedModel, made: Trace, part: _Part) -> bool:
    """Whether what a part reads is what a norm gave."""
    read = made.of(part.reader)[0].input
    source = next(
        c
        for c in sorted(made.calls, key=lambda c: c.end)
        if _equal(c.output, read) or c.module is part.reader
    )
    if source.module is part.reader or source.input is None or _has_map(source.module):
        return False
    return bool(
        _clear(
            [
                _watched(network, source.module, _larger_in, n * SIZE, source.module, _seen_after)
                for n in SIZES
            ]
        )
    )


def _first_with(inner: list[Call], module: nn.Module) -> Call:
    """The first call to end with the output of a module's: what is around it or comes after it only
    hands that on.
    """
    (term,) = (c for c in inner if c.module is module)
    return next(c for c in inner if _equal(c.output, term.output))


def _equal(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)


def _before(network: PreTrainedModel, part: _Part) -> bool | None:
    """Whether a norm stands before the part; None where it is not clear."""
    maps = sorted((c for c in part.calls if is_linear(c.module)), key=lambda c: c.start)
    if not maps:
        return None
    return _clear(
        [
            _watched(network, part.reader, _larger_in, n * SIZE, maps[0].module, before)
            for n in SIZES
        ]
    )


def _after(network: PreTrainedModel, part: _Part) -> bool | None:
    """Whether a norm stands after the part; None where it is not clear."""
    term = part.term.module
    # a router's map gives no hidden states, and a softmax of large numbers does not change with
    # them
    maps = [c.module for c in part.calls if _is_map(c.module) and _alike(c, part.term)]
    sites: list[tuple[nn.Module, Hook]] = [] if _has_map(term) else [(term, _larger_in)]
    answers: list[bool | None] = []
    for module, hook in [*sites, *((m, _larger_out) for m in maps[-1:])]:
        answers.append(
            _clear([_watched(network, module, hook, n * SIZE, term, _seen_after) for n in SIZES])
        )
    return True if True in answers else next(iter(answers), None)


def _alike(one: Call, other: Call) -> bool:
    return (
        one.output is not None
        and other.output is not None
        and one.output.shape == other.output.shape
    )


def _is_map(module: nn.Module) -> bool:
    """Whether a module multiplies by matrices of its own: one, or one for each expert."""
    return any(p.dim() > 1 for p in module.parameters(recurse=False))


def _has_map(module: nn.Module) -> bool:
    return any(p.dim() > 1 for p in module.parameters())


def _clear(values: list[torch.Tensor]) -> bool | None:
    """Of values at sizes 1, 2 and 3: True where they are the same, False where they grow in equal
    steps, else None.
    """
    one, two, three = values
    largest = float(three.abs().max())
    allowed = TOLERANCE * torch.finfo(torch.float32).eps * largest
    steps = two - one, three - two
    if not largest < math.inf or bool((one == one[:1]).all()):
        return None  # nothing depends on the text
    if all(float(step.abs().max()) <= allowed for step in steps):
        return True
    return False if float((steps[1] - steps[0]).abs().max()) <= allowed else None


def _watched(
    network: PreTrainedModel,
    changed: nn.Module,
    hook: Hook,
    size: float,
    watched: nn.Module,
    watch: Callable[[nn.Module, Callable[[torch.Tensor], None]], Callable[[], None]],
) -> torch.Tensor:
    """What is seen at a module, [position, features], float64, while the numbers at another one are
    as large as `size`.
    """
    seen: list[torch.Tensor] = []
    with ExitStack() as stack, torch.inference_mode():
        stack.callback(hook(changed, size))
        stack.callback(
            watch(watched, lambda x: seen.append(x.detach().double().flatten(0, -2).clone()))
        )
        network(**example(network))
    return seen[0]


def _at_size(hidden: torch.Tensor, size: float) -> torch.Tensor:
    """Multiplied, so that the largest number is between `size` and its double; where all are 0, as
    it is.
    """
    largest = float(hidden.abs().max())
    return (
        hidden * (size / 2.0 ** math.floor(math.log2(largest)))
        if 0 < largest < math.inf
        else hidden
    )


def _larger_in(module: nn.Module, size: float) -> Callable[[], None]:
    def hook(called: nn.Module, args: Any, kwargs: Any) -> Any:
        hidden = hidden_in(args, kwargs)
        assert hidden is not None
        return with_hidden_in(args, kwargs, _at_size(hidden, size))

    return module.register_forward_pre_hook(hook, with_kwargs=True).remove


def _larger_out(module: nn.Module, size: float) -> Callable[[], None]:
    return after(module, lambda hidden: _at_size(hidden, size))


def _seen_after(module: nn.Module, see: Callable[[torch.Tensor], None]) -> Callable[[], None]:
    def change(hidden: torch.Tensor) -> torch.Tensor:
        see(hidden)
        return hidden

    return after(module, change)
