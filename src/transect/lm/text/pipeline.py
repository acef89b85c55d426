"""A tokenizer's pipeline gives one answer, and one of bounded length: no chance in the cutting of a
text, no text that grows without end.

Dropout of merges (BPE-dropout) is for training; the library applies it whenever the file names a
share. It is set to none. growth = product over the replacements in a row of the longest that one
character becomes; a text may become GROWTH times as long.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transect.errors import LoadError

GROWTH = 100  # published replacements write one character for one or a few
PREPENDED = 1_000  # characters put before a text


def settle(path: Path, tokenizer: Any) -> None:
    """Switch chance off. Raises LoadError for a pipeline that makes texts longer than the limits
    above.
    """
    pipeline = tokenizer.backend_tokenizer
    if getattr(pipeline.model, "dropout", None) is not None:
        pipeline.model.dropout = None
    for name in ("normalizer", "decoder"):
        part = getattr(pipeline, name)
        steps = [] if part is None else list(_steps(json.loads(part.__getstate__())))
        growth, put = 1.0, sum(len(str(step.get("prepend", ""))) for step in steps)
        for step in steps:
            growth *= _longest(step)
        if growth > GROWTH or put > PREPENDED:
            told = (
                f"makes a text {growth:.3g} times as long"
                if growth > GROWTH
                else f"puts {put:,} characters before a text"
            )
            raise LoadError(
                f"{path}: the tokenizer's {name} {told}; at most {GROWTH} times and {PREPENDED:,} characters are read."
            )


def _steps(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A component, or the components of a sequence of them."""
    inner = [part for name in ("normalizers", "decoders") for part in state.get(name, ())]
    if not inner:
        yield state
    for part in inner:
        yield from _steps(part)


def _longest(step: Mapping[str, Any]) -> float:
    """The most characters that a replacement writes for one that it reads; a pattern may match
    between two.
    """
    if step.get("type") != "Replace":
        return 1.0
    pattern, content = step.get("pattern", {}), len(str(step.get("content", "")))
    text = pattern.get("String") if isinstance(pattern, dict) else None
    return max(1.0, content / len(text) if text else content + 1.0)
