"""Fertility: into how many tokens a model's tokenizer cuts text of a language.

tokens_per_word      tokens / words, a word being a longest run without white space (1: every word is one token)
tokens_per_character tokens / characters (Unicode code points, white space counted)
bytes_per_token      UTF-8 bytes / tokens
continued_words      share of the words that are more than one token
Words exist where they are written apart: a text with letters mostly of a script without spaces
(Han, kana, Thai, Lao, Khmer, Burmese, Tibetan) has no rows of tokens_per_word and continued_words.
Special tokens are not counted. Source: Rust et al. 2021 (How good is your tokenizer?), section 3.2;
theirs counts words of a treebank, ours white space.
"""

import re
from typing import Any

import pandas as pd

from transect.lm.model import Model

VERSION = 1
UNIT = {
    "tokens_per_word": "tokens/word",
    "tokens_per_character": "tokens/character",
    "bytes_per_token": "bytes/token",
    "continued_words": "share",
}
BOUNDS = {
    "tokens_per_word": [0, None],
    "tokens_per_character": [0, None],
    "bytes_per_token": [0, None],
    "continued_words": [0, 1],
}
SOURCE = "Rust et al. 2021"
REQUIRES = ["tokenizer"]
STIMULI = ["text"]

WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0002ffff]"
)


def measure(model: Model, items: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Two or four rows per text: columns item, metric, value, error. A text without a token has one
    row with an error.

    `seed` is not used.
    """
    texts = [text if isinstance(text, str) else "" for text in items["text"]]
    encoded = model.encodings(texts)
    rows: list[tuple[Any, str, float | None, str | None]] = []
    for item, text, ids, offsets in zip(
        items["item"], texts, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        told = model.illegible(text, ids) or ("" if ids else f"the text {text[:20]!r} has no token")
        if told:
            rows.append((item, "tokens_per_character", None, told))
            continue
        values = {
            "tokens_per_character": len(ids) / len(text),
            "bytes_per_token": len(text.encode()) / len(ids),
        }
        if words_are_apart(text):
            spans = [match.span() for match in re.finditer(r"\S+", text)]
            pieces = [sum(a < end and b > start for a, b in offsets) for start, end in spans]
            values["tokens_per_word"] = len(ids) / len(spans)
            values["continued_words"] = sum(n > 1 for n in pieces) / len(spans)
        rows += [(item, metric, value, None) for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["item", "metric", "value", "error"])


def words_are_apart(text: str) -> bool:
    """Whether most letters of a text are of scripts that write spaces between words."""
    letters = sum(c.isalpha() for c in text)
    return bool(text.split()) and 2 * len(WITHOUT_SPACES.findall(text)) <= letters
