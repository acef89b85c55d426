"""The table of runs that analyses get: what is not known of a run is a level or a missing number,
never a hole or a word among numbers.
"""

import pandas as pd
import pytest

from tests.shelf import tiny_model
from transect.cli.registry import add
from transect.jobs.gather import registry_table
from transect.store import cell_store
from transect.store.project import find_project
from transect.study import study_file

STUDY = """study: small
title: Small
question: Nothing?
population: {where: "suite == 'mine'"}
seed: 1
measures: [{measure: minimal_pair, stimuli: blimp_agreement}]
analyses: [{analysis: population, factors: [language, stage, n_experts, script]}]
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Two models as `registry add` leaves them, but that the first has a parent and known tokens,
    and the second unknown sharing.
    """
    folder = tmp_path_factory.mktemp("project")
    (folder / "transect.yaml").write_text("")
    (folder / "studies").mkdir()
    (folder / "studies/small.yaml").write_text(STUDY)
    project = find_project(folder)
    added = (
        ("gpt2", "first", {"train_tokens": 5_000_000_000}),
        ("llama", "second", {"tied_embeddings": "unknown", "parent": "first"}),
    )
    for kind, name, given in added:
        add.add(str(tiny_model(folder, kind)), "mine", project, given=given, run=name)
    path = folder / "registry.parquet"
    cell_store.write_table(path, registry_table(study_file.load("small", project)))
    return cell_store.read_table(path).set_index("run")


def test_an_unknown_name_is_a_level(table: pd.DataFrame) -> None:
    """Of a field that the entry calls unknown, and of one that it does not name (stage has no word
    for it).
    """
    assert table.loc["first", ["language", "corpus", "stage", "script"]].tolist() == ["unknown"] * 4


def test_an_unknown_number_is_missing(table: pd.DataFrame) -> None:
    """Beside a known one, and where no run has it: numbers, never words."""
    assert table.loc["first", "train_tokens"] == 5_000_000_000 and pd.isna(
        table.loc["second", "train_tokens"]
    )
    for name in ("train_tokens", "unique_tokens", "n_experts"):
        assert pd.api.types.is_numeric_dtype(table[name])


def test_true_and_false_beside_unknown_are_names(table: pd.DataFrame) -> None:
    """A column has one type; one of which all is known stays a truth."""
    assert table["tied_embeddings"].tolist() == ["true", "unknown"]
    assert table["parallel_residual"].dtype == bool


def test_no_parent_is_none(table: pd.DataFrame) -> None:
    """A field that is no design factor is not filled: an unnamed parent is no level."""
    assert table["parent"].isna().tolist() == [True, False]
