"""Texts into ids and back where the tokenizer may give up on one of them: a pattern that takes too
long, a word without an unknown token.

The tokenizers library raises a bare Exception or panics, and takes with it all texts of the call.
So each text is cut by itself then, and only those that it gives up on are without ids, with a
sentence.
"""

from collections.abc import Sequence
from typing import Any

from transformers import BatchEncoding

from transect.errors import LibraryPanic, panics_are_errors

PLAIN = {
    "add_special_tokens": False,
    "return_offsets_mapping": True,
    "return_attention_mask": False,
    "verbose": False,
}


def unreadable(text: str) -> str:
    """The sentence for a text that no tokenizer reads, and that would stop the texts beside it;
    empty for others.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return (
            f"the text holds {text[error.start]!r}, half of a surrogate pair, which is no character"
        )
    return ""


def cut(tokenizer: Any, texts: Sequence[str]) -> tuple[BatchEncoding, dict[str, str]]:
    """Ids, character offsets and word numbers of the texts, without special tokens, and text -> why
    it has none (it is cut as an empty one).

    Raises LibraryPanic where not even an empty text can be cut.
    """
    told = {text: why for text in texts if (why := unreadable(text))}
    given = ["" if text in told else text for text in texts]
    try:
        return _encoded(tokenizer, given), told
    except MemoryError:
        raise
    except Exception:  # one of them, or several
        told |= {text: why for text in dict.fromkeys(given) if (why := _fault(tokenizer, text))}
    return _encoded(tokenizer, ["" if text in told else text for text in given]), told


def ids_of(tokenizer: Any, text: str, special: bool = False) -> list[int] | None:
    """The ids of one text; None where the tokenizer gives up on it."""
    try:
        with panics_are_errors():
            return list(tokenizer(text, add_special_tokens=special)["input_ids"])
    except MemoryError:
        raise
    except Exception:
        return None


def added(tokenizer: Any, before: list[int], new: list[int]) -> str:
    """The text that the new ids add, without special tokens: decoding them alone would lose the
    blank before a first word.

    Raises LibraryPanic where the tokenizer gives up on them.
    """
    start, whole = _decoded(tokenizer, before), _decoded(tokenizer, [*before, *new])
    return whole[len(start) :] if whole.startswith(start) else _decoded(tokenizer, new)


def _decoded(tokenizer: Any, ids: list[int]) -> str:
    try:
        with panics_are_errors():
            return str(tokenizer.decode(ids, skip_special_tokens=True))
    except MemoryError:
        raise
    except Exception as error:
        raise LibraryPanic(
            f"the tokenizer cannot write the tokens as text ({_first_words(error)})"
        ) from None


def _encoded(tokenizer: Any, texts: list[str]) -> BatchEncoding:
    with panics_are_errors():
        found: BatchEncoding = tokenizer(texts, **PLAIN)
    return found


def _fault(tokenizer: Any, text: str) -> str:
    try:
        _encoded(tokenizer, [text])
    except MemoryError:
        raise
    except Exception as error:
        return f"the tokenizer cannot cut the text {text[:20]!r} ({_first_words(error)})"
    return ""


def _first_words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
