"""Rows that a network reads: one sequence each, or many that share prefixes, each prefix once.

A packed row is a trie of sequences written down depth first. A cell is one token of a row; `depth`
is its position in its sequence, and the cells below it in the trie are those after it up to `end`,
so that

    cell q reads cell k  <=>  k <= q < end[k]        (tree attention)

which for a row of one sequence is the causal mask. Sequences are sorted by their ids and laid one
after another into rows of at most `room` cells; a row that opens repeats the prefix of its first
sequence. What is asked at a prefix that stands in several rows is answered at the first of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ENGINE_PART = "tries"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change


@dataclass(frozen=True)
class Rows:
    """Rows in growing length. All arrays int64; cells are numbered through all rows."""

    ids: np.ndarray  # [cell]
    depth: np.ndarray  # [cell] position in the sequence, 0-based
    end: np.ndarray  # [cell] one past the last cell below it
    start: np.ndarray  # [row + 1] where each row's cells begin
    asked: np.ndarray  # [query] cell, growing: after it a token is asked for
    query: np.ndarray  # [query] number of the query as given, sequence by sequence
    origin: np.ndarray  # [row] the sequence that a plain row holds (the first one in a packed row)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.start)


def plain(
    sequences: Sequence[Sequence[int]], positions: Sequence[np.ndarray], also: Sequence[object] = ()
) -> Rows:
    """A row per distinct sequence. positions: of each sequence, where something is asked (0-based),
    in growing order.

    also: what else sets sequences apart, one value each.
    """
    first: dict[object, int] = {}
    place = [
        first.setdefault((tuple(ids), also[i]) if also else tuple(ids), len(first))
        for i, ids in enumerate(sequences)
    ]
    origin = np.zeros(len(first), dtype=np.int64)
    origin[place[::-1]] = np.arange(len(place))[::-1]  # of equal sequences the first
    kept = [sequences[i] for i in origin.tolist()]
    lengths, ids = np.array([len(row) for row in kept], dtype=np.int64), _joined(kept)
    start = _starts(lengths)
    depth = np.arange(len(ids)) - np.repeat(start[:-1], lengths)
    counts = [len(p) for p in positions]
    asked = np.repeat(start[place], counts) + _joined(positions)
    return _sorted(ids, depth, np.repeat(start[1:], lengths), start, asked, origin)


def pack(
    sequences: Sequence[Sequence[int]],
    positions: Sequence[np.ndarray],
    rooms: Sequence[int],
    price: float = 0.0,
    most: float = math.inf,
) -> Rows | None:
    """Tries of the sequences in rows of at most `room` cells (more where one sequence is longer);
    None where they cost `most` or more.

    room: of `rooms`, that with the lowest cost = cells x (1 + price x room): short rows repeat more
    prefixes, long ones attend to more cells.
    """
    order = sorted(range(len(sequences)), key=lambda i: tuple(sequences[i]))
    lengths = np.array([len(sequences[i]) for i in order], dtype=np.int64)
    flat = _joined([sequences[i] for i in order])
    shared = shared_prefixes(flat, lengths)
    cuts = [cut(lengths, shared, room) for room in rooms]
    costs = [
        (lengths - np.where(opens, 0, shared)).sum() * (1 + price * room)
        for opens, room in zip(cuts, rooms, strict=True)
    ]
    if min(costs) >= most:
        return None
    opens = cuts[int(np.argmin(costs))]
    repeated = np.where(opens, 0, shared)  # cells of a sequence that its row has already
    fresh = lengths - repeated
    begin = _starts(fresh)  # of each sequence's own cells
    depth = np.arange(begin[-1]) - np.repeat(begin[:-1] - repeated, fresh)
    ids = flat[
        np.arange(begin[-1]) + np.repeat(_starts(lengths)[:-1] - begin[:-1] + repeated, fresh)
    ]
    here, first = np.zeros(
        (2, lengths.max(initial=0)), dtype=np.int64
    )  # the cells of the current sequence's prefixes
    paths, firsts = [], []
    for at, length, in_row, in_all in zip(
        *(a.tolist() for a in (begin[:-1], lengths, repeated, shared)), strict=True
    ):
        here[in_row:length] = np.arange(at, at + length - in_row)
        first[in_all:length] = here[in_all:length]
        paths.append(here[:length].copy())
        firsts.append(first[:length].copy())
    end = np.empty(len(ids), dtype=np.int64)
    end[_joined(paths)] = np.repeat(
        begin[1:], lengths
    )  # the last sequence through a cell stands: later values win
    asked: list[np.ndarray] = [np.empty(0, dtype=np.int64)] * len(order)
    for i, cells in zip(order, firsts, strict=True):
        asked[i] = cells[positions[i]]
    start = np.append(begin[:-1][opens], begin[-1])
    return _sorted(ids, depth, end, start, _joined(asked), np.array(order, dtype=np.int64)[opens])


def shared_prefixes(flat: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Tokens that each sequence has in common with the one before it; flat: the sequences, one
    after another.
    """
    starts = _starts(lengths)[:-1]
    shared = np.zeros(len(lengths), dtype=np.int64)
    both = np.minimum(lengths[1:], lengths[:-1])
    if not both.sum():
        return shared
    within = np.arange(both.sum()) - np.repeat(_starts(both)[:-1], both)
    differ = (
        flat[np.repeat(starts[1:], both) + within] != flat[np.repeat(starts[:-1], both) + within]
    )
    found = np.where(differ, within, np.repeat(both, both))
    some = both > 0
    shared[1:][some] = np.minimum.reduceat(found, _starts(both)[:-1][some])
    return shared


def cut(lengths: np.ndarray, shared: np.ndarray, room: int) -> np.ndarray:
    """Whether a sequence opens a row, bool [sequence]: where its new cells do not fit into the row
    any more.
    """
    opens = np.zeros(len(lengths), dtype=bool)
    used = room + 1
    for i, (length, fresh) in enumerate(
        zip(lengths.tolist(), (lengths - shared).tolist(), strict=True)
    ):
        used += fresh
        if used > room:
            opens[i], used = True, length
    return opens


def _sorted(
    ids: np.ndarray,
    depth: np.ndarray,
    end: np.ndarray,
    start: np.ndarray,
    asked: np.ndarray,
    origin: np.ndarray,
) -> Rows:
    """The rows brought into growing length, the queries into the order of their cells."""
    lengths = np.diff(start)
    order = np.argsort(lengths, kind="stable")
    to = _starts(lengths[order])
    moved = np.empty(len(lengths), dtype=np.int64)  # how far the cells of a row move
    moved[order] = to[:-1] - start[:-1][order]
    cells = np.arange(len(ids)) + np.repeat(moved, lengths)
    new = {name: np.empty(len(ids), dtype=np.int64) for name in ("ids", "depth", "end")}
    new["ids"][cells], new["depth"][cells], new["end"][cells] = (
        ids,
        depth,
        end + np.repeat(moved, lengths),
    )
    asked = cells[asked] if len(asked) else asked
    query = np.argsort(asked, kind="stable")
    return Rows(**new, start=to, asked=asked[query], query=query, origin=origin[order])


def _starts(lengths: np.ndarray | Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _joined(parts: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    if not parts:
        return np.empty(0, dtype=np.int64)
    return np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])
