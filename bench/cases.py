"""What is compared: each case is a task, its inputs, and the implementations that take part."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from bench import material

Given = dict[str, Any]
PATCHED_TOKENS = 15  # of every patched text, the BOS included


@dataclass(frozen=True)
class Case:
    """`inputs(models)`: what the implementations are given, from the folder of the models; `size`
    items of `unit`.
    """

    name: str
    task: str
    title: str
    inputs: Callable[[Path], Given]
    size: int
    unit: str
    leave_out: tuple[str, ...] = ()

    def implementations(self) -> dict[str, str]:
        """Name -> environment of those that take part."""
        every = import_module(f"bench.{self.task}").IMPLEMENTATIONS
        return {
            name: environment
            for name, (environment, _) in every.items()
            if name not in self.leave_out
        }

    def environments(self) -> set[str]:
        """The peers' environments that are needed."""
        return set(self.implementations().values()) - {"transect"}


def cases(pairs: int, patched: int) -> list[Case]:
    """All of them. pairs: per paradigm. patched: pairs that are patched."""
    fewer, few = max(1, pairs // 10), max(1, pairs // 50)
    others = (
        "floor",
        "transect bfloat16",
        "minicons, batch 32",
        "minicons, batch 100",
        "transformers loop, batch 32",
    )
    return [
        _pairs(
            "pairs",
            "gpt_neox",
            f"Minimal pairs: 5 BLiMP paradigms x {pairs} pairs, Pythia-70m shape",
            pairs,
        ),
        _pairs(
            "pairs_alibi",
            "bloom",
            f"Minimal pairs, alibi (bloom): 5 x {fewer} pairs",
            fewer,
            others,
        ),
        _pairs(
            "pairs_recurrent",
            "mamba2",
            f"Minimal pairs, recurrent (mamba2): 5 x {few} pairs",
            few,
            others,
        ),
        _patching("residual", "residual stream by layer and position", patched),
        _patching("head", "every head", patched),
        Case(
            "induction",
            "induction",
            "Induction: 8 sequences of 2 x 50 tokens",
            induction,
            8,
            "sequences",
        ),
    ]


def _pairs(name: str, kind: str, title: str, n: int, leave_out: tuple[str, ...] = ()) -> Case:
    def inputs(models: Path) -> Given:
        sentences = [sentence for pair in material.pairs(n) for sentence in pair]
        return {"path": str(models / kind), "sentences": sentences}

    return Case(
        name,
        "minimal_pairs",
        title,
        inputs,
        2 * n * len(material.PARADIGMS),
        "sentences",
        leave_out,
    )


def _patching(component: str, what: str, n: int) -> Case:
    def inputs(models: Path) -> Given:
        return patching(models / "gpt_neox", n, component)

    title = f"Activation patching, {what}: {n} pairs, {PATCHED_TOKENS} tokens, 6 layers"
    return Case(f"patching_{component}", "patching", title, inputs, n, "pairs")


def patching(path: Path, n: int, component: str) -> Given:
    """n pairs of random words, each one token, that differ in two places; the answer is one of them
    in the clean text.
    """
    tokenizer = PreTrainedTokenizerFast.from_pretrained(path)
    words = sorted(
        token[1:]
        for token in tokenizer.get_vocab()
        if token[0] == "Ġ" and token[1:].isascii() and token[1:].isalpha()
    )
    rng = random.Random(7)
    stimuli: Given = {name: [] for name in ("clean", "corrupted", "answer", "foil")}
    for _ in range(n):
        clean = [rng.choice(words) for _ in range(PATCHED_TOKENS - 1)]
        corrupted = [
            rng.choice(words) if place in (1, 8) else word for place, word in enumerate(clean)
        ]
        for name, chosen in zip(stimuli, (clean, corrupted, clean[1:2], clean[3:4]), strict=True):
            stimuli[name].append("".join(f" {word}" for word in chosen))
    ids = {
        name: tokenizer(texts, add_special_tokens=False)["input_ids"]
        for name, texts in stimuli.items()
    }
    ids |= {
        name: [[tokenizer.bos_token_id, *row] for row in ids[name]]
        for name in ("clean", "corrupted")
    }
    ids |= {name: [token for (token,) in ids[name]] for name in ("answer", "foil")}
    assert {len(row) for row in ids["clean"] + ids["corrupted"]} == {PATCHED_TOKENS}
    return {"path": str(path), "component": component, "stimuli": stimuli, "ids": ids}


def induction(models: Path) -> Given:
    """The rows that the measure draws."""
    from transect.lm import load
    from transect.lm.repeats import repeats

    options: Given = {"n": 8, "seed": 5}
    (rows,) = repeats(load(models / "gpt_neox"), [{"length": 50}], **options)
    return {"path": str(models / "gpt_neox"), "ids": rows.ids.tolist(), "length": 50, **options}
