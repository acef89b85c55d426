"""Where things lie."""

from pathlib import Path

import pytest

from transect import cli
from transect.errors import InputError
from transect.project import SHIPPED, find_project


def test_project_is_found_from_inside(world) -> None:  # type: ignore[no-untyped-def]
    """A folder below transect.yaml belongs to that project; its own units come before the shipped ones."""
    inside = world.root / "studies"
    assert find_project(inside).root == world.root
    assert find_project(inside).roots == (world.root, SHIPPED)


def test_repository_is_a_project() -> None:
    """Inside the repository the project is the repository itself."""
    assert find_project(SHIPPED / "tests").roots == (SHIPPED,)


def test_settings_and_environment(world, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """A setting names the store and the mirror; the environment wins over it."""
    (world.root / "transect.yaml").write_text("store: scratch\nmirror: /data\n")
    assert find_project(world.root).store == world.root / "scratch"
    monkeypatch.setenv("TRANSECT_STORE", "/elsewhere")
    assert find_project(world.root).store == Path("/elsewhere")


def test_unknown_setting_is_told(world) -> None:  # type: ignore[no-untyped-def]
    """A misspelt setting is answered with the nearest."""
    (world.root / "transect.yaml").write_text("stor: x\n")
    with pytest.raises(InputError, match="unknown setting 'stor'.*Did you mean 'store'"):
        find_project(world.root)


def test_init_makes_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`transect init DIR` makes a folder that is found as a project, with no setting on; a second time it refuses."""
    assert cli.main(["init", str(tmp_path / "mine")]) == 0
    assert find_project(tmp_path / "mine" / "studies").root == tmp_path / "mine"
    assert find_project(tmp_path / "mine").settings == {}
    assert cli.main(["init", str(tmp_path / "mine")]) == 2
