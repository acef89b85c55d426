"""Fixtures that more than one folder of tests uses."""

import os
import shutil
from pathlib import Path

import pytest

from transect.store.project import Project, find_project

os.environ.setdefault("OMP_NUM_THREADS", "1")
WORLD = Path(__file__).parent / "world"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project folder with a suite that trains in seconds and a study of it; the current folder is
    inside it.
    """
    folder = tmp_path / "world"
    shutil.copytree(WORLD, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TRANSECT_STORE", raising=False)
    return find_project(folder)
