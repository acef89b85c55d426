"""Units are found by their file: a stimulus set, a measure, a corpus, an analysis, a figure.
Nothing is registered a second time.

A unit declares about itself with literals at the top of its file (VERSION, REQUIRES, NEEDS, ...).
They are read from the syntax tree, so that planning imports neither torch nor the unit.
"""

import ast
import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from transect.errors import InputError, nearest
from transect.store import names
from transect.store.files import yaml_file
from transect.store.project import PACKAGE, SHIPPED, Project, tell

# kind -> (folder in a user's project, folder of what is shipped, searched with subfolders)
KINDS: dict[str, tuple[str, Path, bool]] = {
    "stimuli": ("stimuli", PACKAGE / "stimuli", False),
    "measure": ("measures", PACKAGE / "measures", True),
    "corpus": ("corpora", PACKAGE / "stimuli" / "corpora", False),
    "analysis": ("analyses", SHIPPED / "analyses", False),
    "figure": ("analyses/figures", SHIPPED / "analyses" / "figures", False),
}
REQUIRED: dict[str, tuple[str, ...]] = {
    "stimuli": ("VERSION", "COLUMNS"),
    "measure": ("VERSION", "UNIT", "REQUIRES", "STIMULI"),
    "corpus": ("VERSION",),
    "analysis": ("NEEDS", "QUESTION"),
    "figure": ("NEEDS",),
}


@dataclass(frozen=True)
class Unit:
    """One file: `declared` holds its literals."""

    kind: str
    name: str
    path: Path
    declared: dict[str, Any]

    def check_options(self, given: Iterable[str], place: str) -> None:
        """Raise InputError for an option that the unit's function does not take, and for one that
        it needs and that is not there.

        `place` says where they were given.
        """
        taken, given = self.options(), list(given)
        for option in given:
            if option not in taken and self._function().args.kwarg is None:
                raise InputError(
                    f"{place}: {self.name} has no option {option!r}; it has {', '.join(taken) or 'none'}.{nearest(option, taken)}"
                )
        for option, default in taken.items():
            if default is None and option not in given:
                raise InputError(self._needs(option, place))

    def options(self) -> dict[str, str | None]:
        """Option -> its default as it is written in the file; None: it has none and must be given."""
        arguments = self._function().args
        by = ["seed", *self.get("BY", [])]
        pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        return {
            a.arg: None if default is None else ast.unparse(default)
            for a, default in pairs
            if a.arg not in by
        }

    def example(self, option: str) -> str:
        """A value of an option as it is written in a study or on the command line (EXAMPLE); empty
        where the unit gives none.
        """
        examples = self.get("EXAMPLE", {})
        if option not in examples:
            return ""
        return yaml_file.inline(examples[option])

    def documentation(self) -> tuple[str, str]:
        """The texts of the file and of its function."""
        return ast.get_docstring(syntax(self.path)) or "", ast.get_docstring(self._function()) or ""

    def _needs(self, option: str, place: str) -> str:
        example = self.example(option)
        if place.startswith("--"):
            return f"{self.name} needs {place} {option}=...{f', e.g. {chr(39)}{option}={example}{chr(39)}' if example else ''}."
        return f"{place}: {self.name} needs the option {option}{f', e.g. {option}: {example}' if example else ''}."

    def _function(self) -> ast.FunctionDef:
        """The unit's function, as syntax."""
        name = {"measure": "measure", "stimuli": "items"}[self.kind]
        for node in syntax(self.path).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return node
        raise InputError(f"{self.path}: a {self.kind} unit needs a function {name}(...).")

    def __getitem__(self, name: str) -> Any:
        return self.declared[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.declared.get(name, default)

    def unit_of(self, metric: str) -> str:
        """The unit of one of a measure's metrics (UNIT: one for all, or by metric); empty where the
        measure does not tell.
        """
        declared = self["UNIT"]
        return str(declared.get(metric, "") if isinstance(declared, dict) else declared)

    @property
    def root(self) -> Path | None:
        """The project folder that the unit belongs to; None of a shipped one."""
        own, shipped, _ = KINDS[self.kind]
        if self.path.is_relative_to(shipped):
            return None
        return next(p for p in self.path.parents if self.path.is_relative_to(p / own))

    @property
    def hides_shipped(self) -> bool:
        """Whether the project's unit stands in the place of a shipped one of the same name."""
        _, shipped, deep = KINDS[self.kind]
        pattern = f"{'**/' if deep else ''}{self.name}.py"
        return self.root is not None and any(shipped.glob(pattern))

    def load(self) -> ModuleType:
        """Import the file. Shipped units keep their package name, so that they may import each
        other.

        A project's unit may import what lies in its own folder and in the project's; Python's
        modules and what is installed come first.
        """
        if self.path.is_relative_to(PACKAGE):
            parts = self.path.relative_to(PACKAGE.parent).with_suffix("").parts
            return importlib.import_module(".".join(parts))
        name = f"transect_unit_{self.kind}_{self.name}"
        if name not in sys.modules or getattr(sys.modules[name], "__file__", None) != str(
            self.path
        ):
            spec = importlib.util.spec_from_file_location(name, self.path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            own = [str(folder) for folder in (self.path.parent, self.root) if folder is not None]
            sys.path += [folder for folder in own if folder not in sys.path]
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]  # half a module would give the next user another error
                raise
        return sys.modules[name]


def available(kind: str, project: Project) -> dict[str, Path]:
    """Name -> file of every unit of a kind; a user's own unit hides a shipped one of the same name."""
    own, shipped, deep = KINDS[kind]
    found: dict[str, Path] = {}
    for folder in (shipped, *([project.root / own] if project.has_own else [])):
        for path in sorted(folder.glob("**/*.py" if deep else "*.py")):
            if not path.name.startswith("_"):
                found[path.stem] = path
    return found


def _data_beside(kind: str, name: str, project: Project) -> str:
    """A clause about a file of data that is called like the stimulus set that is wanted; empty
    where there is none.
    """
    files = (
        sorted((project.root / "stimuli").glob("*.*"))
        if kind == "stimuli" and project.has_own
        else []
    )
    data = next(
        (file for file in files if name in (file.stem, file.name) and file.suffix != ".py"), None
    )
    if data is None:
        return ""
    declared = " and ".join(REQUIRED[kind])
    return f" stimuli/{data.name} is data: write a file stimuli/{data.stem}.py with {declared} and a function items(*, seed) that reads it as a table."


def find(kind: str, name: str, project: Project, where: str = "") -> Unit:
    """The unit of that name. `where` says in an error where the name was given, e.g.
    ``studies/x.yaml: measures``.
    """
    paths = available(kind, project)
    if name not in paths:
        allowed = ", ".join(sorted(paths)) or "none"
        prefix = f"{where}: " if where else ""
        raise InputError(
            f"{prefix}unknown {kind} {name!r}; there are: {allowed}.{_data_beside(kind, name, project) or nearest(name, paths)}"
        )
    path = paths[name]
    if told := names.fault(name):
        raise InputError(f"{path}: the name of this {kind} {told}; rename the file.")
    if alike := names.one_folder([name, *paths]):
        raise InputError(
            f"{path}: {paths[alike[1]]} differs in capitals only, which is one file on some systems; rename one of them."
        )
    declared = _read(path, path.stat().st_mtime_ns)
    missing = [d for d in REQUIRED[kind] if d not in declared]
    if missing:
        raise InputError(
            f"{path}: a {kind} must declare {', '.join(missing)} as a literal at the top of its file."
        )
    unit = Unit(kind, name, path, declared)
    if unit.hides_shipped:
        tell(f"the {kind} {name!r} is that of {path}, in the place of the shipped one.")
    return unit


def literals(path: Path) -> dict[str, Any]:
    """The upper-case names that a Python file assigns literals to at its top level."""
    return _read(path, path.stat().st_mtime_ns)


def syntax(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise InputError(
            f"{path}, line {error.lineno}: this is not valid Python ({error.msg})."
        ) from None


@cache
def _read(path: Path, modified: int) -> dict[str, Any]:
    return literals_in(syntax(path))


def literals_in(tree: ast.Module) -> dict[str, Any]:
    """The upper-case names that are assigned literals at the top level of a syntax tree."""
    declared: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name) and target.id.isupper():
            with contextlib.suppress(ValueError):  # computed: not a declaration
                declared[target.id] = ast.literal_eval(value)
    return declared
