"""The step that measures: the stale cells of one shard, one load per checkpoint; a shard with nothing stale loads nothing."""

import errno
import json
import time
import traceback
from pathlib import Path
from typing import Any

import pandas as pd

from transect import store
from transect.errors import InputError, LoadError, NotApplicable, ResourceError
from transect.files import write_text
from transect.grid import Cell, identity
from transect.jobs.environment import environment, peak_memory_mb
from transect.jobs.progress import Progress
from transect.jobs.train import ERROR, weights_folder
from transect.project import Project
from transect.registry import Checkpoint
from transect.store import FAILED, MEASURED, NOT_APPLICABLE, Record, Store
from transect.study import Study

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def measure(study: Study, name: str, marker: Path, last_attempt: bool = False, retry_failed: bool = False) -> None:
    """Measure what the store lacks, checkpoint by checkpoint; each is written as soon as it is done.

    Errors of a model or of data are recorded as failed cells and the job ends well. A resource error raises, so that the workflow
    tries again; at the last attempt it is recorded too, and the next run of the study tries again.
    """
    shard = next(s for s in study.shards if s.name == name)
    cells = Store(study.project.store)
    index = cells.index()
    todo: dict[Checkpoint, list[Cell]] = {}
    for cell in shard.cells:
        if not cell.reason and stale(cell, index, retry_failed):
            todo.setdefault(cell.checkpoint, []).append(cell)
    progress = Progress(study.results / "progress", f"measure-{name}", len(todo))
    job = _Job(study, last_attempt)
    for done, (checkpoint, wanted) in enumerate(todo.items()):
        progress.say(done, f"{checkpoint.run.id} {checkpoint.revision}")
        job.checkpoint(checkpoint, wanted, cells)
    progress.end()
    write_text(marker, json.dumps({"cells": len(shard.cells), "measured_now": sum(map(len, todo.values()))}) + "\n")


def abandon(study: Study, name: str, marker: Path) -> None:
    """What is left of a shard whose job was killed at its last attempt: failed cells, so that the rest of the study goes on."""
    shard = next(s for s in study.shards if s.name == name)
    cells = Store(study.project.store)
    index = cells.index()
    reason = "the job was killed, each time it was tried (out of memory?); its log tells more"
    for checkpoint in dict.fromkeys(c.checkpoint for c in shard.cells):
        left = [c for c in shard.cells if c.checkpoint == checkpoint and not c.reason and stale(c, index)]
        if left:
            cells.write([c.record(FAILED, reason=reason, kind="resource") for c in left], {}, {"error": reason})
    write_text(marker, json.dumps({"cells": len(shard.cells), "measured_now": 0}) + "\n")


def stale(cell: Cell, index: pd.DataFrame, retry_failed: bool = False) -> bool:
    """Whether a cell must be measured: it is not in the store, or its failure is one that is tried again."""
    if cell.key not in index.index:
        return True
    state, kind = index.at[cell.key, "state"], index.at[cell.key, "kind"]
    return bool(state == FAILED and (retry_failed or kind == "resource"))


def locate(checkpoint: Checkpoint, project: Project) -> Path:
    """The folder that holds a checkpoint; downloads it where it lies on the hub.

    Raises LoadError where training failed or the hub has no such checkpoint, ResourceError where the network is down.
    """
    run = checkpoint.run
    if not run.trained_here:
        from transect.lm.hub import resolve

        return resolve(run.get("hub_id"), checkpoint.revision)
    folder = weights_folder(run, project)
    if not (folder / checkpoint.revision).is_dir():
        error = folder / ERROR
        told = error.read_text(encoding="utf-8").splitlines()[0] if error.is_file() else "it was not trained"
        raise LoadError(f"run {run.id!r} has no checkpoint {checkpoint.revision}: {told}")
    return folder / checkpoint.revision


class _Job:
    """What stays the same over the checkpoints of a job: the study and the items that were already made."""

    def __init__(self, study: Study, last_attempt: bool):
        self.study = study
        self.last_attempt = last_attempt
        self.made: dict[str, pd.DataFrame] = {}

    def checkpoint(self, checkpoint: Checkpoint, wanted: list[Cell], cells: Store) -> None:
        """Load once, measure every wanted cell, write them in one file; also what was finished before a resource gave out."""
        start = time.time()
        provenance: dict[str, Any] = {
            "identity": identity(checkpoint, self.study.project),
            "environment": environment(),
            "cells": {},
        }
        try:
            path = locate(checkpoint, self.study.project)
            model = self._load(path)
        except NotApplicable as error:
            cells.write([c.record(NOT_APPLICABLE, reason=str(error)) for c in wanted], {}, provenance)
            return
        except (LoadError, InputError) as error:
            cells.write(
                [c.record(FAILED, reason=str(error), kind="data") for c in wanted],
                {},
                provenance | {"error": str(error)},
            )
            return
        except ResourceError as error:
            if not self.last_attempt:
                raise
            cells.write(
                [c.record(FAILED, reason=str(error), kind="resource") for c in wanted],
                {},
                provenance | {"error": str(error)},
            )
            return
        provenance |= {"load_seconds": time.time() - start, "fingerprint": model.fingerprint, "path": path.name}
        records: list[Record] = []
        values: dict[str, pd.DataFrame] = {}
        try:
            for cell in wanted:
                record, rows, cost = self._cell(cell, model)
                records.append(record)
                provenance["cells"][cell.key] = cost
                if rows is not None:
                    values[cell.key] = rows
        finally:
            if records:
                provenance |= {"peak_memory_mb": peak_memory_mb(), "time": time.time(), "numerics": self.study.numerics}
                cells.write(records, values, provenance)
        if not checkpoint.run.trained_here and self.study.project.settings.get("keep_weights") is False:
            from transect.lm.hub import release

            release(path)

    def _load(self, path: Path):  # type: ignore[no-untyped-def]
        import torch

        from transect.lm import load

        numerics = self.study.numerics
        torch.set_num_threads(numerics["threads"])
        return load(path, dtype=numerics["dtype"], device=numerics["device"])

    def _cell(self, cell: Cell, model: Any) -> tuple[Record, pd.DataFrame | None, dict[str, Any]]:
        start = time.time(), time.process_time()

        def ended(state: str, rows: pd.DataFrame | None = None, reason: str = "", kind: str = "", trace: str = ""):  # type: ignore[no-untyped-def]
            cost = {"seconds": time.time() - start[0], "cpu_seconds": time.process_time() - start[1]}
            return cell.record(state, reason=reason, kind=kind), rows, cost | ({"traceback": trace} if trace else {})

        try:
            items = self._items(cell)
            rows = cell.entry.measure.load().measure(model, items, seed=self.study.seed, **cell.entry.options)
            return ended(MEASURED, store.as_values(cell.key, rows))
        except NotApplicable as error:
            return ended(NOT_APPLICABLE, reason=str(error))
        except Exception as error:  # recorded, the other cells go on; a resource is tried again first
            resource = isinstance(error, MemoryError | ResourceError) or getattr(error, "errno", 0) in DISK_FULL
            if resource and not self.last_attempt:
                raise
            told = str(error) if isinstance(error, InputError | ResourceError) else f"{type(error).__name__}: {error}"
            return ended(FAILED, reason=told, kind="resource" if resource else "data", trace=traceback.format_exc())

    def _items(self, cell: Cell) -> pd.DataFrame:
        """The items of a cell, made once per job and kept in the store for the analyses."""
        unit = cell.entry.stimuli
        if unit is None:
            return pd.DataFrame({"item": []})
        if cell.items_digest not in self.made:
            path = self.study.project.store / "items" / f"{cell.items_digest}.parquet"
            if path.is_file():
                items = store.read_table(path)
            else:
                items = unit.load().items(seed=self.study.seed, **cell.parameters, **cell.entry.stimuli_options)
                _check_items(items, unit.name)
                items = items.astype({"item": str})
                store.write_table(path, items)
            self.made[cell.items_digest] = items
        return self.made[cell.items_digest]


def _check_items(items: pd.DataFrame, name: str) -> None:
    if "item" not in items or items["item"].duplicated().any() or items.empty:
        raise InputError(f"the stimuli {name} must return at least one row and a column `item` without repeats.")
