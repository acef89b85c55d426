"""Log-probabilities of tokens, and of sets of tokens, from logits that come in tiles of the
vocabulary.

log p(token) = logit - log sum exp of all logits of the row; sums are kept in float64. What has no
logit has no number: NaN. The values are those of lm/score/packing.py, whose VERSION is raised when they
change.
"""

from collections.abc import Callable

import numpy as np
import torch

from transect.lm.score.forward import Tiles

SLICE = 2**22  # logits that are summed at once on a CPU

# what is done with logits [n, vocabulary]: read(n, their tiles, row of each query, numbers of the
# queries)
Read = Callable[[int, Tiles, torch.Tensor, np.ndarray], None]


def log_probabilities(
    targets: np.ndarray, found: np.ndarray, top1: np.ndarray | None = None
) -> Read:
    """Puts log p(target) of each query into `found`, and whether it is the most probable token, the
    first of equals, into `top1`.
    """

    def read(n: int, tiles: Tiles, places: torch.Tensor, queries: np.ndarray) -> None:
        sums, target = LogSum(n), torch.from_numpy(targets[queries])
        best = _First(n) if top1 is not None else None
        chosen = torch.full(
            (len(queries),), torch.nan, dtype=torch.float64
        )  # what has no logit has no number
        for column, logits in tiles:
            here = ((target >= column) & (target < column + logits.shape[1])).nonzero()[:, 0]
            at = (places[here].to(logits.device), (target[here] - column).to(logits.device))
            chosen[here] = logits[at].double().cpu()
            if best is not None:
                best.add(column, logits)
            sums.add(logits)
        found[queries] = (chosen - sums.value()[places]).numpy()
        if top1 is not None and best is not None:
            top1[queries] = (best.token.cpu()[places] == target).numpy()

    return read


def log_shares(members: np.ndarray, found: np.ndarray) -> Read:
    """Puts the log of the summed p of the tokens in `members` (bool [vocabulary]) into `found`, in
    float64.
    """

    def read(n: int, tiles: Tiles, places: torch.Tensor, queries: np.ndarray) -> None:
        whole, own = LogSum(n, torch.float64), LogSum(n, torch.float64)
        for column, logits in tiles:
            inside = np.flatnonzero(members[column : column + logits.shape[1]])
            if len(inside):
                own.add(logits[:, torch.from_numpy(inside).to(logits.device)])
            whole.add(logits)
        found[queries] = (own.value() - whole.value())[places].numpy()

    return read


class _First:
    """The largest logit of n rows among the columns added so far, and the first token that has it
    (-1: none is a number).
    """

    def __init__(self, n: int) -> None:
        self.value, self.token = torch.full((n,), -torch.inf), torch.full((n,), -1)

    def add(self, column: int, x: torch.Tensor) -> None:
        """Columns x [n, width], the first of which is the token `column`."""
        value, place = x.max(1)
        self.value, self.token = self.value.to(value), self.token.to(place.device)
        larger = value > self.value
        self.value[larger], self.token[larger] = value[larger], place[larger] + column


class LogSum:
    """log sum exp of the columns added so far, of n rows: top + log total, total = sum of exp(x -
    top).

    In at least `dtype`. `total` is float64, and so is the sum at the end: the rounding of a large
    maximum would be that of the result.
    """

    def __init__(self, n: int, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        # not -inf: a tile of nothing but -inf would make NaN
        self.top = torch.full((n, 1), torch.finfo(dtype).min, dtype=dtype)
        self.total = torch.zeros((n, 1), dtype=torch.float64)

    def add(self, x: torch.Tensor) -> None:
        """Columns x [n, width]; they are overwritten."""
        self.dtype = torch.promote_types(self.dtype, x.dtype)
        self.top, self.total = self.top.to(x.device, self.dtype), self.total.to(x.device)
        step = max(1, SLICE // x.shape[1]) if x.device.type == "cpu" else len(x)
        for part, top, total in zip(
            x.split(step), self.top.split(step), self.total.split(step), strict=True
        ):
            part = part.to(self.dtype)
            larger = torch.maximum(top, part.amax(1, keepdim=True))
            total.mul_((top - larger).double().exp_()).add_(
                part.sub_(larger).exp_().sum(1, keepdim=True)
            )
            top.copy_(larger)

    def value(self) -> torch.Tensor:
        """float64 [n], on the CPU."""
        return (self.top.double() + self.total.log())[:, 0].cpu()
