"""Minimal pairs: whether a sentence is more probable than its minimally different, ungrammatical
twin.

difference_nats = log p(good) - log p(bad),  log p(s) = sum over the tokens of s of log p(token | BOS, context, earlier
tokens)
correct = 1 where the difference is positive, 0 where it is negative, 0.5 where it is no larger than
what rounding may make of two equal ones (lm/score/rounding.py: of_sum, from the model, the dtype and the
number of tokens)

For a masked model log p is replaced by the pseudo-log-likelihood, within-word left-to-right or,
with pll: original, each token masked alone; another quantity, so its metrics have other names
(pll_*) and are never pooled with these. For an encoder-decoder model log p is the decoder's, given
the context (or nothing) in the encoder. Whole sentences, not normalised by length.
The token lists of a tokenizer without BOS lose their first token's probability, in both sentences
alike. Sources: Linzen, Dupoux & Goldberg (2016), TACL; Warstadt et al. (2020), BLiMP, TACL; for
masked models Salazar et al. (2020), ACL (original), and Kauf & Ivanova (2023), ACL (within word).
Departure: a tie counts a half (chance level) where the first two count it as an error.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from transect.lm.model import Model
from transect.lm.score import rounding
from transect.lm.score.scoring import Line, errors, lines, total_logprobs

VERSION = 2
UNIT = {
    "logprob_good_nats": "nats",
    "logprob_bad_nats": "nats",
    "difference_nats": "nats",
    "correct": "proportion",
    "pll_good_nats": "nats",
    "pll_bad_nats": "nats",
    "pll_difference_nats": "nats",
    "pll_correct": "proportion",
}
BOUNDS = {
    "logprob_good_nats": [None, 0],
    "logprob_bad_nats": [None, 0],
    "correct": [0, 1],
    "pll_good_nats": [None, 0],
    "pll_bad_nats": [None, 0],
    "pll_correct": [0, 1],
}
SOURCE = "Linzen, Dupoux & Goldberg 2016; Warstadt et al. 2020; Kauf & Ivanova 2023 (masked models)"
REQUIRES = ["logits"]
STIMULI = ["sentence_good", "sentence_bad"]


def measure(
    model: Model,
    items: pd.DataFrame,
    *,
    seed: int,
    bos: str | bool = "auto",
    context: str = "",
    pll: str = "within_word",
) -> pd.DataFrame:
    """Four rows per item: columns item, metric, value, error.

    bos: the policy of lm/score/scoring.py. context: a string put before both sentences, read and not
    scored, e.g. "\\n". pll: within_word or original, for masked models. An item one of whose
    sentences is refused has rows with an error and no value. `seed` is not used.
    """
    # in one call, so that what the two sentences share is computed once
    read = lines(model, [*items["sentence_good"], *items["sentence_bad"]], bos=bos, context=context)
    totals = total_logprobs(model, read, pll=pll)
    good, bad = np.split(totals, 2)
    with np.errstate(invalid="ignore"):  # both may have probability 0
        difference = good - bad
    correct = np.where(
        np.abs(difference) <= _resolution(model, read, difference), 0.5, difference > 0
    )
    names = ["logprob_good_nats", "logprob_bad_nats", "difference_nats", "correct"]
    if model.objective == "masked":
        names = ["pll_good_nats", "pll_bad_nats", "pll_difference_nats", "pll_correct"]
    wide = pd.DataFrame(
        {
            "item": items["item"].to_numpy(),
            "error": _refused(errors(model, read, totals), difference),
        }
    )
    for name, value in zip(names, (good, bad, difference, correct), strict=True):
        wide[name] = np.where(wide["error"].isna(), value, np.nan)
    return wide.melt(id_vars=["item", "error"], var_name="metric")[
        ["item", "metric", "value", "error"]
    ]


def _resolution(model: Model, read: Sequence[Line], difference: np.ndarray) -> np.ndarray:
    """Of each item, what rounding may make of a difference of 0; 0 where nothing was scored."""
    n = [sum(word >= 0 for word in line.words) for line in read]
    return np.array(
        [
            rounding.of_sum(model, good + bad) if math.isfinite(value) else 0.0
            for good, bad, value in zip(
                n[: len(difference)], n[len(difference) :], difference, strict=True
            )
        ]
    )


def _refused(told: list[str | None], difference: np.ndarray) -> list[str | None]:
    """Of each item, the error of its first sentence that has one. told: of the good ones, then of
    the bad ones.
    """
    result = []
    for good, bad, value in zip(
        told[: len(difference)], told[len(difference) :], difference, strict=True
    ):
        found = (f"sentence_good: {good}" if good else None) or (
            f"sentence_bad: {bad}" if bad else None
        )
        result.append(found or ("both sentences have probability 0" if np.isnan(value) else None))
    return result
