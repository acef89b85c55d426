"""Tests of computing only what differs: that it is little, and that it is given up where it would
be wrong.
"""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.architectures import model_of
from tests.lm.intervene.plain_hooks import LENGTH, READ, TOLERANCE, one_at_a_time, two_texts
from transect.lm.intervene import interventions
from transect.lm.intervene.activations import capture
from transect.lm.intervene.edits import add, patch
from transect.lm.intervene.interventions import run
from transect.lm.intervene.reuse import by_position


def test_an_edit_that_changes_nothing_is_not_run():
    """One forward, the recorded one; the logits are the unedited ones exactly."""
    model = model_of("gpt2")
    ids, other = two_texts(model)
    source = capture(model, other, ["residual_pre"])["residual_pre", 0]
    forwards = []
    model.network.transformer.wte.register_forward_hook(
        lambda m, args, out: forwards.append(len(args[0]))
    )
    run(model, ids, [])
    forwards.clear()
    found = run(
        model,
        ids,
        [patch("residual_pre", 0, source, positions=[0, 1, 2]), add("mlp", 1, torch.zeros(32))],
    )
    assert forwards == [3]
    assert torch.equal(found.logits, found.unedited.expand(2, -1, -1, -1))


@pytest.mark.parametrize(("component", "least"), [("residual_pre", 8.0), ("head", 4.0)])
def test_only_what_differs_is_computed(component, least):
    """Multiplications of the linear maps, patching all layers and positions or heads: so many times
    fewer than by hooks.

    9 positions, the first difference at the fourth, 6 layers, a vocabulary that weighs as much as
    in Pythia-70m.
    """
    model = model_of("gpt_neox", num_hidden_layers=6, num_attention_heads=8, intermediate_size=128)
    ids, other = two_texts(model)
    source = capture(model, other, [component])
    edits = [
        patch(component, layer, x, head=k)
        if component == "head"
        else patch(component, layer, x, positions=[k])
        for (_, layer), x in source.items()
        for k in range(x.shape[2] if component == "head" else LENGTH)
    ]
    run(model, ids, edits, tokens=[[7, 8]] * 3)  # the first run of all tries itself out
    with FlopCounterMode(display=False) as ours, torch.no_grad():
        run(model, ids, edits, tokens=[[7, 8]] * 3)
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        model.network(input_ids=ids)
    assert whole.get_total_flops() * len(edits) / ours.get_total_flops() > least


def test_what_cannot_be_resumed_is_run_whole():
    """A model whose second block also reads what its first one computed, on the side: the hooks'
    result, all the same.
    """
    model = model_of("llama")
    first, second = model.network.model.layers
    ids, other = two_texts(model)
    source = capture(model, other, ["residual_pre", "residual_post"])
    side = {}
    first.self_attn.register_forward_hook(lambda m, args, out: side.update(out=out[0]))
    second.register_forward_hook(
        lambda m, args, out: out + torch.tanh(side["out"]).mean(1, keepdim=True)
    )
    edits = [patch("residual_pre", 1, source["residual_pre", 1], positions=[3])]
    edits += [patch("residual_post", 0, source["residual_post", 0])]
    found = run(model, ids, edits, read=READ).logits
    torch.testing.assert_close(found, one_at_a_time(model, ids, edits), atol=TOLERANCE, rtol=0)
    assert interventions._resumes[model.network] == {"residual_pre": False, "residual_post": True}


@pytest.mark.parametrize(
    ("kind", "alone"), [("gpt2", True), ("llama", True), ("mixtral", True), ("rwkv", False)]
)
def test_an_mlp_is_taken_as_a_whole_where_positions_do_not_touch(kind, alone):
    """RWKV's looks at the token before; a mixture of experts routes every token by itself."""
    model = model_of(kind)
    with torch.no_grad():
        assert by_position(model.anatomy.blocks[-1].mlp, 32) is alone


def test_memory_that_gives_out_says_nothing_about_an_mlp():
    """Neither that it takes positions by themselves nor that it does not."""
    mlp = model_of("llama").anatomy.blocks[-1].mlp

    def fail(*args):
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 16384 bytes."
        )

    mlp.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="allocate"), torch.no_grad():
        by_position(mlp, 32)
