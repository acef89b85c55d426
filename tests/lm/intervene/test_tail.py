"""Tests of giving a network's tail only what is read."""

import pytest
import torch

from tests.architectures import KINDS, model_of
from tests.lm.intervene.plain_hooks import READ, two_texts
from transect.lm.intervene import tail
from transect.lm.intervene.activations import capture, observe
from transect.lm.intervene.edits import patch
from transect.lm.intervene.interventions import run


def test_chosen_tokens_are_those_of_the_whole_vocabulary():
    """Each sequence's own tokens, with repeats; a model with scaled and capped logits and one
    without a bias.
    """
    for kind in ("gemma2", "granite", "gptj", "bert"):
        model = model_of(kind)
        ids, other = two_texts(model)
        edits = [
            patch("residual_pre", 1, capture(model, other, ["residual_pre"])["residual_pre", 1])
        ]
        tokens = torch.tensor([[9, 8, 9], [7, 30, 12], [5, 6, 7]])
        whole, some = (
            run(model, ids, edits, read=READ),
            run(model, ids, edits, read=READ, tokens=tokens),
        )
        index = tokens[:, None].expand(-1, 2, -1)
        torch.testing.assert_close(
            some.logits[0], whole.logits[0].gather(2, index), atol=1e-6, rtol=0
        )
        torch.testing.assert_close(
            some.unedited, whole.unedited.gather(2, index), atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "albert"])
def test_every_architecture_s_tail_takes_less(kind):
    """Tried on a few tokens, which gives the whole tail's logits; nothing but these positions
    reaches the unembedding.
    """
    model = model_of(kind)
    with torch.no_grad():
        assert tail._exact(model)
        seen = []
        model.anatomy.unembedding.register_forward_hook(lambda m, args, out: seen.append(out.shape))
        observe(
            model,
            two_texts(model)[0],
            ["residual_pre"],
            [0],
            read=READ,
            tokens=[[5, 6], [7, 8], [6, 5]],
        )
    assert tuple(seen[-1]) == (3, 2, 4)  # sequences, positions, distinct tokens


def test_a_tail_that_looks_at_all_positions_runs_whole():
    """Logits less their mean over positions: the plain forward's, though few are read."""
    model = model_of("llama")
    ids = two_texts(model)[0]
    model.network.lm_head.register_forward_hook(
        lambda m, args, out: out - out.mean(1, keepdim=True)
    )
    with torch.no_grad():
        expected = model.network(input_ids=ids).logits[:, [-1]]
    _, logits = observe(model, ids, ["residual_pre"])
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=0)
    assert tail._exact(model) is False


def test_rounding_hides_no_other_function():
    """Apart by 3 % of the largest number, in any precision: not alike, though 64 units of bfloat16
    are half of it.
    """
    x = torch.tensor([[10.0, -3.0, 1.0]])
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert tail.alike(x.to(dtype), x.to(dtype), 64, dtype)
        assert not tail.alike((x + 0.3).to(dtype), x.to(dtype), 64, dtype)
    assert tail.alike((x + 0.1).bfloat16(), x.bfloat16(), 64, torch.bfloat16)
    assert not tail.alike((x + 0.1).float(), x.float(), 64, torch.float32)


def test_what_is_no_number_is_no_number_in_both():
    """NaN or infinite in one way only: not alike; masked logits are."""
    x, masked = torch.tensor([1.0, 2.0]), torch.tensor([1.0, -torch.inf])
    assert tail.alike(masked, masked.clone(), 64, torch.float32)
    assert not tail.alike(x * torch.nan, x, 64, torch.float32)
    assert not tail.alike(x, masked, 64, torch.float32) and not tail.alike(
        masked, x, 64, torch.float32
    )


def test_memory_that_gives_out_says_nothing_about_a_tail():
    """It is raised, and the network is tried again the next time."""
    model = model_of("llama")
    planted = RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 16384 bytes."
    )

    def fail(*args):
        raise planted

    hook = model.network.lm_head.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="allocate"):
        tail._exact(model)
    hook.remove()
    assert tail._exact(model) is True
