"""Codes, scales and quantizers: read by the quantizer that wrote them, or refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.shelf import tiny_model
from transect.errors import LoadError
from transect.lm import load
from transect.lm.describe.description import describe
from transect.store.model_files.headers import Tensor, tensors


def edited(path, change, **fields):
    """The folder with other tensors (`change` gets them by name) and other fields in its
    configuration.
    """
    state = load_file(path / "model.safetensors")
    change(state)
    save_file(state, path / "model.safetensors", {"format": "pt"})
    raw = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(raw | fields))
    return path


def coded(dtype, *, scale="", factor=1.0):
    """A change that stores the linear maps' weights in a type; scale: with a tensor of that name
    beside each.
    """

    def change(state):
        for name in [name for name in state if "c_fc.weight" in name or "proj.weight" in name]:
            state[name] = (state[name] * factor).to(dtype)
            if scale:
                state[name.replace("weight", scale)] = torch.full((1, 1), 50.0)

    return change


@pytest.mark.parametrize(
    "dtype",
    [torch.int8, torch.uint8, torch.int32, torch.int64, torch.float8_e4m3fn, torch.float8_e5m2],
)
def test_codes_without_a_quantizer_are_refused(dtype, tmp_path):
    """As floats they would be other numbers: the types are named, by loading and describing."""
    path = edited(tiny_model(tmp_path, "gpt2"), coded(dtype, factor=50))
    for read in (load, describe):
        with pytest.raises(
            LoadError, match=r"6 weights are stored as \w+, e.g. .*config.json names no quantizer"
        ):
            read(path)


@pytest.mark.parametrize(
    "scale", ["weight_scale_inv", "weight_scale", "scales", "qzeros", "SCB", "absmax"]
)
def test_scales_without_a_quantizer_are_refused(scale, tmp_path):
    """Weights of 8 bits or none: what stands beside them says that they are codes."""
    path = edited(tiny_model(tmp_path, "gpt2"), coded(torch.float32, scale=scale))
    for read in (load, describe):
        with pytest.raises(
            LoadError,
            match=f"parts of a quantizer, e.g. \\S*{scale}.*config.json names no quantizer",
        ):
            read(path)


def test_packed_weights_beside_plain_ones_are_refused(tmp_path):
    """A qweight of 32-bit integers that nothing reads is no mask of an older version."""
    path = edited(
        tiny_model(tmp_path, "gpt2"),
        lambda state: state.update(
            {"transformer.h.0.mlp.c_fc.qweight": torch.zeros(4, 8, dtype=torch.int32)}
        ),
    )
    with pytest.raises(
        LoadError, match="parts of a quantizer, e.g. transformer.h.0.mlp.c_fc.qweight"
    ):
        load(path)


@pytest.mark.parametrize("method", ["nosuch", "modelopt", None, 7, []])
@pytest.mark.parametrize("place", ["quantization_config", "compression_config"])
def test_a_quantizer_that_nobody_has_is_refused(method, place, tmp_path):
    """transformers alone would go on as if nothing were said."""
    path = edited(
        tiny_model(tmp_path, "gpt2"),
        coded(torch.float8_e4m3fn),
        **{place: {"quant_method": method}},
    )
    for read in (load, describe):
        with pytest.raises(
            LoadError,
            match="config.json: quantization_config has the quant_method .*transformers does not have",
        ):
            read(path)


@pytest.mark.parametrize("method", ["fp8", "mxfp4", "gptq", "gguf"])
def test_a_quantizer_without_codes_is_refused(method, tmp_path):
    """The files hold plain numbers, so the configuration is another model's."""
    path = edited(
        tiny_model(tmp_path, "llama"),
        lambda state: None,
        quantization_config={"quant_method": method},
    )
    with pytest.raises(LoadError, match=f"'{method}', and the weight files hold no codes"):
        load(path)


def test_a_quantizer_that_is_not_installed_is_one_sentence(tmp_path):
    """The library's reason in it."""
    settings = {"quant_method": "compressed-tensors"}
    path = edited(tiny_model(tmp_path, "llama"), coded(torch.int8), quantization_config=settings)
    with pytest.raises(LoadError, match="cannot be loaded .*compressed-tensors"):
        load(path)


def test_fp8_is_read_with_its_scales(tmp_path):
    """Dequantized by transformers where there is no GPU: every weight is its code times 50 exactly,
    and so are the scores.
    """
    path = tiny_model(tmp_path, "llama")
    codes = {
        name: w.to(torch.float8_e4m3fn)
        for name, w in load_file(path / "model.safetensors").items()
        if "proj.weight" in name
    }
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    model = load(
        edited(
            path, coded(torch.float8_e4m3fn, scale="weight_scale_inv"), quantization_config=settings
        )
    )
    plain = edited(
        tiny_model(tmp_path / "plain", "llama"),
        lambda state: state.update({n: c.float() * 50 for n, c in codes.items()}),
    )
    expected = dict(load(plain).network.named_parameters())
    ours = dict(model.network.named_parameters())
    assert len(codes) == 14 and ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def test_quantized_weights_that_lie_elsewhere_are_described(tmp_path):
    """Of a repository whose weights are not here the headers tell the types, as files do; with
    floats in their place it is refused.
    """
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    path = edited(
        tiny_model(tmp_path, "llama"),
        coded(torch.float8_e4m3fn, scale="weight_scale_inv"),
        quantization_config=settings,
    )
    held = tensors([path / "model.safetensors"])
    (path / "model.safetensors").unlink()
    assert describe(path, held).facts["n_layers"] == 2
    with pytest.raises(LoadError, match="hold no codes"):
        describe(path, {name: Tensor(tensor.shape, "F32") for name, tensor in held.items()})


def test_fp8_without_its_scales_is_refused(tmp_path):
    """The quantizer is named and can run, but one scale is lost: that weight would be read as it
    stands.
    """
    path = edited(
        tiny_model(tmp_path, "llama"),
        coded(torch.float8_e4m3fn, scale="weight_scale_inv"),
        quantization_config={"quant_method": "fp8"},
    )
    edited(path, lambda state: state.pop("model.layers.1.mlp.up_proj.weight_scale_inv"))
    with pytest.raises(LoadError, match="up_proj"):
        load(path)


def test_masks_of_older_versions_are_no_codes(tmp_path):
    """GPT-2's stored masks (bytes) and position ids (integers) are not trained, and made anew."""
    more = {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 64, 64, dtype=torch.uint8),
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
        "position_ids": torch.arange(64),
    }
    assert (
        load(edited(tiny_model(tmp_path, "gpt2"), lambda state: state.update(more))).objective
        == "causal"
    )


@pytest.mark.parametrize(
    ("kind", "head"), [("llama", "lm_head.weight"), ("gpt2", "lm_head.weight")]
)
def test_a_tied_head_that_differs_is_refused(kind, head, tmp_path):
    """Versions of transformers differ in which of the two counts; a head that is the embedding
    again is none of this.
    """
    token = "model.embed_tokens.weight" if kind == "llama" else "transformer.wte.weight"
    same = edited(
        tiny_model(tmp_path / "same", kind),
        lambda state: state.update({head: state[token].clone()}),
        tie_word_embeddings=True,
    )
    assert load(same).objective == "causal"
    other = edited(same, lambda state: state.update({head: state[token] + 1}))
    with pytest.raises(
        LoadError,
        match="ties the unembedding .*hold another one, lm_head.weight: set tie_word_embeddings to false",
    ):
        load(other)


def test_a_head_of_its_own_that_is_not_there_is_missing(tmp_path):
    """GPT-2 ties; a configuration that says otherwise needs a head in the file."""
    path = edited(tiny_model(tmp_path, "gpt2"), lambda state: None, tie_word_embeddings=False)
    with pytest.raises(LoadError, match="1 weights are missing, e.g. lm_head.weight"):
        load(path)


def test_dropout_and_the_stated_type_change_no_number(tmp_path):
    """Shares of .9 everywhere and a `dtype` that the file does not have: the scores are the same
    bits.
    """
    plain = load(tiny_model(tmp_path / "plain", "gpt2"))
    fields = {"attn_pdrop": 0.9, "resid_pdrop": 0.9, "embd_pdrop": 0.9, "dtype": "float16"}
    other = load(edited(tiny_model(tmp_path / "other", "gpt2"), lambda state: None, **fields))
    ids = [[3, 17, 4, 60, 9]]
    assert plain.token_logprobs(ids)[0][1:].tolist() == other.token_logprobs(ids)[0][1:].tolist()
