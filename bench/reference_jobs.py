"""What each other program computes for the references; runs in that program's environment.

    python -m bench.reference_jobs PROGRAM JOB.json        (bench/references.py does it)

JOB: {quantity: {model: {"path": directory, ...inputs}}}; the answer, the same with values, is the
last line printed.
"""

import json
import sys
from importlib.metadata import version
from typing import Any

import torch

Given = dict[str, Any]


# minicons


def minicons_sums(given: Given) -> Any:
    """Sum of log p over all tokens of each sentence, after the BOS; nats [sentence]."""
    from minicons import scorer

    model = scorer.IncrementalLMScorer(given["path"], "cpu")
    return model.sequence_score(
        given["sentences"], reduction=lambda x: x.sum().item(), bos_token=True
    )


def minicons_surprisals(given: Given) -> Any:
    """Surprisal of each token after the BOS, bits [sentence][token]: {"uncorrected", "corrected"}
    (bow_correction).
    """
    from minicons import scorer

    model = scorer.IncrementalLMScorer(given["path"], "cpu")
    result = {}
    for name, correct in (("uncorrected", False), ("corrected", True)):
        # one by one: minicons takes the padding for a part of the sentence when it looks at what
        # follows the last token
        rows = [
            model.token_score(
                [s], surprisal=True, base_two=True, bos_token=True, bow_correction=correct
            )[0]
            for s in given["sentences"]
        ]
        result[name] = [
            [score for _, score in row[1:]] for row in rows
        ]  # the BOS itself is listed with 0
    return result


def minicons_pll(given: Given) -> Any:
    """Pseudo-log-likelihood of each sentence, nats: {"original", "within_word"} [sentence]."""
    from minicons import scorer

    model = scorer.MaskedLMScorer(given["path"], "cpu")
    # its own call of the tokenizer (batch_encode_plus) is gone from transformers 5; it also takes
    # what a call gives
    encoded = model.tokenizer(given["sentences"], padding=True)
    return {
        name: model.sequence_score(encoded, reduction=lambda x: x.sum().item(), PLL_metric=metric)
        for name, metric in (("original", "original"), ("within_word", "within_word_l2r"))
    }


def minicons_seq2seq(given: Given) -> Any:
    """Sum of log p over the tokens of each sentence in the decoder, the encoder reading `source`;
    nats [sentence].
    """
    from minicons import scorer

    model = scorer.Seq2SeqScorer(given["path"], "cpu")
    # one by one: it hands the decoder no mask for the padding
    return [
        model.conditional_score([given["source"]], [sentence], reduction=lambda x: x.sum().item())[
            0
        ]
        for sentence in given["sentences"]
    ]


# lm-eval


def lm_eval_sums(given: Given) -> Any:
    """loglikelihood of each sentence with an empty context, which lm-eval replaces by the BOS; nats
    [sentence].
    """
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=given["path"], device="cpu", batch_size=8, dtype="float32")
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=("", s), idx=0)
        for s in given["sentences"]
    ]
    return [score for score, _ in model.loglikelihood(requests, disable_tqdm=True)]


# TransformerLens


def transformer_lens_patching(given: Given) -> Any:
    """Per pair the logit difference answer - foil at the last position: {"clean", "corrupted"}, and
    with the clean activation put into the corrupted run {"residual" [layer][position], "head"
    [layer][head]} (resid_pre; z, at all positions).
    """
    from transformer_lens import patching

    from bench.transformer_lens_bridge import bridge

    model = bridge(given["path"])
    result = []
    for clean, corrupted, answer, foil in given["pairs"]:
        ids, other = torch.tensor([clean]), torch.tensor([corrupted])

        def difference(
            logits: torch.Tensor, answer: int = answer, foil: int = foil
        ) -> torch.Tensor:
            return logits[0, -1, answer] - logits[0, -1, foil]

        with torch.no_grad():
            logits, cache = model.run_with_cache(ids)
            result.append(
                {
                    "clean": difference(logits).item(),
                    "corrupted": difference(model(other)).item(),
                    "residual": patching.get_act_patch_resid_pre(
                        model, other, cache, difference
                    ).tolist(),
                    "head": patching.get_act_patch_attn_head_out_all_pos(
                        model, other, cache, difference
                    ).tolist(),
                }
            )
    return result


def transformer_lens_induction(given: Given) -> Any:
    """Prefix matching per condition [condition][layer][head]: mean of hook_pattern on the diagonal
    1 - distance, over the last `length` queries and all rows.
    """
    from bench.transformer_lens_bridge import bridge

    model = bridge(given["path"])
    result = []
    for condition in given["conditions"]:
        with torch.no_grad():
            _, cache = model.run_with_cache(torch.tensor(condition["ids"]))
        patterns = [cache["pattern", layer] for layer in range(model.cfg.n_layers)]
        offset, length = 1 - condition["distance"], condition["length"]
        result.append(
            [p.diagonal(offset, -2, -1)[..., -length:].mean((0, -1)).tolist() for p in patterns]
        )
    return result


JOBS = {
    "minicons": {
        "sums": minicons_sums,
        "surprisals": minicons_surprisals,
        "pll": minicons_pll,
        "seq2seq": minicons_seq2seq,
    },
    "lm_eval": {"sums": lm_eval_sums},
    "transformer_lens": {
        "patching": transformer_lens_patching,
        "induction": transformer_lens_induction,
    },
}
PACKAGES = {"minicons": "minicons", "lm_eval": "lm-eval", "transformer_lens": "transformer-lens"}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else round(float(value), 7)


def main(program: str, job: str) -> None:
    """Print the answer to a job file as one line."""
    with open(job, encoding="utf-8") as file:
        wanted = json.load(file)
    values = {
        quantity: {name: _plain(JOBS[program][quantity](given)) for name, given in models.items()}
        for quantity, models in wanted.items()
    }
    versions = {name: version(name) for name in (PACKAGES[program], "transformers", "torch")}
    print(json.dumps({"versions": versions, "values": values}))


if __name__ == "__main__":
    main(*sys.argv[1:])
