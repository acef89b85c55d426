"""Whether what was measured was made of what the project's units are now, where their VERSION says
that it was.

A VERSION stands in the keys of cells; code and data do not, so that a comment or a better loop
costs nothing. An edit that was not meant to change values, or a VERSION that was forgotten, cannot
be told apart by a machine: the user says which it is. Of stimuli the items that they make now are
compared with those that were measured; of measures and corpora the state is (unit_code.py).
"""

import json
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from transect.errors import InputError
from transect.jobs import items
from transect.jobs.items import Made
from transect.jobs.train import begun, corpus_of
from transect.registry.recipe import corpus_unit
from transect.store import cell_store, children, unit_code
from transect.store.cell_store import FAILED, Store
from transect.store.files import json_file
from transect.store.files.whole_files import write_text
from transect.store.units import Unit
from transect.study.grid import Cell
from transect.study.study_file import Study

# folder of the store: states of a unit that its user declared to give the same values
SAME = "same_values"


def check(study: Study, same_values: bool = False) -> None:
    """Raise InputError for the first unit that was edited since it was measured, at an equal
    VERSION.

    same_values: the user says that the values are the same; they are kept, and this is remembered.
    """
    index = Store(study.project.store).index()
    recorded = index[index["state"] != FAILED][["code", "items_sha256"]].to_dict("index")
    done = [cell for cell in study.cells if not cell.reason and cell.key in recorded]
    judge = _Judge(study, same_values)
    _check_corpora(study, judge)
    _check_items(study, done, {key: row["items_sha256"] for key, row in recorded.items()}, judge)
    for entry in study.entries:
        before = [recorded[cell.key]["code"] for cell in done if cell.entry is entry]
        judge.states(
            entry.measure, before, entry.code, f"{len(before)} cells were measured", "measure"
        )


class _Judge:
    """Decides on what differs, for one study: the same by what its user declared, or an error."""

    def __init__(self, study: Study, same_values: bool):
        self.study = study
        self.same_values = same_values

    def states(self, unit: Unit, before: Iterable[str], now: str, done: str, again: str) -> None:
        """Raise InputError where a unit had another state before, and nobody said that both give
        the same values.
        """
        other = {state for state in before if state != now}
        if not other or (other == {""} and "=" not in now):
            return
        name = f"{unit.kind}-{unit.name}-{unit['VERSION']}"
        known = self._declared(name)
        if {*other, now} <= known:
            return
        if self.same_values or (
            other == {""} and not known
        ):  # where no state was recorded, the first that is seen is taken for it
            return self._declare(name, {*known, *other, now})
        was = max(other - known or known - {now})  # one that was recorded, before an empty one
        self._refuse(unit, unit_code.changed(was, now), done, again, "=" in was and "=" in now)

    def items(self, cells: list[Cell], other: set[str], made: Made, now: str) -> bool:
        """The same for items that differ from those that were measured (`other`: digests of these);
        True: the kept ones are to stay.
        """
        unit = cells[0].entry.stimuli
        name = f"items-{cells[0].items_digest}"
        if (
            unit is None
            or not other
            or {*other, made.sha256} <= self._declared(name)
            and made.state == now
        ):
            return False
        if self.same_values:
            self._declare(name, {*self._declared(name), *other, made.sha256})
            return True
        self._refuse(
            unit,
            unit_code.changed(made.state, now),
            f"{len(cells)} cells were measured with its items",
            "measure",
        )
        return False

    def _refuse(
        self, unit: Unit, files: list[str], done: str, again: str, own: bool = True
    ) -> None:
        what = f"{', '.join(files) or unit.path} {'have' if len(files) > 1 else 'has'} changed since {done}"
        if not own:
            what = f"{unit.path} is another file than that of the {unit.kind} {unit.name} with which {done}"
        raise InputError(
            f"{what}, and the VERSION of {unit.name} is still {unit['VERSION']}: raise it in {unit.path} to {again} again, or keep the "
            f"values with `transect run {self.study.name} --same-values`."
        )

    def _declared(self, name: str) -> set[str]:
        path = self.study.project.store / SAME / f"{name}.json"
        return set(json_file.read(path)) if path.is_file() else set()

    def _declare(self, name: str, states: set[str]) -> None:
        path = self.study.project.store / SAME / f"{name}.json"
        try:
            write_text(path, json.dumps(sorted(states), indent=1) + "\n")
        except OSError:
            if self.same_values:
                raise


def _check_corpora(study: Study, judge: _Judge) -> None:
    """Of every run whose weights were trained here on a corpus of the project."""
    trained: dict[str, tuple[Unit, list[str]]] = {}
    for run in study.runs:
        if run.trained_here and begun(run, study.project):
            unit = corpus_unit(run, study.project)
            trained.setdefault(unit.name, (unit, []))[1].append(corpus_of(run, study.project))
    for unit, before in trained.values():
        judge.states(
            unit, before, unit_code.state(unit), f"{len(before)} runs were trained on it", "train"
        )


def _check_items(study: Study, done: list[Cell], recorded: dict[str, str], judge: _Judge) -> None:
    """Of every set of items that was measured: made of the same as then, or the items that are made
    now are equal.
    """
    cells: dict[str, list[Cell]] = {}
    for cell in done:
        if cell.entry.stimuli is not None:
            cells.setdefault(cell.items_digest, []).append(cell)
    kept = {digest: made for digest in cells if (made := _kept(digest, study)) is not None}
    now = {digest: items.state_now(cells[digest][0], study, made) for digest, made in kept.items()}
    other = [
        d for d, made in kept.items() if now[d] != made.state and (made.state or "=" in now[d])
    ]
    fresh = _made_again(study, other) if other else {}
    for digest, made in kept.items():
        current = fresh.get(digest, made) if digest in other else made
        if digest in other and digest not in fresh:  # they cannot be made any more
            current = replace(made, state=now[digest], sha256="" if made.state else made.sha256)
        measured = {recorded[c.key] or made.sha256 for c in cells[digest]}
        if judge.items(cells[digest], measured - {current.sha256}, made, now[digest]):
            current = replace(made, state=now[digest])
        if current != made and "=" in now[digest]:
            with suppress(OSError):  # a store that may only be read
                items.write_made(digest, study, current)


def _kept(digest: str, study: Study) -> Made | None:
    """What the stored items were made of, with an empty state where that was not recorded; None
    where there are none.
    """
    made, path = items.read_made(digest, study), items.path_of(digest, study)
    if made is None and path.is_file():
        return Made("", (), cell_store.table_digest(cell_store.read_table(path)))
    return made


def _made_again(study: Study, digests: list[str]) -> dict[str, Made]:
    """What these items are made of now; without those that cannot be made. In a process like that
    of a job: planning imports no unit.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "items.json"
        command = children.python(
            "transect.jobs", "items", str(study.path), ",".join(digests), "--output", str(output)
        )
        subprocess.run(
            command,
            cwd=study.project.root,
            env=children.environment(),
            capture_output=True,
            check=False,
        )
        told: dict[str, Any] = json_file.read_object(output) if output.is_file() else {}
    return {
        d: Made(m["state"], tuple(m["files"]), m["sha256"])
        for d, m in told.items()
        if "error" not in m
    }
