"""Which files of this package a Python file rests on, read from its import statements.

An import counts wherever it stands in the file, but for those under ``if TYPE_CHECKING``, which
are never run. A name that a package only hands on (``from transect.lm import Model``) counts as
the file that defines it.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from transect.errors import InputError, nearest
from transect.store import unit_code, units
from transect.store.project import PACKAGE

DEFINITION = re.compile(r"^(?:async def|def|class|@)\b|^@", re.MULTILINE)
IMPORT = re.compile(rf"^\s+(?:from|import)\s+{PACKAGE.name}\b", re.MULTILINE)


def direct(path: Path) -> frozenset[Path]:
    """The files of the package that a file imports itself.

    Raises InputError for an import from the package that leads to no file: such a file would
    silently be no part of what rests on it.
    """
    return _direct(path, path.stat().st_mtime_ns)


def closure(
    paths: Iterable[Path], enter: Callable[[Path], bool] = lambda path: True
) -> frozenset[Path]:
    """The files of the package that some files import, directly or by way of others.

    enter: whether a file is taken, and its imports followed.
    """
    reached: set[Path] = set()
    ahead = [target for path in paths for target in direct(path)]
    while ahead:
        path = ahead.pop()
        if path not in reached and enter(path):
            reached.add(path)
            ahead.extend(direct(path))
    return frozenset(reached)


def of_unit(unit: units.Unit) -> list[Path]:
    """The files that a unit's results rest on: its own (store/unit_code.py), and what its code
    imports from the package, so that a step is done again when one of them changes.
    """
    own = unit_code.files(unit)
    return [*own, *sorted(closure(path for path in own if path.suffix == ".py"))]


def of_module(path: Path) -> list[Path]:
    """A file of the package and all that it imports from there."""
    return sorted({path, *closure([path])})


def declared(path: Path) -> dict[str, Any]:
    """The literals that a file declares above its first function or class."""
    return _declared(path, path.stat().st_mtime_ns)


@cache
def _declared(path: Path, modified: int) -> dict[str, Any]:
    return units.literals_in(_head(path, modified)[0])


@cache
def _head(path: Path, modified: int) -> tuple[ast.Module, bool]:
    """The part of a file above its first function or class, which is short, as a syntax tree; and
    whether the rest of it imports from the package.
    """
    text = path.read_text(encoding="utf-8")
    first = DEFINITION.search(text)
    if first is None:
        return units.syntax(path), False
    try:
        tree = ast.parse(text[: first.start()])
    except SyntaxError:  # the definition was found inside a text
        return units.syntax(path), False
    return tree, bool(IMPORT.search(text, first.start()))


@cache
def _direct(path: Path, modified: int) -> frozenset[Path]:
    targets: set[Path] = set()
    head, goes_on = _head(path, modified)
    for node in _run(units.syntax(path) if goes_on else head):
        targets.update(_targets(node, path))
    return frozenset(targets - {path})


def _targets(node: ast.AST, path: Path) -> list[Path]:
    """The files of the package that a statement of a file imports."""
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names if _ours(alias.name)]
        return [_module(module, path, node.lineno) for module in modules]
    if isinstance(node, ast.ImportFrom) and not node.level and _ours(node.module or ""):
        source = node.module or ""
        return [_imported(source, alias.name, path, node.lineno) for alias in node.names]
    return []


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree that may run: all but what stands under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _run(node)


def _ours(module: str) -> bool:
    return module.split(".")[0] == PACKAGE.name


def _imported(module: str, name: str, path: Path, line: int) -> Path:
    """The file behind ``from module import name``."""
    source = _module(module, path, line)
    if source.name != "__init__.py" or name == "*":
        return source
    submodule = _file_of(f"{module}.{name}")
    if submodule is not None:
        return submodule
    passed_on = _passed_on(source, name)
    if passed_on is not None:
        return passed_on
    if name in _assigned(units.syntax(source)):
        return source
    raise InputError(_no_file(f"{module}.{name}", path, line))


def _passed_on(source: Path, name: str) -> Path | None:
    """The file behind a name that a package itself imports, also on first use; None where it does
    not.
    """
    for node in ast.walk(units.syntax(source)):
        if isinstance(node, ast.ImportFrom) and _ours(node.module or ""):
            names = {alias.asname or alias.name: alias.name for alias in node.names}
            if name in names:
                return _imported(node.module or "", names[name], source, node.lineno)
    return None


def _assigned(tree: ast.Module) -> set[str]:
    """The names that a module itself defines."""
    definitions = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.name for node in definitions}


def _module(module: str, path: Path, line: int) -> Path:
    file = _file_of(module)
    if file is None:
        raise InputError(_no_file(module, path, line))
    return file


def _file_of(module: str) -> Path | None:
    """The file of a module of the package; None where there is none."""
    place = PACKAGE.joinpath(*module.split(".")[1:])
    for file in (place / "__init__.py", place.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _no_file(module: str, path: Path, line: int) -> str:
    """The sentence for an import that leads to no file, with the module that was probably meant."""
    by_last = {_parts(file)[-1]: ".".join(_parts(file)) for file in sorted(PACKAGE.rglob("*.py"))}
    close = nearest(module.split(".")[-1], by_last)
    for last, full in by_last.items():
        close = close.replace(f"{last!r}", f"{full!r}")
    return f"{path}, line {line}: there is no module {module}.{close}"


def _parts(file: Path) -> tuple[str, ...]:
    """The parts of a module's full name."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts
