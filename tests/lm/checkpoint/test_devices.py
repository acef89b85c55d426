"""Where the weights lie: devices that are not there, and a model that is spread because it does not
fit.
"""

import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.shelf import random_sequences, tiny_model
from transect.errors import InputError, UnavailableError
from transect.lm import load
from transect.lm.checkpoint.devices import devices, placement

ABSENT = "xpu" if torch.cuda.is_available() else "cuda:0"


def test_a_device_that_is_not_there_is_told_before_loading(tmp_path):
    """One sentence with what there is; the directory is not even looked at."""
    with pytest.raises(
        UnavailableError, match=f"'{ABSENT}' is not on this machine; there are: cpu"
    ):
        load(tmp_path / "nowhere", device=ABSENT)


def test_a_misspelt_device_is_no_device():
    """The nearest one is offered."""
    with pytest.raises(InputError, match="'cqu' is no device; there are: .*Did you mean 'cpu'"):
        placement("cqu", 0)


def test_a_device_without_float64_is_refused(tmp_path):
    """Apple's GPU, whether it is there or not: one sentence before loading."""
    with pytest.raises(UnavailableError, match="'mps' computes no float64"):
        load(tmp_path / "nowhere", device="mps")


def test_auto_keeps_a_small_model_together():
    """What fits on one device is not spread."""
    here = devices()
    assert placement("auto", 10**6) == ({} if here == ["cpu"] else {"device_map": {"": here[1]}})


def test_a_limit_goes_with_auto_only():
    """A limit of memory for a fixed device would be accepted and ignored."""
    with pytest.raises(InputError, match="goes with device auto"):
        placement("cpu", 0, {"cpu": "1MB"})


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox"])
@pytest.mark.parametrize("share", [0.7, 0.0])
def test_a_spread_model_scores_the_same(kind, share, tmp_path, monkeypatch):
    """Blocks on the disk (share of the weights that fit in memory; 0: none), moved in as they run:
    1e-5 nats, design.md.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tiny_model(tmp_path, kind)
    limit = int(share * (path / "model.safetensors").stat().st_size)
    whole, spread = load(path), load(path, device="auto", memory={"cpu": limit})
    assert "disk" in set(spread.network.hf_device_map.values())
    ids = random_sequences(6, whole.vocab_size)
    for a, b in zip(whole.token_logprobs(ids), spread.token_logprobs(ids), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=0)
    assert len(list(Path(tmp_path).glob("transect-offload-*"))) == 1
    del spread
    gc.collect()  # the network and its hooks refer to each other
    assert not list(Path(tmp_path).glob("transect-offload-*"))


def test_half_precision_on_the_disk_is_widened(tmp_path):
    """Stored in float16 and spread: the same scores as when all of it is widened in memory."""
    path = tiny_model(tmp_path, "llama")
    state = {name: tensor.half() for name, tensor in load_file(path / "model.safetensors").items()}
    save_file(state, path / "model.safetensors", {"format": "pt"})
    ids = random_sequences(3, 50)
    for a, b in zip(
        load(path).token_logprobs(ids),
        load(path, device="auto", memory={"cpu": 0}).token_logprobs(ids),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_gpu_scores_as_the_cpu_does(tmp_path):
    """On the first GPU and spread over GPU and memory: 1e-4 nats of the CPU (other kernels; TF32 is
    off).
    """
    path = tiny_model(tmp_path, "llama")
    size = (path / "model.safetensors").stat().st_size
    ids = random_sequences(6, 50)
    here = load(path).token_logprobs(ids)
    for options in (
        {"device": "cuda:0"},
        {"device": "auto", "memory": {0: int(0.7 * size), "cpu": size}},
    ):
        there = load(path, **options).token_logprobs(ids)
        assert max(np.nanmax(np.abs(a - b)) for a, b in zip(here, there, strict=True)) < 1e-4
