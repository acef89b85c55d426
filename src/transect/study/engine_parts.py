"""Which parts of the engine a measure's values rest on: their VERSIONs are in the key of its cells.

A part is a file of transect/lm with a VERSION. It says about itself, in literals:

    ENGINE_PART   its name in keys; it stays when the file is moved or renamed
    SERVES        the capabilities of a model that it computes. It is a part of every measure that
                  REQUIRES one of them, and of another measure only if that imports it
    ONLY_RUNS     {factor: value}: the runs that it is a part of
    NOT_RUNS      {factor: value}: the runs whose scores and texts it cannot change
    ABSTRACT      True: an interface; what a model offers is computed by the files of its
                  subclasses, so the imports of this one are not followed

The parts of a cell are the files that load and run its model, with their imports; those that serve
what the measure REQUIRES; and those that the measure imports, directly or by way of others.
"""

from functools import cache
from pathlib import Path
from typing import Any

from transect.errors import InputError
from transect.registry.run import Run
from transect.store import code_imports, unit_code, units
from transect.store.project import PACKAGE

ENGINE = PACKAGE / "lm"


def versions(measure: units.Unit, run: Run) -> dict[str, int]:
    """Name of a part -> its VERSION, for the parts that a measure's values of this run rest on.

    Raises InputError for an import of the measure from this package that leads to no file.
    """
    roots, local, *facts = kind(run)
    code = [file for file in unit_code.files(measure) if file.suffix == ".py"]
    measured = tuple((file, file.stat().st_mtime_ns) for file in code)
    return dict(_versions(measured, tuple(measure["REQUIRES"]), roots, local, tuple(facts)))


def kind(run: Run) -> tuple[Any, ...]:
    """What it depends on which parts a run's cells rest on: the parts by which it is loaded,
    whether its capabilities are computed here, and the factors that parts name.
    """
    facts = ((factor, run.get(factor)) for factor in _telling_factors())
    return (*_roots(run), *facts)


def by_name() -> dict[str, Path]:
    """Name -> file of every part of the engine.

    Raises InputError where a file with a VERSION has no name, or two have the same.
    """
    files: dict[str, Path] = {}
    for path, declared in _engine(ENGINE).items():
        if "VERSION" not in declared:
            continue
        name = declared.get("ENGINE_PART")
        if not name:
            raise InputError(f"{path}: a file of the engine with a VERSION needs an ENGINE_PART.")
        if name in files:
            raise InputError(f"{path}: ENGINE_PART {name!r} is that of {files[name]} too.")
        files[name] = path
    return files


def _roots(run: Run) -> tuple[tuple[str, ...], bool]:
    """The parts by which a run is loaded, and whether its capabilities are computed here."""
    if run.get("endpoint"):
        return ("api",), False
    if run.get("mixer") == "ngram":
        return ("ngram", "tokenizer"), True
    return ("loading",), True


@cache
def _telling_factors() -> tuple[str, ...]:
    """The factors by which a part says to which runs it belongs."""
    factors: set[str] = set()
    for path in by_name().values():
        factors |= {*_declared(path, "ONLY_RUNS", {}), *_declared(path, "NOT_RUNS", {})}
    return tuple(sorted(factors))


@cache
def _versions(
    measured: tuple[tuple[Path, int], ...],
    requires: tuple[str, ...],
    roots: tuple[str, ...],
    local: bool,
    facts: tuple[tuple[str, Any], ...],
) -> tuple[tuple[str, int], ...]:
    """The parts of one measure on runs of one kind, by name."""
    files, known = by_name(), dict(facts)
    served = {path for path in files.values() if {*_declared(path, "SERVES", ())} & {*requires}}

    def of_these_runs(path: Path) -> bool:
        if _declared(path, "ABSTRACT", False):
            return False
        only = _declared(path, "ONLY_RUNS", {})
        return all(known[factor] == value for factor, value in only.items())

    def loads(path: Path) -> bool:
        if not of_these_runs(path):
            return False
        never = _declared(path, "NOT_RUNS", {})
        if any(known[factor] == value for factor, value in never.items()):
            return False
        return path in served or not _declared(path, "SERVES", ())

    start = {files[name] for name in roots}
    if local:
        start |= served
    model = start | code_imports.closure(start, loads)

    def of_the_measure(path: Path) -> bool:
        if path in model or not of_these_runs(path):
            return False
        return local or not _declared(path, "SERVES", ())

    reached = model | code_imports.closure((path for path, _ in measured), of_the_measure)
    parts = []
    for name, path in sorted(files.items()):
        if path in reached:
            parts.append((name, _declared(path, "VERSION", 0)))
    return tuple(parts)


@cache
def _engine(folder: Path) -> dict[Path, dict[str, Any]]:
    """File -> its literals, of the files of the engine: they stay while the program runs."""
    return {path: code_imports.declared(path) for path in sorted(folder.rglob("*.py"))}


def _declared(path: Path, name: str, default: Any) -> Any:
    return _engine(ENGINE).get(path, {}).get(name, default)
