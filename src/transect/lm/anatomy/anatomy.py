"""The parts of a network under one vocabulary, found from its structure and one traced forward,
then checked.

place          what it is                                                            where
residual_pre   what a block reads                                                    the input of Block.module
residual_mid   the residual stream between attention and MLP                         the input of Block.reads_mid
residual_post  what a block leaves                                                   the output of Block.module
attention      what the heads write together; x scale = what is added to the stream  the output of Block.attention
mlp            what the MLP writes; x scale = what is added to the stream            the output of Block.mlp
head           each head's own output z [batch, position, head, d_head]              the input of Block.projection
pattern        attention weights [batch, head, query, key]                           lm/anatomy/attention.py
An input is a module's first positional argument or its keyword hidden_states; an output is a
tensor, or the first place of a tuple (lm/anatomy/tracing.py: hidden_in, hidden_out, with_hidden_out).
Whoever keeps or replaces such a tensor copies it: some architectures go on to change it in place.
Of an encoder-decoder model these are the decoder's blocks and their self-attention.
Nothing is looked up by name or model_type: a block list is a list of modules that run once each, in
order, on hidden states of one shape; the projection is the first linear map that runs after the
pattern; what attention and MLP add is what solves residual_post - residual_pre = scale x (attention
+ MLP). What fails a check is absent, with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from transect.errors import NotApplicable, ResourceError
from transect.lm.anatomy.attention import own_eager
from transect.lm.anatomy.residual import Form, Sums, sums
from transect.lm.anatomy.tracing import Call, Pattern, Trace, trace
from transect.lm.memory import out_of_memory

ENGINE_PART = "anatomy"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change
SERVES = ("hidden", "attention", "heads")

PLACES = ("residual_pre", "residual_mid", "residual_post", "attention", "mlp", "head", "pattern")
# what a forward may raise that does not put up with being taken apart
REFUSALS = (
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotApplicable,
    RuntimeError,
    TypeError,
    ValueError,
)
NO_HEADS = "no block has attention heads"
POSITIONS = 6  # of the traced forward; two rows
STEPS = 64  # from an id that cannot be used, to find one that can


@dataclass(frozen=True, eq=False)
class Block:
    """One block. None stands for what it does not have; see the module's text for what each part
    is.

    form: sequential, residual_post = residual_mid + MLP(norm(residual_mid)), residual_mid =
    residual_pre + attention; parallel, residual_post = residual_pre + attention +
    MLP(norm(residual_pre)), there is no residual_mid; post-norm, residual_mid = norm(residual_pre +
    attention), residual_post = norm(residual_mid + MLP); lm/anatomy/residual.py has the rarer ones.
    writes_mid: the module whose output is residual_mid; None where that is a bare sum (then
    residual_mid is set by setting attention to (residual_mid - residual_pre) / scale).
    """

    layer: int
    module: nn.Module
    attention: nn.Module | None = None
    projection: nn.Module | None = None
    mlp: nn.Module | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    d_head: int | None = None
    form: Form = "unknown"
    attention_scale: float = 1.0
    mlp_scale: float = 1.0
    reads_mid: nn.Module | None = None
    writes_mid: nn.Module | None = None


@dataclass(frozen=True, eq=False)
class Anatomy:
    """blocks: () where there is no list of blocks. mechanism: how patterns are read ("registry",
    "softmax"), or None.

    absent: place -> why this model does not have it, or which check it failed.
    """

    blocks: tuple[Block, ...]
    embedding: nn.Module
    final_norm: nn.Module | None
    unembedding: nn.Module | None
    form: Form
    mechanism: str | None = None
    absent: Mapping[str, str] = field(default_factory=dict)

    def require(self, place: str) -> None:
        """Raise NotApplicable with the reason unless the model has the place."""
        if place in self.absent:
            raise NotApplicable(f"{place}: {self.absent[place]}")


def example(
    network: PreTrainedModel, rows: int = 2, positions: int = POSITIONS
) -> dict[str, torch.Tensor]:
    """Ids [rows, positions], neighbours and rows all different, all of them ordinary and none
    special by its number.

    An encoder-decoder model's encoder is given the same, other ids in every row, one position
    fewer.
    """
    size = int(cast(torch.Tensor, network.get_input_embeddings().weight).shape[0])
    low = min(8, size // 4)
    drawn = (low + torch.arange(rows * positions) % max(1, size - low)).numpy()
    ids = torch.from_numpy(ordinary_ids(network, drawn)).reshape(rows, positions).to(network.device)
    if network.config.is_encoder_decoder:
        return {"input_ids": ids[:1, :-1].flip(1).expand(rows, -1), "decoder_input_ids": ids}
    return {"input_ids": ids}


def ordinary_ids(network: PreTrainedModel, drawn: np.ndarray) -> np.ndarray:
    """The ids that `drawn` stand for (any numbers, taken modulo the vocabulary): none is the
    padding, which some networks do not look at, or has an embedding that is not finite; the next
    one that is neither stands for such an id.
    """
    weight = cast(torch.Tensor, network.get_input_embeddings().weight)
    size, padding = int(weight.shape[0]), getattr(network.config, "pad_token_id", None)

    def unusable(ids: np.ndarray) -> np.ndarray:
        bad = np.isin(ids, [] if padding is None else [padding])
        if weight.device.type == "meta":  # on the disk
            return bad
        rows = weight.detach()[torch.from_numpy(ids).to(weight.device)]
        return bad | ~rows.float().isfinite().all(-1).cpu().numpy()

    ids = drawn.astype(np.int64) % size
    for _ in range(min(size, STEPS)):
        bad = unusable(ids)
        if not bad.any():
            break
        ids = np.where(bad, (ids + 1) % size, ids)
    return ids


def rounding(network: PreTrainedModel) -> float:
    """One unit of rounding of the network's numbers; models in double precision keep parts in
    single precision.
    """
    return max(torch.finfo(network.dtype).eps, torch.finfo(torch.float32).eps)


def nothing(network: PreTrainedModel, reason: str) -> Anatomy:
    """No place at all, for one reason."""
    embedding, unembedding = network.get_input_embeddings(), network.get_output_embeddings()
    return Anatomy(
        (), embedding, None, unembedding, "unknown", absent=dict.fromkeys(PLACES, reason)
    )


def discover(network: PreTrainedModel, eps: float | None = None) -> Anatomy:
    """The parts, not yet checked (`checked` does both). The network is in eval mode and is left as
    it was.

    eps: one unit of rounding of its numbers; None: that of its weights.
    """
    made, mechanism = _traced(network)
    if made is None:
        return nothing(network, "the model's forward with eager attention fails")
    calls = _block_calls(network, made)
    if not calls:
        reason = "no list of blocks that run once each, in order, on hidden states of one shape"
        found = nothing(network, reason)
        if mechanism != "registry":
            return found
        # the same layer run many times: its patterns still come in order
        absent = {place: reason for place in PLACES if place != "pattern"}
        return replace(found, mechanism=mechanism, absent=absent)
    eps = rounding(network) if eps is None else eps
    blocks = tuple(_block(made, layer, call, eps) for layer, call in enumerate(calls))
    forms = {block.form for block in blocks}
    return Anatomy(
        blocks,
        network.get_input_embeddings(),
        _final_norm(made, calls[-1]),
        network.get_output_embeddings(),
        next(iter(forms)) if len(forms) == 1 else "mixed",
        mechanism if any(block.n_heads for block in blocks) else None,
        _absent(blocks, len(_patterns(made, calls[0]))),
    )


def _traced(network: PreTrainedModel) -> tuple[Trace | None, str | None]:
    """A trace, and how patterns are read in it: the registry where the architecture calls it, else
    its softmax.
    """
    inputs = example(network)
    for mechanism in ("registry", "softmax") if own_eager(network) is not None else ("softmax",):
        try:
            made = trace(network, inputs, mechanism)
        except REFUSALS as error:
            if out_of_memory(error):
                raise ResourceError(
                    f"Out of memory while the model's parts were looked for: {error}"
                ) from error
            made = None  # an attention that cannot be set
        if made is not None and made.patterns:
            return made, mechanism
    return made, None


def _block_calls(network: PreTrainedModel, made: Trace) -> list[Call]:
    """The calls of the blocks, of the best list: as many as the configuration's layers, chained,
    the outermost.
    """
    best: tuple[tuple[bool, int, bool, int], list[Call]] | None = None
    stack = network.get_decoder() if network.config.is_encoder_decoder else network
    for name, modules in stack.named_modules():
        if not isinstance(modules, nn.ModuleList) or len(modules) == 0:
            continue
        found = [made.of(module) for module in modules]
        if any(len(calls) != 1 for calls in found):
            continue
        calls = [calls[0] for calls in found]
        shapes = {
            tuple(t.shape) if t is not None else None for c in calls for t in (c.input, c.output)
        }
        ordered = all(a.end < b.start for a, b in zip(calls, calls[1:], strict=False))
        if len(shapes) != 1 or None in shapes or not ordered:
            continue
        pairs = [(a.output, b.input) for a, b in zip(calls, calls[1:], strict=False)]
        chained = all(a is not None and b is not None and torch.equal(a, b) for a, b in pairs)
        as_told = len(calls) == getattr(network.config, "num_hidden_layers", None)
        rank = (as_told, len(calls), chained, -name.count("."))
        if best is None or rank > best[0]:
            best = rank, calls
    return best[1] if best else []


def _block(made: Trace, layer: int, call: Call, eps: float) -> Block:
    """The parts of one block."""
    inner = made.within(call)
    patterns = _patterns(made, call)
    block = Block(layer, call.module)
    if len(patterns) == 1:
        (pattern,) = patterns
        n_heads = torch.Size(pattern.shape[:-2]).numel() // call.input.shape[0]  # type: ignore[union-attr]
        after = [
            c
            for c in sorted(inner, key=lambda c: c.start)
            if c.start > pattern.time and is_linear(c.module)
        ]
        if after and after[0].input is not None and after[0].input.shape[-1] % n_heads == 0:
            d_head = after[0].input.shape[-1] // n_heads
            block = replace(
                block,
                projection=after[0].module,
                n_heads=n_heads,
                d_head=d_head,
                n_kv_heads=pattern.kv_heads or _kv_heads(inner, pattern.time, n_heads, d_head),
            )
    found: Sums = sums(
        call, inner, next((c for c in inner if c.module is block.projection), None), eps
    )
    return replace(
        block,
        attention=found.attention if block.projection is not None else None,
        mlp=found.mlp,
        form=found.form,
        attention_scale=found.attention_scale,
        mlp_scale=found.mlp_scale,
        reads_mid=found.reads_mid,
        writes_mid=found.writes_mid,
    )


def _patterns(made: Trace, call: Call) -> list[Pattern]:
    """The patterns of self-attention that arose in one block; a softmax over something else has
    another shape.
    """
    batch, positions = call.input.shape[:2]  # type: ignore[union-attr]
    inside = [p for p in made.patterns if call.start < p.time < call.end]
    return [
        p for p in inside if p.shape[-2] == positions == p.shape[-1] and p.shape[0] % batch == 0
    ]


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear map: one matrix, and no table that ids are looked up in."""
    weight = getattr(module, "weight", None)
    return (
        isinstance(weight, torch.Tensor)
        and weight.dim() == 2
        and not isinstance(module, nn.Embedding)
    )


def _kv_heads(inner: list[Call], time: int, n_heads: int, d_head: int) -> int | None:
    """From the features of the linear maps before the pattern: queries n_heads, keys and values
    n_kv_heads each.
    """
    before = [c for c in inner if c.end < time and is_linear(c.module) and c.output is not None]
    features = sum(c.output.shape[-1] for c in before if c.output is not None)
    count, rest = divmod(features - n_heads * d_head, 2 * d_head)
    return count if rest == 0 and 0 < count <= n_heads and n_heads % count == 0 else None


def _final_norm(made: Trace, last: Call) -> nn.Module | None:
    """The first module that runs after the last block, on what that block leaves, if it is not a
    linear map.
    """
    for call in made.calls:
        if call.start > last.end and not list(call.module.children()):
            if call.input is None or call.output is None or last.output is None:
                return None
            if not torch.equal(call.input, last.output):
                return None
            if torch.equal(call.input, call.output):
                continue  # dropout
            return None if is_linear(call.module) else call.module
    return None


def _absent(blocks: tuple[Block, ...], patterns: int) -> dict[str, str]:
    """The places that no block has. patterns: how many arose in the first block."""
    absent: dict[str, str] = {}
    if not any(block.n_heads for block in blocks):
        reason = (
            f"no block has one pattern from one softmax, but {patterns}" if patterns else NO_HEADS
        )
        absent |= dict.fromkeys(("attention", "head", "pattern"), reason)
    elif not any(block.attention for block in blocks):
        absent["attention"] = "what attention adds to the residual stream was not found"
    if not any(block.mlp for block in blocks):
        absent["mlp"] = "no block has an MLP that adds to the residual stream after the attention"
    if not any(block.reads_mid for block in blocks):
        parallel = all(block.form == "parallel" for block in blocks)
        reason = "attention and MLP read the same residual stream (parallel)"
        absent["residual_mid"] = (
            reason if parallel else "no part of a block reads the stream after another one"
        )
    return absent
