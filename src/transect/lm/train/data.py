"""From documents to training batches. The batch of a step is a function of (seed, step), so a
resumed run reads on where it stopped.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from transect.errors import InputError
from transect.registry.recipe import Recipe, corpus_factors, corpus_unit
from transect.registry.run import Run
from transect.store import units
from transect.store.project import Project

IGNORED = -100  # a target without loss
ENCODED_AT_ONCE = 1000  # documents


def load_corpus(
    run: Run, project: Project | None = None
) -> tuple[PreTrainedTokenizerFast, list[str]]:
    """Tokenizer and training documents of the run's corpus; kept, because the runs of one process
    often share them.
    """
    unit = corpus_unit(run, project)
    return _load_corpus(unit.name, unit.path, tuple(corpus_factors(run, unit).items()))


@lru_cache(maxsize=2)
def _load_corpus(
    name: str, path: Path, factors: tuple[tuple[str, Any], ...]
) -> tuple[PreTrainedTokenizerFast, list[str]]:
    module = units.Unit("corpus", name, path, {}).load()
    return module.tokenizer(**dict(factors)), module.train_documents(**dict(factors))


def encoded(documents: list[str], tokenizer: PreTrainedTokenizerFast) -> Iterator[list[int]]:
    """Token ids of each document, without special tokens."""
    for first in range(0, len(documents), ENCODED_AT_ONCE):
        yield from tokenizer(documents[first : first + ENCODED_AT_ONCE], add_special_tokens=False)[
            "input_ids"
        ]


def rows(documents: list[str], tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> np.ndarray:
    """The corpus as rows of token ids, [row, context_length] (documents) or [row, context_length +
    1] (stream), int32.

    Every document opens with the beginning-of-sequence token, where the tokenizer has one.
    documents: one row each, cut at the end or filled with the padding token. stream: windows over
    all documents one after the other; a window begins with the last token of the one before, which
    it only predicts from. No more documents are encoded than the run will read. Raises InputError
    for a corpus shorter than one batch, or documents that need padding where the tokenizer has
    none.
    """
    opening = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids = (opening + document for document in encoded(documents, tokenizer))
    if recipe.rows == "documents":
        found = _padded(
            itertools.islice(ids, recipe.steps * recipe.batch_size),
            tokenizer,
            recipe.context_length,
        )
    else:
        needed = recipe.steps * recipe.batch_size * recipe.context_length + 1
        stream = np.fromiter(itertools.islice(itertools.chain.from_iterable(ids), needed), np.int32)
        starts = (
            np.arange(max(0, (len(stream) - 1) // recipe.context_length)) * recipe.context_length
        )
        found = stream[starts[:, None] + np.arange(recipe.context_length + 1)]
    if len(found) < recipe.batch_size:
        raise InputError(
            f"The corpus gives {len(found)} rows of {recipe.context_length} tokens, "
            f"but one batch needs {recipe.batch_size}."
        )
    return found


def _padded(
    encoded: Iterable[list[int]], tokenizer: PreTrainedTokenizerFast, length: int
) -> np.ndarray:
    cut = [ids[:length] for ids in encoded]
    if any(len(ids) < length for ids in cut) and tokenizer.pad_token_id is None:
        raise InputError(
            f"A document is shorter than {length} tokens and the tokenizer has no padding token; use `rows: stream`."
        )
    return np.array([ids + [tokenizer.pad_token_id] * (length - len(ids)) for ids in cut], np.int32)


class Batches:
    """batch(step) -> (inputs, targets), both int64 [batch_size, position]; a target of IGNORED has
    no loss.

    Rows come in a new random order each epoch; rows that do not fill a last batch wait for another
    epoch. Causal: inputs predict the next token. Masked: a share mask_rate of the tokens is
    replaced by the mask token, and these alone are targets.
    """

    def __init__(
        self,
        rows: np.ndarray,
        recipe: Recipe,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        masked: bool,
    ):
        self.rows, self.recipe, self.seed, self.masked = rows, recipe, seed, masked
        self.pad, self.mask = tokenizer.pad_token_id, tokenizer.mask_token_id
        self.special = torch.tensor(sorted(tokenizer.all_special_ids))
        self.per_epoch = len(rows) // recipe.batch_size
        self._order = lru_cache(maxsize=1)(
            lambda epoch: np.random.default_rng([seed, 1, epoch]).permutation(len(rows))
        )
        if masked and self.mask is None:
            raise InputError("A masked model needs a tokenizer with a mask token.")

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(step, self.per_epoch)
        chosen = self._order(epoch)[
            position * self.recipe.batch_size : (position + 1) * self.recipe.batch_size
        ]
        ids = torch.from_numpy(self.rows[chosen].astype(np.int64))
        if self.masked:
            return self._mask(ids, step)
        inputs, targets = ids[:, :-1], ids[:, 1:]
        if self.pad is not None and self.recipe.rows == "documents":
            targets = targets.masked_fill(targets == self.pad, IGNORED)
        return inputs, targets

    def _mask(self, ids: Tensor, step: int) -> tuple[Tensor, Tensor]:
        random = torch.from_numpy(np.random.default_rng([self.seed, 2, step]).random(ids.shape))
        chosen = (random < self.recipe.mask_rate) & ~torch.isin(ids, self.special)
        return ids.masked_fill(chosen, self.mask), ids.masked_fill(~chosen, IGNORED)
