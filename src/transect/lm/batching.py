"""Which sequences run together: a plan that follows from the sequences and a stated budget, never
from what is free.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from transect.errors import ForwardError, InputError, LoadError, NotApplicable, ResourceError
from transect.lm.memory import out_of_memory

ENGINE_PART = "batching"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change
NOT_RUNS = {"mixer": "ngram"}  # a table of counts gives the same in every batch

# rotary scalings that are the same for every length
STATIC = ("default", "linear", "llama3", "proportional", "yarn")


def plan(
    lengths: Sequence[int],
    row_bytes: Callable[[int], int],
    budget: int,
    batch_size: int | None = None,
    apart: Sequence[int] = (),
) -> list[list[int]]:
    """Indices in batches: sorted by length, then index, so that there is little padding.

    A batch padded to length n holds as many rows as fit, budget // row_bytes(n), at least one;
    `batch_size` fixes it instead. apart: lengths n such that rows of up to n and longer ones are
    never in one batch.
    """
    batches: list[list[int]] = []
    turns = sorted(apart)
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        # rows come in growing length: the new one sets the padded length of its batch
        room = batch_size or max(1, budget // row_bytes(lengths[index]))
        across = batches and bisect_left(turns, lengths[batches[-1][-1]]) < bisect_left(
            turns, lengths[index]
        )
        if not batches or len(batches[-1]) >= room or across:
            batches.append([])
        batches[-1].append(index)
    return batches


def run_halving(
    batch: Sequence[int], forward: Callable[[Sequence[int]], None], halved: Callable[[int], None]
) -> None:
    """`forward` of a batch or, where memory gives out, of its halves, in order. `halved` is told
    each size that did not fit.

    Raises ResourceError when a single row does not fit, ForwardError for whatever else the
    network's forward raises.
    """
    try:
        return forward(batch)
    except Exception as error:  # a network's forward may raise anything; the message keeps what
        if not out_of_memory(error):
            if isinstance(error, InputError | NotApplicable | LoadError | ResourceError):
                raise
            raise ForwardError(failed(error)) from error
        if len(batch) == 1:
            raise ResourceError(f"Out of memory with a single sequence: {error}") from error
    # outside the handler, so that the failed batch's tensors are freed before the halves run
    halved(len(batch))
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
    middle = len(batch) // 2
    run_halving(batch[:middle], forward, halved)
    run_halving(batch[middle:], forward, halved)


def failed(error: BaseException) -> str:
    """The sentence for what a network's forward raised."""
    told = " ".join(str(error).split())
    return f"the network's own forward raises {type(error).__name__}" + (
        f": {told}" if told else ""
    )


def context_length(network: PreTrainedModel) -> int | None:
    """The longest sequence the model has positions for; None where nothing limits it (state-space
    models).
    """
    for name, module in network.named_modules():
        # RoBERTa counts its positions from padding_idx + 1: the table is that much longer than the
        # context
        if (
            name.endswith("position_embeddings")
            and getattr(module, "padding_idx", None) is not None
        ):
            return int(module.weight.shape[0]) - int(module.padding_idx) - 1
    # the others of transformers are mapped to the first name; Bloom's seq_length limits nothing
    for name in ("max_position_embeddings", "max_seq_len", "max_sequence_length"):
        found = getattr(network.config, name, None)
        if isinstance(found, int):
            return found if found > 0 else None  # XLNet says -1
    return None


def turning_points(network: PreTrainedModel) -> list[int]:
    """Lengths n beyond which the rotary frequencies of a whole batch are others (LongRoPE),
    growing.
    """
    config = network.config
    found: set[int] = set()
    for scaling in (getattr(config, name, None) for name in ("rope_parameters", "rope_scaling")):
        if not isinstance(scaling, dict):
            continue
        for one in (
            scaling,
            *(v for v in scaling.values() if isinstance(v, dict)),
        ):  # by kind of layer
            if one.get("rope_type", one.get("type", "default")) not in STATIC:
                lengths = (
                    of.get("original_max_position_embeddings") for of in (one, config.to_dict())
                )
                found |= {n for n in lengths if n is not None}
    return sorted(found)
