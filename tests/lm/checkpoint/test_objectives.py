"""Tests of what kind of language model a directory holds, of checkpoints without a head, and of
weights that nobody uses.
"""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.architectures import (
    BOTH_WAYS,
    CAUSAL,
    LEAKING,
    MASKED,
    MORE,
    MORE_MASKED,
    SEQ2SEQ,
    directory_of,
    network_of,
    tokenizer_of,
)
from transect.errors import LoadError, NotApplicable
from transect.lm import load
from transect.lm.describe.description import describe
from transect.lm.intervene.activations import capture, observe
from transect.measures.behaviour import fertility


def edited(path, **facts):
    """The directory, its configuration saying something else."""
    file = path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))
    return path


def with_tensors(path, **more):
    """The directory, its weights file holding more tensors; None takes one out."""
    file = path / "model.safetensors"
    state = load_file(file) | more
    save_file(
        {name: tensor for name, tensor in state.items() if tensor is not None},
        file,
        {"format": "pt"},
    )
    return path


@pytest.mark.parametrize("kind", [*MORE_MASKED, *LEAKING])
def test_a_masked_model_is_one_by_its_class(kind, tmp_path):
    """XLM and FlauBERT, whose classes end like causal ones, too: loaded, described and scored as
    masked models.
    """
    path = directory_of(tmp_path, kind)
    model = load(path)
    assert model.objective == "masked" and describe(path).facts["objective"] == "masked"
    (found,) = model.pll([[0, 5, 6, 1]], [[-1, 0, 1, -1]])
    assert (found[1:3] < 0).all()


def test_a_class_that_computes_both_ways_follows_its_configuration(tmp_path):
    """XLM with `causal: true` is a causal model: its logits do not change with later tokens."""
    model = load(directory_of(tmp_path, "xlm", causal=True))
    assert model.objective == "causal"
    both = model.token_logprobs([[0, 5, 6, 7], [0, 5, 6, 8]])
    assert both[0][1:3] == pytest.approx(both[1][1:3], abs=1e-6)


def without_a_head(folder, kind):
    """A directory saved from the base class, as sentence encoders are."""
    path = folder / f"{kind}-base"
    network_of(kind).base_model.save_pretrained(path)
    tokenizer_of(kind).save_pretrained(path)
    return path


@pytest.mark.parametrize(
    "kind", [kind for kind in BOTH_WAYS if kind not in ("ibert", "modernbert", "eurobert")]
)
def test_an_encoder_without_a_head_has_hidden_states_only(kind, tmp_path):
    """Saved from its base class: described and loaded in one sentence, counted without the head,
    never scored.
    """
    path = without_a_head(tmp_path, kind)
    described, model = describe(path), load(path)
    sentence = "an encoder without its language-model head: hidden-state measures only"
    assert sentence in described.told and described.facts["lm_head"] is False
    assert described.facts["params_total"] == sum(
        p.numel() for p in network_of(kind).base_model.parameters() if p.requires_grad
    )
    assert not model.capabilities & {"logits", "masked"} and model.lacks == sentence
    with pytest.raises(NotApplicable, match=sentence):
        model.pll([[0, 5, 6, 1]], [[-1, 0, 1, -1]])


def test_what_an_encoder_without_a_head_can_do(tmp_path):
    """Its hidden states are those of the network that it was taken from; fertility needs the
    tokenizer alone; no logits.
    """
    model, whole = load(without_a_head(tmp_path, "bert")), network_of("bert")
    ids = torch.tensor([[0, 5, 6, 1]])
    found = capture(model, ids, ["residual_post"], [1])["residual_post", 1]
    with torch.no_grad():
        expected = whole.base_model(ids).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    with pytest.raises(NotApplicable, match="without its language-model head"):
        observe(model, ids, ["residual_post"])
    rows = fertility.measure(
        model, pd.DataFrame({"item": ["a"], "text": ["the dogs run ."]}), seed=0
    )
    assert rows["error"].isna().all() and model.capabilities >= {*fertility.REQUIRES}


@pytest.mark.parametrize("kind", [*CAUSAL, *MASKED, *MORE, *LEAKING, *SEQ2SEQ])
def test_a_stored_bias_that_the_configuration_denies_refuses_the_load(kind, tmp_path):
    """A parameter more beside one that the body has: refused by its name, when loaded and when
    described.
    """
    path = directory_of(tmp_path, kind)
    used = next(
        n
        for n in sorted(load_file(path / "model.safetensors"), key=lambda n: (".0." not in n, n))
        if "weight" in n
    )
    surplus = used.rpartition(".")[0] + ".surplus"
    with_tensors(path, **{surplus: torch.ones(32)})
    for read in (load, describe):
        with pytest.raises(LoadError, match=r"1 parameters .* does not use, e.g. \S+\.surplus"):
            read(path)


def test_biases_that_the_configuration_denies_refuse_the_load(tmp_path):
    """llama with `attention_bias: false` over weights with biases: transformers alone would compute
    another model.
    """
    path = edited(directory_of(tmp_path, "llama", attention_bias=True), attention_bias=False)
    for read in (load, describe):
        with pytest.raises(LoadError, match=r"8 parameters .*self_attn\.k_proj\.bias"):
            read(path)


@pytest.mark.parametrize(
    ("kind", "name", "shape"),
    [
        *(
            ("bert", name, (32, 32))
            for name in (
                "bert.pooler.dense.weight",
                "cls.seq_relationship.weight",
                "classifier.weight",
            )
        ),
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq", (8,)),
        ("gptj", "transformer.h.0.attn.bias", (1, 1, 64, 64)),
        ("gpt_neo", "transformer.h.0.attn.attention.masked_bias", ()),
        ("llama", "v_head.summary.weight", (1, 32)),
    ],
)
def test_buffers_and_other_heads_are_no_part_of_the_logits(kind, name, shape, tmp_path):
    """Stored by older versions or for another task: loaded and described as without them."""
    path = with_tensors(directory_of(tmp_path, kind), **{name: torch.ones(shape)})
    assert load(path).vocab_size and describe(path).facts["params_total"]


def test_a_second_copy_of_the_embedding_is_no_surplus_but_another_matrix_is(tmp_path):
    """By its numbers, not by its name."""
    path = directory_of(tmp_path, "gpt2")
    wte = load_file(path / "model.safetensors")["transformer.wte.weight"]
    with_tensors(path, **{"transformer.embed.weight": wte.clone()})
    load(path)
    with_tensors(path, **{"transformer.embed.weight": wte + 1})
    with pytest.raises(LoadError, match="transformer.embed.weight"):
        load(path)


@pytest.mark.parametrize("alone", [True, False])
def test_an_adapter_is_refused_and_never_ignored(alone, tmp_path):
    """A PEFT folder alone, and one beside whole weights: one sentence that says so and what to do."""
    path = directory_of(tmp_path, "llama")
    (path / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "lab/base"})
    )
    if alone:
        (path / "config.json").unlink()
        (path / "model.safetensors").rename(path / "adapter_model.safetensors")
    for read in (load, describe):
        with pytest.raises(LoadError, match="an adapter .* merge"):
            read(path)
