"""The self-check of a checkpoint: are the stored scores those that the network's own forward gives
to each sequence alone?

difference = max over a few scored sequences and their tokens of |log p as scored - log p by the plain forward|,  nats per token

as scored: in the batch in which the measure asked for it (sorted, padded or packed with others);
plain forward: lm/reference.py, one row, nothing shared. At least one sequence of every cell and
kind of score is looked at. Both have been rounded, so that a difference alone convicts nobody. One
of more than SHARE of what rounding may do to a token of this model in this precision
(lm/score/rounding.py: of_token) is judged again, against the same weights in float64:
    fault   |log p as scored - log p in float64| > max(SHARE of_token, TIMES the largest error of the plain forward)
Where a network cannot compute in float64, two rounded numbers are all there is: a fault is a
difference of more than 2 of_token. After a fault every noted sequence is looked at, and each cell
stands or falls by its own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

PER_CELL, PER_CHECKPOINT = (
    4,
    8,
)  # sequences of each kind of score; at least one of them of every cell
SHARE = 0.5
TIMES = 2.0
# the calls that are noted, and what they name beside the sequences: one for each of them, and for
# all alike
CALLS = {
    "token_scores": ("prefix_lengths", ()),
    "set_logprobs": ("positions", ("members",)),
    "pll": ("words", ("variant",)),
}


@dataclass
class Noted:
    """One scored sequence: how to score it again, and what came out. `call` is the method's name."""

    call: str
    ids: Sequence[int]
    second: Any  # what goes beside the ids: prefix length, positions or word numbers
    more: dict[str, Any]
    logprob: np.ndarray


@dataclass(frozen=True)
class Checked:
    """What was found. difference: see the head of this file, from float64 where `float64` of the
    sequences were judged against it.

    faults: cell -> the largest difference in it, only of cells with a fault. tolerance: what is
    allowed where the difference is.
    """

    difference: float = 0.0
    tolerance: float = 0.0
    sequences: int = 0
    float64: int = 0
    faults: dict[str, float] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """Where the scores are not to be trusted; else empty."""
        if not self.faults:
            return ""
        against = "the same weights in float64" if self.float64 else "its sequence alone"
        return f"self-check: a token's score differs by {self.difference:.2g} nats from that of {against} (tolerance {self.tolerance:.2g})"


@dataclass
class SelfCheck:
    """Notes a few of the sequences that a model scores, and scores them again at the end."""

    model: Any
    samples: dict[tuple[str, str], list[Noted]] = field(
        default_factory=dict
    )  # by cell and call, where it scored something

    @contextmanager
    def note(self, cell: str) -> Iterator[None]:
        """While this is open the model's calls are noted for a cell; what the model returns is left
        as it is.
        """
        noted: dict[str, list[Noted]] = {name: [] for name in CALLS}
        before = {name: call for name, call in vars(self.model).items() if name in CALLS}
        for name in CALLS:
            setattr(
                self.model, name, partial(_noting, name, getattr(self.model, name), noted[name])
            )
        try:
            yield
        finally:
            for name in CALLS:
                delattr(self.model, name)  # the class's own again
            vars(self.model).update(before)
        for name, found in noted.items():
            if found:
                self.samples[cell, name] = [found[i] for i in _spread([s.ids for s in found])]

    def check(self) -> Checked:
        """Score a few of the noted sequences again, all of them where one has a fault; nothing
        where nothing was scored.
        """
        if not self.samples:
            return Checked()
        ordered = [
            (cell, part[i])
            for i in range(PER_CELL)
            for (cell, _), part in self.samples.items()
            if i < len(part)
        ]
        found = self._judged(ordered[: max(PER_CHECKPOINT, len(self.samples))])
        return (
            found if not found.faults or found.sequences == len(ordered) else self._judged(ordered)
        )

    def _judged(self, chosen: Sequence[tuple[str, Noted]]) -> Checked:
        from transect.lm.score import rounding  # here: it imports torch

        largest = rounding.of_token(self.model)
        plain = [self._plain(sample) for _, sample in chosen]
        apart = [
            _apart(sample.logprob, other) for (_, sample), other in zip(chosen, plain, strict=True)
        ]
        allowed = [SHARE * largest] * len(chosen)
        doubtful = [i for i, difference in enumerate(apart) if difference > SHARE * largest]
        exact = {i: wide for i in doubtful if (wide := self._exact(chosen[i][1])) is not None}
        own = max(
            (_apart(plain[i], wide, np.isfinite(plain[i])) for i, wide in exact.items()),
            default=0.0,
        )
        for i in doubtful:
            if i in exact:
                scored = chosen[i][1].logprob
                apart[i] = _apart(scored, exact[i], np.isfinite(scored) | np.isfinite(plain[i]))
            allowed[i] = max(SHARE * largest, TIMES * own) if i in exact else 2 * largest
        faults: dict[str, float] = {}
        for (cell, _), difference, limit in zip(chosen, apart, allowed, strict=True):
            if difference > limit:
                faults[cell] = max(difference, faults.get(cell, 0.0))
        worst = max(range(len(chosen)), key=lambda i: apart[i] / allowed[i])
        return Checked(apart[worst], allowed[worst], len(chosen), len(exact), faults)

    def _plain(self, sample: Noted) -> np.ndarray:
        """By the network's own forward; by the model itself, alone, where it is no network."""
        if hasattr(self.model, "network"):
            return self._forward(sample)()
        result = getattr(self.model, sample.call)(
            [sample.ids], [sample.second], batch_size=1, **sample.more
        )[0]
        return np.asarray(getattr(result, "logprob", result))

    def _exact(self, sample: Noted) -> np.ndarray | None:
        """In float64; None where that cannot be had."""
        if not hasattr(self.model, "network"):
            return None
        from transect.lm import reference  # here: it imports torch

        return reference.in_float64(self.model, self._forward(sample))

    def _forward(self, sample: Noted) -> Callable[[], np.ndarray]:
        from transect.lm import reference  # here: it imports torch

        return partial(
            getattr(reference, sample.call), self.model, sample.ids, sample.second, **sample.more
        )


def _noting(
    name: str, call: Callable[..., Any], noted: list[Noted], *args: Any, **options: Any
) -> Any:
    """The call's own result; a few of its sequences go into `noted`."""
    from transect.lm.model import Model  # here: it imports torch

    result = call(*args, **options)
    given = signature(getattr(Model, name)).bind(None, *args, **options).arguments
    sequences, (second, shared) = given["sequences"], CALLS[name]
    more = {key: given[key] for key in shared if key in given}
    for i in _spread(sequences):
        beside: Any = given[second][i] if given.get(second) is not None else 1
        own = {"source": given["sources"][i]} if given.get("sources") is not None else {}
        if name != "set_logprobs" or len(beside):
            scores = np.array(getattr(result[i], "logprob", result[i]))
            noted.append(Noted(name, sequences[i], beside, more | own, scores))
    return result


def _spread(sequences: Sequence[Sequence[int]]) -> list[int]:
    """Places of a few sequences of all lengths: longest, shortest, and between."""
    order = sorted(range(len(sequences)), key=lambda i: (-len(sequences[i]), i))
    if len(order) <= PER_CELL:
        return order
    step = (len(order) - 1) / (PER_CELL - 1)
    taken = [order[round(k * step)] for k in range(PER_CELL)]
    return [taken[0], taken[-1], *taken[1:-1]]


def _apart(one: np.ndarray, other: np.ndarray, at: np.ndarray | None = None) -> float:
    """Largest difference, of the places `at` where they are given; infinite where only one of the
    two is a number.
    """
    if at is not None:
        one, other = one[at], other[at]
    known, also = np.isfinite(one), np.isfinite(other)
    if (known != also).any():
        return float("inf")
    return float(np.abs(one[known] - other[known]).max()) if known.any() else 0.0
