"""What work will cost: calibrated by what finished cells recorded."""

from dataclasses import replace

import pandas as pd
import pytest

from transect.store.cell_store import MEASURED, Store, as_values
from transect.store.project import Project
from transect.study import cost, study_file
from transect.study.study_file import Study

ROWS = pd.DataFrame({"item": ["a", "b"], "metric": "correct", "value": [0.0, 1.0]})


def finish(of: Study, seconds: float, peak_mb: float = 600.0, load: float = 0.5) -> None:
    """Write every cell of minimal_pair as measured in so many CPU seconds."""
    for checkpoint in dict.fromkeys(c.checkpoint for c in of.cells):
        cells = [
            c
            for c in of.cells
            if c.checkpoint == checkpoint
            and not c.reason
            and c.entry.measure.name == "minimal_pair"
        ]
        told = {
            "cells": {c.key: {"cpu_seconds": seconds} for c in cells},
            "load_seconds": load,
            "peak_memory_mb": peak_mb,
        }
        if cells:
            Store(of.project.store).write(
                [c.record(MEASURED) for c in cells],
                {c.key: as_values(c.key, ROWS) for c in cells},
                told,
            )


def test_nothing_finished_nothing_calibrated(world: Project) -> None:
    """Every ratio is 1."""
    of = study_file.load("tiny", world)
    speed = cost.measured_speed(of, Store(world.store).index())
    assert (speed.cell, speed.load, speed.memory, speed.cells) == (1.0, 1.0, 1.0, 0)


def test_finished_cells_set_the_speed(world: Project) -> None:
    """Cells that took 2 s are expected to take 2 s again; a measure without any takes the ratio of
    the others.
    """
    of = study_file.load("tiny", world)
    finish(of, 2.0)
    speed = cost.measured_speed(of, Store(world.store).index())
    pair, copying = (
        next(c for c in of.cells if c.entry.measure.name == m and not c.reason)
        for m in ("minimal_pair", "copying")
    )
    assert cost.cell_seconds(pair, speed) == pytest.approx(2.0, rel=0.02) and cost.cell_seconds(
        copying, speed
    ) == pytest.approx(2.0, rel=0.02)
    assert cost.load_seconds(pair.checkpoint.run, speed) == pytest.approx(0.5, rel=0.02)
    assert cost.memory_bytes(pair.checkpoint.run, of, speed) == pytest.approx(600 * 2**20, rel=0.02)


def test_small_models_do_not_calibrate_large_ones(world: Project) -> None:
    """What grows with the weights is left as it was for a run of more than ten times the size."""
    of = study_file.load("tiny", world)
    finish(of, 25.0)
    speed = cost.measured_speed(of, Store(world.store).index())
    run = of.runs[0]
    large = replace(run, facts={**run.facts, "params_total": 10**9})
    expected = 25.0 + cost.CELL_SECONDS_PER_WEIGHT * 1e9
    assert cost.entry_seconds(large, of.entries[0], speed) == pytest.approx(expected, rel=0.05)


def test_disk_and_download_follow_the_sizes(world: Project) -> None:
    """Four bytes per weight; runs that are trained here are not downloaded."""
    of = study_file.load("tiny", world)
    assert cost.checkpoint_bytes(of.runs[0]) == 4 * of.runs[0].get("params_total")
    spent = cost.cost_of(
        of, Store(world.store).index(), lambda cell, index: True, lambda run: False
    )
    assert spent.download_bytes == 0 < spent.disk_bytes
