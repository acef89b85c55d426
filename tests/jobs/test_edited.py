"""A unit of the project that was edited after it was measured, at an equal VERSION."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.jobs.hub_project import GOOD, hub_project, load_study, measure_all, publish
from tests.shelf import tiny_model
from transect.cli import main
from transect.errors import InputError
from transect.jobs import edited
from transect.registry import suites
from transect.registry.suites import Registry
from transect.store.cell_store import Store, read_table
from transect.store.project import SHIPPED, Project

COUNT = '''"""How many items there are."""
import pandas as pd

VERSION = 1
UNIT = {"n": "items"}
REQUIRES = ["logits"]
STIMULI = ["sentence_good"]


def measure(model, items, *, seed, times: int = 1):
    """One row."""
    return pd.DataFrame({"item": ["all"], "metric": "n", "value": [float(times * len(items))]})
'''
PAIRS = """
import csv
from pathlib import Path
import pandas as pd
VERSION = 1
COLUMNS = ["item", "sentence_good", "sentence_bad"]


def items(*, seed):
    with Path(__file__).with_name("sentences" + ".csv").open() as file:
        good = [row[0] for row in csv.reader(file)]
    return pd.DataFrame({"item": list("abc"), "sentence_good": good, "sentence_bad": ["the dogs runs .", "cats sleeps", "a cat run"]})
"""
LONG = "raise it in .* to measure again, or keep the values with `transect run small --same-values`"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project in which an own measure was taken on own stimuli, which read a file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("measured")
        made = hub_project(folder, patch)
        publish(made, "lab/plain", tiny_model(folder, "gpt2"))
        (made.root / "measures").mkdir()
        (made.root / "measures/count.py").write_text(COUNT)
        (made.root / "stimuli/pairs.py").write_text(PAIRS)
        (made.root / "stimuli/sentences.csv").write_text("\n".join(GOOD))
        study = made.root / "studies/small.yaml"
        study.write_text(
            study.read_text().replace("analyses:", "- {measure: count, stimuli: pairs}\nanalyses:")
        )
        measure_all(load_study(made))
        edited.check(load_study(made))
        assert set(Store(made.store).index()["state"]) == {"measured"}
        yield made


@pytest.fixture(scope="module")
def loaded(measured: Project) -> Registry:
    return suites.load(measured)


@pytest.fixture
def project(
    measured: Project, loaded: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """A copy of it, to change something in; the current folder is inside it."""
    shutil.copytree(measured.root, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(
        suites, "load", lambda project, found=loaded: found
    )  # the same for every copy, read once
    for name in [n for n in sys.modules if n.startswith("transect_unit_")]:
        monkeypatch.delitem(sys.modules, name)
    return Project(tmp_path / "project")


def change(project: Project, file: str, old: str, new: str) -> None:
    path = project.root / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("measures/count.py", "len(items)", "len(items) + 1"),
        ("measures/count.py", "times: int = 1", "times: int = 2"),
        ("stimuli/pairs.py", "a cat run", "a cat runs"),
        ("stimuli/sentences.csv", "cats sleep", "cats see"),
    ],
)
def test_an_edit_stops_the_study(project: Project, file: str, old: str, new: str) -> None:
    """One sentence that names the file and both ways on; the second is remembered."""
    change(project, file, old, new)
    with pytest.raises(
        InputError, match=f"^{file} has changed since . cells were measured.*{LONG}"
    ):
        edited.check(load_study(project))
    edited.check(load_study(project), same_values=True)
    study = load_study(project)
    edited.check(study)
    assert {c.key for c in study.cells} == set(Store(project.store).index().index)


def test_every_command_says_so(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """plan, run and status end with 2 and one sentence; with the flag they go on."""
    change(project, "measures/count.py", "len(items)", "len(items) + 1")
    for command in ("plan", "run", "status"):
        assert main.main([command, "small"]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and told.startswith(
            "transect: measures/count.py has changed since"
        )
    assert main.main(["plan", "small", "--json", "--same-values"]) == 0
    assert json.loads(capsys.readouterr().out)["cells_to_measure"] == 0


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("measures/count.py", '"""One row."""', '"""One row, the number of items."""'),
        ("measures/count.py", "VERSION = 1", "VERSION = 1  # the first"),
        ("stimuli/pairs.py", "VERSION = 1", '"""Pairs of sentences."""\nVERSION = 1'),
        (
            "stimuli/pairs.py",
            "[row[0] for row in csv.reader(file)]",
            "list(row[0] for row in csv.reader(file))",
        ),
    ],
)
def test_an_edit_without_effect_stops_nothing(
    project: Project, file: str, old: str, new: str
) -> None:
    """Comments and docstrings; of stimuli also other code that makes the same items."""
    change(project, file, old, new)
    edited.check(load_study(project))
    edited.check(load_study(project))


def test_a_raised_version_measures_again(project: Project) -> None:
    """The first way on: new cells, of new items."""
    change(project, "stimuli/sentences.csv", "cats sleep", "cats see")
    change(project, "stimuli/pairs.py", "VERSION = 1", "VERSION = 2")
    study = load_study(project)
    edited.check(study)
    assert not set(c.key for c in study.cells) & set(Store(project.store).index().index)


def test_what_nothing_was_measured_with_is_free(project: Project) -> None:
    """Items that were made and never measured are made anew: nobody is asked about a stimulus set
    that is still being written.
    """
    shutil.rmtree(project.store / "cells")
    change(project, "stimuli/sentences.csv", "cats sleep", "cats see")
    study = load_study(project)
    edited.check(study)
    measure_all(study)
    (items,) = (project.store / "items").glob("*.parquet")
    assert "cats see" in set(read_table(items)["sentence_good"])


def test_a_mended_measure_is_tried_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that failed in other code is measured without a flag: no value is lost."""
    study = project.root / "studies/small.yaml"
    study.write_text(
        study.read_text().replace("analyses:", "- {measure: broken, stimuli: pairs}\nanalyses:")
    )
    (project.root / "measures/broken.py").write_text(COUNT.replace("len(items)", "len(itemz)"))
    measure_all(load_study(project))
    assert (Store(project.store).index()["state"] == "failed").sum() == 1
    change(project, "measures/broken.py", "itemz", "items")
    monkeypatch.delitem(sys.modules, "transect_unit_measure_broken")
    edited.check(load_study(project))
    measure_all(load_study(project))
    assert set(Store(project.store).index()["state"]) == {"measured"}


def test_an_own_file_that_hides_the_shipped_one_is_told(project: Project) -> None:
    """A measure of the name and VERSION of a shipped one gives its values to nobody, and takes
    none.
    """
    shipped = SHIPPED / "src/transect/measures/behaviour/minimal_pair.py"
    (project.root / "measures/minimal_pair.py").write_text(shipped.read_text())
    with pytest.raises(
        InputError,
        match=f"measures/minimal_pair.py is another file than .* with which 1 cells were measured.*{LONG}",
    ):
        edited.check(load_study(project))


def test_a_store_of_before_is_adopted(project: Project) -> None:
    """Cells without a state: the first that is seen is taken for it, the next edit stops the study."""
    cells, index = Store(project.store), Store(project.store).index()
    values = {key: cells.read(index[index.index == key]) for key in index.index}
    records = [c.record("measured", items_sha256="") for c in load_study(project).cells]
    for made in (project.store / "items").glob("*.json"):
        made.unlink()
    cells.write([replace(r, code="", stimuli_code="") for r in records], values, {})
    edited.check(load_study(project))
    change(project, "measures/count.py", "len(items)", "len(items) + 1")
    with pytest.raises(
        InputError, match=f"measures/count.py has changed since 1 cells were measured.*{LONG}"
    ):
        edited.check(load_study(project))


def test_plain_snakemake_stops_as_well(project: Project) -> None:
    """The workflow itself looks, whoever starts it."""
    change(project, "measures/count.py", "len(items)", "len(items) + 1")
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(SHIPPED / "Snakefile"),
        "-d",
        str(project.root),
        "-n",
    ]
    result = subprocess.run(
        [*command, "--config", "study=small"], capture_output=True, text=True, cwd=project.root
    )
    assert (
        result.returncode == 1
        and "measures/count.py has changed since 1 cells were measured"
        in result.stdout + result.stderr
    )
