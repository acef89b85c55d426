"""Which sequences run together: a plan that follows from the sequences and a stated budget, never from what is free."""

from collections.abc import Callable, Sequence

import torch

from transect.errors import ResourceError

VERSION = 1  # part of the key of every cell that rests on this file: raise it when values change


def plan(
    lengths: Sequence[int], row_bytes: Callable[[int], int], budget: int, batch_size: int | None = None
) -> list[list[int]]:
    """Indices in batches: sorted by length, then index, so that there is little padding.

    A batch padded to length n holds as many rows as fit, budget // row_bytes(n), at least one; `batch_size` fixes it
    instead.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        # rows come in growing length: the new one sets the padded length of its batch
        room = batch_size or max(1, budget // row_bytes(lengths[index]))
        if not batches or len(batches[-1]) >= room:
            batches.append([])
        batches[-1].append(index)
    return batches


def run_halving(batch: Sequence[int], forward: Callable[[Sequence[int]], None], halved: Callable[[int], None]) -> None:
    """`forward` of a batch or, where memory gives out, of its halves, in order. `halved` is told each size that did not
    fit.

    Raises ResourceError when a single row does not fit.
    """
    try:
        return forward(batch)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        if len(batch) == 1:
            raise ResourceError(f"Out of memory with a single sequence: {error}") from error
    # outside the handler, so that the failed batch's tensors are freed before the halves run
    halved(len(batch))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    run_halving(batch[:middle], forward, halved)
    run_halving(batch[middle:], forward, halved)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory gave out."""
    # on the CPU torch raises a plain RuntimeError that says so in words
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
