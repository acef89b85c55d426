"""Data sets for the label of a jump: a smooth latent made to jump by a threshold, and a latent that
steps itself.

4 to 10 runs at 7 to 12 sizes, each twice the one before; 60 items. Latent of run r, item i at size
k:
    m_k + run (SD u / 2) + run x size (SD u / 2) + item (SD u) + rest (SD u),   u = 0.05 to 0.25 of the rise in the gap of the jump
m is smooth (a line, a saturating power law, a logistic whose middle 80 % take at least 60 % of the
sizes) or 50 to 90 % step. The thresholded metric is latent > threshold, the threshold in the middle
of one gap; or, in a third of the smooth cases, an exact match of 20 tokens, each right with
probability 1 / (1 + exp(-latent)), the continuous metric then being the log probability of one
token. Only jumps count: at least half of the thresholded metric's rise, without noise, in one gap.
"""

import numpy as np
from scipy.special import expit, log_expit, ndtr

from transect.stats.curves.metric_step import LABELS, metric_step

ITEMS, TOKENS = 60, 20
Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def labels_of_a_smooth_latent(rng: np.random.Generator) -> dict[str, bool]:
    """Of each label whether a jump made by a threshold gets it."""
    return _labels(*_induced(rng))


def labels_of_a_latent_step(rng: np.random.Generator) -> dict[str, bool]:
    """Of each label whether a step of the latent gets it."""
    return _labels(*_stepping(rng))


def _labels(*rows: np.ndarray) -> dict[str, bool]:
    found = metric_step(*rows).label
    return {label: label == found for label in LABELS}


def _induced(rng: np.random.Generator) -> Rows:
    """A smooth latent under a threshold or an exact match."""
    while True:
        m = _smooth(rng, int(rng.integers(7, 13)))
        gap = int(rng.integers(1, len(m) - 2))
        if rng.random() < 1 / 3:
            centre = -np.log(2 ** (1 / TOKENS) - 1)  # half of the exact matches
            m = centre + rng.uniform(2, 6) * (m - (m[gap] + m[gap + 1]) / 2) / (m[gap + 1] - m[gap])
            spread = rng.uniform(0.05, 0.25) * (m[gap + 1] - m[gap])
            if _jumps(expit(m) ** TOKENS):
                latent, size, run = _latents(rng, m, spread)
                return (
                    2.0**size,
                    (rng.random(len(latent)) < expit(latent) ** TOKENS).astype(float),
                    log_expit(latent),
                    run,
                )
            continue
        found = _thresholded(rng, m, gap)
        if found is not None:
            return found


def _stepping(rng: np.random.Generator) -> Rows:
    """A latent that steps in one gap, under a threshold in the middle of the step."""
    while True:
        m = _smooth(rng, int(rng.integers(7, 13)))
        gap, share = int(rng.integers(1, len(m) - 2)), rng.uniform(0.5, 0.9)
        found = _thresholded(rng, (1 - share) * m + share * (np.arange(len(m)) > gap), gap)
        if found is not None:
            return found


def _smooth(rng: np.random.Generator, n: int) -> np.ndarray:
    """A rise from 0 to 1 over n sizes."""
    z = np.linspace(0, 1, n)
    kind = rng.integers(3)
    if kind == 0:
        return z
    if kind == 1:
        rate = rng.uniform(0.5, 2)
        return (1 - np.exp(-rate * z)) / (1 - np.exp(-rate))
    width = rng.uniform(0.6, 1.2) / (2 * np.log(9))
    curve = expit((z - rng.uniform(0.3, 0.7)) / width)
    return (curve - curve[0]) / (curve[-1] - curve[0])


def _thresholded(rng: np.random.Generator, m: np.ndarray, gap: int) -> Rows | None:
    threshold, spread = (m[gap] + m[gap + 1]) / 2, rng.uniform(0.05, 0.25) * (m[gap + 1] - m[gap])
    if not _jumps(ndtr((m - threshold) / (np.sqrt(2) * spread))):
        return None
    latent, size, run = _latents(rng, m, spread)
    return 2.0**size, (latent > threshold).astype(float), latent, run


def _jumps(y: np.ndarray) -> bool:
    return bool(np.diff(y).max() >= 0.5 * np.ptp(y))


def _latents(
    rng: np.random.Generator, m: np.ndarray, spread: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents [row] of every run, size and item, with the row's size (0, 1, ..) and run."""
    n = int(rng.integers(4, 11))
    shape = (n, len(m), ITEMS)
    run, size, _ = (g.ravel() for g in np.meshgrid(*map(np.arange, shape), indexing="ij"))
    latent = m[:, None] + rng.normal(0, spread, ITEMS) + rng.normal(0, spread, shape)
    latent = (
        latent + rng.normal(0, spread / 2, (n, 1, 1)) + rng.normal(0, spread / 2, (n, len(m), 1))
    )
    return latent.ravel(), size.astype(float), run
