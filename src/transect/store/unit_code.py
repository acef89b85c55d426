"""What a project's own unit is made of beside its VERSION: its code, what it imports inside the
project, and the data that it names.

A *state* is a text, ``measures/x.py=9f86d081 measures/lexicon.csv=60303ae2``: each file of the
project with a digest, of a Python file the digest of its syntax without comments, docstrings and
layout. Two equal states give equal values. A unit that is shipped has the state `shipped`: golden
values keep its VERSION honest.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from transect.errors import InputError
from transect.store.files.whole_files import PART
from transect.store.units import Unit, syntax

SHIPPED_STATE = "shipped"
LARGE = 64 * 2**20  # bytes; a larger file is known by its size and time
GENERATED = ("results", "__pycache__")


def state(
    unit: Unit | None, options: Mapping[str, Any] | None = None, more: Iterable[Path] = ()
) -> str:
    """The state of a unit as it is now. options: what is given to it, which may name files; more:
    files that it was seen to read.
    """
    if unit is None or (root := unit.root) is None:
        return SHIPPED_STATE
    found = {*files(unit, options), *(p for p in more if p.is_file())}
    digests = {
        p: _of_syntax(p, p.stat().st_mtime_ns) if p.suffix == ".py" else _of_content(p)
        for p in found
    }
    return " ".join(sorted(f"{_told(path, root)}={digest}" for path, digest in digests.items()))


def changed(before: str, now: str) -> list[str]:
    """The files in which two states differ."""
    states = [
        dict(part.rsplit("=", 1) for part in text.split() if "=" in part) for text in (before, now)
    ]
    return sorted(f for f in {*states[0], *states[1]} if states[0].get(f) != states[1].get(f))


def files(unit: Unit, options: Mapping[str, Any] | None = None) -> list[Path]:
    """The file of a unit and, where it is a project's own, what it imports inside the project and
    the data that it names.
    """
    root = unit.root
    if root is None:
        return [unit.path]
    code, left = [unit.path], [unit.path]
    while left:
        path = left.pop()
        places = [path.parent, *_folders(path, root)]
        for name in _modules(path):
            for file in (
                file
                for place in places
                for file in (place / f"{name}.py", place / name / "__init__.py")
            ):
                if file.is_file() and file not in code and file.is_relative_to(root):
                    code.append(file)
                    left.append(file)
    return [*code, *sorted(_named(unit, root, code, options or {}))]


def readable(path: Path, root: Path) -> bool:
    """Whether a file of the project is data that its author wrote: neither made by this program nor
    hidden, nor of an environment.
    """
    if (
        not path.is_relative_to(root)
        or path.is_relative_to(sys.prefix)
        or path.name.startswith(PART)
    ):
        return False
    inside = path.relative_to(root).parts
    return path.suffix not in (".py", ".pyc") and not any(
        p.startswith(".") or p in GENERATED for p in inside
    )


def _modules(path: Path) -> Iterator[str]:
    """The modules that a file may import, as paths: ``from a.b import c`` -> a/b and a/b/c."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.replace(".", "/") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").replace(".", "/")
            yield from (
                name.strip("/")
                for name in (base, *(f"{base}/{alias.name}" for alias in node.names))
                if name
            )


def _folders(path: Path, root: Path) -> list[Path]:
    """Where a file of the project may look for others: the project, and every folder that a text in
    it names.
    """
    named = [
        base / text for text in _texts(path) for base in (path.parent, root) if "*" not in text
    ]
    return list(
        dict.fromkeys(
            [root, *(p for p in named if _is(p, "dir") and p.resolve().is_relative_to(root))]
        )
    )


def _named(unit: Unit, root: Path, code: list[Path], options: Mapping[str, Any]) -> set[Path]:
    """Data that the code or an option names (a part that is computed stands for anything), and data
    called like the unit.
    """
    found = {p for p in unit.path.parent.glob(f"{unit.path.stem}.*") if p.is_file()}
    for path, texts in [*((p, _texts(p)) for p in code), (unit.path, list(_strings(options)))]:
        for base in (path.parent, *_folders(path, root)):
            for text in texts:
                if "*" in text:
                    found |= {p for p in base.glob(text) if p.is_file()}
                elif _is(base / text, "file"):
                    found.add(base / text)
    return {p.resolve() for p in found if readable(p.resolve(), root)}


def _texts(path: Path) -> list[str]:
    return _texts_at(path, path.stat().st_mtime_ns)


@cache
def _texts_at(path: Path, modified: int) -> list[str]:
    """The texts in a file's code that may name files; ``f"{language}.csv"`` -> ``*.csv``."""
    found = []
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "*" not in node.value:
            found.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = (str(v.value) if isinstance(v, ast.Constant) else "*" for v in node.values)
            text = "".join(parts).replace("**", "*")
            if "." in Path(text).name and not text.startswith(("/", "*/")):
                found.append(text)
    return [text for text in dict.fromkeys(found) if 0 < len(text) < 200 and text.isprintable()]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(part)


def _is(path: Path, what: str) -> bool:
    try:
        return path.is_dir() if what == "dir" else path.is_file()
    except (OSError, ValueError):  # too long a name, or none
        return False


def _told(path: Path, root: Path) -> str:
    text = str(path.relative_to(root) if path.is_relative_to(root) else path)
    return text.replace(" ", "%20")


@cache
def _of_syntax(path: Path, modified: int) -> str:
    try:
        meaning = json.dumps(_plain(syntax(path)))
    except RecursionError:
        raise InputError(f"{path}: an expression in it is nested too deeply.") from None
    return hashlib.sha256(meaning.encode()).hexdigest()[:16]


def _plain(node: Any) -> Any:
    """A syntax tree as lists: without places, what is empty, and texts that stand alone
    (docstrings).
    """
    if isinstance(node, ast.AST):
        parts = {
            name: _plain(value)
            for name, value in ast.iter_fields(node)
            if value is not None and name != "kind"
        }
        return [type(node).__name__, *([name, part] for name, part in parts.items() if part != [])]
    if isinstance(node, list):
        return [_plain(part) for part in node if not _text_alone(part)]
    return [type(node).__name__, repr(node)]


def _text_alone(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _of_content(path: Path) -> str:
    facts = path.stat()
    content = (
        f"{facts.st_size} {facts.st_mtime_ns}".encode()
        if facts.st_size > LARGE
        else path.read_bytes()
    )
    return hashlib.sha256(content).hexdigest()[:16]
