"""The next-token logits of sequences that grow in step, from a network's own cache or without one.

All rows of a batch have the same length at all times, so nothing is padded: exact for learned,
rotary and linear positions, windows and recurrent states alike. The cache (keys and values, or the
state of a recurrent network) is transformers' own, and used only where it is right: some
architectures have none, and RWKV's mixes up the rows of a batch (transformers 5.23). Without it the
whole sequences are run at each step.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel

from transect.lm.memory import out_of_memory

ENGINE_PART = "decoding"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change
SERVES = ("generation", "text")

CACHES = (
    "past_key_values",
    "cache_params",
    "state",
)  # what architectures call it, in their outputs and arguments
# units of rounding by which logits may differ between a batch with a cache and one sequence without
ROUNDING = 64
# the same for the coarse types, as a share of the largest logit: 64 units of bfloat16 would be half
# of it
HALF = 0.05
CHECKED = (5, 9)  # tokens read at once and in all by the check of a cache


class Decoder(ABC):
    """Rows of token ids and the logits of the token that follows each."""

    rows: list[list[int]]

    @abstractmethod
    def logits(self) -> np.ndarray:
        """float64 [row, vocabulary], up to a constant of each row."""

    @abstractmethod
    def push(self, tokens: Sequence[int]) -> None:
        """Append one token to each row."""

    @abstractmethod
    def keep(self, places: Sequence[int]) -> None:
        """Make these the rows, in this order; a row may be left out, or occur several times."""

    @abstractmethod
    def alone(self, row: int) -> np.ndarray:
        """The row's logits [vocabulary] computed by themselves, the same whatever else is in the
        batch.
        """

    def margin(self, logits: np.ndarray) -> float:
        """How far `logits` may be from what `alone` gives, for a decision between tokens; 0: not at
        all.
        """
        return 0.0


@dataclass(frozen=True)
class Decoding:
    """How a model continues rows: start(rows, sources of an encoder-decoder), the bytes that a row
    of so many tokens takes, the bytes of a batch, and who is told the batch sizes that did not fit.
    """

    start: Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]] | None], Decoder]
    row_bytes: Callable[[int], int]
    budget: int
    halved: Callable[[int], None]


class TableDecoder(Decoder):
    """A model that gives each distribution directly: `distribution(ids)` is p of every token after
    the ids.
    """

    def __init__(
        self, distribution: Callable[[Sequence[int]], np.ndarray], rows: Sequence[Sequence[int]]
    ) -> None:
        self.distribution = distribution
        self.rows = [list(ids) for ids in rows]

    def logits(self) -> np.ndarray:
        return np.stack([self.alone(row) for row in range(len(self.rows))])

    def push(self, tokens: Sequence[int]) -> None:
        for ids, token in zip(self.rows, tokens, strict=True):
            ids.append(token)

    def keep(self, places: Sequence[int]) -> None:
        self.rows = [list(self.rows[place]) for place in places]

    def alone(self, row: int) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(self.distribution(self.rows[row]))


class NetworkDecoder(Decoder):
    """A network of transformers. sources: the encoder's ids of each row, all of one length, for an
    encoder-decoder.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        rows: Sequence[Sequence[int]],
        sources: Sequence[Sequence[int]] | None,
        cached: bool,
    ) -> None:
        self.network, self.cached = network, cached
        self.rows = [list(ids) for ids in rows]
        self.sources = None if sources is None else [list(ids) for ids in sources]
        self._cache: tuple[str, Any] | None = None
        self._encoded = None if self.sources is None else self._encode(self.sources)
        self._last = self._run(self.rows)

    def logits(self) -> np.ndarray:
        return self._last.double().cpu().numpy()

    def push(self, tokens: Sequence[int]) -> None:
        for ids, token in zip(self.rows, tokens, strict=True):
            ids.append(token)
        self._last = self._run(self.rows if self._cache is None else [[token] for token in tokens])

    def keep(self, places: Sequence[int]) -> None:
        if list(places) == list(range(len(self.rows))):
            return
        chosen = torch.tensor(list(places), device=self.network.device)
        with torch.inference_mode():
            self._last = self._last[chosen.to(self._last.device)]
            if self._encoded is not None:
                self._encoded = self._encoded[chosen.to(self._encoded.device)]
            if self._cache is not None:
                name, cache = self._cache
                self._cache = name, _rows_of(cache, chosen)
        self.rows = [list(self.rows[place]) for place in places]
        if self.sources is not None:
            self.sources = [self.sources[place] for place in places]

    def alone(self, row: int) -> np.ndarray:
        source = None if self.sources is None else [self.sources[row]]
        return NetworkDecoder(self.network, [self.rows[row]], source, cached=False).logits()[0]

    def margin(self, logits: np.ndarray) -> float:
        # the coarse types would call every decision close
        return (
            tolerance(self._last, logits)
            if self._last.dtype in (torch.float32, torch.float64)
            else 0.0
        )

    def _encode(self, sources: Sequence[Sequence[int]]) -> torch.Tensor:
        with torch.inference_mode():
            ids = torch.tensor(sources, device=self.network.device)
            return self.network.get_encoder()(input_ids=ids).last_hidden_state

    def _run(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits after the last of these ids, which follow what the cache holds."""
        read = torch.tensor(ids, device=self.network.device)
        options: dict[str, Any] = {"use_cache": self.cached}
        if self._cache is not None:
            options |= dict([self._cache])
        if "logits_to_keep" in inspect.signature(self.network.forward).parameters:
            options["logits_to_keep"] = 1
        with torch.inference_mode():
            if self._encoded is None:
                output = self.network(input_ids=read, **options)
            else:
                encoded = (self._encoded,)
                output = self.network(encoder_outputs=encoded, decoder_input_ids=read, **options)
        if self.cached:
            self._cache = next(
                ((name, output[name]) for name in CACHES if output.get(name) is not None), None
            )
        return output.logits[:, -1]


def tolerance(tensor: torch.Tensor, logits: np.ndarray) -> float:
    """The largest difference between two computations of these logits that is still rounding."""
    finite = logits[np.isfinite(logits)]
    scale = max(1.0, float(np.abs(finite).max())) if finite.size else 1.0
    return min(ROUNDING * torch.finfo(tensor.dtype).eps, HALF) * scale


def cache_is_right(network: PreTrainedModel) -> bool:
    """Whether steps with the cache, its rows exchanged and repeated, give the logits of whole
    sequences without it.
    """
    vocabulary = int(cast(torch.Tensor, network.get_input_embeddings().weight).shape[0])
    first, last = CHECKED
    rows = [[(7 * row + 3 * t + row * t * t) % vocabulary for t in range(last)] for row in (1, 2)]
    sources = [rows[0][:first], rows[1][:first]] if network.config.is_encoder_decoder else None
    order = [1, 0, 1]
    try:
        steps = NetworkDecoder(network, [ids[:first] for ids in rows], sources, cached=True)
        if steps._cache is None:
            return False
        steps.keep(order)
        for t in range(first, last):
            steps.push([rows[row][t] for row in order])
    except Exception as error:
        if out_of_memory(error):
            raise  # it says nothing about the cache
        return False  # a cache of another kind, or none that can be cut by rows
    for place, found in enumerate(steps.logits()):
        expected = steps.alone(place)
        if not np.abs(found - expected).max() <= tolerance(steps._last, expected):
            return False
    return True


def row_bytes(network: PreTrainedModel, length: int) -> int:
    """Rough bytes of one sequence: its cache, the activations of its first reading, one position's
    logits in float64.
    """
    config = network.config
    width = getattr(config, "hidden_size", None) or 1024
    layers = getattr(config, "num_hidden_layers", None) or 24
    return 4 * length * width * (2 * layers + 12) + 16 * int(
        getattr(config, "vocab_size", None) or 0
    )


def _rows_of(cache: Any, chosen: torch.Tensor) -> Any:
    """The cache of chosen rows: transformers' Cache (changed in place), or a list of tensors
    [batch, ...].
    """
    if hasattr(cache, "reorder_cache"):
        cache.reorder_cache(chosen)
        return cache
    return [tensor[chosen] for tensor in cache]
