"""Muon: momentum whose update is made orthogonal, for the hidden matrices of a network.

    B <- mu B + (1 - mu) G,    O = orthogonalise((1 - mu) G + mu B),    W <- (1 - lr decay) W - lr sqrt(max(1, rows /
    columns)) O

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks", as
torch.optim.Muon. Departures: computed in the weights' own precision (not bfloat16), and matrices of
one shape are stacked and treated at once. Measured on one core, two layers: 0.9 ms a step instead
of 3.1 at width 32, 2.0 instead of 3.8 at width 64, the same from width 80 on.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

ITERATIONS = 5
A, B, C = (
    3.4445,
    -4.7750,
    2.0315,
)  # the quintic of Jordan et al.: steepest at 0, singular values end in about [0.7, 1.2]


def orthogonalise(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: [n, rows, columns] -> the same shape, all
    singular values in about [0.7, 1.2].
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = A * x + (B * square + C * square @ square) @ x
    return x.mT if tall else x


class Muon:
    """The optimiser. `lr` may be set before each step; the state is one momentum buffer [n, rows,
    columns] per shape.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ):
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.groups: dict[tuple[int, ...], list[Tensor]] = {}
        for parameter in parameters:
            self.groups.setdefault(tuple(parameter.shape), []).append(parameter)
        self.buffers = [torch.zeros_like(torch.stack(group)) for group in self.groups.values()]

    @torch.no_grad()
    def step(self) -> None:
        for group, buffer in zip(self.groups.values(), self.buffers, strict=True):
            gradient = torch.stack(
                [p.grad if p.grad is not None else torch.zeros_like(p) for p in group]
            )
            buffer.lerp_(gradient, 1 - self.momentum)
            rows, columns = buffer.shape[1:]
            update = orthogonalise(gradient.lerp(buffer, self.momentum)) * (
                self.lr * max(1.0, rows / columns) ** 0.5
            )
            torch._foreach_mul_(group, 1 - self.lr * self.weight_decay)
            torch._foreach_sub_(group, list(update.unbind()))

    def state_dict(self) -> dict[str, Any]:
        return {"buffers": self.buffers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for buffer, saved in zip(self.buffers, state["buffers"], strict=True):
            buffer.copy_(saved)
