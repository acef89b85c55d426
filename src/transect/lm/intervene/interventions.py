"""Interventions: an activation is changed at a named place (lm/intervene/edits.py), and the model goes on
from there.

    run(model, ids, edits).logits[edit, sequence, read position, token]

is what the model's logits for a sequence are when that edit, and no other, is made in it. Many
edits share a forward. Each starts at the first block that it changes, from what that block read in
the unedited run, and computes only what differs from there on (lm/intervene/reuse.py); an edit that puts in
what is there already is not run at all. The first edits at a place are also run as plain hooked
forwards of the whole model: where the two differ by more than rounding, or the architecture cannot
be resumed, everything is run that way. Speed (Pythia-70m shape, 20 pairs of 15 tokens that differ
in two, CPU): 10 x a loop of hooked forwards for residual patching, 5.5 x for head patching; 6 x and
4 x without the reuse of unchanged positions. What is left is the linear maps of what did change (60
%), then copying and attention, which are done at all positions.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from transect.errors import InputError
from transect.lm.batching import run_halving
from transect.lm.intervene.activations import (
    Site,
    Visit,
    as_ids,
    own_tokens,
    sequence_bytes,
    touching,
)
from transect.lm.intervene.edits import Edit, inside
from transect.lm.intervene.reuse import Recording, recording_bytes
from transect.lm.intervene.tail import alike
from transect.lm.memory import out_of_memory
from transect.lm.network import NetworkModel

ENGINE_PART = "interventions"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change

POSITIONS = 2048  # of a batch on the CPU: measured no slower than larger or smaller ones
# units of rounding per block by which the two ways may differ, relative to the largest logit (see
# lm/intervene/tail.py: alike)
TOLERANCE = 64


class Edited(NamedTuple):
    """Float32 logits on the CPU: ``logits`` [edit, sequence, read, token], ``unedited`` [sequence,
    read, token].
    """

    logits: torch.Tensor
    unedited: torch.Tensor


def run(
    model: NetworkModel,
    ids: Any,
    edits: Sequence[Edit | Sequence[Edit]],
    *,
    read: Sequence[int] = (-1,),
    tokens: Any = None,
    batch_size: int | None = None,
) -> Edited:
    """The logits of every sequence under every edit, each made by itself; a list of edits is made
    together.

    ids: [sequence, position]. read: positions whose logits are wanted. tokens: ids [sequence, n] of
    those wanted of each sequence; None: the whole vocabulary. The result does not depend on what
    runs together, to 1e-5. Raises InputError for what is out of range or does not fit,
    NotApplicable for a place that the model does not have.
    """
    ids = as_ids(model, ids)
    model._needs_head()
    length = ids.shape[1]
    tokens = None if tokens is None else _tokens(model, tokens, len(ids))
    together = [(edit,) if isinstance(edit, Edit) else tuple(edit) for edit in edits]
    for edit in (edit for group in together for edit in group):
        edit.check(model, length)
    read = [inside(position, length, "read") for position in read]
    parts: list[Edited] = []

    def forward(chunk: Sequence[int]) -> None:
        parts.append(
            _Run(
                model,
                ids,
                torch.tensor(chunk, device=ids.device),
                together,
                read,
                tokens,
                batch_size,
            ).edited()
        )

    size = max(1, model.budget // recording_bytes(model, length))
    if model._rows_touch(length):
        size = batch_size = 1
    with (
        torch.no_grad()
    ):  # not inference mode, in which tensors do not count their changes (lm/intervene/reuse.py)
        for chunk in torch.arange(len(ids)).split(size):
            run_halving(chunk.tolist(), forward, model.halvings.append)
    return Edited(torch.cat([p.logits for p in parts], 1), torch.cat([p.unedited for p in parts]))


def _tokens(model: NetworkModel, tokens: Any, n: int) -> torch.Tensor:
    rows = tokens.tolist() if hasattr(tokens, "tolist") else [list(row) for row in tokens]
    if len(rows) != n or len({len(row) for row in rows}) != 1:
        raise InputError(
            f"tokens: as many ids for each of the {n} sequences; {len(rows)} rows were given."
        )
    model._check(rows)
    return torch.tensor(rows, device=model.network.device)


# network -> place -> whether resuming gave there what plain forwards give
_resumes: WeakKeyDictionary[nn.Module, dict[str, bool]] = WeakKeyDictionary()


class _Row(NamedTuple):
    """One edit (the index of a group) of one sequence (an index within the chunk); first: the first
    block it changes.
    """

    first: int
    edit: int
    sequence: int


class _Run:
    """Some of the sequences under all edits."""

    def __init__(
        self,
        model: NetworkModel,
        ids: torch.Tensor,
        chunk: torch.Tensor,
        edits: Sequence[tuple[Edit, ...]],
        read: Sequence[int],
        tokens: torch.Tensor | None,
        batch_size: int | None,
    ) -> None:
        self.model, self.ids, self.edits, self.read, self.batch_size = (
            model,
            ids[chunk],
            edits,
            read,
            batch_size,
        )
        self.n, self.chunk = len(ids), chunk
        self.places = {edit.place for group in edits for edit in group}
        self.known = _resumes.setdefault(model.network, {})
        self.distinct: torch.Tensor | None = None
        if tokens is not None:
            self.distinct, self.columns = torch.unique(tokens[chunk], return_inverse=True)
        wanted = sorted({(edit.place, edit.layer) for group in edits for edit in group})
        self.recording = Recording(model, self.ids, read, self.distinct, wanted)

    def edited(self) -> Edited:
        """Everything that was asked of these sequences."""
        unedited = self._own_tokens(self.recording.logits, torch.arange(len(self.ids))).cpu()
        logits = unedited.expand(len(self.edits), *unedited.shape).clone()
        rows = self._rows()
        self._try(rows)
        forward = (
            self._resumed
            if all(self.known.get(place, False) for place in self.places)
            else self._plain
        )

        def keep(batch: Sequence[int]) -> None:
            some = [rows[i] for i in batch]
            logits[[row.edit for row in some], [row.sequence for row in some]] = forward(some).cpu()

        for batch in self._batches(rows):
            run_halving(batch, keep, self.model.halvings.append)
        return Edited(logits, unedited)

    def _rows(self) -> list[_Row]:
        """What must be run, sorted: not where an edit changes nothing."""
        rows = []
        for index, group in enumerate(self.edits):
            different = torch.zeros(len(self.ids), dtype=torch.bool, device=self.ids.device)
            for edit in group:
                old = self.recording.sites[edit.place, edit.layer]
                new = edit.values(self.n, old)[self.chunk.to(old.device)]
                different |= (
                    (new != (0 if edit.how == "add" else edit.part(old)))
                    .flatten(1)
                    .any(1)
                    .to(different.device)
                )
            if group:
                first = min(edit.layer for edit in group)
                rows += [
                    _Row(first, index, sequence) for sequence in different.nonzero()[:, 0].tolist()
                ]
        return sorted(rows)

    def _batches(self, rows: Sequence[_Row]) -> Iterator[list[int]]:
        """Indices of rows that start at the same block, as many as fit, in parts of about one size."""
        length = self.ids.shape[1]
        size = self.batch_size or max(1, self.model.budget // sequence_bytes(self.model, length))
        if self.batch_size is None and self.ids.device.type == "cpu":
            size = min(size, max(1, POSITIONS // length))
        for first in dict.fromkeys(row.first for row in rows):
            same = [i for i, row in enumerate(rows) if row.first == first]
            parts = -(-len(same) // size)
            yield from (
                same[len(same) * k // parts : len(same) * (k + 1) // parts] for k in range(parts)
            )

    def _try(self, rows: Sequence[_Row]) -> None:
        """Whether resuming gives what plain forwards give: the first, the middle and the last row
        of each new place, of sequences that have numbers. Where nothing is a number, nothing is
        known."""
        numbers = self.recording.logits.isfinite().flatten(1).all(1).tolist()
        for place in sorted(self.places - self.known.keys()):
            own = [row for row in rows if any(edit.place == place for edit in self.edits[row.edit])]
            own = [row for row in own if numbers[row.sequence]]
            own = [own[i] for i in sorted({0, len(own) // 2, len(own) - 1})] if own else []
            if not own:
                continue
            plain = self._plain(own)
            if not plain.isfinite().any():
                continue
            units = TOLERANCE * len(self.model.anatomy.blocks)
            try:
                found = torch.cat([self._resumed([row]) for row in own])
                self.known[place] = alike(found, plain, units, self.model.network.dtype)
            except (
                AttributeError,
                IndexError,
                KeyError,
                RuntimeError,
                TypeError,
                ValueError,
            ) as error:
                if out_of_memory(error):
                    raise  # that says nothing about the place
                self.known[place] = False

    def _resumed(self, rows: Sequence[_Row]) -> torch.Tensor:
        sequences = self._sequences(rows)
        return self._own_tokens(
            self.recording.rerun(rows[0].first, sequences, self._visits(rows)), sequences
        )

    def _plain(self, rows: Sequence[_Row]) -> torch.Tensor:
        """By hooked forwards of the whole model, all positions, the whole vocabulary."""
        sequences = self._sequences(rows)
        with touching(self.model, self.ids.shape[1], self._visits(rows)):
            logits = self.model.network(input_ids=self.ids[sequences]).logits[:, self.read].float()
        return self._own_tokens(
            logits if self.distinct is None else logits[..., self.distinct], sequences
        )

    def _sequences(self, rows: Sequence[_Row]) -> torch.Tensor:
        return torch.tensor([row.sequence for row in rows], device=self.ids.device)

    def _visits(self, rows: Sequence[_Row]) -> dict[Site, Visit]:
        """What makes the edits of a batch, each in rows of its own."""
        sequences = self._sequences(rows)
        changes: dict[Site, list[tuple[Edit, torch.Tensor]]] = {}
        for index in dict.fromkeys(row.edit for row in rows):
            at = torch.tensor(
                [i for i, row in enumerate(rows) if row.edit == index], device=self.ids.device
            )
            for edit in self.edits[index]:
                changes.setdefault((edit.place, edit.layer), []).append((edit, at))
        return {site: partial(self._change, made, sequences) for site, made in changes.items()}

    def _change(
        self, made: Sequence[tuple[Edit, torch.Tensor]], sequences: torch.Tensor, x: torch.Tensor
    ) -> torch.Tensor:
        x = x.clone()
        for edit, at in made:
            own = self.chunk[sequences[at]].to(x.device)  # a network may lie on several devices
            edit.make(x, at.to(x.device), edit.values(self.n, x)[own])
        return x

    def _own_tokens(self, logits: torch.Tensor, sequences: torch.Tensor) -> torch.Tensor:
        """Of logits [row, read, distinct token] those of each sequence's own tokens."""
        if self.distinct is None:
            return logits
        return own_tokens(logits, self.columns[sequences.to(self.columns.device)])
