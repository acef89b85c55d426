"""Bits per byte: how well a model predicts text, comparable between tokenizers (within a language).

bits_per_byte = - sum over the scored tokens of log2 p(token | earlier tokens in the window) / UTF-8
bytes covered

With a BOS every token is scored, so the bytes are those of the document. Without one the first
token is read only, and so are the next ones until a token starts where the one before it ends
(byte-level tokens may share a character): their bytes are not counted.
A document longer than the window is scored in overlapping windows, each opened by the BOS: every
token once, and all but those of the first window with at least window - stride - 1 tokens before
it. n_unknown counts the scored tokens that are the tokenizer's unknown token: each stands for many
words, which flatters the model.
Source: Gao et al. (2020), The Pile, section 3.1; the windows as in Hugging Face's "Perplexity of
fixed-length models".
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from transect.errors import InputError
from transect.lm.model import Model
from transect.lm.score.vocabulary import lacking
from transect.lm.text.opening import opening

VERSION = 1
UNIT = {
    "bits_per_byte": "bits/byte",
    "logprob_nats": "nats",
    "n_bytes": "bytes",
    "n_unknown": "tokens",
}
BOUNDS = {
    "bits_per_byte": [0, None],
    "logprob_nats": [None, 0],
    "n_bytes": [0, None],
    "n_unknown": [0, None],
}
SOURCE = "Gao et al. 2020"
REQUIRES = ["logits", "causal"]
STIMULI = ["text"]


def measure(
    model: Model,
    items: pd.DataFrame,
    *,
    seed: int,
    bos: str | bool = "auto",
    window: int | None = None,
    stride: int | None = None,
) -> pd.DataFrame:
    """Four rows per document: columns item, metric, value, error.

    window: tokens that the model reads at once, BOS included (the model's context length). stride:
    how many of a later window's tokens are new (half the window). A document with nothing to score
    has rows with an error and no value. Raises InputError for a window or stride that cannot be.
    `seed` is not used.
    """
    for name, given in (("window", window), ("stride", stride)):
        if given is not None and (not isinstance(given, int) or isinstance(given, bool)):
            raise InputError(f"{name}: {given!r}; it must be a whole number of tokens.")
    head = opening(model, bos)
    texts = [
        text if isinstance(text, str) else "" for text in items["text"]
    ]  # an empty field of a table is NaN
    encoded = model.encodings(texts)
    sequences: list[list[int]] = []
    prefixes: list[int] = []
    owner: list[int] = []
    n_bytes, n_unknown = np.zeros(len(items)), np.zeros(len(items))
    errors: list[str | None] = [None] * len(items)
    unknown = model.tokenizer.unk_token_id
    for index, text in enumerate(texts):
        ids = encoded["input_ids"][index]
        first, start = (0, 0) if head else _first_scored(encoded["offset_mapping"][index])
        told = model.illegible(text, ids)
        told = told or (
            f"the text {text[:20]!r} has no token to score" if first >= len(ids) else ""
        )
        told = told or lacking(model, [*head, *ids], len(head) + first)
        if told:
            errors[index] = told
            continue
        n_bytes[index] = len(text[start:].encode())
        n_unknown[index] = ids[first:].count(unknown) if unknown is not None else 0
        for begin, scored, end in _windows(model, len(ids), len(head), first, window, stride):
            sequences.append([*head, *ids[begin:end]])
            prefixes.append(len(head) + scored - begin)
            owner.append(index)
    parts: list[list[float]] = [[] for _ in range(len(items))]
    found = model.token_logprobs(sequences, prefixes)
    for index, ids, prefix, scores in zip(owner, sequences, prefixes, found, strict=True):
        parts[index].extend(scores[prefix:])
        if np.isnan(scores[prefix:]).any():
            errors[index] = errors[index] or model.no_number(ids)
    logprob = np.array([math.fsum(p) for p in parts])
    values = {
        "bits_per_byte": -logprob / math.log(2) / np.maximum(n_bytes, 1),
        "logprob_nats": logprob,
        "n_bytes": n_bytes,
        "n_unknown": n_unknown,
    }
    wide = pd.DataFrame({"item": items["item"].to_numpy(), "error": errors})
    for name, value in values.items():
        wide[name] = np.where(wide["error"].isna(), value, np.nan)
    return wide.melt(id_vars=["item", "error"], var_name="metric")[
        ["item", "metric", "value", "error"]
    ]


def _first_scored(offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Without BOS: the first token that can be scored, and the character where its bytes begin."""
    for t in range(1, len(offsets)):
        if offsets[t][0] >= offsets[t - 1][1]:
            return t, offsets[t - 1][1]
    return len(offsets), 0


def _windows(
    model: Model, n: int, n_head: int, first: int, window: int | None, stride: int | None
) -> list[tuple[int, int, int]]:
    """(first token read, first token scored, one past the last) of each window; tokens from `first`
    on are scored.
    """
    limit = model.context_length
    if window is not None and (window < 2 + n_head or (limit is not None and window > limit)):
        raise InputError(
            f"window: {window}; allowed are {2 + n_head} to {limit or 'any number of'} tokens for {model.path.name}."
        )
    room = (window or limit or n + n_head) - n_head
    step = max(1, room // 2) if stride is None else stride
    most = (
        room if n_head else room - 1
    )  # without an opening, the first token of a window is not scored
    if not 1 <= step <= most:
        raise InputError(
            f"stride: {step}; allowed are 1 to {most} tokens for a window of {room + n_head}."
        )
    end = min(n, room)
    found = [(0, first, end)] if first < end else []
    while end < n:
        scored, end = max(end, first), min(n, end + step)
        if scored < end:
            found.append((end - room, scored, end))
    return found
