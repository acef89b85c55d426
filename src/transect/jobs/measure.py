"""The step that measures: the stale cells of one shard, one load per checkpoint; a shard with
nothing stale loads nothing.
"""

import json
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from transect.errors import (
    InputError,
    LoadError,
    NotApplicable,
    ResourceError,
    UnavailableError,
    disk_full,
    panics_are_errors,
)
from transect.jobs import drift
from transect.jobs.items import items_of
from transect.jobs.offers import check_offered, code_allowed
from transect.jobs.opened import used
from transect.jobs.progress import Progress
from transect.jobs.self_check import SelfCheck
from transect.registry.recipe import ERROR, weights_folder
from transect.registry.run import UNKNOWN, Checkpoint, Run
from transect.store import cell_store
from transect.store.cell_store import FAILED, MEASURED, NOT_APPLICABLE, Record, Store
from transect.store.environment import environment, peak_memory_mb
from transect.store.files.whole_files import recover, write_text
from transect.store.project import Project
from transect.study.grid import Cell, identity
from transect.study.stale import stale
from transect.study.study_file import Study

STOPPED = "stopped"  # folder in a study's results: a shard's file says why it stopped the whole run


def measure(
    study: Study,
    name: str,
    marker: Path,
    last_attempt: bool = False,
    retry_failed: bool = False,
    trust_remote_code: bool = False,
) -> None:
    """Measure what the store lacks, checkpoint by checkpoint; each is written as soon as it is
    done.

    Errors of a model or of data are recorded as failed cells and the job ends well. A resource
    error raises, so that the workflow tries again; at the last attempt it is recorded too, and the
    next run of the study tries again. DriftError stops the study: what lies at a revision is not
    what was measured there before.
    """
    shard = next(s for s in study.shards if s.name == name)
    cells = Store(study.project.store)
    index = cells.index()
    todo: dict[Checkpoint, list[Cell]] = {}
    for cell in shard.cells:
        if not cell.reason and stale(cell, index, retry_failed):
            todo.setdefault(cell.checkpoint, []).append(cell)
    stopped = study.results / STOPPED / f"{name}.txt"
    stopped.unlink(missing_ok=True)
    progress = Progress(study.results / "progress", f"measure-{name}", len(todo))
    job = _Job(study, last_attempt, trust_remote_code)
    for done, (checkpoint, wanted) in enumerate(todo.items()):
        progress.say(done, f"{checkpoint.run.id} {checkpoint.revision}")
        try:
            job.checkpoint(checkpoint, wanted, cells)
        except drift.DriftError as error:
            write_text(stopped, f"{error}\n")
            raise
    progress.end()
    write_text(
        marker,
        json.dumps({"cells": len(shard.cells), "measured_now": sum(map(len, todo.values()))})
        + "\n",
    )


def abandon(study: Study, name: str, marker: Path) -> None:
    """What is left of a shard whose job was killed at its last attempt: failed cells, so that the
    rest of the study goes on.
    """
    shard = next(s for s in study.shards if s.name == name)
    cells = Store(study.project.store)
    index = cells.index()
    reason = "the job was killed, each time it was tried (out of memory?); its log tells more"
    for checkpoint in dict.fromkeys(c.checkpoint for c in shard.cells):
        left = [
            c
            for c in shard.cells
            if c.checkpoint == checkpoint and not c.reason and stale(c, index)
        ]
        if left:
            cells.write(
                [c.record(FAILED, reason=reason, kind="resource") for c in left],
                {},
                {"error": reason},
            )
    write_text(marker, json.dumps({"cells": len(shard.cells), "measured_now": 0}) + "\n")


def locate(checkpoint: Checkpoint, project: Project, remote_code: bool = False) -> Path:
    """The folder that holds a checkpoint; downloads it where it lies on the hub, with its Python
    files where they may be run.

    Of a run with a `path` it is that folder, and the folder in it that is named like the revision
    where that is not main; of a run with an `endpoint` the transcript of its answers.
    Raises LoadError where training failed or the hub has no such checkpoint, ResourceError where
    the network is down, UnavailableError where there is no such folder on this machine.
    """
    run = checkpoint.run
    if run.get("endpoint"):
        return Store(project.store).transcript(run.id)
    if run.get("path"):
        place = project.root / Path(run.get("path")).expanduser()
        place = place if checkpoint.revision == "main" else place / checkpoint.revision
        if not place.is_dir():
            raise UnavailableError(
                f"run {run.id!r}: there is no folder {place.resolve()} on this machine (`path` in the registry)."
            )
        return place
    if not run.trained_here:
        from transect.store.hub.snapshots import resolve

        return resolve(checkpoint.hub_id, checkpoint.hub_revision, code=remote_code)
    folder = weights_folder(run, project)
    if not recover(folder / checkpoint.revision):
        error = folder / ERROR
        told = (
            error.read_text(encoding="utf-8").splitlines()[0]
            if error.is_file()
            else "it was not trained"
        )
        raise LoadError(f"run {run.id!r} has no checkpoint {checkpoint.revision}: {told}")
    return folder / checkpoint.revision


class _Job:
    """What stays the same over the checkpoints of a job: the study and the items that were already
    made.
    """

    def __init__(self, study: Study, last_attempt: bool, trust_remote_code: bool = False):
        self.study = study
        self.last_attempt = last_attempt
        self.trust_remote_code = trust_remote_code
        self.made: dict[str, tuple[pd.DataFrame, str]] = {}

    def checkpoint(self, checkpoint: Checkpoint, wanted: list[Cell], cells: Store) -> None:
        """Load once, measure every wanted cell, write them in one file; also what was finished
        before a resource gave out.
        """
        start, project = time.time(), self.study.project
        run, same = checkpoint.run, identity(checkpoint, project)
        provenance: dict[str, Any] = {
            "identity": same,
            "access": run.get("access", UNKNOWN),
            "environment": environment(),
            "cells": {},
        }
        if hiding := {
            u.name: str(u.path)
            for c in wanted
            for u in (c.entry.measure, c.entry.stimuli)
            if u and u.hides_shipped
        }:
            provenance["in the place of shipped units"] = hiding
        try:
            allowed = code_allowed(run, self.trust_remote_code)
            path = locate(checkpoint, project, allowed)
            model = self._load(run, path, allowed)
        except NotApplicable as error:
            cells.write(
                [c.record(NOT_APPLICABLE, reason=str(error)) for c in wanted], {}, provenance
            )
            return
        except (LoadError, InputError, ResourceError) as error:
            again = isinstance(error, ResourceError | UnavailableError)
            if isinstance(error, ResourceError) and not self.last_attempt:
                raise
            failed = [
                c.record(FAILED, reason=str(error), kind="resource" if again else "data")
                for c in wanted
            ]
            cells.write(failed, {}, provenance | {"error": str(error)})
            return
        drift.check_canary(run, checkpoint.revision, model.fingerprint)
        drift.check(cells, run.id, checkpoint.revision, same, model.fingerprint, path.name)
        provenance |= {
            "load_seconds": time.time() - start,
            "fingerprint": model.fingerprint,
            "path": path.name,
        }
        self._measured(wanted, model, cells, provenance)
        if run.on_hub and project.settings.get("keep_weights") is False:
            from transect.store.hub.snapshots import release

            release(path)

    def _measured(
        self, wanted: list[Cell], model: Any, cells: Store, provenance: dict[str, Any]
    ) -> None:
        records: list[Record] = []
        values: dict[str, pd.DataFrame] = {}
        scores = SelfCheck(model)
        try:
            for cell in wanted:
                record, rows, cost = self._cell(cell, model, scores)
                records.append(record)
                provenance["cells"][cell.key] = cost
                if rows is not None:
                    values[cell.key] = rows
        finally:
            if records:
                records = self._checked(scores, records, values, provenance)
                more = {
                    name: getattr(model, name)
                    for name in ("packing", "halvings")
                    if hasattr(model, name)
                }
                provenance |= {
                    "peak_memory_mb": peak_memory_mb(),
                    "time": time.time(),
                    "numerics": self.study.numerics,
                }
                cells.write(records, values, provenance | more)

    def _checked(
        self,
        scores: SelfCheck,
        records: list[Record],
        values: dict[str, pd.DataFrame],
        provenance: dict[str, Any],
    ) -> list[Record]:
        """The records, failed where the self-check says that the scores are not to be trusted."""
        try:
            found = scores.check()
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {error}"}
            provenance["self_check"] = told
            if _resource(error):
                return records  # what was measured stands; nothing was found against it
            reason, doubtful = (
                f"self-check: it ended with {told['error']}",
                {cell for cell, _ in scores.samples},
            )
        else:
            provenance["self_check"] = {
                **{"difference_nats": found.difference, "tolerance_nats": found.tolerance},
                **{
                    "sequences": found.sequences,
                    "against_float64": found.float64,
                    "cells_failed": len(found.faults),
                },
            }
            reason, doubtful = (
                f"{found.sentence} in {self.study.numerics['dtype']}",
                set(found.faults),
            )
        doubtful &= {r.key for r in records if r.state == MEASURED}
        for key in doubtful:
            del values[key]
        return [
            replace(r, state=FAILED, reason=reason, kind="data") if r.key in doubtful else r
            for r in records
        ]

    def _load(self, run: Run, path: Path, remote_code: bool):  # type: ignore[no-untyped-def]
        if run.get("endpoint"):
            from transect.lm.api import ApiModel

            return ApiModel(path, run.get("endpoint"), run.get("api_model"))
        import torch

        from transect.lm import load

        numerics = self.study.numerics
        torch.set_num_threads(numerics["threads"])
        model = load(
            path,
            dtype=numerics["dtype"],
            device=numerics["device"],
            budget=int(numerics["batch_mb"] * 2**20),
            remote_code=remote_code,
        )
        model.opening_token = run.get("opening")
        return model

    def _cell(
        self, cell: Cell, model: Any, scores: SelfCheck
    ) -> tuple[Record, pd.DataFrame | None, dict[str, Any]]:
        start, of_items = (time.time(), time.process_time()), ""

        def ended(
            state: str,
            rows: pd.DataFrame | None = None,
            reason: str = "",
            kind: str = "",
            trace: str = "",
        ):  # type: ignore[no-untyped-def]
            cost = {
                "seconds": time.time() - start[0],
                "cpu_seconds": time.process_time() - start[1],
            }
            record = cell.record(state, reason=reason, kind=kind, items_sha256=of_items)
            return (
                record,
                rows,
                cost | used(model, cell.entry.options) | ({"traceback": trace} if trace else {}),
            )

        try:
            model.opened = None
            items, of_items = self._items(cell)
            unit = cell.entry.measure
            check_offered(unit, model)
            with scores.note(cell.key), panics_are_errors():
                rows = unit.load().measure(model, items, seed=self.study.seed, **cell.entry.options)
            table = cell_store.as_values(cell.key, rows)
            refused = cell_store.refusals(table)
            if len(table) and table["error"].notna().all():
                return ended(
                    FAILED, reason=f"every item was refused, e.g. {_told(refused)}", kind="data"
                )
            return ended(
                MEASURED,
                table,
                reason=f"{len(refused)} items refused, e.g. {_told(refused)}"
                if len(refused)
                else "",
            )
        except NotApplicable as error:
            return ended(NOT_APPLICABLE, reason=str(error))
        except (
            Exception
        ) as error:  # recorded, the other cells go on; a resource is tried again first
            resource = _resource(error)
            if resource and not self.last_attempt:
                raise
            told = (
                str(error)
                if isinstance(error, InputError | LoadError | ResourceError)
                else f"{type(error).__name__}: {error}"
            )
            again = resource or isinstance(error, UnavailableError)
            return ended(
                FAILED,
                reason=told,
                kind="resource" if again else "data",
                trace=traceback.format_exc(),
            )

    def _items(self, cell: Cell) -> tuple[pd.DataFrame, str]:
        """The items of a cell and their digest, made once per job."""
        if cell.entry.stimuli is None:
            return pd.DataFrame({"item": []}), ""
        if cell.items_digest not in self.made:
            self.made[cell.items_digest] = items_of(cell, self.study)
        return self.made[cell.items_digest]


def _resource(error: Exception) -> bool:
    """Whether network, memory or disk gave out, so that it may go well the next time."""
    from transect.lm.memory import out_of_memory  # here: it imports torch

    return isinstance(error, ResourceError) or disk_full(error) or out_of_memory(error)


def _told(refused: pd.DataFrame) -> str:
    first = refused.iloc[0]
    return f"{first['item']}: {first['error']}"
