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

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from transect.registry import recipe
from transect.registry.run import Checkpoint, Run
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
    wanted = [cell for cell in study.cells if not cell.reason]
    to_measure = [cell for cell in wanted if is_stale(cell, index)]
    to_load = {cell.checkpoint for cell in to_measure}
    to_train = [run for run in _trained_here(study) if not is_trained(run)]
    training = sum(map(training_seconds, to_train))
    measuring = _measuring_seconds(to_load, to_measure, measured_speed(study, index))
    starting = START_SECONDS * _processes(study, to_train, to_measure)
    downloaded = sum(checkpoint_bytes(c.run) for c in to_load if c.run.on_hub)
    written = sum(checkpoint_bytes(run) * len(run.checkpoints) for run in to_train)
    return Cost(
        trainings=len(to_train),
        loads=len(to_load),
        cells=len(to_measure),
        not_applicable=len(study.cells) - len(wanted),
        finished=len(wanted) - len(to_measure),
        train_seconds=calibration(study) * training,
        measure_seconds=measuring + starting,
        download_bytes=downloaded,
        disk_bytes=downloaded + written,
        largest_load_bytes=max((checkpoint_bytes(c.run) for c in to_load), default=0),
    )


def _trained_here(study: Study) -> list[Run]:
    return [run for run in study.runs if run.trained_here]


def _measuring_seconds(
    checkpoints: Collection[Checkpoint], cells: Sequence[Cell], speed: Speed
) -> float:
    """Of one core, for loads and cells."""
    loading = sum(load_seconds(checkpoint.run, speed) for checkpoint in checkpoints)
    return loading + sum(cell_seconds(cell, speed) for cell in cells)


def _processes(study: Study, to_train: Sequence[Run], to_measure: Sequence[Cell]) -> int:
    """How many batches of trainings and shards of cells have something to do."""
    runs = {run.id for run in to_train}
    keys = {cell.key for cell in to_measure}
    batches = [batch for batch in study.batches if any(run.id in runs for run in batch.runs)]
    shards = [shard for shard in study.shards if any(cell.key in keys for cell in shard.cells)]
    return len(batches) + len(shards)


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
    seconds = []
    for run in study.runs:
        made = run.trained_here
        if not made or made.get("recipe") != "neural":
            continue
        path = recipe.weights_folder(run, study.project) / recipe.COST
        if path.is_file():
            recorded = json_file.read_object(path, "cpu_seconds")["cpu_seconds"]
            seconds.append((recorded, training_seconds(run)))
    return _ratio(seconds)


def measured_speed(study: Study, index: pd.DataFrame) -> Speed:
    """From what the store recorded of finished cells of any study, of runs that the registry knows."""
    done = _some_finished(study, index)
    if done.empty:
        return Speed({}, 1.0, 1.0, 1.0, 0, 0)
    kinds = {
        str(key): (str(measure), str(stimuli))
        for key, measure, stimuli in zip(done.index, done["measure"], done["stimuli"], strict=True)
    }
    store, records = Store(study.project.store), _Records()
    for file, name in done.drop_duplicates("file").set_index("file")["run"].items():
        run = study.registry.runs[str(name)]
        for provenance in store.provenance([str(file)]):
            records.add(provenance, run, kinds, study.numerics["batch_mb"])
    return records.speed()


def _some_finished(study: Study, index: pd.DataFrame) -> pd.DataFrame:
    """The finished cells of about READ files, spread over all."""
    if index.empty:
        return index
    known = index["run"].isin(study.registry.runs)
    done = index[known & (index["state"] == MEASURED)]
    files = done["file"].drop_duplicates().tolist()
    step = max(1, len(files) // READ)
    chosen = set(files[::step])
    return done[done["file"].isin(chosen)]


@dataclass
class _Records:
    """(recorded, predicted) seconds of cells by (measure, stimuli) and of loads; recorded over
    predicted memory of jobs; weights of the largest run.
    """

    cells: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    loads: list[tuple[float, float]] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    largest: int = 0

    def add(
        self,
        provenance: Mapping[str, Any],
        run: Run,
        kinds: Mapping[str, tuple[str, str]],
        batch_mb: float,
    ) -> None:
        """What one file of cells of a run recorded; `kinds`: cell -> (measure, stimuli)."""
        weights = _weights(run)
        self.largest = max(self.largest, weights)
        if "load_seconds" in provenance:
            predicted = LOAD_SECONDS + LOAD_SECONDS_PER_WEIGHT * weights
            self.loads.append((provenance["load_seconds"], predicted))
        if "peak_memory_mb" in provenance:
            recorded = provenance["peak_memory_mb"] * 2**20
            self.memory.append(recorded / _job_bytes(run, batch_mb))
        for key, spent in provenance.get("cells", {}).items():
            if key in kinds and "cpu_seconds" in spent:
                predicted = CELL_SECONDS + CELL_SECONDS_PER_WEIGHT * weights
                self.cells.setdefault(kinds[key], []).append((spent["cpu_seconds"], predicted))

    def speed(self) -> Speed:
        """The records, summed up."""
        every = [seconds for of_kind in self.cells.values() for seconds in of_kind]
        by_measure = {kind: _ratio(of_kind) for kind, of_kind in self.cells.items()}
        memory = float(np.median(self.memory)) if self.memory else 1.0
        return Speed(
            by_measure, _ratio(every), _ratio(self.loads), memory, len(every), self.largest
        )


def _ratio(seconds: list[tuple[float, float]]) -> float:
    """Recorded over predicted, summed; 1 where nothing is recorded."""
    if not seconds:
        return 1.0
    return sum(recorded for recorded, _ in seconds) / sum(predicted for _, predicted in seconds)


def cell_seconds(cell: Cell, speed: Speed) -> float:
    """Of one core, without the load."""
    return entry_seconds(cell.checkpoint.run, cell.entry, speed)


def entry_seconds(run: Run, entry: Entry, speed: Speed) -> float:
    """Of one core, for one measure on one checkpoint of a run."""
    stimuli = entry.stimuli.name if entry.stimuli else ""
    kind = (entry.measure.name, stimuli)
    ratio = speed.by_measure.get(kind, speed.cell)
    per_weight = _known(ratio, run, speed) * CELL_SECONDS_PER_WEIGHT
    return ratio * CELL_SECONDS + per_weight * _weights(run)


def _known(ratio: float, run: Run, speed: Speed) -> float:
    return ratio if _weights(run) <= 10 * speed.largest else 1.0


def load_seconds(run: Run, speed: Speed) -> float:
    """Of one checkpoint that lies on the disk."""
    per_weight = _known(speed.load, run, speed) * LOAD_SECONDS_PER_WEIGHT
    return speed.load * LOAD_SECONDS + per_weight * _weights(run)


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
