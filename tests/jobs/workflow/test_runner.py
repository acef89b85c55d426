"""Running a study: what is refused before anything runs."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from transect.errors import InputError
from transect.jobs.workflow import runner
from transect.store.project import Project
from transect.study import study_file as studies


def test_results_that_are_led_elsewhere_are_refused(world: Project, tmp_path: Path) -> None:
    """A link below the results of a study, of a project from somebody else: nothing is run, nothing
    is written where it leads.
    """
    study = studies.load("tiny", world)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/precious").write_text("x")
    (study.results / "log").mkdir(parents=True)
    for link, target in (
        (study.results / "log/snakemake.log", "home/precious"),
        (study.results / "tables", "home"),
    ):
        link.symlink_to(tmp_path / target)
        with pytest.raises(InputError, match=rf"{link.name} leads to .*/home.* by a symbolic link"):
            runner.run(study, 1)
        link.unlink()
    assert [(p.name, p.read_text()) for p in (tmp_path / "home").iterdir()] == [("precious", "x")]


def test_a_disk_without_locks_is_told_from_a_study_that_runs(
    world: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lustre without flock, say: the sentence names the disk, not another process."""

    def refuse(*of: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(
        InputError, match=r"\.lock: this disk knows no locks \(Function not implemented\)"
    ):
        runner.run(studies.load("tiny", world), 1)


def test_a_study_runs_once_at_a_time(world: Project) -> None:
    """The second is told which process has it."""
    study = studies.load("tiny", world)
    with (
        runner._lock(study),
        pytest.raises(InputError, match=rf"is running already \(process {os.getpid()}\)"),
    ):
        runner.run(study, 1)
