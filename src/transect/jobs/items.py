"""The items of a cell: made once, kept in the store, and beside them what they were made of.

items/<digest>.parquet the items; items/<digest>.json {state, files, sha256}: the state of the
stimulus set (unit_code.py), the data of the project that it was seen to read, and the digest of the
items. Items of which the state is another are made again.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from transect.errors import InputError
from transect.store import cell_store, names, unit_code, units
from transect.store.files import json_file
from transect.store.files.whole_files import write_text
from transect.study.grid import Cell
from transect.study.study_file import Study


@dataclass(frozen=True)
class Made:
    """What a set of items was made of; `files` are those of the project that were seen to be read."""

    state: str
    files: tuple[str, ...]
    sha256: str


def items_of(cell: Cell, study: Study) -> tuple[pd.DataFrame, str]:
    """The items of a cell's stimuli and their digest, from the store where they were made of the
    same.
    """
    path = path_of(cell.items_digest, study)
    known = read_made(cell.items_digest, study)
    if path.is_file() and (known is None or known.state == state_now(cell, study, known)):
        items = cell_store.read_table(path)
        there = cell_store.table_digest(items)
        if known is None:
            known = Made(state_now(cell, study), (), there)
            write_made(cell.items_digest, study, known)
        if there == known.sha256:  # else somebody changed the file: they are made again
            return items, there
    known, items = make(cell, study, path)
    write_made(cell.items_digest, study, known)
    return items, known.sha256


def make(cell: Cell, study: Study, path: Path) -> tuple[Made, pd.DataFrame]:
    """Make the items, write them to `path` and read them from there, as every later reader does."""
    unit = cell.entry.stimuli
    assert unit is not None
    root = unit.root

    def call() -> pd.DataFrame:
        found: pd.DataFrame = unit.load().items(
            seed=study.seed, **cell.parameters, **cell.entry.stimuli_options
        )
        return found

    items, opened = _watched(call, root) if root else (call(), ())
    if "item" not in items or items["item"].duplicated().any() or items.empty:
        raise InputError(
            f"the stimuli {unit.name} must return at least one row and a column `item` without repeats."
        )
    cell_store.write_table(path, items.astype({"item": str}))
    items = cell_store.read_table(path)
    made = Made("", opened, cell_store.table_digest(items))
    return Made(state_now(cell, study, made), opened, made.sha256), items


def state_now(cell: Cell, study: Study, known: Made | None = None) -> str:
    """The state of a cell's stimuli, of the corpus that they are of, and of the data that they
    read.
    """
    unit = cell.entry.stimuli
    assert unit is not None
    root = unit.root
    seen = [root / name for name in known.files] if known and root else []
    given = cell.parameters | cell.entry.stimuli_options
    states = {unit_code.state(unit, given, seen)}
    if unit.get("CORPUS"):
        states.add(unit_code.state(units.find("corpus", unit["CORPUS"], study.project)))
    return " ".join(sorted(states))


def path_of(items_digest: str, study: Study) -> Path:
    return (
        study.project.store
        / "items"
        / f"{names.check(items_digest, 'the digest of items')}.parquet"
    )


def read_made(items_digest: str, study: Study) -> Made | None:
    """What stored items were made of; None where that was not recorded."""
    with suppress(FileNotFoundError):
        told: dict[str, Any] = json_file.read_object(
            path_of(items_digest, study).with_suffix(".json"), "state", "files", "sha256"
        )
        return Made(told["state"], tuple(told["files"]), told["sha256"])
    return None


def write_made(items_digest: str, study: Study, made: Made) -> None:
    path = path_of(items_digest, study).with_suffix(".json")
    write_text(path, json.dumps(asdict(made), indent=1, sort_keys=True) + "\n")


def made_again(study: Study, digests: list[str]) -> dict[str, dict[str, Any]]:
    """Items digest -> what the items are now made of, or {error}; nothing is kept."""
    cells = {c.items_digest: c for c in study.cells if not c.reason and c.entry.stimuli}
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for digest in digests:
            try:
                found[digest] = asdict(
                    make(cells[digest], study, Path(folder) / f"{digest}.parquet")[0]
                )
            except Exception as error:  # told by the job that measures, if it comes to that
                found[digest] = {"error": f"{type(error).__name__}: {error}"}
    return found


class _Opened:
    """The names of the files that this process opens while `watching`. A hook of the interpreter
    cannot be taken off again.
    """

    def __init__(self) -> None:
        self.watching, self.names = False, set[str]()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if (
            self.watching
            and event in ("open", "sqlite3.connect")
            and isinstance(arguments[0], str | Path)
        ):
            self.names.add(str(arguments[0]))


_opened = cache(_Opened)


def _watched(call: Callable[[], pd.DataFrame], root: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """What the call returns, and the data of the project that was opened meanwhile."""
    opened = _opened()
    opened.names.clear()
    opened.watching = True
    try:
        result = call()
    finally:
        opened.watching = False
    paths = {Path(name).resolve() for name in opened.names}
    return result, tuple(
        sorted(
            str(p.relative_to(root)) for p in paths if p.is_file() and unit_code.readable(p, root)
        )
    )
