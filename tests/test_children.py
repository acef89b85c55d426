"""Nothing that lies beside a study is imported in the place of a module of that name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transect import children
from transect.project import SHIPPED

WORLD = SHIPPED / "tests/world"
# of the standard library, of packages, and what Python itself looks for at its start
NAMES = ("random", "statistics", "types", "numpy", "yaml", "sitecustomize", "usercustomize", "transect", "snakemake")
EMPTY = """
name: empty
title: No measures
question: none
models: {where: "True"}
seed: 1
stimuli: []
measures: []
analyses: []
"""


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A project in a folder of an odd name, with modules that leave a file RAN where they are run."""
    folder = tmp_path / "study #2: {wildcards.study} [1] 'x'"
    shutil.copytree(WORLD, folder)
    for place in (folder, folder / "studies"):
        for name in NAMES:
            (place / f"{name}.py").write_text(
                f"open({str(tmp_path / 'RAN')!r}, 'a').write({name!r})\nraise SystemExit('not the {name} you wanted')\n"
            )
    return folder


def program(name: str, *arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / name), *arguments]


@pytest.mark.parametrize("place", ["", os.pathsep])
def test_a_project_of_modules_is_planned(trapped: Path, place: str) -> None:
    """`transect run STUDY -n` in it: also where PYTHONPATH has an empty entry, which means the current folder."""
    told = subprocess.run(
        program("transect", "run", "tiny", "-n"), cwd=trapped, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": place + os.environ.get("PYTHONPATH", "")},
    )  # fmt: skip
    assert told.returncode == 0 and "rule report:" in told.stdout, told.stdout + told.stderr
    assert not (trapped.parent / "RAN").exists()
