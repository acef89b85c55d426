"""The package as a stranger installs it: from its wheel, without the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transect.store.project import SHIPPED

pytestmark = pytest.mark.slow

# two of the runs of the tests' small world, in a project of the user's own
STUDY = """\
study: two
title: Two runs
question: Does the installed package work?
population: {where: "suite == 'tiny' and d_model == 8"}
seed: 1
measures:
- {measure: minimal_pair, stimuli: agreement, stimuli_options: {frames: 4}}
analyses:
- {analysis: population, title: What was sampled, factors: [architecture]}
- analysis: emergence
  title: When does it arise?
  outcomes:
  - {measure: minimal_pair, metric: correct, threshold: 0.9, chance: 0.5}
"""


def run(*command: str | Path, folder: Path) -> str:
    """What a command prints, in a folder from which no checkout is seen."""
    unseen = ("PYTHONPATH", "TRANSECT_STORE")
    environment = {name: value for name, value in os.environ.items() if name not in unseen}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a fresh environment, into which the wheel was installed that is
    built from the source distribution.
    """
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, folder=SHIPPED)
    (source,) = folder.glob("transect-*.tar.gz")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(*pip, "--wheel-dir", folder, source, folder=folder)
    (wheel,) = folder.glob("transect-*.whl")
    run(sys.executable, "-m", "venv", folder / "environment", folder=folder)
    programs = folder / "environment" / "bin"
    pins = SHIPPED / "constraints.txt"
    run(programs / "pip", "install", "--quiet", "--constraint", pins, wheel, folder=folder)
    return programs


def test_a_study_runs_to_its_report(installed: Path, tmp_path: Path) -> None:
    """`transect init`, a study of two runs that are trained there, and its report, in an empty
    folder.
    """
    run(installed / "transect", "init", "mine", folder=tmp_path)
    project = tmp_path / "mine"
    suite = (SHIPPED / "tests/world/model_registry/tiny.yaml").read_text()
    (project / "model_registry" / "tiny.yaml").write_text(suite)
    (project / "studies" / "two.yaml").write_text(STUDY)
    printed = run(installed / "transect", "run", "two", folder=project)
    assert "cells    6 measured" in printed
    assert (project / "results/two/report.html").stat().st_size > 100_000


def test_what_is_shipped_is_there(installed: Path, tmp_path: Path) -> None:
    """Registry, studies, measures and the workflow: every kind of file that is no module."""
    listed = run(installed / "transect", "registry", "list", folder=tmp_path)
    assert "runs in 51 suites" in listed
    assert "minimal_pair" in run(installed / "transect", "measures", folder=tmp_path)
    assert "train" in run(installed / "transect", "run", "miniature", "-n", folder=tmp_path)


def test_the_package_knows_its_version(installed: Path, tmp_path: Path) -> None:
    """The one of pyproject.toml."""
    assert run(installed / "transect", "--version", folder=tmp_path) == "transect 0.1.0\n"
