"""What may be changed in a run: an activation is replaced, or something is added to it, at a named
place.

    patch    what another run had there          ablate    zero, the mean, or what another sequence had there
    add      a direction
Places and shapes: lm/intervene/activations.py. lm/intervene/interventions.py makes the edits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from transect.errors import InputError
from transect.lm.intervene.activations import sites
from transect.lm.network import NetworkModel

ENGINE_PART = "edits"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change


@dataclass(frozen=True, eq=False)
class Edit:
    """One change of an activation.

    value: a number or a tensor that broadcasts to [sequence, position, ...], the part of the
    activation that is named: its positions (None: all; negative ones count from the end) and its
    head (None: all, [..., head, d_head]). In place "pattern" a position is a query: [sequence,
    query, key] of a head, else [sequence, query, head, key]. how: "replace" puts the value in the
    activation's place, "add" adds it.
    """

    place: str
    layer: int
    value: torch.Tensor | float
    head: int | None = None
    positions: Sequence[int] | None = None
    how: Literal["replace", "add"] = "replace"

    def check(self, model: NetworkModel, length: int) -> None:
        """Raise InputError for what is out of range, NotApplicable for a place that the model does
        not have.
        """
        if self.how not in ("replace", "add"):
            raise InputError(f"how: {self.how!r}; there are: replace, add.")
        sites(model, [self.place], [self.layer])
        heads = (
            model.anatomy.blocks[self.layer].n_heads if self.place in ("head", "pattern") else None
        )
        if self.head is not None and not 0 <= self.head < (heads or 0):
            allowed = (
                f"{self.place} has the heads 0 to {heads - 1}"
                if heads
                else f"{self.place} has no heads"
            )
            raise InputError(f"head: {self.head}; {allowed}.")
        for position in self.positions or ():
            inside(position, length, "positions")

    def part(self, x: torch.Tensor) -> torch.Tensor:
        """What it changes of an activation, [sequence, position, ...]."""
        return part(self.place, x, self.head, self.positions)

    def values(self, n: int, x: torch.Tensor) -> torch.Tensor:
        """The value for n sequences, in the shape of `part`, for an activation x."""
        value = torch.as_tensor(self.value, device=x.device, dtype=x.dtype)
        shape = (n, *self.part(x[:1]).shape[1:])
        try:
            return torch.broadcast_to(value, shape)
        except RuntimeError:
            told = f"{self.place} of layer {self.layer}, which is {shape} here (sequence, position, ...)"
            raise InputError(
                f"value: its shape {tuple(value.shape)} does not fit {told}."
            ) from None

    def make(self, x: torch.Tensor, rows: torch.Tensor, values: torch.Tensor) -> None:
        """Change x in place, in `rows` only; values: one per row."""
        view = _position_first(self.place, x)
        new = self.part(x)[rows] + values if self.how == "add" else values
        wanted = range(view.shape[1]) if self.positions is None else self.positions
        columns = torch.tensor(list(wanted), device=x.device)
        if self.head is None:
            view[rows[:, None], columns] = new
        else:
            view[rows[:, None], columns, self.head] = new


def patch(
    place: str,
    layer: int,
    source: torch.Tensor,
    head: int | None = None,
    positions: Sequence[int] | None = None,
) -> Edit:
    """Put in what another run had there: `source` as `capture` gives it, for the same sequences one
    by one.
    """
    return Edit(place, layer, part(place, source, head, positions), head, positions)


def ablate(
    place: str,
    layer: int,
    how: Literal["zero", "mean", "resample"] = "zero",
    source: torch.Tensor | None = None,
    head: int | None = None,
    positions: Sequence[int] | None = None,
    *,
    seed: int = 0,
) -> Edit:
    """Take away what an activation says of its sequence.

    zero: 0 in its place; mean: the mean of `source` over its sequences and the positions named;
    resample: the same positions of another sequence of `source`, by a random cyclic order from
    `seed`, so that none gets its own. source: as `capture` gives it. Raises InputError without a
    source where one is needed, or with too few sequences.
    """
    if how == "zero":
        return Edit(place, layer, 0.0, head, positions)
    if how not in ("mean", "resample"):
        raise InputError(f"how: {how!r}; there are: zero, mean, resample.")
    if source is None or (how == "resample" and len(source) < 2):
        raise InputError(
            f"how: {how!r} needs a source{' of two sequences or more' if how == 'resample' else ''}."
        )
    value = part(place, source, head, positions)
    if how == "mean":
        return Edit(place, layer, value.mean((0, 1), keepdim=True), head, positions)
    order = torch.randperm(len(value), generator=torch.Generator().manual_seed(seed))
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return Edit(place, layer, value[other.to(value.device)], head, positions)


def add(
    place: str,
    layer: int,
    direction: torch.Tensor,
    scale: float = 1.0,
    head: int | None = None,
    positions: Sequence[int] | None = None,
) -> Edit:
    """Add scale x direction, [d_model], or [d_head] of a head."""
    return Edit(place, layer, scale * direction, head, positions, "add")


def part(
    place: str, x: torch.Tensor, head: int | None, positions: Sequence[int] | None
) -> torch.Tensor:
    """Of an activation, as `capture` gives it, some positions (queries of a pattern) and one head:
    [sequence, position, ...].
    """
    x = _position_first(place, x)
    x = x if positions is None else x[:, list(positions)]
    return x if head is None else x[:, :, head]


def inside(position: int, length: int, name: str) -> int:
    """The position counted from 0. Raises InputError where there is none such."""
    if not -length <= position < length:
        raise InputError(f"{name}: {position}; the sequences have the positions 0 to {length - 1}.")
    return position % length


def _position_first(place: str, x: torch.Tensor) -> torch.Tensor:
    """A view [sequence, position, ...]: of a pattern [sequence, query, head, key]."""
    return x.transpose(1, 2) if place == "pattern" else x
