"""How long a run will still take."""

import time
from pathlib import Path

import pandas as pd
import pytest

from transect.jobs.workflow import pace
from transect.jobs.workflow.pace import Pace
from transect.jobs.workflow.runner import time_left
from transect.registry.recipe import DONE, weights_folder
from transect.store.cell_store import MEASURED, Store, as_values
from transect.store.project import Project
from transect.study import study_file
from transect.study.study_file import Study

ROWS = pd.DataFrame({"item": ["a"], "metric": "correct", "value": [1.0]})
LOG = """Building DAG of jobs...
Job stats:
job        count
-------  -------
all            1
analyse        1
draw           3
gather         1
measure        3
report         1
total         10

Select jobs to execute...
Finished jobid: 4 (Rule: measure)
1 of 10 steps (10%) done
"""


@pytest.fixture
def running(world: Project, tmp_path: Path) -> Pace:
    """A run of which all is trained, and that began to measure 100 s ago."""
    of = study_file.load("tiny", world)
    for run in of.runs:
        folder = weights_folder(run, world)
        folder.mkdir(parents=True)
        (folder / DONE).write_text("{}")
    (tmp_path / "snakemake.log").write_text(LOG)
    found = Pace(of, 2, tmp_path / "snakemake.log")
    found.first = time.time() - 100
    return found


def measured(of: Study, checkpoints: int, seconds: float) -> None:
    """Record that the cells of so many checkpoints took so many CPU seconds each."""
    for checkpoint in list(dict.fromkeys(c.checkpoint for c in of.cells))[:checkpoints]:
        cells = [c for c in of.cells if c.checkpoint == checkpoint]
        told = {"cells": {c.key: {"cpu_seconds": seconds} for c in cells}, "load_seconds": 0.1}
        Store(of.project.store).write(
            [c.record(MEASURED) for c in cells],
            {c.key: as_values(c.key, ROWS) for c in cells},
            told,
        )


def cheap_steps(running: Pace) -> None:
    """What follows the measuring took next to nothing in an earlier run."""
    for step, names in pace._names(running.study).items():
        for name in names:
            pace.spent(running.study, step, name, 0.1)
    running.began = time.time() + 1


@pytest.mark.parametrize("seconds", [3.0, 30.0])
@pytest.mark.parametrize("done", [3, 6, 10])
def test_the_time_left_follows_what_is_done(running: Pace, seconds: float, done: int) -> None:
    """`done` of 13 equal checkpoints in 100 s, ten and a hundred times as dear as the model's
    constants say: within a factor of 1.5.
    """
    cheap_steps(running)
    measured(running.study, done, seconds)
    forecast = running.now([])
    truth = 100 * (13 - done) / done
    assert forecast.left.cells == 26 - 2 * done
    assert truth / 1.5 < forecast.seconds < truth * 1.5


def test_steps_are_counted_as_snakemake_plans_them(running: Pace) -> None:
    """Finished ones and all, without the target itself."""
    forecast = running.now([])
    assert (forecast.steps_done, forecast.steps) == (1, 9)


def test_a_step_costs_what_it_cost_the_last_time(running: Pace) -> None:
    """All is measured: what is left are the steps, one of them known to be long."""
    measured(running.study, 13, 1.0)
    usual = running.now([]).seconds
    pace.spent(running.study, "analyse", "emergence", 500.0)
    running.began = time.time() + 1
    assert running.now([]).seconds > 5 * usual


def test_what_runs_is_half_done_on_average(running: Pace) -> None:
    """Two of three jobs have run for 100 s and none is finished: about 200 s are left, not ever
    more until the first one ends.
    """
    cheap_steps(running)
    begun = LOG.split("Finished")[0] + "".join(
        f"[then]\nlocalrule measure:\n    jobid: {n}\n" for n in (1, 2)
    )
    running.log.write_text(begun)
    assert 200 / 1.5 < running.now([]).seconds < 200 * 1.5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2, "10 s"),
        (44, "40 s"),
        (94, "90 s"),
        (96, "1.5 min"),
        (150, "2.5 min"),
        (599, "10 min"),
        (3610, "60 min"),
    ],
)
def test_the_time_left_is_as_fine_as_it_is_worth(seconds: float, text: str) -> None:
    """10 s below 95 s, half a minute below ten, then a minute."""
    assert time_left(seconds) == text
