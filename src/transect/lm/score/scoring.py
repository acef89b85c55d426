"""From text to the tokens that are scored: the policy for BOS and context; what cannot be scored is
refused by item.

A causal model reads   [opening] context text;    a masked model   [opening] context text [SEP];
an encoder-decoder's encoder reads   context [EOS],   its decoder   [decoder start] [opening] text.
lm/text/opening.py has the policy (bos) and what a tokenizer puts there itself. A text that spells a
control token is refused (lm/text/control.py).
A token is scored when it ends after the context and something stands before it: without BOS and
context, a causal model's first token is read and not scored. Context and text are tokenized as one
string, so that the text is cut into tokens as it would be there (an encoder and a decoder read two
strings).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from transect.errors import InputError
from transect.lm.model import Model
from transect.lm.score.vocabulary import lacking
from transect.lm.text.opening import closing, opening

ENGINE_PART = "scoring"  # its name in the keys of cells: it stays when the file moves
VERSION = 3  # raise it when values change
SERVES = ("tokenizer", "logits", "causal", "masked", "seq2seq", "text")

NOWHERE = (-1, -1)


@dataclass(frozen=True)
class Line:
    """One text as a model reads it; `error` says why it is not scored, and then the lists are
    empty.

    words[t]: the number of token t's word, -1 where t is not scored. spans[t]: its characters
    (start, end) of the text, (-1, -1) where t is not of the text. source: what an encoder reads.
    """

    ids: list[int]
    words: list[int]
    spans: list[tuple[int, int]] = field(default_factory=list)
    source: list[int] = field(default_factory=list)
    error: str = ""

    @property
    def first(self) -> int:
        """The first scored position."""
        return next(t for t, word in enumerate(self.words) if word >= 0)


def lines(
    model: Model, texts: Sequence[str], *, bos: str | bool = "auto", context: str = ""
) -> list[Line]:
    """Every text as the model reads it.

    A text is refused (see `Line.error`) that is empty, too long for the context length (nothing is
    ever cut), spells a control token, or starts inside a token of the context. Raises InputError
    for a BOS policy that cannot be kept, and for a context that spells a control token.
    """
    head = opening(model, bos)
    if not isinstance(context, str):
        raise InputError(
            f"context: {context!r} is no text; one that reads like a number needs quotes, e.g. context='\"5\"'."
        )
    if why := model.illegible(context, model.encode(context)):
        raise InputError(f"context: {why.replace('the text', 'it')}.")
    tail = closing(model, head)
    source = encoder_ids(model, context) if model.decoder_start_id is not None else []
    before = "" if source else context
    # an empty field of a table comes as NaN
    encoded = model.encodings([before + (text if isinstance(text, str) else "") for text in texts])
    result: list[Line] = []
    for index, (text, ids, offsets) in enumerate(
        zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ):
        if why := _illegible(model, text, before, ids):
            result.append(Line([], [], error=why))
            continue
        numbers = _words(before + text, offsets, encoded.word_ids(index))
        # a token of whitespace alone may have no width
        own = [end > len(before) or start == end == len(before) for start, end in offsets]
        words = [number if here else -1 for number, here in zip(numbers, own, strict=True)]
        spans = [
            (max(0, start - len(before)), end - len(before)) if here else NOWHERE
            for here, (start, end) in zip(own, offsets, strict=True)
        ]
        if words and not head and model.objective == "causal":
            words[0] = -1
        line = Line(
            [*head, *ids, *tail],
            [-1] * len(head) + words + [-1] * len(tail),
            [NOWHERE] * len(head) + spans + [NOWHERE] * len(tail),
            source,
        )
        error = _refusal(model, line, before, offsets)
        result.append(Line([], [], error=error) if error else line)
    return result


def total_logprobs(model: Model, lines: Sequence[Line], *, pll: str = "within_word") -> np.ndarray:
    """Sum over the scored tokens of log p (pseudo-log-likelihood for a masked model), nats, float64
    [line].

    NaN where a line is refused, or the model gives no number. Exactly rounded sums: two lines of
    the same token scores in another order have the same total. pll: the variant, see lm/network.py.
    """
    read = [line for line in lines if not line.error]
    ids, starts = [line.ids for line in read], [line.first for line in read]
    if not read:
        scores = []
    elif model.objective == "masked":
        scores = model.pll(ids, [line.words for line in read], variant=pll)
    elif model.decoder_start_id is not None:
        scores = [
            s.logprob
            for s in model.token_scores(ids, starts, sources=[line.source for line in read])
        ]
    else:
        scores = model.token_logprobs(ids, starts)
    sums = iter(
        math.fsum(s[np.array(line.words) >= 0]) for s, line in zip(scores, read, strict=True)
    )
    return np.array([math.nan if line.error else next(sums) for line in lines], dtype=np.float64)


def errors(model: Model, lines: Sequence[Line], totals: np.ndarray) -> list[str | None]:
    """Why a line has no total; None where it has one."""
    return [
        line.error or (model.no_number(line.ids) if math.isnan(total) else None)
        for line, total in zip(lines, totals, strict=True)
    ]


def too_long(model: Model, n: int) -> str:
    """The sentence for n tokens that do not fit the context; empty where they do."""
    if model.context_length is None or n <= model.context_length:
        return ""
    return f"the text has {n} tokens, special ones included; the context of {model.path.name} is {model.context_length}"


def encoder_ids(model: Model, context: str) -> list[int]:
    """What an encoder reads: the context with its tokenizer's special tokens, an end-of-sequence
    token last.
    """
    ids, end = (
        list(model.tokenizer("" if model.illegible(context, []) else context)["input_ids"]),
        model.tokenizer.eos_token_id,
    )
    return ids if end is None or ids[-1:] == [end] else [*ids, end]


def _illegible(model: Model, text: object, before: str, ids: list[int]) -> str:
    """Why no text can be read from a field of a table; empty where one can."""
    if not isinstance(text, str):
        return "there is no text"
    return model.illegible(before + text, ids)


def _words(
    text: str, offsets: Sequence[tuple[int, int]], word_ids: Sequence[int | None]
) -> list[int]:
    """Word numbers, from 0: a new word where the tokenizer's own pieces change, or after
    whitespace.

    Both, because a tokenizer without a pre-tokenizer calls the whole text one word.
    """
    numbers = [0] * min(1, len(offsets))
    for t, ((_, end), (start, after)) in enumerate(pairwise(offsets), start=1):
        blank = text[start:after][:1].isspace() or text[max(0, start - 1) : start].isspace()
        opens = word_ids[t] != word_ids[t - 1] or start > end or blank
        numbers.append(numbers[-1] + int(opens))
    return numbers


def _refusal(model: Model, line: Line, context: str, offsets: Sequence[tuple[int, int]]) -> str:
    """Why a line cannot be scored; empty when it can."""
    if max(line.words, default=-1) < 0:
        return "the text has no token to score (it is empty, or one token with nothing before it)"
    if model.decoder_start_id is not None and not line.source:
        return "the encoder has nothing to read (no context, and no end-of-sequence token in the tokenizer)"
    # " keys" may reach over the blank at the end of the context; over letters of it, it is a token
    # of neither
    shared = any(start < len(context) < end and context[start:].strip() for start, end in offsets)
    told = too_long(model, max(len(line.ids), len(line.source)))
    told = told or lacking(model, line.ids, line.first) or lacking(model, line.source)
    return told or (f"the text shares a token with the context {context!r}" if shared else "")
