"""A first study of real models, all facts as `registry add` leaves them: no cell is lost, no
analysis and no figure is broken.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.real import world
from transect.jobs.analyse import analyse, draw
from transect.jobs.gather import gather
from transect.jobs.measure import measure
from transect.report.assemble import render
from transect.store import units
from transect.store.cell_store import Store
from transect.study import study_file as studies
from transect.study.analyses import figures_of

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def done(real_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The study, measured, analysed and drawn by the steps of the workflow, in one process."""
    project = world.make(
        tmp_path_factory.mktemp("everything"),
        {f"real-{name}": path for name, path in real_models.items()},
    )
    study = studies.load(world.STUDY, project)
    for shard in study.shards:
        measure(
            study, shard.name, study.results / "shards" / f"{shard.name}.json", last_attempt=True
        )
    gather(study, study.results)
    for spec in study.data["analyses"]:
        analyse(
            study, spec["analysis"], study.results / "tables" / spec["analysis"] / "manifest.json"
        )
    for name in figures_of(study):
        draw(study, name, study.results / "figures" / f"{name}.json")
    return study


def test_no_cell_is_lost(done: Any, real_models: dict[str, Path]) -> None:
    """Every cell is measured, or not applicable by what the model is (a masked one; no attention
    map of it is left to right).
    """
    grid = pd.read_parquet(done.results / "grid.parquet")
    assert (
        grid.loc[
            ~grid["state"].isin(["measured", "not applicable"]),
            ["run", "measure", "state", "reason"],
        ].values.tolist()
        == []
    )
    real = grid[grid["run"] != world.MASKED]
    assert (real["state"] == "measured").all() and len(real) == len(world.MEASURES) * len(
        real_models
    )
    assert set(
        grid.loc[(grid["run"] == world.MASKED) & (grid["state"] == "measured"), "measure"]
    ) >= {
        "minimal_pair",
        "fertility",
    }


def test_every_measure_and_every_analysis_is_in_it(done: Any) -> None:
    """Those of the repository, so that a new one is tried on real models too."""
    assert {m["measure"] for m in world.MEASURES} == set(units.available("measure", done.project))
    assert {a["analysis"] for a in world.ANALYSES} == set(units.available("analysis", done.project))
    assert set(figures_of(done)) == set(units.available("figure", done.project))


def test_no_analysis_and_no_figure_is_broken(done: Any) -> None:
    """Every manifest without an error."""
    manifests = [
        *(done.results / "tables").glob("*/manifest.json"),
        *(done.results / "figures").glob("*.json"),
    ]
    told = {
        path.parent.name + "/" + path.name: json.loads(path.read_text())["error"]
        for path in manifests
    }
    assert {name: error for name, error in told.items() if error} == {} and len(told) > 2 * len(
        world.ANALYSES
    ) - 2


def test_the_self_check_found_rounding_and_no_fault(
    done: Any, real_models: dict[str, Path]
) -> None:
    """Every checkpoint: within its tolerance, which for these models is below the 1e-3 nats of a
    fault.
    """
    for run in done.runs:
        told = next(iter(Store(done.project.store).provenance_of(run.id, "main").values()))[
            "self_check"
        ]
        assert (
            told["cells_failed"] == 0 and told["difference_nats"] <= told["tolerance_nats"] < 1e-3
        )


def test_the_report_is_written(done: Any) -> None:
    """With every run in it."""
    render(done, done.results / "report.html")
    text = (done.results / "report.html").read_text()
    assert all(run.id in text for run in done.runs)
