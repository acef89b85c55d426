"""Minimal pairs: whether a sentence is more probable than its minimally different, ungrammatical twin.

difference_nats = log p(good) - log p(bad),  log p(s) = sum over the tokens of s of log p(token | BOS, context, earlier
tokens)
correct = 1 where the difference is positive, 0 where it is negative, 0.5 where it is no larger than the numerics can
tell (RESOLUTION)

For a masked model log p is replaced by the pseudo-log-likelihood, within-word left-to-right; another quantity, so its
metrics have other names (pll_*) and are never pooled with these. Whole sentences, not normalised by length.
The token lists of a tokenizer without BOS lose their first token's probability, in both sentences alike.
Sources: Linzen, Dupoux & Goldberg (2016), TACL; Warstadt et al. (2020), BLiMP, TACL; Kauf & Ivanova (2023), ACL, for
masked models.
Departure: a tie counts a half (chance level) where the first two count it as an error.
"""

import numpy as np
import pandas as pd

from transect.lm.model import Model
from transect.lm.scoring import lines, total_logprobs

VERSION = 1
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
SOURCE = "Linzen, Dupoux & Goldberg 2016; Warstadt et al. 2020; Kauf & Ivanova 2023 (masked models)"
REQUIRES = ["logits"]
STIMULI = ["sentence_good", "sentence_bad"]

RESOLUTION = 1e-5  # nats: how far float32 log-probabilities of one token agree between batches


def measure(
    model: Model, items: pd.DataFrame, *, seed: int, bos: str | bool = "auto", context: str = ""
) -> pd.DataFrame:
    """Four rows per item: columns item, metric, value.

    bos: the policy of lm/scoring.py. context: a string put before both sentences, read and not scored, e.g. "\\n".
    Raises InputError that names the items which are empty or longer than the model's context. `seed` is not used.
    """
    texts = [*items["sentence_good"], *items["sentence_bad"]]
    good, bad = np.split(
        total_logprobs(model, lines(model, texts, [*items["item"], *items["item"]], bos=bos, context=context)), 2
    )
    difference = good - bad
    correct = np.where(np.abs(difference) <= RESOLUTION, 0.5, difference > 0)
    names = ["logprob_good_nats", "logprob_bad_nats", "difference_nats", "correct"]
    if model.objective == "masked":
        names = ["pll_good_nats", "pll_bad_nats", "pll_difference_nats", "pll_correct"]
    values = dict(zip(names, (good, bad, difference, correct), strict=True))
    wide = pd.DataFrame({"item": items["item"].to_numpy(), **values})
    return wide.melt(id_vars="item", var_name="metric", value_name="value")
