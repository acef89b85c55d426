"""Minimal pairs: the log-probability sum of each sentence after the BOS, nats [sentence], by six
programs.

given: path (a model), sentences (good, bad, good, bad ...), device, dtype (optional).
"transect" is the measure itself, tables in and out. "floor" is no implementation of the task: the
least that a forward pass can be asked for, see bench/floor.py. Decisions: which sentence of a pair
is the more probable.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Given = dict[str, Any]
Run = Callable[[], np.ndarray]


def transect(given: Given) -> Run:
    """The measure minimal_pair."""
    import pandas as pd

    from transect.lm import load
    from transect.measures.behaviour import minimal_pair

    model = load(given["path"], device=given["device"], dtype=given.get("dtype", "float32"))
    good, bad = given["sentences"][::2], given["sentences"][1::2]
    items = pd.DataFrame(
        {"item": map(str, range(len(good))), "sentence_good": good, "sentence_bad": bad}
    )

    def run() -> np.ndarray:
        rows = minimal_pair.measure(model, items, seed=0)
        sums = [
            rows[rows["metric"] == f"logprob_{which}_nats"]["value"] for which in ("good", "bad")
        ]
        return np.stack(sums, axis=1).ravel()

    return run


def floor(given: Given) -> Run:
    """The floor for these sentences; it has no result."""
    from bench.floor import prepare

    work = prepare(given["path"], given["sentences"], given["device"])

    def run() -> np.ndarray:
        work()
        return np.empty(0)

    return run


def minicons(given: Given, batch: int) -> Run:
    """IncrementalLMScorer.sequence_score in batches, in the order of the sentences, as its
    documentation does it.
    """
    from minicons import scorer

    model = scorer.IncrementalLMScorer(given["path"], given["device"])

    def run() -> np.ndarray:
        sums: list[float] = []
        for start in range(0, len(given["sentences"]), batch):
            part = given["sentences"][start : start + batch]
            sums += model.sequence_score(part, reduction=lambda x: x.sum().item(), bos_token=True)
        return np.array(sums)

    return run


def lm_eval(given: Given) -> Run:
    """HFLM.loglikelihood with an empty context, which stands for the BOS; it sorts by length and
    batches by itself.
    """
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(
        pretrained=given["path"],
        device=given["device"],
        batch_size=32,
        dtype=given.get("dtype", "float32"),
    )
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=("", sentence), idx=0)
        for sentence in given["sentences"]
    ]
    return lambda: np.array(
        [score for score, _ in model.loglikelihood(requests, disable_tqdm=True)]
    )


def naive(given: Given, batch: int = 32) -> Run:
    """The usual loop with transformers alone: padded batches, log_softmax of everything."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(given["path"])
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "right"
    network = AutoModelForCausalLM.from_pretrained(given["path"]).eval().to(given["device"])
    texts = [tokenizer.bos_token + sentence for sentence in given["sentences"]]

    @torch.no_grad()
    def run() -> np.ndarray:
        sums = []
        for start in range(0, len(texts), batch):
            read = tokenizer(texts[start : start + batch], return_tensors="pt", padding=True).to(
                given["device"]
            )
            ids, mask = read.input_ids, read.attention_mask
            logprobs = network(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
            chosen = logprobs[:, :-1].gather(2, ids[:, 1:, None])[..., 0] * mask[:, 1:]
            sums.append(chosen.sum(1).double().cpu().numpy())
        return np.concatenate(sums)

    return run


IMPLEMENTATIONS = {
    "transect": ("transect", transect),
    "transect bfloat16": ("transect", lambda given: transect({**given, "dtype": "bfloat16"})),
    "floor": ("transect", floor),
    "lm-eval, batch 32": ("lm_eval", lm_eval),
    "minicons, batch 32": ("minicons", lambda given: minicons(given, 32)),
    "minicons, batch 100": ("minicons", lambda given: minicons(given, 100)),
    "transformers loop, batch 32": ("transect", naive),
}


def smaller(given: Given) -> Given:
    """The same work for a warm-up."""
    return {**given, "sentences": given["sentences"][:64]}


def decisions(values: np.ndarray) -> np.ndarray:
    """Which of each pair is more probable."""
    return values[::2] > values[1::2]
