"""What a study will cost: seconds of computing, bytes of downloads, disk and memory. A rough model,
calibrated by finished work of the store.

    training seconds    steps x (a + b x params_total x tokens per step)
    measuring seconds   per load + cells x (c + d x params_total)
    memory of a job     process + weights of its largest checkpoint + twice the memory for the activations of a batch
The constants were fitted once on one core of a 2024 server; a store with finished training or cells
corrects them by recorded over predicted: seconds summed, because a few loads and cells take most of
them (the first of a process), of loads and of the cells of each measure on each stimulus set (of
all cells, where a measure has none yet); of memory the median.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from transect.registry import recipe
from transect.registry.run import Run
from transect.store.cell_store import MEASURED, Store
from transect.store.files import json_file
from transect.study.grid import Cell, Entry
from transect.study.stale import stale
from transect.study.study_file import Study

STEP_SECONDS = 0.009  # of a training step, whatever its size
STEP_SECONDS_PER_WEIGHT_TOKEN = 1.0e-10
COUNT_SECONDS = 8.0  # an n-gram model
LOAD_SECONDS = 0.15
LOAD_SECONDS_PER_WEIGHT = 2e-9
CELL_SECONDS = 0.06
CELL_SECONDS_PER_WEIGHT = 4e-7
START_SECONDS = 5.0  # a process with torch and transformers
BYTES_PER_WEIGHT = 4
PROCESS_BYTES = 500_000_000  # Python with torch, transformers and pandas
READ = 200  # files of finished cells that a calibration reads, spread over all


@dataclass(frozen=True)
class Cost:
    """Seconds of one core, and bytes; `cells`, `loads`, `trainings` count what is to be done now."""

    trainings: int
    loads: int
    cells: int
    not_applicable: int
    finished: int
    train_seconds: float
    measure_seconds: float
    download_bytes: int
    disk_bytes: int
    largest_load_bytes: int

    def minutes(self, cores: int) -> float:
        """Wall time on `cores` cores, if the work divides evenly."""
        return (self.train_seconds + self.measure_seconds) / max(cores, 1) / 60


def trained(study: Study, run: Run) -> bool:
    """Whether the training of a run is finished."""
    return (recipe.weights_folder(run, study.project) / recipe.DONE).is_file()


def estimate(study: Study) -> Cost:
    """What `run` would cost now."""
    return cost_of(
        study, Store(study.project.store).index(), stale, lambda run: trained(study, run)
    )


def cost_of(
    study: Study,
    index: pd.DataFrame,
    is_stale: Callable[[Cell, pd.DataFrame], bool],
    is_trained: Callable[[Run], bool],
) -> Cost:
    """The cost of the cells that are stale and of the runs that are not trained."""
    wanted = [c for c in study.cells if not c.reason]
    to_measure = [c for c in wanted if is_stale(c, index)]
    loads = {c.checkpoint for c in to_measure}
    untrained = [r for r in study.runs if r.trained_here and not is_trained(r)]
    speed = measured_speed(study, index)
    measure = sum(load_seconds(c.run, speed) for c in loads) + sum(
        cell_seconds(c, speed) for c in to_measure
    )
    hub = [c for c in loads if c.run.on_hub]
    kept = hub + [c for r in untrained for c in r.checkpoints]
    waiting, keys = {r.id for r in untrained}, {c.key for c in to_measure}
    processes = sum(any(r.id in waiting for r in batch.runs) for batch in study.batches)
    processes += sum(any(c.key in keys for c in shard.cells) for shard in study.shards)
    return Cost(
        trainings=len(untrained),
        loads=len(loads),
        cells=len(to_measure),
        not_applicable=len(study.cells) - len(wanted),
        finished=len(wanted) - len(to_measure),
        train_seconds=calibration(study) * sum(training_seconds(r) for r in untrained),
        measure_seconds=measure + START_SECONDS * processes,
        download_bytes=sum(checkpoint_bytes(c.run) for c in hub),
        disk_bytes=sum(checkpoint_bytes(c.run) for c in kept),
        largest_load_bytes=max((checkpoint_bytes(c.run) for c in loads), default=0),
    )


def training_seconds(run: Run) -> float:
    """Seconds of one core that training takes by the model above, before calibration."""
    made = recipe.read(run)
    if made.recipe == "ngram":
        return COUNT_SECONDS
    tokens = made.batch_size * made.context_length
    return made.steps * (STEP_SECONDS + STEP_SECONDS_PER_WEIGHT_TOKEN * _weights(run) * tokens)


def calibration(study: Study) -> float:
    """Recorded over predicted CPU seconds of the finished training of this study's runs; 1 where
    nothing is finished.
    """
    train = []
    for run in study.runs:
        path = (
            recipe.weights_folder(run, study.project) / recipe.COST if run.trained_here else Path()
        )
        if (
            run.trained_here
            and path.is_file()
            and (run.get("trained_here", {}).get("recipe") == "neural")
        ):
            train.append(
                (json_file.read_object(path, "cpu_seconds")["cpu_seconds"], training_seconds(run))
            )
    return _ratio(train)


@dataclass(frozen=True)
class Speed:
    """Recorded over predicted, of finished cells: by (measure, stimuli), of all cells, of loads, of
    memory; `cells`: how many were read.

    `largest`: weights of the largest of them. What grows with the weights is not known from models
    of a tenth of the size, so for larger ones the ratio holds for the constant part only.
    """

    by_measure: Mapping[tuple[str, str], float]
    cell: float
    load: float
    memory: float
    cells: int
    largest: int


def measured_speed(study: Study, index: pd.DataFrame) -> Speed:
    """From what the store recorded of finished cells of any study, of runs that the registry knows."""
    done = (
        index[(index["state"] == MEASURED) & index["run"].isin(study.registry.runs)]
        if len(index)
        else index
    )
    files = done["file"].drop_duplicates().tolist() if len(done) else []
    done = done[done["file"].isin(set(files[:: max(1, len(files) // READ)]))] if files else done
    kinds = (
        dict(zip(done.index, zip(done["measure"], done["stimuli"], strict=True), strict=True))
        if files
        else {}
    )
    cells: dict[tuple[str, str], list[tuple[float, float]]] = {}
    loads, memory, largest = [], [], 0
    store = Store(study.project.store)
    for file, name in (
        done.drop_duplicates("file").set_index("file")["run"].items() if files else ()
    ):
        run = study.registry.runs[str(name)]
        largest = max(largest, _weights(run))
        for told in store.provenance([str(file)]):
            if "load_seconds" in told:
                loads.append(
                    (told["load_seconds"], LOAD_SECONDS + LOAD_SECONDS_PER_WEIGHT * _weights(run))
                )
            if "peak_memory_mb" in told:
                memory.append(
                    told["peak_memory_mb"] * 2**20 / _job_bytes(run, study.numerics["batch_mb"])
                )
            for key, spent in told.get("cells", {}).items():
                if key in kinds and "cpu_seconds" in spent:
                    predicted = CELL_SECONDS + CELL_SECONDS_PER_WEIGHT * _weights(run)
                    cells.setdefault(kinds[key], []).append((spent["cpu_seconds"], predicted))
    every = [seconds for of_kind in cells.values() for seconds in of_kind]
    by_measure = {kind: _ratio(of_kind) for kind, of_kind in cells.items()}
    usual_memory = float(np.median(memory)) if memory else 1.0
    return Speed(by_measure, _ratio(every), _ratio(loads), usual_memory, len(every), largest)


def _ratio(seconds: list[tuple[float, float]]) -> float:
    """Recorded over predicted, summed; 1 where nothing is recorded."""
    return (
        sum(recorded for recorded, _ in seconds) / sum(predicted for _, predicted in seconds)
        if seconds
        else 1.0
    )


def cell_seconds(cell: Cell, speed: Speed) -> float:
    """Of one core, without the load."""
    return entry_seconds(cell.checkpoint.run, cell.entry, speed)


def entry_seconds(run: Run, entry: Entry, speed: Speed) -> float:
    """Of one core, for one measure on one checkpoint of a run."""
    ratio = speed.by_measure.get(
        (entry.measure.name, entry.stimuli.name if entry.stimuli else ""), speed.cell
    )
    return ratio * CELL_SECONDS + _known(ratio, run, speed) * CELL_SECONDS_PER_WEIGHT * _weights(
        run
    )


def _known(ratio: float, run: Run, speed: Speed) -> float:
    return ratio if _weights(run) <= 10 * speed.largest else 1.0


def load_seconds(run: Run, speed: Speed) -> float:
    """Of one checkpoint that lies on the disk."""
    return speed.load * LOAD_SECONDS + _known(
        speed.load, run, speed
    ) * LOAD_SECONDS_PER_WEIGHT * _weights(run)


def checkpoint_bytes(run: Run) -> int:
    """On the disk and in memory, at four bytes per weight; files on the hub are often half of that."""
    return BYTES_PER_WEIGHT * _weights(run)


def memory_bytes(run: Run, study: Study, speed: Speed) -> float:
    """The largest memory of a job that measures a run."""
    batch = study.numerics["batch_mb"]
    return _job_bytes(run, batch) + (speed.memory - 1) * (
        _job_bytes(run, batch) - checkpoint_bytes(run)
    )


def _job_bytes(run: Run, batch_mb: float) -> float:
    return PROCESS_BYTES + checkpoint_bytes(run) + 2 * batch_mb * 2**20


def _weights(run: Run) -> int:
    if run.get("endpoint"):  # they are not loaded here
        return 0
    size = run.get("params_total", 0)
    return size if isinstance(size, int) else 1_000_000_000
