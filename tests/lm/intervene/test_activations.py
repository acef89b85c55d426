"""Tests of reading activations and their gradients."""

import numpy as np
import pytest
import torch

from tests.architectures import model_of, network_of
from tests.shelf import tiny_model
from transect.errors import InputError, NotApplicable
from transect.lm import load
from transect.lm.anatomy.anatomy import PLACES
from transect.lm.intervene import activations
from transect.lm.intervene.activations import capture, gradients, has, observe, touching

IDS = torch.tensor([[5, 9, 14, 11, 30, 7], [6, 8, 21, 12, 9, 20]])
RESIDUAL = ("residual_pre", "residual_post")


def sites(model):
    """Every (place, layer) that the model has."""
    return [
        (place, block.layer)
        for place in PLACES
        if place not in model.anatomy.absent
        for block in model.anatomy.blocks
        if has(block, place)
    ]


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neo", "bert", "modernbert", "olmo2"])
def test_residuals_equal_transformers_hidden_states(kind):
    """hidden_states[k] of transformers is what block k reads."""
    model = model_of(kind)
    found = capture(model, IDS, RESIDUAL)
    with torch.no_grad():
        expected = model.network(input_ids=IDS, output_hidden_states=True).hidden_states
    for layer in range(2):
        torch.testing.assert_close(found["residual_pre", layer], expected[layer], atol=1e-6, rtol=0)
    torch.testing.assert_close(found["residual_post", 0], expected[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["gpt_neox", "llama", "gpt_neo", "bert"])
def test_patterns_equal_output_attentions(kind):
    """Read by the registry or by the softmax: what the eager model returns."""
    model, eager = model_of(kind), network_of(kind)
    eager.config._attn_implementation = "eager"
    found = capture(model, IDS, ["pattern"])
    with torch.no_grad():
        expected = eager(input_ids=IDS, output_attentions=True).attentions
    for layer in range(2):
        torch.testing.assert_close(found["pattern", layer], expected[layer], atol=1e-6, rtol=0)


def test_the_places_of_a_sequential_block_add_up():
    """residual_mid = residual_pre + attention, residual_post = residual_mid + MLP."""
    at = capture(model_of("llama"), IDS, PLACES)
    for layer in range(2):
        mid = at["residual_pre", layer] + at["attention", layer]
        torch.testing.assert_close(at["residual_mid", layer], mid, atol=1e-6, rtol=0)
        post = at["residual_mid", layer] + at["mlp", layer]
        torch.testing.assert_close(at["residual_post", layer], post, atol=1e-6, rtol=0)


def test_the_places_of_a_parallel_block_add_up():
    """residual_post = residual_pre + attention + MLP, and there is no residual_mid."""
    model = model_of("gpt_neox")
    at = capture(model, IDS, ["residual_pre", "residual_post", "attention", "mlp"])
    for layer in range(2):
        post = at["residual_pre", layer] + at["attention", layer] + at["mlp", layer]
        torch.testing.assert_close(at["residual_post", layer], post, atol=1e-6, rtol=0)
    with pytest.raises(NotApplicable, match="parallel"):
        capture(model, IDS, ["residual_mid"])


def test_heads_are_the_slices_that_the_projection_reads():
    """Pattern x value of each head, in a grouped-query model; through the projection they make the
    attention's output.
    """
    model = model_of("llama")
    at = capture(model, IDS, ["head", "pattern", "attention"])
    assert at["head", 0].shape == (2, 6, 4, 16)
    values = []
    projection = model.network.model.layers[0].self_attn.v_proj
    hook = projection.register_forward_hook(lambda m, a, out: values.append(out))
    model.network(input_ids=IDS)
    hook.remove()
    value = values[0].reshape(2, 6, 2, 16).repeat_interleave(2, 2)  # two heads share a value
    expected = torch.einsum("bhqk,bkhd->bqhd", at["pattern", 0], value)
    torch.testing.assert_close(at["head", 0], expected, atol=1e-6, rtol=0)
    written = model.network.model.layers[0].self_attn.o_proj(at["head", 0].flatten(2))
    torch.testing.assert_close(at["attention", 0], written, atol=1e-6, rtol=0)


# RMS norms and some softmaxes round to float32 inside, whatever the model's dtype is; a missing
# path would be off by more
EXACT, ROUNDED = (1e-5, 1e-6), (3e-3, 5e-2)


@pytest.mark.parametrize(
    ("kind", "step", "tolerance"),
    [(kind, *EXACT) for kind in ("gpt_neox", "bert", "opt")]
    + [(kind, *ROUNDED) for kind in ("llama", "olmo2", "falcon_h1", "mamba2", "bloom")],
)
def test_gradients_equal_finite_differences(kind, step, tolerance):
    """In float64, along one random direction at each place: (f(x + h) - f(x - h)) / 2h."""
    model = model_of(kind)
    model.network.double()
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(model.vocab_size, generator=generator, dtype=torch.float64)

    def scalar(logits, batch):
        return (logits[:, -1] * weight).sum(-1)

    wanted = [
        (place, layer) for place, layer in sites(model) if (kind, place) != ("bloom", "pattern")
    ]
    found = gradients(model, IDS, sorted({place for place, _ in wanted}), scalar)
    assert sorted(found) == sorted(wanted)
    for site, gradient in found.items():
        # eager attention takes its softmax in float32
        width, allowed = ROUNDED if site[0] == "pattern" else (step, tolerance)
        source = torch.Generator().manual_seed(1) if site[0] == "pattern" else generator
        direction = torch.randn(gradient.shape, generator=source, dtype=torch.float64)
        ends = []
        for h in (width, -width):
            with torch.no_grad(), touching(model, 6, {site: lambda x, h=h, d=direction: x + h * d}):
                ends.append(scalar(model.network(input_ids=IDS).logits, None))
        expected = (ends[0] - ends[1]) / (2 * width)
        given = (gradient * direction).flatten(1).sum(1)
        assert expected.abs().max() > 1e-4, site
        torch.testing.assert_close(
            given, expected, atol=allowed, rtol=allowed, msg=lambda m, s=site: f"{s}: {m}"
        )


def test_gradients_are_each_sequence_s_own_in_any_batch():
    """A scalar of its own for each sequence; in batches of one by the budget, and all together."""
    model = model_of("gpt2")
    answers = torch.tensor([7, 9])

    def scalar(logits, batch):
        return logits[:, -1].gather(1, answers[batch, None])

    whole = gradients(model, IDS, ["residual_pre"], scalar)
    model.budget = 1
    for site, gradient in gradients(model, IDS, ["residual_pre"], scalar).items():
        torch.testing.assert_close(gradient, whole[site], atol=1e-6, rtol=0)


def test_a_softmax_below_autograd_has_no_gradient():
    """Not a gradient of zero."""
    with pytest.raises(NotApplicable, match="autograd"):
        gradients(model_of("gpt_neo"), IDS, ["pattern"], lambda logits, batch: logits.sum())


def test_reading_leaves_the_model_as_it_was():
    """The same logits, no hook left, parameters as ready to learn as before."""
    model = model_of("gpt_neox")
    before = model.network(input_ids=IDS).logits
    capture(model, IDS, ["residual_pre", "head", "pattern"])
    gradients(model, IDS, ["residual_pre", "pattern"], lambda logits, batch: logits.sum())
    torch.testing.assert_close(model.network(input_ids=IDS).logits, before, atol=0, rtol=0)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.network.modules())
    assert all(p.requires_grad and p.grad is None for p in model.network.parameters())


def test_batches_do_not_change_what_is_read():
    """A budget of one byte reads the sequences one by one."""
    model = model_of("llama")
    whole = capture(model, IDS, ["residual_post", "head"])
    model.budget = 1
    for site, value in capture(model, IDS, ["residual_post", "head"]).items():
        torch.testing.assert_close(value, whole[site], atol=1e-6, rtol=0)


def test_out_of_memory_halves_the_batch():
    """Two sequences at a time do not fit: the same activations and gradients, in order; the failed
    sizes are recorded.
    """
    model = model_of("gpt2")
    whole = capture(model, IDS, ["mlp"]) | gradients(
        model, IDS, ["head"], lambda logits, batch: logits[:, -1, 5]
    )
    plain = model.network.transformer.h[1].forward

    def small(hidden, *args, **options):
        if len(hidden) > 1:
            raise torch.OutOfMemoryError("planted")
        return plain(hidden, *args, **options)

    model.network.transformer.h[1].forward = small
    found = capture(model, IDS, ["mlp"]) | gradients(
        model, IDS, ["head"], lambda logits, batch: logits[:, -1, 5]
    )
    assert model.halvings == [2, 2]
    for site, value in found.items():
        torch.testing.assert_close(value, whole[site], atol=1e-6, rtol=0)


def test_observed_logits_are_those_of_the_whole_forward():
    """Chosen positions and each sequence's own tokens; activations from the same forward."""
    model = model_of("gemma2")
    found, logits = observe(
        model, IDS, ["residual_pre"], read=(-1, 2), tokens=[[7, 8, 7], [30, 5, 6]]
    )
    with torch.no_grad():
        whole = model.network(input_ids=IDS).logits
    expected = torch.stack([whole[0, [-1, 2]][:, [7, 8, 7]], whole[1, [-1, 2]][:, [30, 5, 6]]])
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        found["residual_pre", 1],
        capture(model, IDS, ["residual_pre"])["residual_pre", 1],
        atol=0,
        rtol=0,
    )


def test_layers_without_the_place_are_left_out():
    """RecurrentGemma has heads in its attention layer only; asked for by number, the others are not
    applicable.
    """
    model = model_of("recurrent_gemma")
    assert list(capture(model, IDS, ["head"])) == [("head", 2)]
    with pytest.raises(NotApplicable, match="block 0"):
        capture(model, IDS, ["head"], [0])


@pytest.mark.parametrize(
    ("kind", "place"), [("mamba", "head"), ("rwkv", "pattern"), ("t5", "residual_pre")]
)
def test_a_place_that_the_architecture_lacks_is_not_applicable(kind, place):
    """With the place in the reason."""
    with pytest.raises(NotApplicable, match=place):
        capture(model_of(kind), IDS, [place])


def test_a_model_that_is_no_network_is_not_applicable(tmp_path):
    """A table of counts has no activations."""
    with pytest.raises(NotApplicable):
        capture(load(tiny_model(tmp_path, "ngram")), IDS, ["residual_pre"])


def test_bad_input_is_named():
    """Unknown place with the nearest, layer out of range, sequences of different lengths, unknown
    ids.
    """
    model = model_of("gpt2")
    with pytest.raises(InputError, match="Did you mean 'residual_pre'"):
        capture(model, IDS, ["residual_prae"])
    with pytest.raises(InputError, match="layer: 2; gpt2 has the layers 0 to 1"):
        capture(model, IDS, ["mlp"], [2])
    with pytest.raises(InputError, match="one length"):
        capture(model, [[5, 6], [7]], ["mlp"])
    with pytest.raises(InputError, match="token id 999"):
        capture(model, np.array([[5, 999]]), ["mlp"])


def test_a_batch_that_did_not_fit_is_let_go(monkeypatch):
    """What was read of it before memory gave out is not held while its halves run."""
    model = model_of("gpt2")
    observe(model, IDS, ["residual_pre"])  # finds the parts and tries the tail
    plain, held, halving = model.network.transformer.h[1].forward, [], activations.run_halving

    def small(hidden, *args, **options):
        if len(hidden) > 1:
            raise torch.OutOfMemoryError("planted")
        return plain(hidden, *args, **options)

    def spying(batch, forward, halved):
        cells = dict(zip(forward.__code__.co_freevars, forward.__closure__, strict=True))
        held.append(cells["found" if "scalar" in cells else "seen"].cell_contents)
        return halving(batch, forward, halved)

    monkeypatch.setattr(activations, "run_halving", spying)
    model.network.transformer.h[1].forward = small
    model.network.register_forward_pre_hook(lambda *_: sizes.append(len(held[-1])))
    sizes: list[int] = []
    observe(model, IDS, ["residual_pre"])
    gradients(model, IDS, ["head"], lambda logits, batch: logits[:, -1, 5])
    assert len(sizes) >= 6 and not any(sizes)
