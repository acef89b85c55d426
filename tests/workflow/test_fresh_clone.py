"""What a stranger does: clone, `make study`. Here with this environment's packages and the tiny
world's study.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transect.store.project import SHIPPED

pytestmark = pytest.mark.slow


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that git would hand over, and this environment in the place of .venv."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=SHIPPED,
        capture_output=True,
        text=True,
        check=True,
    )
    folder = tmp_path / "clone"
    for name in listed.stdout.splitlines():
        if (SHIPPED / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SHIPPED / name, folder / name)
    for part in ("model_registry", "studies"):
        for file in (SHIPPED / "tests" / "world" / part).iterdir():
            shutil.copy(file, folder / part)
    (folder / ".venv").mkdir()
    os.symlink(Path(sys.executable).parent, folder / ".venv" / "bin")
    return folder


def test_make_study_in_a_clone(clone: Path) -> None:
    """`make study` runs the study it is asked for and prints the path of its report; a second one
    has nothing to do.
    """
    environment = os.environ | {"PYTHONPATH": str(clone / "src")}
    (clone / ".venv" / "installed").touch()
    first = subprocess.run(
        ["make", "study", "STUDY=tiny"],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert first.returncode == 0, first.stdout + first.stderr
    assert str(clone / "results/tiny/report.html") in first.stdout
    second = subprocess.run(
        ["make", "study", "STUDY=tiny"],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert second.returncode == 0 and "all 26 cells are there" in second.stdout


def test_missing_python_is_one_sentence(clone: Path) -> None:
    """Without a Python that can make virtual environments, one sentence says what to install."""
    (clone / ".venv" / "installed").unlink(missing_ok=True)
    fake = clone / "python-without-venv"
    fake.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1;; esac\nexit 0\n')
    fake.chmod(0o755)
    result = subprocess.run(
        ["make", "study", f"PYTHON={fake}"], cwd=clone, capture_output=True, text=True, timeout=60
    )
    assert result.returncode != 0 and "python3-venv" in result.stderr
