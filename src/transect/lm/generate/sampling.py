"""How the next token is drawn from a distribution, and whether rounding could turn the draw.

    token = argmin over w of E_w / p(w),   p(w) proportional to exp(logit_w / temperature)

E_w: independent exponential numbers, so each token has the probability p (a race; with Gumbel
numbers the same is argmax log p + G). Other than by the inverse of the cumulative distribution,
logits that differ by d turn few draws: those where the two smallest are within a factor exp(2 d /
temperature), about 2 d / temperature of all; the rare tokens no oftener than the common ones.
Temperature 0: the largest logit, the first of equals. top_p: p is 0 outside the smallest set of
most probable tokens whose mass reaches top_p (with all that are as probable as its last). Source:
Maddison, Tarlow & Minka (2014), "A* sampling", NeurIPS, section 2; top_p: Holtzman et al. (2020),
ICLR.
"""

import math
from dataclasses import dataclass

import numpy as np

from transect.errors import InputError

ENGINE_PART = "sampling"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change
SERVES = ("generation", "text")


@dataclass(frozen=True)
class Sampling:
    """How to draw; see the module. Raises InputError for what cannot be meant."""

    max_new_tokens: int
    seed: int
    temperature: float = 1.0
    n: int = 1
    top_p: float = 1.0
    stop: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        wrong = {
            f"max_new_tokens: {self.max_new_tokens}; allowed are 1 and up": self.max_new_tokens < 1,
            f"seed: {self.seed}; allowed are 0 and up": self.seed < 0,
            f"temperature: {self.temperature}; allowed are 0 (the most probable token) and up": not (
                0 <= self.temperature < math.inf
            ),
            f"n: {self.n}; allowed are 1 and up": self.n < 1,
            f"top_p: {self.top_p}; allowed is above 0, up to 1": not 0 < self.top_p <= 1,
        }
        for sentence, holds in wrong.items():
            if holds:
                raise InputError(f"{sentence}.")


def choose(
    logits: np.ndarray, noise: np.ndarray, sampling: Sampling, margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """(token [row], close [row]): the token of each row, and whether logits that differ by `margin`
    may give another.

    logits, noise: float64 [row, vocabulary]; noise: standard exponential, not read at temperature
    0.
    """
    rows = np.arange(len(logits))
    if sampling.temperature == 0:
        token, first, second = _first_two(-logits)
        return token, second - first < 2 * margin
    far = min(
        2 * margin / sampling.temperature, 100.0
    )  # of the logarithm of a ratio of two probabilities
    p = np.exp((logits - logits.max(1, keepdims=True)) / sampling.temperature)
    doubtful = np.zeros_like(p, dtype=bool)
    if sampling.top_p < 1:
        p, doubtful = _nucleus(p / p.sum(1, keepdims=True), sampling.top_p, far)
    race = np.full_like(p, np.inf)
    np.divide(noise, p, out=race, where=p > 0)
    token, first, second = _first_two(race)
    return token, (second < first * np.exp(far)) | doubtful[rows, token]


def _first_two(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the smallest value of each row stands, that value, and the next one. Destroys `values`."""
    rows, place = np.arange(len(values)), values.argmin(1)
    smallest = values[rows, place]
    values[rows, place] = np.inf
    return place, smallest, values.min(1)


def _nucleus(p: np.ndarray, top_p: float, far: float) -> tuple[np.ndarray, np.ndarray]:
    """p [row, vocabulary] of the tokens that may be in the nucleus, 0 elsewhere, and which of these
    may be outside.

    As the race does not depend on what else runs, only a winner that may be outside is doubtful.
    """
    ranked = np.sort(p, axis=1)[:, ::-1]
    mass = ranked.cumsum(1)
    last = (mass - ranked < top_p + far).sum(
        1, keepdims=True
    ) - 1  # the latest rank at which it may end
    below = np.take_along_axis(ranked, last, 1) * np.exp(-2 * far)
    if far == 0:
        return np.where(p >= below, p, 0), np.zeros_like(p, dtype=bool)
    first = np.minimum((mass < top_p - far).sum(1, keepdims=True), last)  # and the earliest
    above = np.take_along_axis(ranked, first, 1) * np.exp(2 * far)
    doubtful = (p >= below) & (p <= above)
    doubtful &= (first < last) | (
        doubtful.sum(1, keepdims=True) > 1
    )  # the last one inside is certain where none is near
    return np.where(p >= below, p, 0), doubtful
