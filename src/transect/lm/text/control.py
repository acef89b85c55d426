"""Strings inside a text that a tokenizer takes for control tokens: such a text is refused, and the
token is named.

A control token has a role (BOS, EOS, PAD, MASK, ...), is flagged special, or was added and is
written as markup: <...>, [...], <|...|>,
|||...|||. Other added tokens (words, runs of blanks) are text. Whatever in the text became the token counts, also after normalisation;
of the unknown token, which stands for parts of any text, only its own name does.
"""

import re
from typing import Any

ENGINE_PART = "control"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change
SERVES = ("tokenizer", "logits", "causal", "masked", "seq2seq", "text")

MARKUP = re.compile(
    r"\s*(<[^<>]*[^<>\s][^<>]*>|\[[^\[\]]*[^\[\]\s][^\[\]]*\]|\|\|\|.+\|\|\||<｜.*｜>|\{\{.+\}\})\s*"
)
# rows of a vocabulary that wait for a use: BERT's [unused1], Gemma's <unused1>, Llama's
# <|reserved_special_token_1|>, T5's <extra_id_1>, fairseq's madeupword0001
PLACEHOLDER = re.compile(
    r"[<\[|｜]+[^<>\[\]]*(unused|reserved|extra|place.?holder|dummy)[^<>\[\]]*[>\]|｜]+|madeupword\d+",
    re.I,
)


def control_tokens(tokenizer: Any) -> dict[int, str]:
    """id -> the token as it is written, of every control token; the unknown token among them."""
    added = tokenizer.added_tokens_decoder
    found = {i: t.content for i, t in added.items() if t.special or MARKUP.fullmatch(t.content)}
    return found | {i: str(tokenizer.convert_ids_to_tokens(i)) for i in tokenizer.all_special_ids}


def placeholders(tokenizer: Any) -> set[int]:
    """The ids of tokens that were never part of a text, by their names."""
    return {i for token, i in tokenizer.get_vocab().items() if PLACEHOLDER.fullmatch(token)}


def spelled(control: dict[int, str], unknown: int | None, text: str, ids: list[int]) -> str:
    """The sentence for a text of whose ids one is a control token; empty for others."""
    for token in control.keys() & set(ids):
        if token != unknown or control[token] in text:
            return f"the text spells {control[token]!r}, a control token of the tokenizer, which would not be read as text"
    return ""
