"""Tests of the batch plan."""

from transformers import XLNetConfig, XLNetLMHeadModel

from tests.architectures import network_of
from transect.lm.batching import context_length, plan


def test_batches_are_sorted_by_length_and_hold_what_fits():
    """Budget 12 and one byte per token: three rows of 4, or two of 5 and 6, as padded."""
    assert plan([6, 4, 4, 5, 4], lambda n: n, 12) == [[1, 2, 4], [3, 0]]


def test_no_batch_exceeds_the_budget_when_padded():
    """Rows x bytes of the longest row <= budget, for every batch with more than one row."""
    lengths = [7, 1, 3, 9, 2, 2, 8, 5, 5, 1]
    for batch in plan(lengths, lambda n: n * n, 100):
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) ** 2 <= 100


def test_a_row_larger_than_the_budget_runs_alone():
    """It is tried: only the machine can say that it does not fit."""
    assert plan([3, 100], lambda n: n, 10) == [[0], [1]]


def test_a_fixed_batch_size_wins():
    """Batches of two, whatever the budget."""
    assert plan([1, 2, 3, 4, 5], lambda n: 1, 1, batch_size=2) == [[0, 1], [2, 3], [4]]


def test_no_batch_lies_on_both_sides_of_a_length():
    """Apart at 4: rows of up to four and longer ones, whatever fits."""
    assert plan([6, 4, 3, 5], lambda n: 1, 100, apart=[4]) == [[2, 1], [3, 0]]
    assert plan([6, 4, 3, 5], lambda n: 1, 1, batch_size=3, apart=[4]) == [[2, 1], [3, 0]]


def test_context_lengths_of_every_name():
    """MPT calls it max_seq_len; Bloom, XLNet (-1) and state-space models have none; RoBERTa's table is longer than it."""
    expected = {"gpt2": 64, "llama": 64, "mpt": 64, "rwkv": 64, "bloom": None, "mamba": None, "roberta": 64}
    assert {kind: context_length(network_of(kind)) for kind in expected} == expected
    xlnet = XLNetLMHeadModel(XLNetConfig(vocab_size=60, d_model=32, n_layer=1, n_head=4, d_inner=48))
    assert context_length(xlnet) is None
