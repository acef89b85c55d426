"""Tests of the forward that is split at its body: half precision, memory, and networks that look
ahead.
"""

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertLMHeadModel,
    RobertaConfig,
    RobertaForCausalLM,
    XLMConfig,
    XLMWithLMHeadModel,
)

from tests.architectures import CAUSAL, model_of
from tests.lm.plain_forward import apart
from tests.shelf import fill
from transect.errors import NotApplicable, ResourceError
from transect.lm.generate.generation import generate
from transect.lm.generate.sampling import Sampling
from transect.lm.score.forward import _tiles, looks_ahead

SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
TAILS = (
    ("gemma2", {}),
    ("granite", {"logits_scaling": 1.3}),
    ("cohere", {"logit_scale": 0.7}),
    ("llama", {}),
    ("gpt_neox", {}),
)


def in_dtype(kind, dtype, scale=1, **config):
    """The tiny model with its unembedding enlarged, in this dtype."""
    model = model_of(kind, **config)
    model.network.to(dtype)
    with torch.no_grad():
        model.network.get_output_embeddings().weight.mul_(scale)
    return model


def plain(network, ids):
    """log p by the whole forward, in float64 after the logits."""
    with torch.no_grad():
        table = torch.log_softmax(network(torch.tensor([ids])).logits[0].double(), -1).numpy()
    return np.array([np.nan, *(table[t - 1, ids[t]] for t in range(1, len(ids)))])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1, 8])
@pytest.mark.parametrize("kind, config", TAILS)
def test_caps_and_scalings_are_kept_in_half_precision(kind, config, scale, dtype):
    """Sequences of one length in one batch: the whole forward's scores, and tiles only where the
    tail multiplies.
    """
    model = in_dtype(kind, dtype, scale, **config)
    rng = np.random.default_rng(0)
    sequences = [rng.integers(8, model.vocab_size, 9).tolist() for _ in range(8)]
    found = model.token_logprobs(sequences, batch_size=1)
    for ids, values in zip(sequences, found, strict=True):
        np.testing.assert_allclose(values, plain(model.network, ids), atol=0.05, rtol=0)
    assert model._packing.forward.split
    assert model._packing.forward._plain is (kind in ("llama", "gpt_neox"))


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_the_order_of_calls_does_not_matter_in_half_precision(kind):
    """Before and after a packed call, whose trial runs in float32: the same scores by the same
    path.
    """
    fresh, used = (in_dtype(kind, torch.bfloat16) for _ in range(2))
    rng = np.random.default_rng(0)
    sequences = [rng.integers(8, fresh.vocab_size, 9).tolist() for _ in range(8)]
    stem = rng.integers(8, fresh.vocab_size, 6).tolist()
    used.token_logprobs([[*stem, token, 5, 6] for token in range(8, 38)])
    assert used.packing is (kind == "llama")
    np.testing.assert_array_equal(used.token_logprobs(sequences), fresh.token_logprobs(sequences))
    assert used._packing.forward._plain is fresh._packing.forward._plain is (kind == "llama")


@pytest.mark.parametrize("kind", CAUSAL)
def test_half_precision_decides_as_float32_does(kind):
    """Every architecture's tail runs split, or its product in tiles, in bfloat16 only where it does
    in float32.
    """
    wide, half = in_dtype(kind, torch.float32), in_dtype(kind, torch.bfloat16)
    for model in (wide, half):
        model._packing.forward.prepare({})
    one, other = half._packing.forward, wide._packing.forward
    assert one._plain <= other._plain and one.split <= other.split


def test_tiles_are_in_the_precision_of_what_goes_in():
    """A head that in_float32 has not widened, because it is not called."""
    head = torch.nn.Linear(8, 20).bfloat16()
    x = torch.randn(3, 8)
    with torch.no_grad():
        tiles = [tile.clone() for _, tile in _tiles(head, x)]
        torch.testing.assert_close(torch.cat(tiles, 1), head.float()(x))


def test_the_self_check_sees_a_wrong_tail():
    """Tiles forced on a soft cap: far above what half precision rounds."""
    model = in_dtype("gemma2", torch.bfloat16)
    rng = np.random.default_rng(0)
    sequences = [rng.integers(8, model.vocab_size, 9).tolist() for _ in range(8)]
    assert apart(model, sequences) < 0.05
    model._packing.forward._plain = True
    assert apart(model, sequences) > 0.2
    assert model._packing.forward.split and model._packing.allowed


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_out_of_memory_in_the_check_does_not_decide_the_path(kind, monkeypatch):
    """As the CPU says it: told as such, and found out at the next call."""
    model = model_of(kind)

    def failing(*args, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(model._packing.forward, "_tail", failing)
        with pytest.raises(ResourceError):
            model.token_logprobs([[10, 11, 12, 13]])
    assert model._packing.forward.split is None
    model.token_logprobs([[10, 11, 12, 13]])
    assert model._packing.forward.split and model._packing.forward.bodies


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "network",
    [
        lambda: BertLMHeadModel(BertConfig(vocab_size=60, max_position_embeddings=64, **SIZE)),
        lambda: RobertaForCausalLM(
            RobertaConfig(vocab_size=60, max_position_embeddings=66, **SIZE)
        ),
        lambda: XLMWithLMHeadModel(XLMConfig(vocab_size=60, emb_dim=32, n_layers=2, n_heads=4)),
    ],
    ids=["bert", "roberta", "xlm"],
)
def test_a_network_that_looks_ahead_is_no_causal_model(network, dtype):
    """What loads as a causal model and is none is refused, by scores and by generation."""
    model = model_of("gpt2")
    model.network = network().eval()
    fill(model.network, 0)
    model.network.to(dtype)
    for call in (
        lambda: model.token_logprobs([[10, 11, 12]]),
        lambda: model.set_logprobs([[10, 11, 12]], [[1]], np.ones(60, dtype=bool)),
        lambda: generate(model, [[10, 11]], Sampling(max_new_tokens=2, seed=0)),
    ):
        with pytest.raises(NotApplicable, match="looks ahead"):
            call()


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_causal_architecture_looks_ahead(kind, dtype):
    """In either precision."""
    network = model_of(kind).network.to(dtype)
    assert not looks_ahead(network, 64)
    assert not looks_ahead(network, 1)
    assert all(parameter.dtype == dtype for parameter in network.parameters())


def test_weights_are_put_back_when_the_body_is_left():
    """The check leaves the forward by an exception, with modules widened."""
    model = in_dtype("llama", torch.bfloat16)
    model._packing.forward.prepare({})
    assert model._packing.forward._plain
    assert all(parameter.dtype == torch.bfloat16 for parameter in model.network.parameters())
