"""The study of novels at a small scale: two languages, 0.1 million tokens, real text from a local
mirror.
"""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.test_workflow import transect
from transect.store.project import SHIPPED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("TRANSECT_MIRROR"),
        reason="TRANSECT_MIRROR names no local copy of the novels and treebanks",
    ),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("novels") / "world"
    shutil.copytree(SHIPPED / "tests" / "novels_world", folder)
    result = transect(folder, "run", "novels_small", "-j", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_real_text_goes_the_whole_way(done: Path) -> None:
    """Every cell is measured or not applicable, and the report is there."""
    states = json.loads(transect(done, "status", "novels_small", "--json").stdout)["states"]
    assert (
        set(states) == {"measured", "not applicable"}
        and (done / "results/novels_small/report.html").is_file()
    )


def test_training_on_novels_teaches_something(done: Path) -> None:
    """0.1 million tokens take the small models below 3 bits per byte, from above 3 (12 bits a
    token, 3.5 bytes a token) at step 0.
    """
    rows = pd.read_parquet(done / "results/novels_small/measurements.parquet")
    bits = (
        rows[(rows["metric"] == "bits_per_byte") & (rows["role"] == "population")]
        .groupby(["run", "step"])["value"]
        .mean()
    )
    for run in bits.index.get_level_values("run").unique():
        assert bits[run].iloc[0] > 3.0 > bits[run].iloc[-1] > 1.5
