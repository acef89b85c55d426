"""Tests of sums over tiles of the vocabulary, and of the trial that decides about packing."""

import numpy as np
import pytest
import torch

from tests.architectures import model_of
from tests.lm.plain_forward import apart
from transect.lm.score.log_sums import LogSum


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_over_tiles_equal_logsumexp(dtype):
    """Large, shifted logits in tiles of 7 columns, one tile of nothing but -inf: torch's logsumexp
    in float64.
    """
    generator = torch.Generator().manual_seed(0)
    logits = (30 * torch.randn(5, 50, generator=generator) - 400).to(dtype)
    logits[:, 7:14] = -torch.inf
    sums = LogSum(5)
    for tile in logits.clone().split(7, 1):
        sums.add(tile)
    np.testing.assert_allclose(sums.value(), torch.logsumexp(logits.double(), 1), rtol=0, atol=5e-7)


def test_a_nan_makes_its_row_nan():
    """And no other row."""
    logits = torch.zeros(2, 6)
    logits[1, 4] = torch.nan
    sums = LogSum(2)
    for tile in logits.split(2, 1):
        sums.add(tile)
    assert np.isnan(sums.value().numpy()).tolist() == [False, True]


def test_a_window_is_found_at_the_depth_where_it_matters():
    """A sliding window of 16 tokens: shallow sequences pack, those deeper than the window do not."""
    model = model_of("mistral", sliding_window=16, max_position_embeddings=256)
    assert model._packing._is_exact(10, 0)
    assert not model._packing._is_exact(40, 0)


def test_a_sequence_near_the_end_of_the_context_is_not_packed():
    """The trial's row would not fit: not exact, no error."""
    model = model_of("gpt2")
    assert model._packing._is_exact(58, 0) and not model._packing._is_exact(64, 0)


@pytest.mark.parametrize("window, packs", [(32, False), (256, True)])
def test_a_window_counted_in_cells_is_found_where_the_row_is_longer(window, packs):
    """gpt_neo's local layers count cells: sequences shorter than the window, in packed rows longer
    than it.
    """
    model = model_of("gpt_neo", window_size=window, max_position_embeddings=1024)
    assert model._packing._is_exact(8, 0)
    assert model._packing._is_exact(8, 200) is packs
    rng = np.random.default_rng(0)
    stem = rng.integers(8, model.vocab_size, 3).tolist()
    sequences = [[*stem, *rng.integers(8, model.vocab_size, 6).tolist()] for _ in range(60)]
    model.token_logprobs(sequences)
    assert model.packing is packs
    assert apart(model, sequences) < 1e-5


def test_the_trial_s_row_is_as_long_as_it_says(monkeypatch):
    """One row, filled to its last cell but for what its branches share."""
    model = model_of("gpt_neo", max_position_embeddings=1024)
    seen = []
    monkeypatch.setattr(
        model._packing,
        "run",
        lambda rows, read, batch_size=None, together=None: seen.append(rows.lengths.tolist()),
    )
    for depth, room in ((16, 22), (16, 64), (32, 256)):
        seen.clear()
        model._packing._trial(depth, room)
        assert len(seen[0]) == 1 and room - 4 <= seen[0][0] <= room


LONG = {
    **{
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
    },
    **{"original_max_position_embeddings": 16, "factor": 4.0},
}


@pytest.mark.parametrize("lengths", [(12, 12, 12, 20, 30, 60), (9, 9, 9, 9, 9, 9, 9, 9), (20,) * 8])
def test_longrope_does_not_depend_on_what_shares_the_batch(lengths):
    """Beyond 16 tokens a batch has other frequencies: every sequence against its own plain forward."""
    model = model_of("phi3", original_max_position_embeddings=16, rope_parameters=LONG)
    assert model._packing.turns == [16]
    rng = np.random.default_rng(0)
    stem = rng.integers(8, model.vocab_size, 6).tolist()
    sequences = [[*stem, *rng.integers(8, model.vocab_size, n - 6).tolist()] for n in lengths]
    for ids, found in zip(sequences, model.token_logprobs(sequences), strict=True):
        with torch.no_grad():
            table = torch.log_softmax(
                model.network(torch.tensor([ids[:-1]])).logits[0].double(), -1
            )
        np.testing.assert_allclose(
            found[1:], table[np.arange(len(ids) - 1), ids[1:]], atol=1e-5, rtol=0
        )
    assert model.packing or max(lengths) > 16


def test_frequencies_that_do_not_change_part_nothing():
    """YaRN is the same for every length."""
    assert model_of("gpt_oss")._packing.turns == model_of("llama")._packing.turns == []


def test_running_out_of_memory_in_the_trial_decides_nothing(monkeypatch):
    """Unpacked for now, tried again later."""
    model = model_of("llama")

    def failing(*args, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(model._packing.forward, "_tail", failing)
        assert not model._packing._is_exact(8, 0)
    assert model._packing._is_exact(8, 0)
