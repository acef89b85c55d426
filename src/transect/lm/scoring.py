"""From text to the tokens that are scored: the policy for BOS and context; what cannot be scored is refused by item.

A causal model reads   [BOS] context text;        a masked model   [CLS or BOS] context text [SEP].
bos "auto": the opening token where the tokenizer has one (model.bos_id); True: it must have one; False: none.
A token is scored when it ends after the context and something stands before it: without BOS and context, a causal
model's first token is read and not scored. Context and text are tokenized as one string, so that the text is cut into
tokens as it would be there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transect.errors import InputError
from transect.lm.model import Model

VERSION = 1  # part of the key of every cell that rests on this file: raise it when values change

BOS = ("auto", True, False)


@dataclass(frozen=True)
class Line:
    """One text as a model reads it. words[t]: the number of token t's word, -1 where t is not scored."""

    ids: list[int]
    words: list[int]

    @property
    def first(self) -> int:
        """The first scored position."""
        return next(t for t, word in enumerate(self.words) if word >= 0)


def opening(model: Model, bos: str | bool) -> list[int]:
    """The ids that the BOS policy puts before a text: one or none."""
    if not any(bos is allowed or bos == allowed for allowed in BOS):
        raise InputError(f"bos: {bos!r}; allowed are auto, true, false.")
    if bos is False:
        return []
    token = model.bos_id
    if model.objective == "masked":
        names = model.tokenizer
        token = names.bos_token_id if names.cls_token_id is None else names.cls_token_id
    if token is None and bos is True:
        raise InputError(f"bos: true, but the tokenizer of {model.path.name} has no token to open a text with.")
    return [] if token is None else [token]


def lines(
    model: Model, texts: Sequence[str], names: Sequence[str], *, bos: str | bool = "auto", context: str = ""
) -> list[Line]:
    """Every text as the model reads it; names: the items, for the error.

    Raises InputError that names the items which are empty, too long for the context length (nothing is ever cut), open
    with a second BOS, or whose context ends inside a token.
    """
    head = opening(model, bos)
    separator = model.tokenizer.sep_token_id
    tail = [separator] if model.objective == "masked" and head and separator is not None else []
    encoded = model.encodings([context + text for text in texts])
    result: list[Line] = []
    refused: dict[str, list[str]] = {}
    for index, (name, text, ids, offsets) in enumerate(
        zip(names, texts, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ):
        numbers = _words(context + text, offsets, encoded.word_ids(index))
        words = [number if end > len(context) else -1 for number, (_, end) in zip(numbers, offsets, strict=True)]
        if words and not head and model.objective == "causal":
            words[0] = -1
        line = Line([*head, *ids, *tail], [-1] * len(head) + words + [-1] * len(tail))
        reason = _refusal(model, line, head, context, offsets)
        if reason:
            refused.setdefault(reason, []).append(name)
        result.append(line)
    if refused:
        told = "; ".join(f"{_some(items)} {reason}" for reason, items in refused.items())
        raise InputError(f"Not scored by {model.path.name}: {told}.")
    return result


def total_logprobs(model: Model, lines: Sequence[Line]) -> np.ndarray:
    """Sum over the scored tokens of log p (pseudo-log-likelihood for a masked model), nats, float64 [line].

    Exactly rounded sums: two lines of the same token scores in another order have the same total.
    """
    if model.objective == "masked":
        scores = model.pll([line.ids for line in lines], [line.words for line in lines])
    else:
        scores = model.token_logprobs([line.ids for line in lines], [line.first for line in lines])
    return np.array([math.fsum(s[np.array(line.words) >= 0]) for s, line in zip(scores, lines, strict=True)])


def _words(text: str, offsets: Sequence[tuple[int, int]], word_ids: Sequence[int | None]) -> list[int]:
    """Word numbers, from 0: a new word where the tokenizer's own pieces change, or after whitespace.

    Both, because a tokenizer without a pre-tokenizer calls the whole text one word.
    """
    numbers: list[int] = []
    for t, (start, end) in enumerate(offsets):
        opens = t == 0 or word_ids[t] != word_ids[t - 1] or start > offsets[t - 1][1] or text[start:end][:1].isspace()
        numbers.append((numbers[-1] if numbers else -1) + int(opens))
    return numbers


def _refusal(model: Model, line: Line, head: list[int], context: str, offsets: Sequence[tuple[int, int]]) -> str:
    """Why a line cannot be scored; empty when it can."""
    if max(line.words, default=-1) < 0:
        return "has no token to score (empty, or one token with nothing before it)"
    if model.context_length is not None and len(line.ids) > model.context_length:
        return f"is longer than the context of {model.context_length} tokens"
    if line.ids[: len(head)] != head or line.ids[len(head)] in head:
        return "opens with a second beginning-of-sequence token"
    # " keys" may reach over the blank at the end of the context; over letters of it, it is a token of neither
    if any(start < len(context) < end and context[start:].strip() for start, end in offsets):
        return f"shares a token with the context {context!r}"
    return ""


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return f"item {', '.join(dict.fromkeys(items[:3]))}{more}"
