"""The commands that compute nothing."""

import json

import pytest

from transect import cli
from transect.project import Project


def test_list_by_property(capsys: pytest.CaptureFixture[str]) -> None:
    """`registry list --where` prints the runs that satisfy the query, as JSON too."""
    assert (
        cli.main(["registry", "list", "--json", "--where", "suite == 'pythia' and d_model == 512 and seed == 3"]) == 0
    )
    assert [r["id"] for r in json.loads(capsys.readouterr().out)] == ["pythia-70m-seed3"]


def test_bad_query_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown factor: one sentence on stderr, code 2."""
    assert cli.main(["registry", "list", "--where", "d_modle == 512"]) == 2
    assert "Did you mean 'd_model'" in capsys.readouterr().err


def test_show_names_the_nearest_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt run is answered with the nearest."""
    assert cli.main(["registry", "show", "pythia-70"]) == 2
    assert "Did you mean 'pythia-" in capsys.readouterr().err


def test_show_tells_excluded_revisions(capsys: pytest.CaptureFixture[str]) -> None:
    """Known defects are part of what is shown."""
    assert cli.main(["registry", "show", "pythia-2.8b"]) == 0
    assert "excluded" in capsys.readouterr().out


def test_check_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """`registry check` says what it read."""
    assert cli.main(["registry", "check"]) == 0
    assert "no errors" in capsys.readouterr().out


def test_plan_counts_cells_and_costs(world: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """`plan` knows cells, loads, training and disk before anything is computed."""
    assert cli.main(["plan", "tiny", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cells"], told["runs_to_train"], told["checkpoints_to_load"]) == (26, 5, 13)
    assert told["cpu_hours"] >= 0 and told["download_gb"] == 0
    assert not (world.root / "results").exists()


def test_plan_of_the_shipped_studies_needs_no_network(capsys: pytest.CaptureFixture[str]) -> None:
    """The study for a connected machine is planned offline: bytes to download are known from the registry."""
    assert cli.main(["plan", "suites", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["download_gb"] > 1
