"""Code from elsewhere that a configuration asks for: kernels of the hub, in the place of the
attention or the experts of the model.

A configuration is data from outside. In transformers a value such as ``"attn_implementation":
"org/name"``, at any depth, has a repository of the hub downloaded and run, also where the weights
lie in a local folder and no code of theirs is allowed. Here

refused     a value of such a field that names a repository, and every wish for kernels
replaced    names of other programs of the attention or the experts (flash_attention_2, deepgemm, ...): transformers may fetch them
            as kernels, and what is measured is computed by torch alone; its own choice takes their
            place
closed      the package that fetches kernels, for this process, so that no class of transformers can ask it for one
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transect.errors import LoadError
from transect.store.model_files.folder import settings

CLOSED = "kernels"
sys.modules.setdefault(CLOSED, None)  # type: ignore[arg-type]  # Python's own way: what is None there cannot be imported

# _attn_implementation, attn_implementation_internal, experts_implementation and what may be called
# like them
FIELD = re.compile(r"implementation(_internal)?\Z")
KERNELS = re.compile(r"kernel(s|_\w*)?\Z")
WISHES = ("use_kernels", "use_hub_kernels", "kernel_config", "kernels_config", "allow_all_kernels")
# what torch computes; None: transformers chooses one of them
PROGRAMS = {
    "_attn_implementation": (None, "eager", "sdpa"),
    "_experts_implementation": (None, "eager", "batched_mm", "grouped_mm"),
}
FILES = "*config.json"  # of the model, of its generation, tokenizer and processors
NEVER = "kernels of the hub are code of others and never run"


def refuse(path: Path) -> None:
    """Raise LoadError where a file of settings in a model's folder asks for code from elsewhere, or
    cannot be read.
    """
    for file in sorted(path.glob(FILES)):
        if told := fault(settings(path, file.name)):
            raise LoadError(f"{file}: it {told}.")


def told(error: Exception) -> str:
    """An error of transformers in words, without its advice to install what fetches kernels."""
    text = str(error)
    if "install" in text and CLOSED in text:
        return f"it needs the package `{CLOSED}`, which is not used here: {NEVER}"
    return f"{type(error).__name__}: {text}"


def fault(given: Any) -> str:
    """What speaks against the settings of a model: ``asks for ...``; empty where nothing does."""
    for place, value in _fields(given):
        name = place.rsplit(".", 1)[-1]
        if name in WISHES and value:
            return f"asks for kernels ({place}): {NEVER}; remove that field"
        named = (
            [text for text in _texts(value) if "/" in text]
            if FIELD.search(name) or KERNELS.search(name)
            else []
        )
        if named:
            return f"asks for code of the repository {named[0][:80]!r} ({place}), which is never run; remove that field, or set it to eager"
    return ""


def replace(config: Any) -> None:
    """Give a configuration of transformers, and those within it, programs of torch alone."""
    for name, allowed in PROGRAMS.items():
        if getattr(config, name, None) not in allowed:
            setattr(config, name, None)
    for name in getattr(config, "sub_configs", {}):
        if (part := getattr(config, name, None)) is not None:
            replace(part)


def _fields(given: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every field at any depth: its place, as ``text_config.attn_implementation``, and its value.
    Without recursion: files nest as they like.
    """
    waiting: list[tuple[str, Any]] = [(place, given)]
    while waiting:
        place, value = waiting.pop()
        parts = (
            value.items()
            if isinstance(value, dict)
            else [("", v) for v in value]
            if isinstance(value, list)
            else ()
        )
        for name, part in parts:
            inner = ".".join(filter(None, (place, str(name))))
            yield inner, part
            waiting.append((inner, part))


def _texts(value: Any) -> list[str]:
    """The texts in a value: itself, or those of its parts (one for each configuration within)."""
    parts = [value, *(part for _, part in _fields(value))]
    return [part for part in parts if isinstance(part, str)]
