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
    if unit is None or unit.root is None:
        return SHIPPED_STATE
    paths = set(files(unit, options))
    paths.update(path for path in more if path.is_file())
    parts = []
    for path in paths:
        name = _name(path, unit.root)
        parts.append(f"{name}={_digest(path)}")
    return " ".join(sorted(parts))


def changed(before: str, now: str) -> list[str]:
    """The files in which two states differ."""
    old, new = _digests(before), _digests(now)
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def _digests(text: str) -> dict[str, str]:
    """File -> digest, of a state."""
    return dict(part.rsplit("=", 1) for part in text.split() if "=" in part)


def files(unit: Unit, options: Mapping[str, Any] | None = None) -> list[Path]:
    """The file of a unit and, where it is a project's own, what it imports inside the project and
    the data that it names.
    """
    root = unit.root
    if root is None:
        return [unit.path]
    code, ahead = [unit.path], [unit.path]
    while ahead:
        for file in _imported(ahead.pop(), root):
            if file not in code:
                code.append(file)
                ahead.append(file)
    return [*code, *sorted(_named(unit, root, code, options or {}))]


def _imported(path: Path, root: Path) -> Iterator[Path]:
    """The files of the project that a file may import."""
    places = [path.parent, *_folders(path, root)]
    for name in _modules(path):
        for place in places:
            for file in (place / f"{name}.py", place / name / "__init__.py"):
                if file.is_file() and file.is_relative_to(root):
                    yield file


def readable(path: Path, root: Path) -> bool:
    """Whether a file of the project is data that its author wrote: neither made by this program nor
    hidden, nor of an environment.
    """
    if not path.is_relative_to(root) or path.is_relative_to(sys.prefix):
        return False
    if path.name.startswith(PART) or path.suffix in (".py", ".pyc"):
        return False
    inside = path.relative_to(root).parts
    return not any(part.startswith(".") or part in GENERATED for part in inside)


def _modules(path: Path) -> Iterator[str]:
    """The modules that a file may import, as paths: ``from a.b import c`` -> a/b and a/b/c."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.replace(".", "/") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").replace(".", "/")
            inside = [f"{base}/{alias.name}".strip("/") for alias in node.names]
            yield from [base, *inside] if base else inside


def _folders(path: Path, root: Path) -> list[Path]:
    """Where a file of the project may look for others: the project, and every folder that a text in
    it names.
    """
    folders = [root]
    for text in _texts(path):
        if "*" in text:
            continue
        for folder in (path.parent / text, root / text):
            if _is(folder, "dir") and folder.resolve().is_relative_to(root):
                folders.append(folder)
    return list(dict.fromkeys(folders))


def _named(unit: Unit, root: Path, code: list[Path], options: Mapping[str, Any]) -> set[Path]:
    """Data that the code or an option names (a part that is computed stands for anything), and data
    called like the unit.
    """
    sources = [(path, _texts(path)) for path in code]
    sources.append((unit.path, list(_strings(options))))
    named = set(unit.path.parent.glob(f"{unit.path.stem}.*"))
    for path, texts in sources:
        for folder in (path.parent, *_folders(path, root)):
            for text in texts:
                if "*" in text:
                    named.update(folder.glob(text))
                else:
                    named.add(folder / text)
    resolved = {path.resolve() for path in named if _is(path, "file")}
    return {path for path in resolved if readable(path, root)}


def _texts(path: Path) -> list[str]:
    return _texts_at(path, path.stat().st_mtime_ns)


@cache
def _texts_at(path: Path, modified: int) -> list[str]:
    """The texts in a file's code that may name files; ``f"{language}.csv"`` -> ``*.csv``."""
    texts: dict[str, None] = {}
    for node in ast.walk(syntax(path)):
        text = _text(node)
        if 0 < len(text) < 200 and text.isprintable():
            texts[text] = None
    return list(texts)


def _text(node: ast.AST) -> str:
    """The text of a node that may name files, as a pattern; empty for any other node."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return "" if "*" in node.value else node.value
    if isinstance(node, ast.JoinedStr):
        text = _pattern(node)
        if "." in Path(text).name and not text.startswith(("/", "*/")):
            return text
    return ""


def _pattern(node: ast.JoinedStr) -> str:
    """An f-string as a pattern of file names: * for each part that is computed."""
    parts = []
    for part in node.values:
        parts.append(str(part.value) if isinstance(part, ast.Constant) else "*")
    return "".join(parts).replace("**", "*")


def _name(path: Path, root: Path) -> str:
    """A file as a state names it: below the root, without spaces."""
    text = str(path.relative_to(root) if path.is_relative_to(root) else path)
    return text.replace(" ", "%20")


def _digest(path: Path) -> str:
    if path.suffix == ".py":
        return _of_syntax(path, path.stat().st_mtime_ns)
    return _of_content(path)


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
    if isinstance(node, list):
        return [_plain(part) for part in node if not _text_alone(part)]
    if not isinstance(node, ast.AST):
        return [type(node).__name__, repr(node)]
    parts = []
    for name, value in ast.iter_fields(node):
        if value is None or name == "kind":
            continue
        part = _plain(value)
        if part != []:
            parts.append([name, part])
    return [type(node).__name__, *parts]


def _text_alone(node: Any) -> bool:
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return False
    return isinstance(node.value.value, str)


def _of_content(path: Path) -> str:
    facts = path.stat()
    if facts.st_size > LARGE:
        content = f"{facts.st_size} {facts.st_mtime_ns}".encode()
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]
