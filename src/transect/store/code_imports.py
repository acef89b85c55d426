"""Which files of this package a Python file rests on, read from its import statements.

An import counts wherever it stands in the file, but for those under ``if TYPE_CHECKING``, which
are never run. A name that a package only hands on (``from transect.lm import Model``) counts as
the file that defines it.
"""

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from transect.errors import InputError, nearest
from transect.store import unit_code, units
from transect.store.project import PACKAGE


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


@cache
def _direct(path: Path, modified: int) -> frozenset[Path]:
    targets: set[Path] = set()
    for node in _run(units.syntax(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _ours(alias.name):
                    targets.add(_module(alias.name, path, node.lineno))
        elif isinstance(node, ast.ImportFrom) and not node.level and _ours(node.module or ""):
            for alias in node.names:
                targets.add(_imported(node.module or "", alias.name, path, node.lineno))
    return frozenset(targets - {path})


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
    for node in ast.walk(units.syntax(source)):  # also those that run on first use
        if isinstance(node, ast.ImportFrom) and _ours(node.module or ""):
            names = {alias.asname or alias.name: alias.name for alias in node.names}
            if name in names:
                return _imported(node.module or "", names[name], source, node.lineno)
    if name in _assigned(units.syntax(source)):
        return source
    raise InputError(_no_file(f"{module}.{name}", path, line))


def _assigned(tree: ast.Module) -> set[str]:
    """The names that a module itself defines."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


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
