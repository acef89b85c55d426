"""The self-check of a checkpoint: are the stored scores those that the model gives to each sequence alone?

difference = max over a few scored sequences and their tokens of |log p as scored - log p of the same sequence alone|,  nats per token

as scored: in the batch in which the measure asked for it (sorted, padded or packed with others); alone: one row, nothing shared. Where
the model has a `self_check` of its own (unpacked, see lm/network.py), the larger of the two counts. The tolerance is design.md's for
float32. In half precision another batch shape rounds otherwise at every layer, and a logit itself is known to 8 (bfloat16) or 11
(float16) bits only; there the tolerance tells rounding from a fault and no more.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TOLERANCE = {"float64": 1e-5, "float32": 1e-5, "float16": 0.05, "bfloat16": 0.5}  # nats per token
PER_CELL, PER_CHECKPOINT = 4, 8  # sequences


@dataclass
class Noted:
    """One scored sequence: how to score it again, and what came out. `call` is the method's name."""

    call: str
    ids: Sequence[int]
    second: Any  # what goes beside the ids: prefix length or word numbers
    more: dict[str, Any]
    logprob: np.ndarray


@dataclass
class SelfCheck:
    """Notes a few of the sequences that a model scores, and scores them again at the end."""

    model: Any
    samples: dict[str, list[Noted]] = field(default_factory=dict)  # by cell: only of those that scored something

    @contextmanager
    def note(self, cell: str) -> Iterator[None]:
        """While this is open the model's calls are noted for a cell; what the model returns is left as it is."""
        noted: list[Noted] = []
        token_scores, pll = self.model.token_scores, self.model.pll

        def noted_scores(sequences: Any, prefix_lengths: Any = None, **options: Any) -> Any:
            result = token_scores(sequences, prefix_lengths, **options)
            sources = options.get("sources")
            for i in _spread(sequences):
                second = 1 if prefix_lengths is None else prefix_lengths[i]
                more = {} if sources is None else {"sources": [sources[i]]}
                noted.append(Noted("token_scores", sequences[i], second, more, result[i].logprob))
            return result

        def noted_pll(sequences: Any, words: Any, **options: Any) -> Any:
            result = pll(sequences, words, **options)
            more = {k: v for k, v in options.items() if k != "batch_size"}
            for i in _spread(sequences):
                noted.append(Noted("pll", sequences[i], words[i], more, result[i]))
            return result

        self.model.token_scores, self.model.pll = noted_scores, noted_pll
        try:
            yield
        finally:
            del self.model.token_scores, self.model.pll  # the class's own again
        if noted:
            self.samples[cell] = [noted[i] for i in _spread([s.ids for s in noted])]

    def difference(self) -> tuple[float, int]:
        """The difference (see above) and the number of sequences it was taken over; (0, 0) where nothing was scored."""
        ordered = [cell[i] for i in range(PER_CELL) for cell in self.samples.values() if i < len(cell)]
        chosen = ordered[:PER_CHECKPOINT]
        largest = max([_apart(s.logprob, self._alone(s)) for s in chosen], default=0.0)
        plain = [s for s in chosen if s.call == "token_scores" and not s.more]
        if plain and hasattr(self.model, "self_check"):
            largest = max(largest, float(self.model.self_check([s.ids for s in plain], [s.second for s in plain])))
        return largest, len(chosen)

    def _alone(self, sample: Noted) -> np.ndarray:
        result = getattr(self.model, sample.call)([sample.ids], [sample.second], batch_size=1, **sample.more)[0]
        return np.asarray(getattr(result, "logprob", result))


def _spread(sequences: Sequence[Sequence[int]]) -> list[int]:
    """Places of a few sequences of all lengths: longest, shortest, and between."""
    order = sorted(range(len(sequences)), key=lambda i: (-len(sequences[i]), i))
    if len(order) <= PER_CELL:
        return order
    step = (len(order) - 1) / (PER_CELL - 1)
    taken = [order[round(k * step)] for k in range(PER_CELL)]
    return [taken[0], taken[-1], *taken[1:-1]]


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference; infinite where only one of the two is a number."""
    known, also = np.isfinite(one), np.isfinite(other)
    if (known != also).any():
        return float("inf")
    return float(np.abs(one[known] - other[known]).max()) if known.any() else 0.0
