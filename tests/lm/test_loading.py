"""Tests of loading a directory."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.shelf import CAUSAL, random_sequences, tiny_model
from transect.errors import InputError, LoadError, ResourceError, UnavailableError
from transect.lm import load
from transect.store.model_files.folder import weight_files

OWN_CODE = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput


class OwnConfig(PretrainedConfig):
    model_type = "{kind}"

    def __init__(self, vocab_size=70, hidden_size=8, max_position_embeddings=64, **more):
        self.vocab_size, self.hidden_size, self.max_position_embeddings = vocab_size, hidden_size, max_position_embeddings
        super().__init__(**more)


class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    base_model_prefix = "model"

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask=None, **unused):
        return BaseModelOutput(last_hidden_state=self.embed(input_ids).cumsum(1))


class OwnForCausalLM(PreTrainedModel):
    config_class = OwnConfig
    base_model_prefix = "model"

    def __init__(self, config):
        super().__init__(config)
        self.model = OwnModel(config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, attention_mask=None, **unused):
        return CausalLMOutput(logits=self.head(self.model(input_ids).last_hidden_state))
"""


def own_model(folder: Path, kind: str = "own_sum", **auto_map: str) -> Path:
    """A model whose class lies beside its weights: logits = W (sum of the embeddings so far). `ran`
    is there once the code was run.
    """
    path = tiny_model(folder, "gpt2")
    rng = np.random.default_rng(5)
    weights = {
        name: torch.from_numpy(rng.standard_normal((70, 8)).astype(np.float32))
        for name in ("head", "model.embed")
    }
    save_file(
        {f"{name}.weight": tensor for name, tensor in weights.items()},
        path / "model.safetensors",
        {"format": "pt"},
    )
    code = OWN_CODE.replace("{kind}", kind) + f"\nopen({str(path / 'ran')!r}, 'w').close()\n"
    (path / "modeling_own.py").write_text(code)
    places = {
        "AutoConfig": "modeling_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
    }
    config = {
        "model_type": kind,
        "architectures": ["OwnForCausalLM"],
        "auto_map": places | auto_map,
        "vocab_size": 70,
    }
    (path / "config.json").write_text(json.dumps(config))
    return path


def sharded(folder: Path, kind: str = "llama") -> Path:
    """The tiny model in several weight files with an index."""
    path = tiny_model(folder, kind)
    network = AutoModelForCausalLM.from_pretrained(path)
    (path / "model.safetensors").unlink()
    network.save_pretrained(path, max_shard_size="20KB")
    return path


@pytest.mark.parametrize("kind", CAUSAL)
def test_causal_models_offer_what_the_registry_promises(kind, tmp_path):
    """Objective and capabilities follow from the architecture: heads only where there is attention."""
    model = load(tiny_model(tmp_path, kind))
    heads = {"attention", "heads"} if kind != "mamba2" else set()
    assert model.objective == "causal"
    assert (
        model.capabilities
        == {"logits", "hidden", "gradients", "generation", "text", "causal", "tokenizer"} | heads
    )
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
    """The same weights with two words swapped in the tokenizer: only the tokenizer's fingerprint
    differs.
    """
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


def test_sharded_weights_are_those_of_one_file(tmp_path):
    """Several files with an index load as the single file does; the fingerprint covers every one of
    them.
    """
    path = sharded(tmp_path / "many")
    files = weight_files(path)
    assert len(files) > 2
    one, many = load(tiny_model(tmp_path / "one", "llama")), load(path)
    ids = random_sequences(5, one.vocab_size)
    for a, b in zip(one.token_logprobs(ids), many.token_logprobs(ids), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    assert many.fingerprint["weights"] == expected


def test_a_shard_that_is_not_there_is_named(tmp_path):
    """The index tells which file is missing."""
    path = sharded(tmp_path)
    lost = weight_files(path)[1]
    lost.unlink()
    with pytest.raises(
        LoadError,
        match=f"1 of \\d+ weight files that the index names are not there, e.g. {lost.name}",
    ):
        load(path)


def test_shards_without_their_index_are_refused(tmp_path):
    """Half of a download does not pass for a model."""
    path = sharded(tmp_path)
    (path / "model.safetensors.index.json").unlink()
    with pytest.raises(LoadError, match="neither model.safetensors nor its index"):
        load(path)


def test_an_index_may_not_name_files_elsewhere(tmp_path):
    """The index is data from outside too: it names files of its own folder only."""
    path = sharded(tmp_path)
    index = path / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00001-of", "../model-00001-of"))
    with pytest.raises(LoadError, match="not there"):
        load(path)


@pytest.mark.parametrize("kind", ["gpt_neox", "llama", "mamba2", "bert"])
def test_weights_in_half_precision_are_widened_exactly(kind, tmp_path):
    """Stored in float16, wanted in float32: every weight and buffer is what from_pretrained's own
    conversion makes of it.
    """
    path = tiny_model(tmp_path, kind)
    state = {name: tensor.half() for name, tensor in load_file(path / "model.safetensors").items()}
    save_file(state, path / "model.safetensors", {"format": "pt"})
    model = load(path)
    theirs = type(model.network).from_pretrained(path, dtype=torch.float32)
    ours = dict(model.network.named_parameters()) | dict(model.network.named_buffers())
    expected = dict(theirs.named_parameters()) | dict(theirs.named_buffers())
    assert ours.keys() == expected.keys()
    assert all(
        ours[name].dtype == expected[name].dtype and torch.equal(ours[name], expected[name])
        for name in expected
    )


@pytest.mark.parametrize(("dtype", "bits"), [("bfloat16", 8), ("float16", 11), ("float64", 53)])
def test_dtype_is_that_of_the_network(dtype, bits, tmp_path):
    """Scores in another dtype are near those in float32, as far as its bits go."""
    path = tiny_model(tmp_path, "llama")
    exact, other = load(path), load(path, dtype=dtype)
    assert {p.dtype for p in other.network.parameters()} == {getattr(torch, dtype)}
    ids = random_sequences(4, exact.vocab_size)
    gap = max(
        np.nanmax(np.abs(a - b))
        for a, b in zip(exact.token_logprobs(ids), other.token_logprobs(ids), strict=True)
    )
    assert gap < max(50 * 2.0**-bits, 1e-4)


def test_own_code_needs_both_the_registry_and_the_flag(tmp_path):
    """Without permission a model with code of its own is refused in a sentence that names both, and
    its code is not run.
    """
    path = own_model(tmp_path)
    with pytest.raises(
        UnavailableError, match="`remote_code: true` and the flag --trust-remote-code"
    ):
        load(path)
    assert not (path / "ran").exists()


def test_own_code_runs_when_it_is_allowed(tmp_path, monkeypatch):
    """The scores are those of its formula: logits[t] = W (e_0 + ... + e_t)."""
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    path = own_model(tmp_path)
    model = load(path, remote_code=True)
    weights = load_file(path / "model.safetensors")
    ids = [3, 17, 4, 60, 9]
    logits = (weights["model.embed.weight"][ids].cumsum(0) @ weights["head.weight"].T).double()
    expected = logits.log_softmax(1)[torch.arange(4), torch.tensor(ids[1:])].numpy()
    assert (path / "ran").exists()
    np.testing.assert_allclose(model.token_logprobs([ids])[0][1:], expected, atol=1e-5)  # float32


def test_own_code_beside_a_known_architecture_is_not_run(tmp_path):
    """Where transformers has the model_type, its class is used and the directory's code is not
    touched.
    """
    path = tiny_model(tmp_path, "llama")
    config = json.loads((path / "config.json").read_text())
    (path / "modeling_own.py").write_text(f"open({str(path / 'ran')!r}, 'w').close()\n")
    (path / "config.json").write_text(
        json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}})
    )
    assert load(path).objective == "causal" and not (path / "ran").exists()


def test_code_of_another_repository_is_never_run(tmp_path):
    """`somebody/else--file.Class` would run what is not beside the weights."""
    path = own_model(tmp_path, AutoModelForCausalLM="some/body--modeling.Own")
    with pytest.raises(LoadError, match="another repository \\(some/body\\)"):
        load(path, remote_code=True)


def test_memory_that_gives_out_is_no_fault_of_the_directory(tmp_path, monkeypatch):
    """The CPU's error is a plain RuntimeError: it is tried again, as a GPU's is."""

    def fail(*args, **options):
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 16384 bytes."
        )

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(ResourceError, match="out of memory while loading"):
        load(tiny_model(tmp_path, "llama"))
