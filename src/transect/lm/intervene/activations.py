"""Activations at the named places of lm/anatomy/anatomy.py: read, handed back changed, and their gradients.

place                                         shape
residual_pre, residual_mid, residual_post     [sequence, position, d_model]
attention, mlp                                [sequence, position, d_model], what the module puts out
head                                          [sequence, position, head, d_head], each head's own output
pattern                                       [sequence, head, query, key], rows sum to 1
Everything is read inside the model's own forward by hooks on the modules that the anatomy names, so
that it is what the model computed. Sequences of one call have one length: there is no padding to
look at.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from transect.errors import InputError, NotApplicable, nearest
from transect.lm.anatomy import attention
from transect.lm.anatomy.anatomy import PLACES, Anatomy, Block
from transect.lm.anatomy.tracing import hidden_in, hidden_out, with_hidden_in, with_hidden_out
from transect.lm.batching import plan, run_halving
from transect.lm.intervene.tail import tail
from transect.lm.network import NetworkModel

ENGINE_PART = "activations"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change

Site = tuple[str, int]  # (place, layer)
# an activation, in the shape above -> the one to go on with; None: as it is
Visit = Callable[[torch.Tensor], torch.Tensor | None]


def capture(
    model: NetworkModel, ids: Any, places: Iterable[str], layers: Iterable[int] | None = None
) -> dict[Site, torch.Tensor]:
    """The activations of ids [sequence, position] at places of layers (None: all that have them),
    by (place, layer).

    On the model's device and in its dtype. The unembedding is not run. Raises NotApplicable for a
    place that the architecture does not have, InputError for an unknown place or a layer out of
    range.
    """
    ids, wanted = as_ids(model, ids), sites(model, places, layers)
    return _observe(
        model,
        ids,
        wanted,
        _batches(model, ids),
        lambda batch: model.network.base_model(input_ids=batch),
    )


def observe(
    model: NetworkModel,
    ids: Any,
    places: Iterable[str],
    layers: Iterable[int] | None = None,
    *,
    read: Sequence[int] = (-1,),
    tokens: Any = None,
) -> tuple[dict[Site, torch.Tensor], torch.Tensor]:
    """What `capture` gives, and from the same forward the logits at the positions `read`: float32
    on the CPU.

    [sequence, read, token]; tokens: ids [sequence, n] of those wanted of each sequence, None: the
    whole vocabulary.
    """
    logits: list[torch.Tensor] = []
    ids = as_ids(model, ids)
    model._needs_head()
    distinct, columns = None, None
    if tokens is not None:
        distinct, columns = torch.unique(
            torch.as_tensor(tokens, device=model.network.device), return_inverse=True
        )

    def forward(batch: torch.Tensor) -> None:
        logits.append(model.network(input_ids=batch).logits.float().cpu())

    wanted, batches = sites(model, places, layers), _batches(model, ids)
    with tail(model, list(read), distinct):
        found = _observe(model, ids, wanted, batches, forward)
    whole = torch.cat(logits)
    return found, whole if columns is None else own_tokens(whole, columns.cpu())


def own_tokens(logits: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Of logits [row, read, token] those in each row's own columns [row, n]."""
    return logits.gather(2, columns[:, None].expand(-1, logits.shape[1], -1))


def _observe(
    model: NetworkModel,
    ids: torch.Tensor,
    wanted: Sequence[Site],
    batches: Sequence[Sequence[int]],
    forward: Callable[[torch.Tensor], Any],
) -> dict[Site, torch.Tensor]:
    found: dict[Site, list[torch.Tensor]] = {site: [] for site in wanted}
    seen: dict[Site, torch.Tensor] = {}

    def keeping(site: Site) -> Visit:
        # copied: some architectures add to their tensors in place
        return lambda x: seen.__setitem__(site, x.detach().clone())

    def run(batch: Sequence[int]) -> None:
        seen.clear()  # of a batch that did not fit
        forward(ids[batch])
        for site in wanted:
            found[site].append(seen.pop(site))

    with torch.no_grad(), touching(model, ids.shape[1], {site: keeping(site) for site in wanted}):
        for batch in batches:
            run_halving(batch, run, model.halvings.append)
    return {site: torch.cat(parts) for site, parts in found.items()}


def gradients(
    model: NetworkModel,
    ids: Any,
    places: Iterable[str],
    scalar: Callable[[torch.Tensor, Sequence[int]], torch.Tensor],
    layers: Iterable[int] | None = None,
) -> dict[Site, torch.Tensor]:
    """d scalar(logits) / d activation, by (place, layer), in the activations' shapes.

    `scalar` takes the logits [sequence, position, vocabulary] of a batch and the indices of its
    sequences to one number per sequence (or their sum): sequences do not touch each other, so the
    gradient of the sum is each one's own. It is a total derivative: what the place does through
    everything after it. Raises as `capture`, and NotApplicable for patterns that are read below
    autograd.
    """
    ids, wanted = as_ids(model, ids), sites(model, places, layers)
    model._needs_head()
    if any(place == "pattern" for place, _ in wanted) and model.anatomy.mechanism == "softmax":
        raise NotApplicable(
            "pattern: this architecture's patterns are read below autograd and have no gradient"
        )
    found: dict[Site, torch.Tensor] = {}
    result: dict[Site, list[torch.Tensor]] = {site: [] for site in wanted}

    def tracking(site: Site) -> Visit:
        def visit(x: torch.Tensor) -> torch.Tensor:
            found[site] = x if x.requires_grad else x.detach().requires_grad_()
            return found[site]

        return visit

    def run(batch: Sequence[int]) -> None:
        found.clear()  # of a batch that did not fit
        with touching(model, ids.shape[1], {site: tracking(site) for site in wanted}):
            logits = model.network(input_ids=ids[batch]).logits
        total = scalar(logits, batch).sum()
        # what has no way to the scalar (the last layer's earlier positions, say) has gradient 0
        grads = torch.autograd.grad(
            total, [found[s] for s in wanted], allow_unused=True, materialize_grads=True
        )
        for site, gradient in zip(wanted, grads, strict=True):
            result[site].append(gradient)

    batches = _batches(model, ids, lambda n: 4 * sequence_bytes(model, n, logits=True))
    with _frozen(model.network), torch.enable_grad():
        for batch in batches:
            run_halving(batch, run, model.halvings.append)
    return {site: torch.cat(parts) for site, parts in result.items()}


@contextmanager
def touching(model: NetworkModel, length: int, visits: Mapping[Site, Visit]) -> Iterator[None]:
    """While open, every forward on sequences of `length` hands each activation named in `visits` to
    its function.

    What the function gives back is what the forward goes on with.
    """
    anatomy = model.anatomy
    with ExitStack() as stack:
        patterns = {layer: visit for (place, layer), visit in visits.items() if place == "pattern"}
        if patterns:
            receive = lambda layer, x: patterns[layer](x) if layer in patterns else None  # noqa: E731
            stack.enter_context(attention.watch(model.network, anatomy, receive))
        # in the order of PLACES: a new residual_mid reaches residual_post before that is seen
        for (place, layer), visit in sorted(
            visits.items(), key=lambda item: PLACES.index(item[0][0])
        ):
            if place != "pattern":
                for handle in _hooks(anatomy.blocks[layer], place, length, visit):
                    stack.callback(handle.remove)
        yield


def sites(
    model: NetworkModel, places: Iterable[str], layers: Iterable[int] | None = None
) -> list[Site]:
    """Every (place, layer) asked for. layers None: those that have the place; see `capture` for the
    errors.
    """
    anatomy: Anatomy = model.anatomy
    result = []
    for place in places:
        if place not in PLACES:
            raise InputError(
                f"place: {place!r}; there are: {', '.join(PLACES)}.{nearest(place, PLACES)}"
            )
        anatomy.require(place)
        if not anatomy.blocks:
            raise NotApplicable(
                f"{place}: this architecture has no list of blocks, only patterns can be read"
            )
        for layer in range(len(anatomy.blocks)) if layers is None else layers:
            if not 0 <= layer < len(anatomy.blocks):
                raise InputError(
                    f"layer: {layer}; {model.path.name} has the layers 0 to {len(anatomy.blocks) - 1}."
                )
            if has(anatomy.blocks[layer], place):
                result.append((place, layer))
            elif layers is not None:
                raise NotApplicable(f"{place}: block {layer} has none")
    return result


def has(block: Block, place: str) -> bool:
    """Whether a block has a place."""
    part = {
        "residual_mid": block.reads_mid,
        "attention": block.attention,
        "mlp": block.mlp,
        "head": block.projection,
    }
    return (
        block.n_heads is not None
        if place == "pattern"
        else part.get(place, block.module) is not None
    )


def as_ids(model: NetworkModel, ids: Any) -> torch.Tensor:
    """Ids as a tensor [sequence, position] on the model's device, refused where the model could not
    read them.
    """
    if not isinstance(model, NetworkModel):
        raise NotApplicable("only a network has activations; this model is a table of counts")
    rows = ids.tolist() if hasattr(ids, "tolist") else [list(row) for row in ids]
    if not rows or not rows[0] or len({len(row) for row in rows}) != 1:
        raise InputError(
            "ids: sequences of one length, and at least one token each, are read together."
        )
    model._check(rows)
    return torch.tensor(rows, device=model.network.device)


def _batches(
    model: NetworkModel, ids: torch.Tensor, row_bytes: Callable[[int], int] | None = None
) -> list[list[int]]:
    """Which sequences run together. Before anything is hooked: it may try the network."""
    size = 1 if len(ids) > 1 and model._rows_touch(ids.shape[1]) else None
    row_bytes = row_bytes or (lambda n: sequence_bytes(model, n))
    return plan([ids.shape[1]] * len(ids), row_bytes, model.budget, size)


def sequence_bytes(model: NetworkModel, length: int, *, logits: bool = False) -> int:
    """Rough bytes of what one sequence has in memory at a time."""
    per_position = 24 * (model.d_model or 1024) + 3 * (model.n_heads or 0) * length
    return 4 * length * (per_position + (2 * model.vocab_size if logits else 0))


def capture_bytes(model: NetworkModel, place: str, length: int) -> int:
    """Bytes of what `capture` gives of one sequence, at one place of all layers."""
    blocks = [block for block in model.anatomy.blocks if has(block, place)]
    width = sum(
        (block.n_heads or 0) * {"head": block.d_head or 0, "pattern": length}.get(place, 0)
        or (model.d_model or 1024)
        for block in blocks
    )
    return max(1, width * length * model.network.dtype.itemsize)


def _hooks(block: Block, place: str, length: int, visit: Visit) -> list[Any]:
    """The hooks of one place. [sequence, position, ...] is what `visit` sees, whatever shape the
    module uses.
    """

    def seen(x: torch.Tensor) -> torch.Tensor | None:
        width = (block.n_heads, block.d_head) if place == "head" else (x.shape[-1],)
        changed = visit(x.reshape(-1, length, *width))  # type: ignore[arg-type]
        return None if changed is None else changed.reshape(x.shape)

    def entering(module: nn.Module, args: Any, kwargs: Any) -> Any:
        changed = seen(hidden_in(args, kwargs))  # type: ignore[arg-type]
        return None if changed is None else with_hidden_in(args, kwargs, changed)

    def leaving(module: nn.Module, args: Any, output: Any) -> Any:
        changed = seen(hidden_out(output))  # type: ignore[arg-type]
        return None if changed is None else with_hidden_out(output, changed)

    if place == "residual_mid" and block.writes_mid is None:
        return _mid_hooks(block, seen)
    inputs = {"residual_pre": block.module, "head": block.projection}
    outputs = {
        **{"residual_post": block.module, "residual_mid": block.writes_mid},
        **{"attention": block.attention, "mlp": block.mlp},
    }
    if place in inputs:
        return [inputs[place].register_forward_pre_hook(entering, with_kwargs=True)]  # type: ignore[union-attr]
    return [outputs[place].register_forward_hook(leaving)]  # type: ignore[union-attr]


def _mid_hooks(block: Block, seen: Visit) -> list[Any]:
    """residual_mid where it is a bare sum: what reads it is given the new one, and so is the sum
    that it goes on in.

    residual_post = residual_mid + s x MLP(residual_mid), so the difference is added to
    residual_post.
    """
    shift: list[torch.Tensor] = []

    def entering(module: nn.Module, args: Any, kwargs: Any) -> Any:
        old = hidden_in(args, kwargs)
        assert old is not None
        changed = seen(old)
        if changed is None or changed is old:
            return None
        shift.append(changed - old)
        return with_hidden_in(args, kwargs, changed)

    def leaving(module: nn.Module, args: Any, output: Any) -> Any:
        if not shift:
            return None
        hidden = hidden_out(output)
        assert hidden is not None
        return with_hidden_out(output, hidden + shift.pop().reshape(hidden.shape))

    assert block.reads_mid is not None
    return [
        block.reads_mid.register_forward_pre_hook(entering, with_kwargs=True),
        block.module.register_forward_hook(leaving),
    ]


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """No gradients of parameters: less is kept."""
    learning = [p for p in network.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
