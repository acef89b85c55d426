"""Templates of suite files: braces hold the name of a field, {{ and }} stand for braces. Nothing
else is filled in.

A width of at most two digits may follow the name ({step:03d}). Attributes, indices and conversions
({id.x}, {id[0]}, {id!r}) are refused, and so is what would be longer than LONGEST.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from string import Formatter
from typing import Any

LONGEST = 10_000  # characters of a filled template
WIDTH = re.compile(r"(0?[1-9]?\dd?)?")


def fields(text: str) -> set[str]:
    """The names in braces. Raises ValueError where braces hold anything else."""
    return {name for _, name, _ in _pieces(text) if name is not None}


def filled(text: str, facts: Mapping[str, Any], kept: Collection[str] = ()) -> str:
    """The text with the values of its fields; those of `kept` stay in braces (and braces of the
    text and of values stay doubled).

    Raises KeyError for a field that `facts` lack, ValueError for what is no template, for a width
    of a value that is no whole number, and for a text that would be longer than LONGEST.
    """
    return "".join(_bounded(_parts(text, facts, kept)))


def _parts(text: str, facts: Mapping[str, Any], kept: Collection[str]) -> Iterable[str]:
    in_text = _doubled if kept else str
    for literal, name, width in _pieces(text):
        yield in_text(literal)
        if name is None:
            continue
        if name in kept:
            yield f"{{{name}:{width}}}" if width else f"{{{name}}}"
        else:
            yield in_text(_value(facts[name], name, width))


def _value(value: Any, name: str, width: str) -> str:
    """The value of a field as it is written. Raises ValueError for a width of no whole number."""
    if not width:
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{{{name}:{width}}} needs a whole number")
    return format(value, width)


def _bounded(parts: Iterable[str]) -> Iterable[str]:
    length = 0
    for part in parts:
        length += len(part)
        if length > LONGEST:
            raise ValueError(f"filled in it has more than {LONGEST:,} characters")
        yield part


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


@lru_cache(maxsize=10_000)
def _pieces(text: str) -> tuple[tuple[str, str | None, str], ...]:
    """Literal text, the field behind it (None at the end) and its width."""
    pieces = []
    for literal, name, width, conversion in Formatter().parse(text):
        if name is not None:
            _check_field(name, width or "", conversion)
        pieces.append((literal, name, width or ""))
    return tuple(pieces)


def _check_field(name: str, width: str, conversion: str | None) -> None:
    if not name.isidentifier() or conversion or not WIDTH.fullmatch(width):
        written = f"{name}:{width}" if width else name
        raise ValueError(f"{{{written[:40]}}} is not the name of a field")
