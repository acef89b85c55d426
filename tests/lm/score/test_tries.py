"""Tests of the rows that sequences share: against the definition, cell by cell."""

import numpy as np
import pytest

from tests.shelf import random_sequences
from transect.lm.score.tries import Rows, pack, plain, shared_prefixes


def branching(n: int = 60, vocabulary: int = 3) -> list[tuple[int, ...]]:
    """Sequences over so few tokens that they share prefixes, some of them equal, some prefixes of
    others.
    """
    return [tuple(ids) for ids in random_sequences(n, vocabulary, shortest=1, longest=9)]


def read_back(rows: Rows) -> list[tuple[int, ...]]:
    """What is read up to each cell, by the definition: the cells k of its row with k <= q < end[k]."""
    found = []
    for q in range(len(rows.ids)):
        row = np.searchsorted(rows.start, q, side="right") - 1
        seen = [k for k in range(rows.start[row], q + 1) if q < rows.end[k]]
        assert rows.depth[seen].tolist() == list(range(len(seen)))
        found.append(tuple(rows.ids[seen].tolist()))
    return found


@pytest.mark.parametrize("room", [1, 8, 20, 1000])
def test_a_cell_reads_exactly_its_prefix(room):
    """After every sequence and position, the cell that is asked has read that prefix and nothing
    else.
    """
    sequences = branching()
    positions = [np.arange(len(ids)) for ids in sequences]
    for rows in (plain(sequences, positions), pack(sequences, positions, [room])):
        prefixes = read_back(rows)
        wanted = [ids[: t + 1] for ids in sequences for t in range(len(ids))]
        answered = dict(zip(rows.query.tolist(), rows.asked.tolist(), strict=True))
        assert [prefixes[answered[q]] for q in range(len(wanted))] == wanted


def test_one_row_holds_each_distinct_prefix_once():
    """With room for all: as many cells as there are distinct prefixes."""
    sequences = branching()
    rows = pack(sequences, [np.arange(len(ids)) for ids in sequences], [10_000])
    assert sorted(read_back(rows)) == sorted(
        {ids[:n] for ids in sequences for n in range(1, len(ids) + 1)}
    )


def test_a_prefix_in_several_rows_is_asked_once():
    """The unembedding runs once per distinct prefix, however the rows are cut."""
    sequences = branching()
    rows = pack(sequences, [np.arange(len(ids)) for ids in sequences], [12])
    prefixes = read_back(rows)
    assert len(rows.start) > 3
    asked = [prefixes[cell] for cell in np.unique(rows.asked)]
    assert len(asked) == len(set(asked)) < len(rows.ids)


def test_rows_come_in_growing_length_and_keep_to_the_room():
    """No row above the room unless one sequence is; the batch plan relies on the order."""
    rows = pack(branching(), [np.arange(1)] * 60, [10])
    assert rows.lengths.max() <= 10 and (np.diff(rows.lengths) >= 0).all()
    single = pack([tuple(range(30))], [np.array([29])], [10])
    assert single.lengths.tolist() == [30]


def test_the_cheapest_room_is_taken():
    """Free attention favours long rows, dear attention short ones."""
    sequences = branching()
    positions = [np.arange(len(ids)) for ids in sequences]
    assert pack(sequences, positions, [10, 1000], 0.0).lengths.max() > 10
    assert pack(sequences, positions, [10, 1000], 1.0).lengths.max() <= 10


def test_tries_that_cost_too_much_are_not_built():
    """Cost in cells: one below what they cost is too little."""
    sequences = branching()
    positions = [np.arange(len(ids)) for ids in sequences]
    cells = len(pack(sequences, positions, [1000]).ids)
    assert pack(sequences, positions, [1000], most=cells) is None
    assert pack(sequences, positions, [1000], most=cells + 1) is not None


def test_shared_prefixes_equal_counting():
    """Against a loop, with empty and equal sequences among them."""
    sequences = sorted([(), (), *branching()])
    lengths = np.array([len(ids) for ids in sequences])
    flat = np.array([token for ids in sequences for token in ids])
    expected = [0]
    for one, other in zip(sequences[:-1], sequences[1:], strict=True):
        same = [a == b for a, b in zip(one, other, strict=False)]
        expected.append((same + [False]).index(False))
    assert shared_prefixes(flat, lengths).tolist() == expected


def test_plain_rows_of_equal_sequences_are_one_unless_something_else_differs():
    """Equal ids share a row; with another source each they do not."""
    sequences, positions = [(1, 2), (1, 2), (3,)], [np.array([1]), np.array([0]), np.array([0])]
    assert plain(sequences, positions).lengths.tolist() == [1, 2]
    rows = plain(sequences, positions, ["a", "b", "a"])
    assert rows.lengths.tolist() == [1, 2, 2] and rows.origin.tolist() == [2, 0, 1]
