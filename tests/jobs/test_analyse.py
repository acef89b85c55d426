"""The steps after measuring."""

import json
from pathlib import Path

import pandas as pd
import pytest

from transect.jobs.analyse import analyse
from transect.store import cell_store
from transect.store.project import Project
from transect.study import study_file as studies

OWN = """import pandas as pd
NEEDS = ["copying"]
QUESTION = "?"


def tables(measurements, registry):
    return {name: pd.DataFrame({"a": [1]}) for name in TABLES}
"""


@pytest.mark.parametrize(
    "tables",
    [
        ["good", "../../../escaped"],
        ["/tmp/x"],
        ["a\n"],
        ["Table", "table"],
        ["con"],
        [7],
        [".manifest"],
    ],
)
def test_a_table_is_a_file_beside_the_manifest(world: Project, tables: list[object]) -> None:
    """A name that leads elsewhere, or is a file twice, is the analysis's error; none of its tables
    is written.
    """
    (world.root / "analyses").mkdir()
    (world.root / "analyses/own.py").write_text(OWN.replace("TABLES", repr(tables)))
    path = world.root / "studies/tiny.yaml"
    path.write_text(path.read_text().split("analyses:")[0] + "analyses:\n- {analysis: own}\n")
    study = studies.load("tiny", world)
    cell_store.write_table(
        study.results / "measurements.parquet", pd.DataFrame({"measure": ["copying"]})
    )
    cell_store.write_table(study.results / "registry.parquet", pd.DataFrame({"run": ["a"]}))
    before = set(world.root.rglob("*"))
    manifest = study.results / "tables" / "own" / "manifest.json"
    analyse(study, "own", manifest)
    told = json.loads(manifest.read_text())
    assert (
        told["error"].startswith("InputError: the analysis own returns the table")
        and told["tables"] == []
    )
    written = {
        p
        for p in set(world.root.rglob("*")) - before
        if p.is_file() and "__pycache__" not in str(p)
    }
    assert written == {Path(manifest)} and not (world.root.parent / "escaped.parquet").exists()
