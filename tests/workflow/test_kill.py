"""kill -9 of the whole process tree at any moment, then the same command: the same bytes as
without.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.workflow.test_workflow import WORLD, transect

pytestmark = pytest.mark.slow
MOMENTS = 3


def fresh(folder: Path) -> Path:
    shutil.copytree(WORLD, folder)
    return folder


def outcome(folder: Path) -> dict[str, str]:
    """Digests of what a study is for: its values, result tables and figures (times and machine are
    provenance).
    """
    results = folder / "results" / "tiny"
    files = [
        results / "measurements.parquet",
        results / "grid.parquet",
        *results.glob("tables/*/*.csv"),
        *results.glob("figures/*.svg"),
    ]
    assert len(files) > 3
    weights = (folder / "results/store/weights").glob("*/*/*/*/model.safetensors")
    return {
        str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in [*files, *weights]
    }


def kill_tree(process: subprocess.Popen) -> None:  # type: ignore[type-arg]
    """SIGKILL to the process that we started and to all its descendants."""
    try:
        tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return
    for member in tree:
        try:
            os.kill(member.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """The outcome without a kill, and how long it took."""
    folder = fresh(tmp_path_factory.mktemp("undisturbed") / "world")
    start = time.monotonic()
    assert transect(folder, "run", "tiny", "-j", "2").returncode == 0
    return outcome(folder), time.monotonic() - start


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_run_ends_the_same(
    moment: int, undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    """After SIGKILL at a random moment the same command finishes with the same weights, values and
    tables.
    """
    expected, seconds = undisturbed
    folder = fresh(tmp_path / "world")
    # another moment each time, spread over the run; the seed is printed when the test fails
    seed = random.SystemRandom().randrange(10**6)
    after = random.Random(seed).uniform(moment / MOMENTS, (moment + 1) / MOMENTS) * seconds
    process = subprocess.Popen(
        [sys.executable, "-m", "transect.cli.main", "run", "tiny", "-j", "2"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    time.sleep(after)
    kill_tree(process)
    result = transect(folder, "run", "tiny", "-j", "2")
    told = (
        f"killed after {after:.1f} of {seconds:.1f} s (seed {seed})\n{result.stdout}{result.stderr}"
    )
    assert result.returncode == 0, told
    assert outcome(folder) == expected, told
