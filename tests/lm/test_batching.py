"""Tests of the batch plan."""

import pytest
import torch
from transformers import XLNetConfig, XLNetLMHeadModel

from tests.architectures import network_of
from transect.errors import ResourceError
from transect.lm.batching import context_length, out_of_memory, plan, run_halving


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


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (
            RuntimeError(
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
            ),
            True,
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"), True),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
            ),
            True,
        ),
        (MemoryError(), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("out of memory of a text"), False),
        (RuntimeError("shape '[2, 3]' is invalid for input of size 5"), False),
    ],
)
def test_what_says_that_memory_gave_out(error, memory):
    """The messages of torch, cuBLAS and cuDNN, also as the cause of another error; not what only
    fails.
    """
    outer = ResourceError("Not enough.")
    outer.__cause__ = error
    assert out_of_memory(error) == memory and out_of_memory(outer) == memory


def test_nested_halving_reaches_a_size_that_fits():
    """Batches within batches, an error of CUDA's: outer batches of 8 whose parts fit by twos of a
    row of up to 4.
    """
    done, sizes = [], []

    def inner(batch):
        if len(done) == 0 and len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.append(list(batch))

    def outer(batch):
        if len(batch) > 4:
            run_halving(
                [0],
                lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")),
                sizes.append,
            )
        run_halving(batch, inner, sizes.append)

    run_halving(range(8), outer, sizes.append)
    assert sorted(i for batch in done for i in batch) == list(range(8)) and sizes[0] == 8


def test_context_lengths_of_every_name():
    """MPT calls it max_seq_len; Bloom, XLNet (-1) and state-space models have none; RoBERTa's table
    is longer than it.
    """
    expected = {
        "gpt2": 64,
        "llama": 64,
        "mpt": 64,
        "rwkv": 64,
        "bloom": None,
        "mamba": None,
        "roberta": 64,
    }
    assert {kind: context_length(network_of(kind)) for kind in expected} == expected
    xlnet = XLNetLMHeadModel(
        XLNetConfig(vocab_size=60, d_model=32, n_layer=1, n_head=4, d_inner=48)
    )
    assert context_length(xlnet) is None
