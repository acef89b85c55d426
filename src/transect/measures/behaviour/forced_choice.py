"""Forced choice: whether a model that is asked which of two sentences is more acceptable names the
good one.

correct = share of the two orders in which the good sentence is named: 1, 0.5 (a bias for one place
gives exactly that) or 0 prefers_first = share of the two orders in which the first of the two is
named; 0.5: no bias for a place

It needs nothing but text, so a model behind an interface can be asked; an open one answers
greedily. The answer's first line must be one of the two labels and nothing else but punctuation
("2", "(2)", "**B**."); an item with another answer to either order is refused. Another quantity
than minimal_pair's: what a model says of two sentences may be worse than what its probabilities
tell, so their values are never pooled. Source: Hu & Levy (2023), Prompting is not a substitute for
probability measurements in large language models, EMNLP. Departure: there the probabilities of the
two labels are compared, here the answer is read.
"""

import re

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.lm.generate.generation import answers
from transect.lm.model import Answer, Model

VERSION = 1
UNIT = {"correct": "proportion", "prefers_first": "proportion"}
BOUNDS = {"correct": [0, 1], "prefers_first": [0, 1]}
SOURCE = "after Hu & Levy 2023"
REQUIRES = ["text"]
STIMULI = ["sentence_good", "sentence_bad"]


def measure(
    model: Model,
    items: pd.DataFrame,
    *,
    seed: int,
    question: str = "Which of these two sentences is more acceptable?",
    labels: str = "12",
    instruction: str = "Answer with {0} or {1} only.\nAnswer:",
    max_new_tokens: int = 8,
) -> pd.DataFrame:
    """Two rows per item: columns item, metric, value, error.

    Asked twice: question, "label) sentence" of the two in either order, instruction; each on a line
    of its own. labels: the two letters or digits, e.g. AB. `seed` is not used.
    """
    if len(labels) != 2 or labels[0] == labels[1] or not labels.isalnum():
        raise InputError(
            f"labels: {labels!r} are not two different letters or digits, e.g. 12 or AB."
        )
    good, bad = items["sentence_good"], items["sentence_bad"]
    prompts = [
        f"{question}\n{labels[0]}) {first}\n{labels[1]}) {second}\n{instruction.format(*labels)}"
        for first, second in [*zip(good, bad, strict=True), *zip(bad, good, strict=True)]
    ]
    read = [
        _choice(answer, labels) for answer in answers(model, prompts, max_new_tokens=max_new_tokens)
    ]
    good_first, bad_first = read[: len(items)], read[len(items) :]
    rows = []
    for item, (one, error), (other, second) in zip(
        items["item"], good_first, bad_first, strict=True
    ):
        told = (
            (error and f"good sentence first: {error}")
            or (second and f"bad sentence first: {second}")
            or None
        )
        values = ((one == 0) + (other == 1)) / 2, ((one == 0) + (other == 0)) / 2
        rows += [
            (item, name, np.nan if told else value, told)
            for name, value in zip(UNIT, values, strict=True)
        ]
    return pd.DataFrame(rows, columns=["item", "metric", "value", "error"])


def _choice(answer: Answer, labels: str) -> tuple[int | None, str]:
    """Which of the two is named (0, 1), or why none is."""
    if answer.error:
        return None, answer.error
    first = answer.text.strip().partition("\n")[0]
    found = re.fullmatch(rf"[\W_]*([{labels}])[\W_]*", first)
    if found is None:
        return None, f"the answer {first[:60]!r} is neither {labels[0]} nor {labels[1]}"
    return labels.index(found[1]), ""
