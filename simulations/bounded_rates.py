"""Events of bounded outcomes: whether the interval of a mean over few units holds the truth, at and
near the bound.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from transect.stats.inference.intervals import mean_interval

N_ITEMS = 100
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(61)


def coverage_of_a_share(
    truth: float, n_units: int, sd: float = 0.5
) -> Callable[[np.random.Generator], bool]:
    """Right or wrong: units normal in logits with this sd, of mean probability `truth`, 100 items
    each.
    """
    centre = _centre(truth, sd) if truth < 1 else np.inf

    def event(rng: np.random.Generator) -> bool:
        right = rng.binomial(N_ITEMS, expit(centre + sd * rng.standard_normal(n_units))) / N_ITEMS
        return _holds(mean_interval(right, (0.0, 1.0), trials=N_ITEMS * n_units), truth)

    return event


def coverage_of_a_mass(
    truth: float, n_units: int, concentration: float = 50
) -> Callable[[np.random.Generator], bool]:
    """A mass in [0, 1] that is no count (attention): units of a beta distribution, a + b =
    concentration.
    """
    a, b = concentration * truth, concentration * (1 - truth)

    def event(rng: np.random.Generator) -> bool:
        return _holds(mean_interval(rng.beta(a, b, n_units), (0.0, 1.0)), truth)

    return event


def coverage_of_a_positive_mean(n_units: int) -> Callable[[np.random.Generator], bool]:
    """A number above 0 (bits per byte): log-normal units, sd 0.3 of the logarithm, mean 1."""

    def event(rng: np.random.Generator) -> bool:
        return _holds(mean_interval(np.exp(rng.normal(-0.045, 0.3, n_units)), (0.0, np.inf)), 1.0)

    return event


def _centre(truth: float, sd: float) -> float:
    """The logit around which units of this sd have the mean probability `truth`."""
    return float(brentq(lambda c: WEIGHTS @ expit(c + sd * NODES) / WEIGHTS.sum() - truth, -40, 40))


def _holds(row: dict[str, float], truth: float) -> bool:
    return bool(row["lower"] <= truth + 1e-12 and truth - 1e-12 <= row["upper"])
