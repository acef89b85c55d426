"""Tests of loading a directory."""

import hashlib
import json

import pytest
from safetensors.torch import load_file, save_file

from tests.shelf import CAUSAL, tiny_model
from transect.errors import InputError, LoadError
from transect.lm import load


@pytest.mark.parametrize("kind", CAUSAL)
def test_causal_models_offer_what_the_registry_promises(kind, tmp_path):
    """Objective and capabilities follow from the architecture: heads only where there is attention."""
    model = load(tiny_model(tmp_path, kind))
    heads = {"attention", "heads"} if kind != "mamba2" else set()
    assert model.objective == "causal"
    assert model.capabilities == {"logits", "hidden", "gradients", "generation", "causal"} | heads
    assert (model.n_layers, model.d_model, model.n_heads) == (2, 32, 4 if heads else None)
    assert model.context_length == (None if kind == "mamba2" else 64)


def test_bert_is_masked(tmp_path):
    """A checkpoint saved from a masked class is masked, and its mask token is known."""
    model = load(tiny_model(tmp_path, "bert"))
    assert model.objective == "masked" and "causal" not in model.capabilities
    assert model.mask_id == model.tokenizer.convert_tokens_to_ids("[MASK]")


def test_fingerprint_is_the_sha256_of_the_weight_file(tmp_path):
    """The digest of a single weight file is the file's own, as done.json has it."""
    path = tiny_model(tmp_path, "llama")
    expected = hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()
    assert load(path).fingerprint["weights"] == expected


def test_tokenizer_fingerprint_tells_tokenizers_apart(tmp_path):
    """The same weights with two words swapped in the tokenizer: only the tokenizer's fingerprint differs."""
    path = tiny_model(tmp_path, "llama")
    before = load(path).fingerprint
    text = (path / "tokenizer.json").read_text()
    swapped = json.loads(text)
    words = swapped["model"]["vocab"]
    words["The"] = words.pop("dog")
    (path / "tokenizer.json").write_text(json.dumps(swapped))
    after = load(path).fingerprint
    assert after["weights"] == before["weights"] and after["tokenizer"] != before["tokenizer"]


def test_a_missing_weight_is_an_error_and_not_random(tmp_path):
    """transformers would fill it with random numbers and go on."""
    path = tiny_model(tmp_path, "gpt_neox")
    weights = load_file(path / "model.safetensors")
    del weights["embed_out.weight" if "embed_out.weight" in weights else "lm_head.weight"]
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LoadError, match="1 weights are missing"):
        load(path)


def test_pickled_weights_are_refused(tmp_path):
    """Only safetensors are read."""
    path = tiny_model(tmp_path, "gpt2")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(LoadError, match="no \\*.safetensors"):
        load(path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_what_is_missing_is_named(name, tmp_path):
    """An incomplete directory is a LoadError that names the file."""
    path = tiny_model(tmp_path, "gpt2")
    (path / name).unlink()
    with pytest.raises(LoadError, match=name):
        load(path)


def test_cut_off_weights_are_a_load_error(tmp_path):
    """A truncated file does not load, and says where it is."""
    path = tiny_model(tmp_path, "gpt2")
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LoadError, match="gpt2"):
        load(path)


def test_an_unknown_dtype_is_told_with_the_nearest(tmp_path):
    """The user's own words are checked before anything is loaded."""
    with pytest.raises(InputError, match="Did you mean 'float32'"):
        load(tmp_path, dtype="float_32")
