"""Scores that stay with their sequence: what came back without a number from a shared row is scored
once more, alone.

One sequence whose numbers overflow, or on which the network's forward raises, would else take those
with it that share its row, its batch or its prefix (0 x NaN is NaN). Only what has no number alone
is left without one.
"""

from collections.abc import Sequence

import numpy as np

from transect.errors import ForwardError
from transect.lm.score.log_sums import Read
from transect.lm.score.packing import Packing, Said
from transect.lm.score.tries import plain

# sequences that raise, one after another and with no success before them: the network fails, not
# they
TRIED = 16


def read(
    packing: Packing,
    sequences: Sequence[tuple[int, ...]],
    positions: Sequence[np.ndarray],
    reader: Read,
    found: np.ndarray,
    batch_size: int | None = None,
    sources: Sequence[tuple[int, ...]] | None = None,
    said: Said | None = None,
) -> dict[int, str]:
    """`reader` the logits after the positions of each sequence; it puts one number for each, in
    order, into `found`.

    said: see packing.run. Returns why a sequence could not be run, by its number. Raises
    ForwardError where none could.
    """
    found[:] = np.nan
    parts = [range(len(sequences))] if sources is None else packing.source_parts(sequences, sources)
    numbers = np.split(np.arange(len(found)), np.cumsum([len(p) for p in positions])[:-1])
    for part in parts:
        _run(packing, part, sequences, positions, reader, numbers, batch_size, sources, said=said)
    same: dict[object, list[int]] = {}
    for i in range(len(sequences)):
        if np.isnan(found[numbers[i]]).any():
            same.setdefault((sequences[i], None if sources is None else sources[i]), []).append(i)
    told: dict[int, str] = {}
    scored = np.isfinite(found).any()
    for tried, group in enumerate(same.values(), start=1):
        try:
            _run(packing, group, sequences, positions, reader, numbers, 1, sources, alone=True)
            scored = True
        except ForwardError as error:
            told |= dict.fromkeys(group, str(error))
            if not scored and tried >= min(TRIED, len(same)):
                raise
    return told


def _run(
    packing: Packing,
    part: Sequence[int],
    sequences: Sequence[tuple[int, ...]],
    positions: Sequence[np.ndarray],
    reader: Read,
    numbers: Sequence[np.ndarray],
    batch_size: int | None,
    sources: Sequence[tuple[int, ...]] | None,
    alone: bool = False,
    said: Said | None = None,
) -> None:
    """Some of the sequences together, by their numbers. alone: they are one and the same, and an
    error is raised.
    """
    ids, places = [sequences[i] for i in part], [positions[i] for i in part]
    own = None if sources is None else [sources[i] for i in part]
    rows = plain(ids, places, own or ()) if own or alone else packing.rows(ids, places)
    asked = np.concatenate([np.empty(0, dtype=np.int64), *(numbers[i] for i in part)])
    packing.run(
        rows,
        lambda n, tiles, query_rows, queries: reader(n, tiles, query_rows, asked[queries]),
        batch_size,
        own,
        strict=alone,
        said=said,
    )
