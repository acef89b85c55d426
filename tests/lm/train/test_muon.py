"""Muon against torch's own implementation, and what orthogonal means."""

import pytest
import torch

from transect.lm.train.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 64)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    """Jordan et al.: after five iterations in about [0.7, 1.2] (a little wider here, for the
    smallest ones).
    """
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.max() < 1.25 and values.median() > 0.65


def test_the_same_steps_as_torch() -> None:
    """Four steps on two shapes agree with torch.optim.Muon, which works in bfloat16 (so to 2 % of
    the update).
    """
    generator = torch.Generator().manual_seed(1)
    start = [
        torch.randn(48, 16, generator=generator),
        torch.randn(16, 16, generator=generator),
        torch.randn(16, 16, generator=generator),
    ]
    ours = [torch.nn.Parameter(w.clone()) for w in start]
    theirs = [torch.nn.Parameter(w.clone()) for w in start]
    one = Muon(ours, lr=0.02, weight_decay=0.01)
    two = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.01, momentum=0.95)
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        one.step()
        two.step()
    for a, b, w in zip(ours, theirs, start, strict=True):
        assert (a - b).norm() < 0.02 * (b - w).norm()


def test_the_state_restores_the_momentum() -> None:
    """A second optimiser with the state of the first takes the same next step."""
    weights = [torch.nn.Parameter(torch.eye(4)) for _ in range(2)]
    first, second = Muon(weights[:1], lr=0.1), Muon(weights[1:], lr=0.1)
    weights[0].grad = torch.arange(16.0).view(4, 4)
    first.step()
    weights[1].data.copy_(weights[0])
    second.load_state_dict({"buffers": [b.clone() for b in first.state_dict()["buffers"]]})
    for weight in weights:
        weight.grad = torch.ones(4, 4)
    first.step()
    second.step()
    assert torch.equal(weights[0], weights[1])
