"""How well a model predicts short texts after each token that may open them: what `transect
registry add --try-openings` tells.

loss[opening] = - mean over the tokens of the texts, from the second token on, of log2 p(token | opening, earlier tokens),  bits per token

From the second token on, because without an opening the first one has no probability. The texts are
English; what is compared is one model with itself, so that another language shifts all losses
alike.
"""

import math

import numpy as np

from transect.errors import NotApplicable
from transect.lm.model import Model
from transect.lm.text.opening import candidates, opening, token_id

TEXTS = (
    "The keys to the cabinet are on the table.",
    "Nobody who was here in the summer knows why they were left there.",
    "She said that the old bridge near the river had been closed for two years.",
    "A good teacher explains one thing at a time and waits for questions.",
    "In the morning the children walked to school with their brother.",
    "Water boils at a lower temperature in the mountains than at the sea.",
)
CLEAR = 0.02  # bits per token: a smaller difference proposes nothing
NOTHING = "nothing"


def losses(model: Model) -> dict[str, float]:
    """Bits per token after what `bos: auto` takes (first), after every candidate, and after
    nothing. Causal models only.
    """
    if model.objective != "causal":
        raise NotApplicable("openings are tried by the loss of a causal model")
    heads = [
        opening(model, "auto"),
        *([token_id(model.tokenizer, token)] for token in candidates(model.tokenizer)),
        [],
    ]
    found: dict[str, float] = {}
    for head in heads:
        name = " ".join(model.tokenizer.convert_ids_to_tokens(head)) or NOTHING
        if name not in found:
            read = [[*head, *model.encode(text)][: model.context_length] for text in TEXTS]
            scores = model.token_logprobs(read, [len(head) + 1] * len(read))
            found[name] = float(
                -np.mean(np.concatenate([s[len(head) + 1 :] for s in scores])) / math.log(2)
            )
    return found


def proposals(model: Model) -> list[str]:
    """The losses in a sentence and, where another opening is clearly better than what `auto` takes,
    how to name it.
    """
    found = losses(model)
    taken = next(iter(found))
    best = min(found, key=found.__getitem__)
    told = ", ".join(
        f"{name} {value:.3f}" for name, value in sorted(found.items(), key=lambda pair: pair[1])
    )
    sentences = [
        f"loss of short English texts, bits per token, by what opens them: {told}; `bos: auto` takes {taken}"
    ]
    if found[best] < found[taken] - CLEAR:
        how = f"--set opening='{best}'" if best != NOTHING else "`bos: false` in a study"
        sentences.append(
            f"proposed: {best} in place of {taken} ({how}); it was not taken by itself"
        )
    return sentences
