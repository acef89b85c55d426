"""Runs rows through a network and reads the logits that are asked for; packs prefixes where that is
exact.

Whether it is exact is found by trying, once per network, depth and room: sequences with branches,
drawn from the vocabulary, scored packed in a row of so many cells and one by one. It is not where
positions are counted by cells (ALiBi), where a state runs through the row (recurrent models), or
where a sliding window is shorter than the sequences; a window that is counted in cells is found
where it is shorter than the row. In half precision the trial runs in float32: rounding would hide a
wrong mask. Where the frequencies of rotary positions change at some length (LongRoPE), sequences on
the two sides of it share neither a row nor a batch. Which rows share a batch is found by trying,
too (lm/score/padding.py).
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from transect.errors import ForwardError
from transect.lm.anatomy.anatomy import ordinary_ids
from transect.lm.batching import plan, run_halving, turning_points
from transect.lm.memory import out_of_memory
from transect.lm.precision import in_float32, in_half
from transect.lm.score.forward import Forward
from transect.lm.score.log_sums import Read, log_probabilities
from transect.lm.score.padding import Padding, Together
from transect.lm.score.tries import Rows, pack, plain

ENGINE_PART = "packing"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change

Said = Callable[[int, int], None]  # told how many tokens are read, of how many
ROOMS = (64, 128, 256, 512, 1024)  # cells of a packed row
WORTH = 0.95  # pack where this share of the cost, or less, is left
# nats, or times what padding changes: how far packed scores may be from those of sequences run
# alone
SAME = 5e-6, 1.5
CLEAR = 0.01  # nats: no rounding in float32
TWIGS, TWIG = 3, 2  # branches of the trial, and their tokens: its row must fit the context


class Packing:
    """The rows of one network and how they are run. row_bytes: bytes of activations of a row of so
    many cells.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        objective: str,
        budget: int,
        row_bytes: Callable[[int], int],
        context_length: int | None,
        halved: Callable[[int], None],
    ) -> None:
        self.network, self.objective, self.context_length = network, objective, context_length
        self.forward = Forward(network, budget // 2)
        self.budget, self.row_bytes, self.halved = budget, row_bytes, halved
        self.allowed = objective == "causal"
        self.used = False  # whether any scores came from packed rows
        self._exact: dict[tuple[int, int], bool] = {}  # by depth and cells of the row
        self.turns = turning_points(network)
        self.padding = Padding(
            network, context_length, self.turns, self._score, objective == "seq2seq"
        )

    def rows(self, sequences: Sequence[Sequence[int]], positions: Sequence[np.ndarray]) -> Rows:
        """Packed rows where they are exact and cheaper, else one row per distinct sequence."""
        if self.allowed and sequences:
            distinct = np.array([len(ids) for ids in set(map(tuple, sequences))])
            longest, price = (
                int(distinct.max()),
                1 / (6 * getattr(self.network.config, "hidden_size", 512)),
            )
            most = WORTH * float((distinct * (1 + price * distinct)).sum())
            rooms = (
                []
                if any(distinct.min() <= n < longest for n in self.turns)
                else self._rooms(longest)
            )
            while rooms and (packed := pack(sequences, positions, rooms, price, most)) is not None:
                cells = int(packed.lengths.max())
                if self._is_exact(longest, cells):
                    self.used = True
                    return packed
                # what fails in the shortest row fails in every other one
                rooms = (
                    [room for room in rooms if room < cells] if self._is_exact(longest, 0) else []
                )
        return plain(sequences, positions)

    def run(
        self,
        rows: Rows,
        read: Read,
        batch_size: int | None = None,
        sources: Sequence[Sequence[int]] | None = None,
        *,
        strict: bool = True,
        together: Together | None = None,
        said: Said | None = None,
    ) -> None:
        """`read` the logits after every cell asked for. sources: what the encoder reads, of each
        row's origin.

        strict: what a forward raises is raised; else the batches in which it does are passed over.
        together: which rows share a batch, whatever the network lets. said: is told after every
        batch how many tokens are read, and of how many.
        """

        def forward(batch: Sequence[int]) -> None:
            first, last = batch[0], batch[-1] + 1
            inside = slice(*np.searchsorted(rows.asked, rows.start[[first, last]]))
            if inside.start == inside.stop:
                return
            inputs, cells = self._inputs(rows, first, last)
            if sources is not None:
                inputs = self._encoded(inputs, [sources[i] for i in rows.origin[first:last]])
            needed, line = np.unique(rows.asked[inside], return_inverse=True)
            places = self._tensor(cells[needed - rows.start[first]])
            for begin, n, tiles in self.forward.logits(inputs, places):
                part = slice(*np.searchsorted(line, [begin, begin + n]))
                read(n, tiles, torch.from_numpy(line[part] - begin), rows.query[inside][part])

        done, lengths = 0, rows.lengths
        with torch.inference_mode():
            for batch in self._plan(rows, batch_size, sources, together):
                try:
                    run_halving(batch, forward, self.halved)
                except ForwardError:
                    if strict:
                        raise
                done += int(lengths[batch].sum())
                if said is not None:
                    said(done, int(lengths.sum()))

    def source_parts(
        self, sequences: Sequence[Sequence[int]], sources: Sequence[Sequence[int]]
    ) -> list[list[int]]:
        """The numbers of the sequences whose sources may be padded to one length."""
        longest = max([*map(len, sequences), *map(len, sources)], default=0)
        parts: dict[int, list[int]] = {}
        whole = len(sequences) < 2 or self.padding.together(longest) == "any"
        for i, ids in enumerate(sources):
            parts.setdefault(0 if whole else len(ids), []).append(i)
        return list(parts.values())

    def _plan(
        self,
        rows: Rows,
        batch_size: int | None,
        sources: Sequence[Sequence[int]] | None,
        together: Together | None,
    ) -> list[list[int]]:
        beside = max((len(ids) for ids in sources), default=0) if sources is not None else 0
        lengths = rows.lengths.tolist()

        def planned(size: int | None, apart: Sequence[int]) -> list[list[int]]:
            return plan(
                lengths, lambda n: self.row_bytes(n + beside), self.budget // 2, size, apart
            )

        # packed rows are all on one side of a turn, whatever their lengths in cells
        batches = planned(batch_size, self.turns)
        if max(map(len, batches), default=0) < 2:
            return batches
        together = together or self.padding.together(
            max(int(rows.depth.max(initial=0)) + 1, beside)
        )
        if together == "any":
            return batches
        return planned(1 if together == "alone" else batch_size, sorted({*self.turns, *lengths}))

    def _score(
        self,
        sequences: Sequence[Sequence[int]],
        targets: np.ndarray,
        sources: Sequence[Sequence[int]] | None,
        share: bool,
    ) -> np.ndarray:
        """log p(targets) after every position of plain rows that share one batch, or none."""
        rows = plain(sequences, [np.arange(len(ids)) for ids in sequences], sources or ())
        found = np.full(len(targets), np.nan)
        size = len(sequences) if share else 1
        self.run(rows, log_probabilities(targets, found), size, sources, together="any")
        return found

    def _inputs(self, rows: Rows, first: int, last: int) -> tuple[dict[str, Any], np.ndarray]:
        """The padded batch of rows first to last - 1, and the place in it of each of their cells.

        What the padding holds does not matter: causal models do not look right, the others are
        given a mask.
        """
        cells = slice(rows.start[first], rows.start[last])
        lengths = rows.lengths[first:last]
        longest = int(lengths.max())
        column = np.arange(longest)
        filled = column < lengths[:, None]
        ids, depth, end = np.zeros((3, *filled.shape), dtype=np.int64)
        ids[filled], depth[filled] = rows.ids[cells], rows.depth[cells]
        inputs: dict[str, Any] = {"input_ids": self._tensor(ids)}
        if self.objective == "masked" and not filled.all():
            inputs["attention_mask"] = self._tensor(filled.astype(np.int64))
        if (depth != column)[filled].any():
            end[:] = column + 1  # padding reads itself: a row of no keys would be NaN
            end[filled] = rows.end[cells] - np.repeat(rows.start[first:last], lengths)
            place = self._tensor(column)
            seen = (place <= place[:, None]) & (
                place[:, None] < self._tensor(end)[:, None, None, :]
            )
            if getattr(self.network.config, "_attn_implementation", "") != "sdpa":
                low = torch.finfo(self.network.dtype).min
                seen = torch.zeros(
                    seen.shape, dtype=self.network.dtype, device=seen.device
                ).masked_fill_(~seen, low)
            inputs |= {"attention_mask": seen, "position_ids": self._tensor(depth)}
        return inputs, np.flatnonzero(filled)

    def _encoded(self, inputs: dict[str, Any], sources: Sequence[Sequence[int]]) -> dict[str, Any]:
        """The inputs of a decoder: each distinct source runs through the encoder once."""
        number = {ids: i for i, ids in enumerate(dict.fromkeys(map(tuple, sources)))}
        read = plain(list(number), [np.empty(0, dtype=np.int64)] * len(number))
        mask = np.arange(read.lengths.max()) < read.lengths[:, None]
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = read.ids
        encoder: Any = self.network.get_encoder()
        each = self._tensor(np.argsort(read.origin)[[number[tuple(source)] for source in sources]])
        attention_mask = self._tensor(mask.astype(np.int64))
        states = encoder(
            input_ids=self._tensor(ids), attention_mask=attention_mask
        ).last_hidden_state
        return {
            "encoder_outputs": BaseModelOutput(last_hidden_state=states[each.to(states.device)]),
            "attention_mask": attention_mask[each],
            "decoder_input_ids": inputs["input_ids"],
        }

    def _rooms(self, longest: int) -> list[int]:
        limit = min(self.context_length or longest, max(ROOMS[-1], longest))
        fit = [
            room
            for room in ROOMS
            if longest < room <= limit and self.row_bytes(room) <= self.budget // 2
        ]
        return [longest, *fit]

    def _is_exact(self, depth: int, cells: int) -> bool:
        """Whether scores from rows of up to so many cells equal unpacked ones for sequences of up
        to so many tokens; both are tried by powers of two."""
        tried = max(16, 1 << (depth - 1).bit_length())
        # a trial that crosses a turn fails for that alone
        tried = min([tried, *(n for n in self.turns if n >= depth)])
        if self.context_length is not None:
            tried = min(tried, self.context_length - TWIGS * TWIG)
        if tried < max(depth, 8):
            return False
        room = max(1 << (cells - 1).bit_length() if cells > 0 else 0, tried + TWIGS * TWIG)
        key = tried, min(room, self.context_length or room)
        if key not in self._exact:
            try:
                self.forward.prepare({})
                self._exact[key] = self._trial(*key)
            except Exception as error:
                if out_of_memory(error):
                    return False  # nothing is known
                self._exact[key] = (
                    False  # the network does not take such a mask or positions, in its own words
                )
        return self._exact[key]

    def _trial(self, depth: int, room: int) -> bool:
        """The branches to be compared stand at the end of the row and read its first cells across
        all others.
        """
        rng = np.random.default_rng(0)
        high, fork = self.network.config.vocab_size, depth // 4
        stem = rng.integers(0, high, depth).tolist()
        cuts = (fork, depth // 2, depth - TWIG)
        sequences = [stem, *([*stem[:at], (stem[at] + 1) % high, *stem[: TWIG - 1]] for at in cuts)]
        for ids, token in zip(sequences, (high - 1, high - 2, high - 1, high - 1), strict=True):
            ids[fork] = token  # the last in order
        free = room - depth - TWIGS * TWIG
        others = [
            [
                *stem[:fork],
                k % max(1, high - 2),
                *rng.integers(0, high, min(depth - fork, free - at) - 1).tolist(),
            ]
            for k, at in enumerate(range(0, free, depth - fork))
        ]
        positions = [np.arange(len(ids)) for ids in sequences]
        nothing = [np.empty(0, dtype=np.int64)] * len(others)
        targets = rng.integers(0, high, sum(map(len, sequences)))
        sequences, others = (
            [ordinary_ids(self.network, np.array(ids)).tolist() for ids in them]
            for them in (sequences, others)
        )
        packed = cast(Rows, pack([*sequences, *others], [*positions, *nothing], [room]))
        found = np.full((3, len(targets)), np.nan)
        with in_float32(self.network) if in_half(self.network) else nullcontext():
            self.run(packed, log_probabilities(targets, found[0]), together="any")
            self.run(
                plain(sequences, positions), log_probabilities(targets, found[1]), together="any"
            )
            if not np.abs(found[0] - found[1]).max() <= CLEAR:
                return False
            self.run(
                plain(sequences, positions), log_probabilities(targets, found[2]), batch_size=1
            )
        apart, padded = np.abs(found[:2] - found[2]).max(axis=1)
        return bool(apart <= max(SAME[0], SAME[1] * padded))

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.network.device)
