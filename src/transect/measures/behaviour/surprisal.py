"""Surprisal: how unexpected each word (or region) of a text is to a causal model, given what stands
before it.

surprisal_bits_uncorrected = - sum over the word's tokens of log2 p(token | BOS, earlier tokens)
surprisal_bits = - log2 [ p(tokens) * P(border | text up to and with the word) / P(border | text
before the word) ] P(border | text) = sum of p(w | text) over the tokens w that begin a word or end
the text

Where tokens mark the beginnings of words ("Ġrun"), p(tokens) is the probability that a word
*starts* like this: "run" contains "runs", and the probabilities of all words sum to more than 1.
That the word is over is known only from the next token; the correction counts it there where it
belongs. Corrected, the words and the end of the text sum to 1. Punctuation is part of a word (words
are what whitespace separates), so it is no border; newlines and blanks are. After a token that
itself ends in whitespace (".\n") P(border) is 1. The first word follows the BOS: where tokenizers
leave it unmarked, the border before it is any token that does not mark a beginning, or the end of
the text. Without BOS it has no value (an error). The last word is over when the next token would be
a border, as any other. lm/text/words.py says which token begins a word, for every kind of tokenizer;
where tokens are whole words or mark the ends of words the two metrics are equal; where nothing is
marked there is no correction.

Regions (scripts without spaces, critical regions): the sum over the region's tokens; the correction
applies where the region starts and ends at borders, else surprisal_bits is an error (or left out,
corrected: false) and the uncorrected value stands.
Sources: Pimentel & Meister (2024), EMNLP, theorem 2 and, for the first word, their package
wordsprobability; Oh & Schuler (2024), EMNLP. Departure: every special token ends a text, not the
EOS alone.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from transect.errors import InputError, nearest
from transect.lm.model import Model
from transect.lm.score.scoring import Line, lines
from transect.lm.text import words
from transect.lm.text.opening import opening

VERSION = 1
UNIT = {"surprisal_bits": "bits", "surprisal_bits_uncorrected": "bits"}
BOUNDS = {"surprisal_bits": [0, None], "surprisal_bits_uncorrected": [0, None]}
SOURCE = "Pimentel & Meister 2024; Oh & Schuler 2024"
REQUIRES = ["logits", "causal"]
STIMULI = ["text"]

NONE = ": there is no correction (corrected: false leaves it out)"
COLUMNS = ["item", "metric", "value", "region", "word", "position", "error"]


def measure(
    model: Model,
    items: pd.DataFrame,
    *,
    seed: int,
    bos: str | bool = "auto",
    regions: str | Sequence[str] | None = None,
    corrected: bool = True,
) -> pd.DataFrame:
    """Two rows per word, or per region of items that have them: columns item, metric, value,
    region, word, position, error.

    word: the text of the word or region; position: its number in the item, from 0. Regions are a
    column `regions` of the items, a list of [name, start, end] (characters from 0, also as JSON
    text), or, with the option `regions`, the names of columns that hold a part of the text each.
    corrected: false leaves out surprisal_bits. An item that cannot be read has one row per metric,
    with an error; so has a word that holds an unknown token, shares a token, or has nothing before
    it. `seed` is not used.
    """
    names = [regions] if isinstance(regions, str) else regions
    if names is not None and not isinstance(names, Sequence):
        raise InputError(
            f"regions: {regions!r}; it must be the name of a column or a list of names."
        )
    if not isinstance(corrected, bool):
        raise InputError(f"corrected: {corrected!r}; allowed are true, false.")
    for name in names or []:
        if name not in items:
            raise InputError(
                f"regions: there is no column {name!r}; there are {', '.join(items)}.{nearest(name, items)}"
            )
    read = lines(model, items["text"].tolist(), bos=bos)
    pieces: list[list[words.Piece]] = []
    refused: list[str] = []
    for row, line in zip(items.to_dict("records"), read, strict=True):
        try:
            pieces.append(
                [] if line.error else words.align(row["text"], line.spans, _parts(row, names))
            )
            refused.append(line.error)
        except InputError as error:
            pieces.append([])
            refused.append(str(error))
    metrics = list(UNIT) if corrected else ["surprisal_bits_uncorrected"]
    borders = _Borders(model, opening(model, bos), read, pieces) if corrected else None
    rows: list[tuple[Any, ...]] = []
    for index, (item, logprobs) in enumerate(
        zip(items["item"], _logprobs(model, read, pieces), strict=True)
    ):
        if refused[index]:
            rows += [
                (item, metric, math.nan, None, None, None, refused[index]) for metric in metrics
            ]
        for position, piece in enumerate(pieces[index]):
            told = piece.error or _reason(model, read[index], piece)
            value = (
                math.nan if told else -math.fsum(logprobs[piece.first : piece.last]) / math.log(2)
            )
            told = told or (model.no_number(read[index].ids) if math.isnan(value) else "")
            common = (piece.name, piece.text, position)
            if borders:
                change, without = (math.nan, told) if told else borders.correction(index, piece)
                # a word of probability 0 stays one, whatever follows it
                better = value if math.isinf(value) else value - change / math.log(2)
                without = without or (
                    model.no_number(read[index].ids) if math.isnan(better) else ""
                )
                rows.append(
                    (
                        item,
                        "surprisal_bits",
                        math.nan if without else better,
                        *common,
                        without or None,
                    )
                )
            rows.append((item, "surprisal_bits_uncorrected", value, *common, told or None))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"position": "Int64"})


def _parts(
    row: dict[str, Any], names: Sequence[str] | None
) -> Sequence[tuple[str | None, int, int]]:
    """The parts of an item that are measured: its regions where it has them, its words otherwise."""
    if names is not None:
        return words.columns(row, names)
    found = words.regions(row["regions"]) if "regions" in row else words.words(row["text"])
    if not found:
        raise InputError("the text has no words")  # whitespace has tokens
    return found


def _logprobs(
    model: Model, read: Sequence[Line], pieces: Sequence[Sequence[words.Piece]]
) -> list[np.ndarray]:
    """log p of every token of the lines that have something to measure, nats; an empty array for
    the others.
    """
    asked = [i for i, found in enumerate(pieces) if found]
    result = [np.empty(0)] * len(read)
    for i, values in zip(
        asked,
        model.token_logprobs([read[i].ids for i in asked], [read[i].first for i in asked]),
        strict=True,
    ):
        result[i] = values
    return result


def _reason(model: Model, line: Line, piece: words.Piece) -> str:
    """Why a word has no probability; empty where it has one."""
    if line.words[piece.first] < 0:
        return (
            f"nothing stands before {piece.text!r}: the model reads no beginning-of-sequence token"
        )
    if model.tokenizer.unk_token_id in line.ids[piece.first : piece.last]:
        return f"{piece.text!r} has a part that the tokenizer does not know (its unknown token stands for many words)"
    return ""


class _Borders:
    """log P(border | text), nats, wherever a word or region begins or ends: one pass over all
    lines.
    """

    def __init__(
        self,
        model: Model,
        head: list[int],
        read: Sequence[Line],
        pieces: Sequence[Sequence[words.Piece]],
    ) -> None:
        self.marks = words.marks(model.tokenizer, model.vocab_size)
        self.ids = [line.ids for line in read]
        self.start = len(head)  # where the texts begin
        self.after: list[
            dict[int, float]
        ] = []  # of each line: position read last -> the border after it
        self.openings: dict[
            bool, float
        ] = {}  # after the BOS, of texts whose first token is, or is not, in `begins`
        if self.marks is None:
            return
        for found in pieces:
            borders = (
                t
                for p in found
                if not p.error
                for t in (p.first - 1, p.last - 1)
                if t >= self.start
            )
            self.after.append(dict.fromkeys(sorted(borders), 0.0))
        if not self.marks.border.all():  # else a border is certain, everywhere
            # as it is after a token that ends in whitespace
            positions = [
                [t for t in places if not self.marks.closes[ids[t]]]
                for ids, places in zip(self.ids, self.after, strict=True)
            ]
            found_after = model.set_logprobs(self.ids, positions, self.marks.border)
            for places, at, values in zip(self.after, positions, found_after, strict=True):
                places.update(zip(at, values.tolist(), strict=True))
        for token in {ids[self.start] for ids in self.ids if head and ids}:
            marked, members = bool(self.marks.begins[token]), self.marks.first(token)
            if marked not in self.openings and not members.all():
                self.openings[marked] = float(
                    model.set_logprobs([head], [[self.start - 1]], members)[0][0]
                )

    def correction(self, index: int, piece: words.Piece) -> tuple[float, str]:
        """log P(border | up to and with the piece) - log P(border | before it), nats; or why there
        is none.
        """
        if self.marks is None:
            return (
                math.nan,
                "the tokenizer marks neither the beginnings nor the ends of words" + NONE,
            )
        ids, after, first, last = self.ids[index], self.after[index], piece.first, piece.last
        if (first > self.start and not self.marks.between(ids[first - 1], ids[first])) or (
            last < len(ids) and not self.marks.between(ids[last - 1], ids[last])
        ):
            return math.nan, f"{piece.text!r} does not begin and end where words do" + NONE
        opens = first == self.start
        before = (
            self.openings.get(bool(self.marks.begins[ids[first]]), 0.0)
            if opens
            else after[first - 1]
        )
        return after[last - 1] - before, ""
