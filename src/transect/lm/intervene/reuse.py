"""A forward that differs from a recorded one in a few places computes only what differs.

Recorded run   plain forward of some sequences; kept are what the blocks read and, where the memory budget has room for
               one sequence's, the inputs and outputs of their linear maps.
Later run      each row is one of these sequences, changed from block `first` on. Blocks below it pass through, block
               `first` is given what it read when recorded. A linear map (or a whole MLP) multiplies
               those rows of its input that differ, bit for bit, from the recorded ones; for the
               others it returns the recorded output. What stands before a change in a causal model,
               or beside it in a block, is thus found by itself: nothing is assumed about masks,
               forms of blocks or positions. In the last block only the positions that are read go
               through projection and MLP, and only they and the tokens asked for through the
               unembedding.
The model's own forward runs all the while; it makes masks, rotations and what else the blocks are
given. That the later run gives what a plain one would is checked by lm/intervene/interventions.py on some of
its rows.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from transect.lm.anatomy.anatomy import Block
from transect.lm.anatomy.tracing import hidden_in, hidden_out, with_hidden_in
from transect.lm.intervene.activations import Site, Visit, touching
from transect.lm.intervene.tail import Forward, alike, tail
from transect.lm.memory import out_of_memory
from transect.lm.network import NetworkModel
from transect.lm.score.forward import replaced

ENGINE_PART = "reuse"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change

# units of rounding that an MLP's output at one position may change by when it is given that one
# alone
TOLERANCE = 64


class Recording:
    """The plain run of ids [sequence, position] and what a later run needs of it.

    logits: float32 [sequence, read, token]; sites: the activations at the places asked for, by
    (place, layer). tokens: the ids whose logits are wanted, None: all. Everything stays on the
    model's device.
    """

    def __init__(
        self,
        model: NetworkModel,
        ids: torch.Tensor,
        read: Sequence[int],
        tokens: torch.Tensor | None,
        sites: Sequence[Site],
    ) -> None:
        self.model, self.ids, self.read, self.tokens = model, ids, list(read), tokens
        self.sites: dict[Site, torch.Tensor] = {}
        self._blocks = model.anatomy.blocks
        self._residuals: list[torch.Tensor] = []
        self._outputs: list[Any] = []
        self._maps: dict[nn.Module, _Map] = {}
        with ExitStack() as stack:
            stack.enter_context(tail(model, self.read, tokens))  # first: it may try itself out
            for module in (
                _row_maps(model) if _map_bytes(model, ids.shape[1]) <= model.budget else ()
            ):
                self._maps[module] = _Map(module)
                stack.enter_context(replaced(module, self._maps[module].record))
            for block in self._blocks:
                stack.callback(
                    block.module.register_forward_pre_hook(self._entering, with_kwargs=True).remove
                )
                stack.callback(block.module.register_forward_hook(self._leaving).remove)
            visits: Mapping[Site, Visit] = {site: self._keeper(site) for site in sites}
            stack.enter_context(touching(model, ids.shape[1], visits))
            self.logits = model.network(input_ids=ids).logits.float()
        self._maps = {
            module: rows for module, rows in self._maps.items() if rows.usable(ids.numel())
        }

    def rerun(
        self, first: int, sequences: torch.Tensor, visits: Mapping[Site, Visit]
    ) -> torch.Tensor:
        """Logits [row, read, token] of rows that are `sequences` (indices), changed by `visits`
        from block `first` on.
        """
        length = self.ids.shape[1]
        rows = (
            sequences[:, None] * length + torch.arange(length, device=sequences.device)
        ).flatten()
        last = self._blocks[-1]
        with ExitStack() as stack:
            stack.enter_context(tail(self.model, self.read, self.tokens))
            for block, output in zip(self._blocks[:first], self._outputs, strict=False):
                stack.enter_context(replaced(block.module, _pass_through(output, sequences)))
            residual = self._residuals[first]
            resume = self._resume(residual[sequences.to(residual.device)])
            stack.callback(
                self._blocks[first]
                .module.register_forward_pre_hook(resume, with_kwargs=True)
                .remove
            )
            seen = _Differences(rows)
            only = torch.arange(len(sequences), device=rows.device)[:, None] * length
            only = (only + torch.tensor(self.read, device=rows.device)).flatten()
            for module, recorded in self._maps.items():
                end = module in (last.projection, last.mlp) and last.form != "unknown"
                forward = recorded.at(only, len(rows)) if end else recorded.where_different(seen)
                stack.enter_context(replaced(module, forward))
            stack.enter_context(touching(self.model, length, visits))
            return self.model.network(input_ids=self.ids[sequences]).logits.float()

    def _entering(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._residuals.append(hidden_in(args, kwargs).clone())  # type: ignore[union-attr]

    def _leaving(self, module: nn.Module, args: Any, output: Any) -> None:
        # of a tensor nothing is kept: it is what the next block reads
        self._outputs.append(output if isinstance(output, tuple | list) else None)

    def _keeper(self, site: Site) -> Visit:
        return lambda x: self.sites.__setitem__(site, x.clone())

    def _resume(self, residual: torch.Tensor) -> Callable[..., Any]:
        return lambda module, args, kwargs: with_hidden_in(args, kwargs, residual)


class _Map:
    """A module that takes each row (position) of its input by itself, and the rows it was given and
    gave.
    """

    def __init__(self, module: nn.Module) -> None:
        self.forward: Forward = module.forward
        self.calls = 0
        self.input: torch.Tensor | None = None
        self.output: torch.Tensor | None = None

    def record(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if len(args) == 1 and not kwargs:
            self.input = _rows(
                args[0]
            ).clone()  # copied: some architectures go on to add to it in place
        y = self.forward(*args, **kwargs)
        if isinstance(y, torch.Tensor):
            self.output = _rows(y).clone()
        return y

    def usable(self, n: int) -> bool:
        """Whether it ran once, on all n positions."""
        return self.calls == 1 and all(
            rows is not None and len(rows) == n for rows in (self.input, self.output)
        )

    def _alone(self, rows: torch.Tensor) -> torch.Tensor:
        # as one sequence: mixtures of experts take nothing flatter
        return _rows(self.forward(rows[None]))

    def where_different(self, seen: "_Differences") -> Forward:
        def forward(x: torch.Tensor) -> torch.Tensor:
            assert self.input is not None and self.output is not None
            if x.numel() != len(seen.rows) * x.shape[-1]:
                return self.forward(x)
            flat = _rows(x)
            different = seen.of(x, self.input)
            if len(different) == len(flat):
                return self.forward(x)
            y = self.output[seen.rows.to(x.device)]
            if len(different):
                y[different] = self._alone(flat[different])
            return y.reshape(*x.shape[:-1], y.shape[-1])

        return forward

    def at(self, only: torch.Tensor, n: int) -> Forward:
        """Computed in the rows `only` of n, 0 elsewhere: nobody reads those."""

        def forward(x: torch.Tensor) -> torch.Tensor:
            if x.numel() != n * x.shape[-1]:
                return self.forward(x)
            here = only.to(x.device)
            y = self._alone(_rows(x)[here])
            return (
                y.new_zeros(n, y.shape[-1])
                .index_copy_(0, here, y)
                .reshape(*x.shape[:-1], y.shape[-1])
            )

        return forward


class _Differences:
    """Which rows of an input differ from the recorded ones; rows[i] is the recorded row that row i
    is compared with.
    """

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows
        self._last: tuple[torch.Tensor, int] | None = None
        self._found = rows

    def of(self, x: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        """Indices. Queries, keys and values are maps of the same tensor: it is compared once."""
        if self._last is None or self._last[0] is not x or self._last[1] != x._version:
            self._last = x, x._version
            self._found = (_rows(x) != recorded[self.rows.to(x.device)]).any(-1).nonzero()[:, 0]
        return self._found


_maps: WeakKeyDictionary[nn.Module, list[nn.Module]] = WeakKeyDictionary()


def _row_maps(model: NetworkModel) -> list[nn.Module]:
    """`row_maps` of all blocks, found once per network."""
    if model.network not in _maps:
        width = int(model.network.config.hidden_size)
        found = dict.fromkeys(m for block in model.anatomy.blocks for m in row_maps(block, width))
        _maps[model.network] = list(found)
    return _maps[model.network]


def recording_bytes(model: NetworkModel, length: int) -> int:
    """Rough bytes that the recording of one sequence keeps: what the blocks read and, where they
    fit the budget, the inputs and outputs of linear maps."""
    residuals = (
        len(model.anatomy.blocks) * (model.d_model or 1024) * length * model.network.dtype.itemsize
    )
    maps = _map_bytes(model, length)
    return residuals + (maps if maps <= model.budget else 0)


def _map_bytes(model: NetworkModel, length: int) -> int:
    linear = [
        m
        for block in model.anatomy.blocks
        for m in block.module.modules()
        if isinstance(m, nn.Linear | Conv1D)
    ]
    return sum(sum(m.weight.shape) for m in linear) * length * model.network.dtype.itemsize


def row_maps(block: Block, d_model: int) -> list[nn.Module]:
    """The modules of a block that take each position by itself: its MLP as a whole where it does,
    other linear maps.
    """
    linear: list[nn.Module] = [
        m for m in block.module.modules() if isinstance(m, nn.Linear | Conv1D)
    ]
    # what adds to the stream after a norm is that norm: not worth the comparison
    whole = block.mlp is not None and any(p.dim() > 1 for p in block.mlp.parameters())
    if block.mlp is None or block.mlp in linear or not whole or not by_position(block.mlp, d_model):
        return linear
    inside = set(block.mlp.modules())
    return [block.mlp, *(m for m in linear if m not in inside)]


def by_position(mlp: nn.Module, width: int) -> bool:
    """Whether a module gives each position the same, alone or among others: tried on noise."""
    like = next(mlp.parameters())
    noise = (
        torch.linspace(-1, 1, 6 * width, device=like.device, dtype=like.dtype)
        .sin()
        .reshape(2, 3, width)
    )
    try:
        whole, alone = mlp(noise), mlp(noise[:, 1:2])
        return alike(alone, whole[:, 1:2], TOLERANCE, whole.dtype)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        if out_of_memory(error):
            raise  # that says nothing about the module
        return False  # it needs more than hidden states, or gives more back


def _pass_through(output: Any, sequences: torch.Tensor) -> Forward:
    """What a block gives that leaves its hidden states alone; what else it gave when recorded, by
    row.
    """

    def forward(*args: Any, **kwargs: Any) -> Any:
        hidden = hidden_in(args, kwargs)
        if output is None:
            return hidden
        n = hidden_out(output).shape[0]  # type: ignore[union-attr]
        rest = [
            x[sequences] if isinstance(x, torch.Tensor) and x.shape[:1] == (n,) else x
            for x in output
        ]
        return type(output)([hidden, *rest[1:]])

    return forward


def _rows(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(-1, x.shape[-1])
