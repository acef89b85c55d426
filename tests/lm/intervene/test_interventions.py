"""Tests of interventions against plain hooks, one edit and one sequence at a time, on the whole
model.
"""

import numpy as np
import pytest
import torch

from tests.architectures import KINDS, model_of
from tests.lm.broken import BAD, overflowing
from tests.lm.intervene.plain_hooks import (
    LENGTH,
    READ,
    TOLERANCE,
    one_at_a_time,
    some_edits,
    two_texts,
)
from transect.errors import InputError, NotApplicable, ResourceError
from transect.lm.intervene import interventions
from transect.lm.intervene.activations import capture
from transect.lm.intervene.edits import Edit, add, patch
from transect.lm.intervene.interventions import run


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "albert"])
def test_edits_equal_plain_hooks(kind):
    """Every place of every architecture, batched and resumed: 1e-5 of the largest logit; and all
    can be resumed.
    """
    model = model_of(kind)
    ids, other = two_texts(model, 2)
    edits = some_edits(model, other)
    expected = one_at_a_time(model, ids, edits)
    found = run(model, ids, edits, read=READ)
    error = TOLERANCE * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found.logits, expected, atol=error, rtol=0)
    plain = model.network(input_ids=ids).logits[:, list(READ)].detach()
    torch.testing.assert_close(found.unedited, plain, atol=error, rtol=0)
    effects = (found.logits - plain).abs().amax((1, 2, 3))
    assert all(
        effect > 1e-3 for effect, edit in zip(effects, edits, strict=True) if edit.positions is None
    )
    tried = interventions._resumes[model.network]
    assert sorted(tried) == sorted({edit.place for edit in edits}) and all(tried.values())


@pytest.mark.parametrize(
    "kind", ["gpt_neox", "llama", "bert", "bloom", "falcon_h1", "mamba2", "rwkv", "recurrent_gemma"]
)
def test_the_whole_residual_stream_of_another_run_is_that_run(kind):
    """At any layer, before, within and after a block: the other sequences' logits."""
    model = model_of(kind)
    ids, other = two_texts(model)
    places = [
        p
        for p in ("residual_pre", "residual_mid", "residual_post")
        if p not in model.anatomy.absent
    ]
    edits = [patch(place, layer, x) for (place, layer), x in capture(model, other, places).items()]
    expected = model.network(input_ids=other).logits[:, [-1]].detach()
    for logits in run(model, ids, edits).logits:
        torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=0)


def test_edits_made_together_equal_hooks_made_together():
    """Two layers, two places, one of them changing nothing by itself; beside single edits."""
    model = model_of("llama")
    ids, other = two_texts(model)
    source = capture(model, other, ["residual_pre", "head"])
    alone = patch("head", 0, source["head", 0], head=2)
    nothing = add("mlp", 0, torch.zeros(32))
    group = [patch("residual_pre", 1, source["residual_pre", 1], positions=[3]), alone, nothing]
    found = run(model, ids, [alone, group], read=READ).logits
    torch.testing.assert_close(
        found, one_at_a_time(model, ids, [alone, group]), atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize("batch_size", [1, 2, 7, None])
def test_the_result_does_not_depend_on_what_runs_together(batch_size):
    """Any batch size, sequences recorded one by one, a budget that has no room for a recording at
    all.
    """
    model = model_of("gpt_neox")
    ids, other = two_texts(model)
    edits = some_edits(model, other)
    expected = one_at_a_time(model, ids, edits)
    for budget in (2**28, 60_000, 1):
        model.budget = budget
        found = run(model, ids, edits, read=READ, batch_size=batch_size).logits
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_the_model_is_left_as_it_was():
    """No hook, no replaced forward, the attention it had; also after an edit that fails in the
    middle.
    """
    model = model_of("gpt_neox")
    ids, other = two_texts(model)
    before = model.network(input_ids=ids).logits
    run(model, ids, some_edits(model, other))
    with pytest.raises(InputError):
        run(model, ids, [Edit("head", 0, torch.zeros(5, 7))])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.network.modules())
    assert not any("forward" in m.__dict__ for m in model.network.modules())
    torch.testing.assert_close(model.network(input_ids=ids).logits, before, atol=0, rtol=0)


def test_out_of_memory_halves_the_batch_and_changes_no_value():
    """More than two sequences at a time do not fit: the same logits, the failed sizes are recorded."""
    model = model_of("gpt2")
    ids, other = two_texts(model, 5)
    edits = [
        patch("mlp", 1, capture(model, other, ["mlp"])["mlp", 1], positions=[p])
        for p in range(LENGTH)
    ]
    expected = run(model, ids, edits).logits
    plain = model.network.transformer.forward

    def small(input_ids, **options):
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("planted")
        return plain(input_ids=input_ids, **options)

    model.network.transformer.forward = small
    torch.testing.assert_close(run(model, ids, edits).logits, expected, atol=TOLERANCE, rtol=0)
    assert 5 in model.halvings
    model.network.transformer.forward = lambda *ids, **options: small(torch.zeros(3, 1))
    with pytest.raises(ResourceError, match="single sequence"):
        run(model, ids, edits)


@pytest.mark.parametrize(
    ("kind", "place"),
    [("mamba", "attention"), ("albert", "residual_pre"), ("gptj", "residual_mid")],
)
def test_a_place_that_the_architecture_lacks_is_not_applicable(kind, place):
    """With the reason."""
    model = model_of(kind)
    with pytest.raises(NotApplicable, match=place):
        run(model, np.array([[7, 8, 9]]), [Edit(place, 0, 0.0)])


def test_a_resumed_run_that_gives_no_numbers_is_not_believed(monkeypatch):
    """NaN from resuming where the whole model gives numbers: everything is run as plain forwards."""
    model = model_of("gpt_neox")
    ids, other = two_texts(model)
    edits = [
        patch(
            "residual_pre",
            1,
            capture(model, other, ["residual_pre"])["residual_pre", 1],
            positions=[3],
        )
    ]
    expected = one_at_a_time(model, ids, edits)
    resumed = interventions._Run._resumed
    monkeypatch.setattr(
        interventions._Run, "_resumed", lambda self, rows: resumed(self, rows) * float("nan")
    )
    torch.testing.assert_close(
        run(model, ids, edits, read=READ).logits, expected, atol=TOLERANCE, rtol=0
    )
    assert interventions._resumes[model.network] == {"residual_pre": False}


def test_sequences_without_numbers_say_nothing_about_a_place(monkeypatch):
    """Planted: resuming is wrong by 1, and the first sequences that are run have an embedding that
    is none. The next are right.
    """
    model = model_of("gpt_neox")
    ids, other = two_texts(model)
    edits = [
        patch(
            "residual_pre",
            1,
            capture(model, other, ["residual_pre"])["residual_pre", 1],
            positions=[3],
        )
    ]
    expected = one_at_a_time(model, ids, edits)
    resumed = interventions._Run._resumed
    monkeypatch.setattr(interventions._Run, "_resumed", lambda self, rows: resumed(self, rows) + 1)
    overflowing(model, BAD)
    assert run(model, np.full(tuple(ids.shape), BAD), edits[:1] * 2, read=READ).logits.isnan().all()
    assert interventions._resumes[model.network] == {}
    assert BAD not in ids.tolist()[0]
    torch.testing.assert_close(
        run(model, ids, edits, read=READ).logits, expected, atol=TOLERANCE, rtol=0
    )
    assert interventions._resumes[model.network] == {"residual_pre": False}


def test_rows_that_reach_each_other_run_alone():
    """Planted: every embedding takes a part of the batch's mean; the logits are those of one hooked
    forward of one row each.
    """
    model = model_of("gpt_neox")
    model.network.get_input_embeddings().register_forward_hook(
        lambda m, args, x: x + 0.5 * x.mean(0, keepdim=True)
    )
    ids, other = two_texts(model)
    clean = torch.cat(
        [
            capture(model, other[i : i + 1], ["residual_pre"])["residual_pre", 1]
            for i in range(len(other))
        ]
    )
    torch.testing.assert_close(
        capture(model, other, ["residual_pre"])["residual_pre", 1], clean, atol=1e-6, rtol=0
    )
    found = run(model, ids, [patch("residual_pre", 1, clean, positions=[3])], read=READ).logits
    for i in range(len(ids)):
        edit = patch("residual_pre", 1, clean[i : i + 1], positions=[3])
        alone = one_at_a_time(model, ids[i : i + 1], [edit])
        torch.testing.assert_close(found[:, i : i + 1], alone, atol=TOLERANCE, rtol=0)


def test_memory_that_gives_out_says_nothing_about_a_place(monkeypatch):
    """The CPU's error while resuming is tried out, also in words alone: halved, and tried again."""
    model = model_of("gpt_neox")
    ids, other = two_texts(model)
    edits = [
        patch(
            "residual_pre",
            1,
            capture(model, other, ["residual_pre"])["residual_pre", 1],
            positions=[3],
        )
    ]
    resumed, failed = interventions._Run._resumed, []

    def once(self, rows):
        if not failed:
            failed.append(1)
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 16384 bytes."
            )
        return resumed(self, rows)

    monkeypatch.setattr(interventions._Run, "_resumed", once)
    found = run(model, ids, edits, read=READ).logits
    torch.testing.assert_close(found, one_at_a_time(model, ids, edits), atol=TOLERANCE, rtol=0)
    assert (
        failed
        and interventions._resumes[model.network] == {"residual_pre": True}
        and model.halvings == [len(ids)]
    )
