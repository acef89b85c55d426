"""The step that trains, of two studies at once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from transect.jobs.train import train
from transect.registry.recipe import DONE, weights_folder
from transect.registry.run import Run
from transect.store.project import SHIPPED, Project
from transect.study import study_file as studies
from transect.study.study_file import Study

pytestmark = pytest.mark.slow
DEADLINE = 240


def twins(project: Project) -> tuple[Study, Study]:
    """Two studies of one suite that is trained here."""
    text = (project.root / "studies/tiny.yaml").read_text()
    (project.root / "studies/twin.yaml").write_text(text.replace("study: tiny", "study: twin"))
    return studies.load("tiny", project), studies.load("twin", project)


def job(study: Study) -> subprocess.Popen[bytes]:
    """The job that trains the first batch of a study, in a process of its own."""
    batch = study.batches[0]
    marker = study.results / "training" / f"{batch.target}.done"
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "transect.jobs",
            "train",
            str(study.path),
            batch.name,
            "--output",
            str(marker),
        ],
        cwd=study.project.root,
        env=os.environ | {"PYTHONPATH": str(SHIPPED / "src")},
    )


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def said(study: Study) -> str:
    """What its job is doing."""
    return "".join(p.read_text() for p in (study.results / "progress").glob("*.json"))


def digests(runs: tuple[Run, ...], project: Project) -> list[dict[str, str]]:
    return [json.loads((weights_folder(run, project) / DONE).read_text()) for run in runs]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """SHA-256 of all weights of the first batch, trained by one process alone."""

    folder = tmp_path_factory.mktemp("alone") / "world"
    shutil.copytree(SHIPPED / "tests/world", folder)
    study = studies.load("tiny", Project(folder))
    train(study, study.batches[0].name, folder / "marker")
    return digests(study.batches[0].runs, study.project)


def test_two_studies_train_one_suite_once(world: Project, alone: list[dict[str, str]]) -> None:
    """One trains, the other waits and finds the weights; they are those of one alone, and each was
    saved once.
    """
    first, second = twins(world)
    jobs = [job(first), job(second)]
    until(lambda: "another process trains it" in said(first) + said(second))
    assert [j.wait(DEADLINE) for j in jobs] == [0, 0]
    assert digests(first.batches[0].runs, world) == alone


def test_the_second_takes_over_where_the_first_is_killed(
    world: Project, alone: list[dict[str, str]]
) -> None:
    """kill -9 of the one that trains: the one that waits goes on (how soon:
    test_training_lease.py), and ends with the bytes of one alone.
    """
    first, second = twins(world)
    root = weights_folder(first.batches[0].runs[0], world)
    one = job(first)
    until(lambda: (root / "resume.pt").is_file())
    other = job(second)
    until(lambda: "another process trains it" in said(second) or one.poll() is not None)
    one.send_signal(signal.SIGKILL)
    one.wait()
    assert other.wait(DEADLINE) == 0 and digests(first.batches[0].runs, world) == alone
