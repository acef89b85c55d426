"""Words and regions of a text as tokens, and which tokens begin a word.

A token belongs to the word or region that holds its characters, whitespace apart: whitespace
belongs to what follows it, as the tokens of most tokenizers begin with it; whitespace at the end of
a text belongs to no word. Tokens that are bytes of one character share that character. A token with
characters on both sides of a border is an error of both sides: its probability cannot be divided.
Words are what whitespace separates, punctuation included ("runs." is one word).

A token that ends in whitespace (".\n" of Llama 3, Qwen 2 and OLMo 2) ends its word for certain, and
what follows it begins one. Whitespace is what Unicode calls so. A character of it that is cut into
several tokens marks nothing: its first byte may go on otherwise.

What tells that a word begins, by the tokenizer's own declaration:
  beginnings   the token begins with whitespace (byte-level Ġ, SentencePiece's ▁, a blank or newline of a character
               tokenizer), or lacks the prefix of continuing pieces (WordPiece's ##)
  ends         the token before carries the suffix of finished words (</w>)
  whole words  each token is a word (a word-level tokenizer)
  nothing      whitespace is dropped and nothing marked: the tokens do not say what the words were
Punctuation does not begin a word where whitespace marks the beginnings ("runs" followed by "." is
not over), and does where the tokenizer cuts it off and drops the whitespace (WordPiece): there
"runs." and "runs ." are the same. Source: Pimentel & Meister (2024), "How to compute the
probability of a word", EMNLP, sections 3 and 4.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from transect.errors import InputError
from transect.lm.text.byte_letters import BYTES
from transect.lm.text.control import control_tokens

ENGINE_PART = "words"  # its name in the keys of cells: it stays when the file moves
VERSION = 2  # raise it when values change


@dataclass(frozen=True)
class Piece:
    """A word or region: its characters text[start:end], its tokens first to last - 1 of the line;
    `error`: why it has none."""

    text: str
    name: str | None
    first: int = 0
    last: int = 0
    error: str = ""


@dataclass(frozen=True)
class Marks:
    """How a tokenizer marks words; arrays are bool [vocabulary].

    begins: the tokens that begin a word once the word before is over. finishes: the tokens that end
    one, for tokenizers that mark ends, None for the others. closes: the tokens that end in
    whitespace. stops: the control tokens, with which a text is over.
    """

    begins: np.ndarray
    stops: np.ndarray
    known: np.ndarray
    closes: np.ndarray
    finishes: np.ndarray | None = None

    @property
    def border(self) -> np.ndarray:
        """What can follow a finished word: the beginning of another one, or the end of the text."""
        return self.begins | self.stops

    def first(self, token: int) -> np.ndarray:
        """What can open a text whose first token is `token`: a marked beginning, or anything but
        one, or its end.

        Most byte-level tokenizers leave the first word of a text unmarked.
        """
        return self.border if self.begins[token] else self.known & ~self.begins | self.stops

    def between(self, before: int, after: int) -> bool:
        """Whether the tokens say that a word ends between these two."""
        return bool(
            self.closes[before]
            or (self.begins[after] if self.finishes is None else self.finishes[before])
        )


def words(text: str) -> list[tuple[None, int, int]]:
    """(no name, start, end) of what whitespace separates; characters, 0-based, `end` excluded."""
    return [(None, *found.span()) for found in re.finditer(r"\S+", text)]


def regions(given: Any) -> list[tuple[str, int, int]]:
    """(name, start, end) of regions given as a list of [name, start, end], or as that list in JSON.

    Raises InputError for anything else.
    """
    try:
        found = json.loads(given) if isinstance(given, str) else list(given)
        result = [(str(name), int(start), int(end)) for name, start, end in found]
    except (TypeError, ValueError):
        result = []
    if not result:
        raise InputError(
            f"regions: {given!r}; they are a list of [name, start, end], characters counted from 0"
        )
    return result


def columns(row: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, int, int]]:
    """(column, start, end) of regions given as columns, each with a part of the text that occurs in
    it exactly once.

    Raises InputError otherwise.
    """
    result = []
    for name in names:
        part, text = str(row[name]).strip(), row["text"]
        if not part or text.count(part) != 1:
            raise InputError(
                f"regions: {part!r} of column {name} occurs {text.count(part) if part else 0} times in the text, and must once"
            )
        start = text.index(part)
        result.append((name, start, start + len(part)))
    return result


def align(
    text: str, spans: Sequence[tuple[int, int]], parts: Sequence[tuple[str | None, int, int]]
) -> list[Piece]:
    """The tokens of each part of a text. spans: of every token its characters, (-1, -1) where it is
    not of the text.
    """
    inside = np.array([_content(text, *span) for span in spans]).reshape(
        -1, 2
    )  # a token of whitespace alone is empty
    filled = inside[:, 1] > inside[:, 0]
    own = np.array([start >= 0 for start, _ in spans])
    result = []
    for name, start, end in parts:
        if not 0 <= start < end <= len(text):
            told = f"the region {start} to {end} does not lie in the text of {len(text)} characters"
            result.append(Piece(text[max(0, start) : max(0, end)], name, error=told))
            continue
        part = text[start:end].strip()
        start, end = _content(text, start, end)
        hits = np.flatnonzero(filled & (inside[:, 0] < end) & (inside[:, 1] > start))
        if not len(hits):
            result.append(Piece(part, name, error=f"{part!r} has no token"))
        elif inside[hits, 0].min() < start or inside[hits, 1].max() > end:
            result.append(Piece(part, name, error=f"{part!r} shares a token with its neighbour"))
        else:
            first = int(hits[0])
            while first and own[first - 1] and not filled[first - 1]:
                first -= 1
            result.append(Piece(part, name, first, int(hits[-1]) + 1))
    return result


def marks(tokenizer: PreTrainedTokenizerFast, vocab_size: int) -> Marks | None:
    """How a tokenizer marks words; None where it does not."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    added = tokenizer.added_tokens_decoder
    tokens = {i: token for token, i in tokenizer.get_vocab().items() if i < vocab_size}
    special = control_tokens(tokenizer).keys() - {
        tokenizer.unk_token_id
    }  # that one is part of a text

    def those(test: Callable[[int, str], bool]) -> np.ndarray:
        chosen = np.zeros(vocab_size, dtype=bool)
        chosen[[i for i, token in tokens.items() if test(i, token)]] = True
        return chosen

    stops, known = those(lambda i, _: i in special), those(lambda *_: True)
    every, none = np.ones(vocab_size, dtype=bool), np.zeros(vocab_size, dtype=bool)
    if suffix := state["model"].get("end_of_word_suffix"):
        return Marks(every, stops, known, none, those(lambda _, token: token.endswith(suffix)))
    if prefix := state["model"].get("continuing_subword_prefix"):
        return Marks(
            those(lambda i, token: i not in special and not token.startswith(prefix)),
            stops,
            known,
            none,
        )
    cut = tokenizer.backend_tokenizer.pre_tokenizer
    if state["model"]["type"] == "WordLevel" and cut and len(cut.pre_tokenize_str("ab cd")) == 2:
        return Marks(every, stops, known, none)
    written = _written(state)

    def text(i: int, token: str) -> str:
        return "" if i in special else added[i].content if i in added else written(token)

    begins = those(lambda i, token: text(i, token)[:1].isspace())
    closes = those(lambda i, token: text(i, token)[-1:].isspace())
    return Marks(begins, stops, known, closes) if begins.any() else None


def _written(state: Mapping[str, Any]) -> Callable[[str], str]:
    """A function from a token, as the vocabulary writes it, to its text; an incomplete character is
    no blank.
    """
    parts = [p for name in ("normalizer", "pre_tokenizer", "decoder") for p in _parts(state[name])]
    if any(p["type"] == "ByteLevel" for p in parts):
        return lambda token: bytes(BYTES.get(c, 0) for c in token).decode(errors="replace")
    # SentencePiece's blank, and the bytes it falls back on
    blanks = [
        p.get("replacement", p.get("content"))
        for p in parts
        if p["type"] in ("Metaspace", "Replace")
    ]

    def text(token: str) -> str:
        byte = re.fullmatch(r"<0x([0-7][0-9A-F])>", token)
        if byte and state["model"].get("byte_fallback"):
            return chr(int(byte[1], 16))
        return token.replace("▁", " ") if "▁" in blanks else token

    return text


def _parts(state: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """A component of a tokenizer, or the components of a sequence of them."""
    if state is None:
        return
    inner = [state[name] for name in ("normalizers", "pretokenizers", "decoders") if name in state]
    if not inner:
        yield state
    for part in (p for parts in inner for p in parts):
        yield from _parts(part)


def _content(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without the whitespace around it."""
    part = text[max(0, start) : max(0, end)]
    return (
        (start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip()))
        if part.strip()
        else (end, end)
    )
