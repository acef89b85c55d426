"""Which rows may share a batch without touching each other: found by trying it on the network
itself.

any     rows of any length: the shorter ones are padded on the right, where a causal model does not look and a mask covers the others
equal   rows of one length: the padding is read (the network mixes positions without a mask, counts them, or takes no mask)
alone   one row at a time: rows reach each other (experts with room for so many tokens of a batch, say)
A trial scores three sequences, two long and one short, together and one by one; a source goes with
each where an encoder reads one. It is made once for lengths up to each power of two: what is mixed
may begin at some length. In half precision it runs in float32.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Literal

import numpy as np
from transformers import PreTrainedModel

from transect.errors import ForwardError
from transect.lm.anatomy.anatomy import ordinary_ids
from transect.lm.precision import in_float32, in_half

Together = Literal["any", "equal", "alone"]

SHORTEST = 16  # tokens of the long sequences of a trial, where the context has room for them
# units of float32's rounding of the largest log-probability: more than another shape of the same
# product costs
UNITS = 32

# log p of each target of sequences that run together (True) or one by one, with the sources of an
# encoder
Score = Callable[
    [Sequence[Sequence[int]], np.ndarray, Sequence[Sequence[int]] | None, bool], np.ndarray
]


class Padding:
    """What one network lets share a batch. score: how it scores sequences; turns: see
    lm/batching.py.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        context_length: int | None,
        turns: Sequence[int],
        score: Score,
        reads_two: bool,
    ) -> None:
        self.network, self.context_length, self.turns = network, context_length, turns
        self.score, self.reads_two = score, reads_two
        self._known: dict[int, Together] = {}

    def together(self, longest: int) -> Together:
        """For rows (and sources) of up to so many tokens."""
        tried = max(SHORTEST, 1 << (longest - 1).bit_length())
        tried = min([tried, *(n for n in self.turns if n >= longest), self.context_length or tried])
        if tried not in self._known:
            self._known[tried] = self._trial(tried)
        return self._known[tried]

    def _trial(self, long: int) -> Together:
        low = max(
            [0, *(n for n in self.turns if n < long)]
        )  # where the frequencies change, nothing shares a batch
        lengths = [long, long, max(min(2, long), low + 1, long // 4)]
        rng = np.random.default_rng(0)
        ids = ordinary_ids(self.network, rng.integers(0, 2**31, sum(lengths)))
        sequences = [tuple(part.tolist()) for part in np.split(ids, np.cumsum(lengths)[:-1])]
        targets = ordinary_ids(self.network, rng.integers(0, 2**31, sum(lengths)))
        sources = [ids[::-1] for ids in sequences] if self.reads_two else None
        half, both = in_half(self.network), 2 * long
        try:
            if half:  # lm/score/forward.py finds out outside in_float32 how the network may be run
                self.score(sequences[:1], targets[:long], sources and sources[:1], False)
            with in_float32(self.network) if half else nullcontext():
                alone = self.score(sequences, targets, sources, False)
                if self._same(alone, sequences, targets, sources):
                    return "any"
                equal = self._same(
                    alone[:both], sequences[:2], targets[:both], sources and sources[:2]
                )
        except ForwardError:
            return "alone"  # so that each sequence fails or not by itself
        return "equal" if equal else "alone"

    def _same(
        self,
        alone: np.ndarray,
        sequences: Sequence[Sequence[int]],
        targets: np.ndarray,
        sources: Sequence[Sequence[int]] | None,
    ) -> bool:
        try:
            found = self.score(sequences, targets, sources, True)
        except ForwardError:
            return False
        numbers = np.isfinite(alone)
        if (numbers != np.isfinite(found)).any():
            return False
        allowed = UNITS * np.finfo(np.float32).eps * np.abs(alone[numbers]).max(initial=1.0)
        return bool(np.abs(found - alone)[numbers].max(initial=0.0) <= allowed)
