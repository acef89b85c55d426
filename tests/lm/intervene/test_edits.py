"""Tests of edits: what they take, what they refuse."""

import pytest
import torch

from tests.architectures import model_of
from tests.lm.intervene.plain_hooks import LENGTH, two_texts
from transect.errors import InputError
from transect.lm.intervene.edits import Edit, ablate
from transect.lm.intervene.interventions import run


def test_ablations_by_hand():
    """zero; the mean over sequences and the positions named; another sequence's, never its own, by
    the seed.
    """
    source = torch.randn(4, LENGTH, 2, 3, generator=torch.Generator().manual_seed(0))
    assert ablate("head", 0, "zero").value == 0
    mean = ablate("head", 0, "mean", source, head=1, positions=[2, 5]).value
    torch.testing.assert_close(mean[0, 0], source[:, [2, 5], 1].mean((0, 1)))
    other = ablate("head", 0, "resample", source, head=1, seed=3).value
    taken = [int((source[:, :, 1] == row).flatten(1).all(1).nonzero()) for row in other]
    assert sorted(taken) == [0, 1, 2, 3] and all(a != b for a, b in enumerate(taken))
    assert torch.equal(other, ablate("head", 0, "resample", source, head=1, seed=3).value)
    with pytest.raises(InputError, match="two sequences"):
        ablate("head", 0, "resample", source[:1])
    with pytest.raises(InputError, match="zero, mean, resample"):
        ablate("head", 0, "median", source)


@pytest.mark.parametrize(
    ("edit", "options", "told"),
    [
        (
            Edit("residual_pre", 0, 0.0, positions=[9]),
            {},
            "positions: 9; the sequences have the positions 0 to 8",
        ),
        (Edit("residual_pre", 2, 0.0), {}, "layer: 2; gpt_neox has the layers 0 to 1"),
        (Edit("head", 0, 0.0, head=4), {}, "head: 4; head has the heads 0 to 3"),
        (Edit("mlp", 0, 0.0, head=0), {}, "mlp has no heads"),
        (Edit("residual_prae", 0, 0.0), {}, "Did you mean 'residual_pre'"),
        (
            Edit("mlp", 0, torch.zeros(5)),
            {},
            r"shape \(5,\) does not fit mlp of layer 0, which is \(3, 9, 32\)",
        ),
        (Edit("mlp", 0, 0.0, how="times"), {}, "replace, add"),
        (Edit("mlp", 0, 0.0), {"read": [12]}, "read: 12"),
        (Edit("mlp", 0, 0.0), {"tokens": [[999], [5], [5]]}, "999"),
        (Edit("mlp", 0, 0.0), {"tokens": [[5]]}, "tokens"),
    ],
)
def test_bad_input_is_named(edit, options, told):
    """What was given, and what is allowed."""
    model = model_of("gpt_neox")
    with pytest.raises(InputError, match=told):
        run(model, two_texts(model)[0], [edit], **options)
