"""Rows and batches."""

import numpy as np
import pytest
import torch

from transect.errors import InputError
from transect.lm.train import data
from transect.registry.recipe import Recipe
from transect.stimuli.corpora import grammar

TOKENIZER = grammar.tokenizer()
BOS, PAD, MASK = TOKENIZER.bos_token_id, TOKENIZER.pad_token_id, TOKENIZER.mask_token_id
TEXTS = ["ba be bi", "bo bu da de di do", "du fa"] * 4


def ids(text: str) -> list[int]:
    return TOKENIZER(text)["input_ids"]


def batches(rows: str = "documents", masked: bool = False, seed: int = 0) -> data.Batches:
    recipe = Recipe("neural", steps=20, batch_size=4, context_length=5, rows=rows, mask_rate=0.5)
    return data.Batches(data.rows(TEXTS, TOKENIZER, recipe), recipe, TOKENIZER, seed, masked)


def test_documents_are_cut_and_padded() -> None:
    """One row each, after the beginning-of-sequence token."""
    rows = data.rows(TEXTS, TOKENIZER, Recipe("neural", steps=20, batch_size=4, context_length=5))
    assert rows[:3].tolist() == [
        [BOS, *ids("ba be bi"), PAD],
        [BOS, *ids("bo bu da de")],
        [BOS, *ids("du fa"), PAD, PAD],
    ]


def test_the_stream_is_cut_into_windows() -> None:
    """Windows over all documents; each begins with the last token of the one before."""
    rows = data.rows(
        TEXTS, TOKENIZER, Recipe("neural", steps=20, batch_size=4, context_length=5, rows="stream")
    )
    stream = [i for text in TEXTS for i in (BOS, *ids(text))]
    assert rows[:, :-1].ravel().tolist() == stream[: rows.shape[0] * 5]
    assert (rows[1:, 0] == rows[:-1, -1]).all()


def test_no_more_is_encoded_than_is_read() -> None:
    """Two steps of four rows read eight of the twelve documents."""
    assert (
        len(data.rows(TEXTS, TOKENIZER, Recipe("neural", steps=2, batch_size=4, context_length=5)))
        == 8
    )


def test_causal_targets_are_the_next_tokens() -> None:
    """And padding is no target."""
    inputs, targets = batches()(0)
    assert torch.equal(torch.where(targets == data.IGNORED, PAD, targets)[:, :-1], inputs[:, 1:])
    assert (targets == data.IGNORED).any() and not (targets == PAD).any()


def test_masked_targets_are_what_was_masked() -> None:
    """The mask token stands where there is a target, and never on special tokens."""
    inputs, targets = batches(masked=True)(0)
    assert torch.equal(inputs == MASK, targets != data.IGNORED)
    assert not torch.isin(targets, torch.tensor([BOS, PAD])).any()
    assert (inputs[:, 0] == BOS).all()


def test_an_epoch_sees_every_row_once() -> None:
    """Twelve rows in three batches, and in another order the next time."""
    every = batches()
    seen = [tuple(row) for step in range(3) for row in every(step)[0].tolist()]
    again = [tuple(row) for step in range(3, 6) for row in every(step)[0].tolist()]
    assert sorted(seen) == sorted(again) == sorted(tuple(r) for r in every.rows[:, :-1].tolist())
    assert seen != again


@pytest.mark.parametrize("masked", [False, True])
def test_a_batch_depends_on_seed_and_step_only(masked: bool) -> None:
    """Not on the batches before it: so a resumed run reads on where it stopped."""
    fresh, used = batches(masked=masked), batches(masked=masked)
    for step in range(7):
        used(step)
    assert all(torch.equal(a, b) for a, b in zip(fresh(7), used(7), strict=True))
    assert not all(
        torch.equal(a, b) for a, b in zip(fresh(7), batches(masked=masked, seed=1)(7), strict=True)
    )


def test_a_corpus_smaller_than_a_batch_is_refused() -> None:
    """Said in numbers."""
    with pytest.raises(InputError, match="gives 2 rows of 5 tokens, but one batch needs 4"):
        data.rows(TEXTS[:2], TOKENIZER, Recipe("neural", steps=20, batch_size=4, context_length=5))


def test_rows_are_small() -> None:
    """int32: eight million tokens are 32 MB."""
    assert (
        data.rows(
            TEXTS, TOKENIZER, Recipe("neural", steps=20, batch_size=4, context_length=5)
        ).dtype
        == np.int32
    )
