"""What a study will cost: seconds of computing, bytes of downloads and disk. A rough model, calibrated by finished work of the store.

training seconds = steps x (a + b x params_total x tokens per step), measuring seconds = per load + cells x (c + d x params_total).
The constants were fitted once on one core of a 2024 server; a store with finished training or cells replaces them by its ratio of
recorded to predicted seconds.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from transect.grid import Cell
from transect.run import Run
from transect.study import Study
from transect.train import recipe

STEP_SECONDS = 0.009  # of a training step, whatever its size
STEP_SECONDS_PER_WEIGHT_TOKEN = 1.0e-10
COUNT_SECONDS = 8.0  # an n-gram model
LOAD_SECONDS = 0.3
LOAD_SECONDS_PER_WEIGHT = 2e-9
CELL_SECONDS = 0.25
CELL_SECONDS_PER_WEIGHT = 4e-7
START_SECONDS = 5.0  # a process with torch and transformers
BYTES_PER_WEIGHT = 4


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


def estimate(
    study: Study, index: pd.DataFrame, is_stale: Callable[[Cell, pd.DataFrame], bool], trained: Callable[[Run], bool]
) -> Cost:
    """The cost of what the store and the weights lack."""
    wanted = [c for c in study.cells if not c.reason]
    stale = [c for c in wanted if is_stale(c, index)]
    loads = {c.checkpoint for c in stale}
    untrained = [r for r in study.runs if r.trained_here and not trained(r)]
    speed = calibration(study)
    measure = sum(LOAD_SECONDS + LOAD_SECONDS_PER_WEIGHT * _weights(c.run) for c in loads)
    measure += sum(CELL_SECONDS + CELL_SECONDS_PER_WEIGHT * _weights(c.checkpoint.run) for c in stale)
    hub = [c for c in loads if not c.run.trained_here]
    kept = hub + [c for r in untrained for c in r.checkpoints]
    processes = len(study.batches) * bool(untrained) + len({c.run.id for c in loads}) / 2
    return Cost(
        trainings=len(untrained),
        loads=len(loads),
        cells=len(stale),
        not_applicable=len(study.cells) - len(wanted),
        finished=len(wanted) - len(stale),
        train_seconds=speed["train"] * sum(training_seconds(r) for r in untrained),
        measure_seconds=speed["measure"] * measure + START_SECONDS * processes,
        download_bytes=sum(BYTES_PER_WEIGHT * _weights(c.run) for c in hub),
        disk_bytes=sum(BYTES_PER_WEIGHT * _weights(c.run) for c in kept),
        largest_load_bytes=max((BYTES_PER_WEIGHT * _weights(c.run) for c in loads), default=0),
    )


def training_seconds(run: Run) -> float:
    """Seconds of one core that training takes by the model above, before calibration."""
    made = recipe.read(run)
    if made.recipe == "ngram":
        return COUNT_SECONDS
    tokens = made.batch_size * made.context_length
    return made.steps * (STEP_SECONDS + STEP_SECONDS_PER_WEIGHT_TOKEN * _weights(run) * tokens)


def calibration(study: Study) -> dict[str, float]:
    """Recorded over predicted CPU seconds of finished training and cells of this study's runs; 1 where nothing is finished."""
    from transect.jobs.train import COST, weights_folder

    train = []
    for run in study.runs:
        path = weights_folder(run, study.project) / COST if run.trained_here else Path()
        if run.trained_here and path.is_file() and (run.get("trained_here", {}).get("recipe") == "neural"):
            train.append(json.loads(path.read_text(encoding="utf-8"))["cpu_seconds"] / training_seconds(run))
    return {"train": float(np.median(train)) if train else 1.0, "measure": 1.0}


def _weights(run: Run) -> int:
    size = run.get("params_total", 0)
    return size if isinstance(size, int) else 1_000_000_000
