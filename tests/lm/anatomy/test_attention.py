"""Tests of attention patterns, read and edited, against transformers' own output and plain hooks;
all architectures.
"""

import numpy as np
import pytest
import torch

from tests.architectures import KINDS, model_of, network_of
from transect.errors import NotApplicable
from transect.lm.anatomy import attention

WITHOUT_HEADS = ("mamba", "mamba2", "rwkv", "falcon_mamba", "lstm")
WITH_HEADS = [kind for kind in KINDS if kind not in WITHOUT_HEADS]
WITHOUT_BLOCKS = ("albert",)  # one layer, run many times


def some_ids(model, rows=3, length=11):
    """Ids [row, position]; longer than the windows of those that have one."""
    return torch.from_numpy(np.random.default_rng(3).integers(5, model.vocab_size, (rows, length)))


def logits_of(model, ids):
    """The logits of one forward."""
    with torch.no_grad():
        return model.network(input_ids=ids).logits


@pytest.mark.parametrize("kind", WITH_HEADS)
def test_patterns_equal_output_attentions(kind):
    """What is read inside the model's forward = what transformers' eager attention returns, to
    1e-6, in every layer (gpt_neo to 4e-6: its scores are not divided by the root of the head's
    width, so they round more coarsely)."""
    model = model_of(kind)
    ids = some_ids(model)
    eager = network_of(kind, attn_implementation="eager")
    with torch.no_grad():
        returned = eager(input_ids=ids, output_attentions=True).attentions
    layers = [block.layer for block in model.anatomy.blocks if block.n_heads] or range(
        len(returned)
    )
    expected = dict(
        zip(layers, (pattern for pattern in returned if pattern is not None), strict=True)
    )
    found = dict(model.attention_patterns(ids.numpy()))
    assert sorted(found) == sorted(expected)
    for layer, pattern in found.items():
        torch.testing.assert_close(
            pattern, expected[layer], atol=4e-6 if kind == "gpt_neo" else 1e-6, rtol=0
        )


@pytest.mark.parametrize("kind", [kind for kind in WITH_HEADS if kind not in WITHOUT_BLOCKS])
def test_an_edited_pattern_is_an_edited_head(kind):
    """One head's pattern set to zero = that head's slice of the projection's input set to zero by a
    plain hook.
    """
    model = model_of(kind)
    ids = some_ids(model)
    block = [block for block in model.anatomy.blocks if block.n_heads][-1]
    head = block.n_heads - 1

    def off(layer, pattern):
        if layer != block.layer:
            return None
        pattern = pattern.clone()
        pattern[:, head] = 0
        return pattern

    def cut(module, args):
        z = args[0].clone()
        z[..., head * block.d_head :] = 0
        return (z, *args[1:])

    with torch.no_grad(), attention.watch(model.network, model.anatomy, off):
        edited = model.network(input_ids=ids).logits
    with (
        block.projection.register_forward_pre_hook(cut),
        attention.implementation(model.network, "eager"),
    ):
        expected = logits_of(model, ids)
    torch.testing.assert_close(edited, expected, atol=2e-6, rtol=0)
    assert float((edited - logits_of(model, ids)).abs().max()) > 1e-3


@pytest.mark.parametrize(
    "kind", ["llama", "gpt2", "gpt_oss", "bloom", "falcon", "deberta-v2", "bert"]
)
def test_a_pattern_put_back_changes_nothing(kind):
    """An edit that gives back what it got leaves the logits where they were."""
    model = model_of(kind)
    ids = some_ids(model)
    with (
        torch.no_grad(),
        attention.watch(model.network, model.anatomy, lambda layer, pattern: pattern.clone()),
    ):
        found = model.network(input_ids=ids).logits
    torch.testing.assert_close(found, logits_of(model, ids), atol=5e-6, rtol=0)


@pytest.mark.parametrize("kind", ["olmo3", "gpt_neo", "gpt_neox", "bloom"])
def test_an_edit_reaches_the_positions_it_names_only(kind):
    """The last query of one sequence looks at the first key alone: other sequences and earlier
    positions stay.
    """
    model = model_of(kind)
    ids = some_ids(model)

    def look_back(layer, pattern):
        pattern = pattern.clone()
        pattern[1, :, -1] = 0
        pattern[1, :, -1, 0] = 1
        return pattern

    with torch.no_grad(), attention.watch(model.network, model.anatomy, look_back):
        edited = model.network(input_ids=ids).logits
    changes = (edited - logits_of(model, ids)).abs().amax(-1)
    assert float(changes[1, -1]) > 1e-3
    changes[1, -1] = 0
    assert float(changes.max()) < 5e-6


@pytest.mark.parametrize("kind", ["llama", "gpt_neo"])
def test_patterns_are_handed_on_one_layer_at_a_time(kind):
    """Every layer once per forward, in order; nothing after the end."""
    model, seen = model_of(kind), []
    with (
        torch.no_grad(),
        attention.watch(model.network, model.anatomy, lambda layer, pattern: seen.append(layer)),
    ):
        model.network(input_ids=some_ids(model))
        model.network(input_ids=some_ids(model))
    model.network(input_ids=some_ids(model))
    assert seen == [0, 1, 0, 1]


@pytest.mark.parametrize("kind", ["gpt_neox", "falcon", "bloom"])
def test_the_network_goes_back_to_its_own_attention(kind):
    """After reading: the same implementation and no hook left, also when the reader raises."""
    model = model_of(kind)
    before, own = logits_of(model, some_ids(model)), model.network.config._attn_implementation

    def fail(layer, pattern):
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        attention.read(model.network, model.anatomy, some_ids(model), fail)
    assert model.network.config._attn_implementation == own
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in model.network.modules()
    )
    assert torch.equal(logits_of(model, some_ids(model)), before)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in WITHOUT_HEADS])
def test_a_model_without_heads_is_not_applicable(kind):
    """State-space models: said before anything runs, and by reading."""
    model = model_of(kind)
    assert not {"attention", "heads"} & model.capabilities and model.n_heads is None
    with pytest.raises(NotApplicable, match="no block has attention heads"):
        list(model.attention_patterns(some_ids(model).numpy()))


def test_attention_in_some_layers_only_is_said():
    """recurrent_gemma: patterns come from its attention layer, but a score per layer and head does
    not exist.
    """
    model = model_of("recurrent_gemma")
    assert [layer for layer, _ in model.attention_patterns(some_ids(model).numpy())] == [2]
    with pytest.raises(NotApplicable, match=r"layers \[2\] of 3"):
        model.attention(some_ids(model).numpy(), lambda pattern: pattern[..., -1, 0])


@pytest.mark.parametrize("kind", ["llama", "bloom", "gpt_bigcode"])
def test_reduced_patterns_do_not_depend_on_the_batch(kind):
    """[layer, batch, head], the same in batches of 2 and of all."""
    model = model_of(kind)
    ids = some_ids(model, rows=5).numpy()
    found = model.attention(ids, lambda pattern: pattern[..., -1, 0], batch_size=2)
    assert found.shape == (2, 5, 4)
    np.testing.assert_allclose(
        found, model.attention(ids, lambda pattern: pattern[..., -1, 0]), atol=1e-6
    )


def test_an_unregistered_mask_is_noticed(monkeypatch):
    """The trap: an attention registered without its mask function runs without causality; patterns
    are refused.
    """
    attention.AttentionInterface.register("unmasked", attention._registered)
    monkeypatch.setattr(attention, "NAME", "unmasked")
    model = model_of("llama")
    with pytest.raises(NotApplicable, match="identity 'capture' does not hold"):
        list(model.attention_patterns(some_ids(model).numpy()))


def test_encoder_decoder_models_say_why():
    """They read two sequences: their parts are found and checked, but no measure of one sequence
    applies.
    """
    assert not {"attention", "heads"} & model_of("t5").capabilities
    with pytest.raises(NotApplicable, match="one sequence"):
        list(model_of("t5").attention_patterns(np.array([[5, 6, 7]])))
