"""Tests of the batch plan."""

from transect.lm.batching import plan


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
