"""Units are found by their file."""

import sys
from pathlib import Path

import pytest

from transect.errors import InputError
from transect.store import units
from transect.store.project import SHIPPED, Project

UNIT = '"""Doc."""\nVERSION = 3\nUNIT = {"x": "nats"}\nREQUIRES = ["logits"]\nSTIMULI: list[str] = []\nimport absent_module\n'


def own(tmp_path: Path, text: str = UNIT, name: str = "mine") -> Project:
    (tmp_path / "measures").mkdir()
    (tmp_path / "measures" / f"{name}.py").write_text(text)
    return Project(tmp_path)


def test_declarations_are_read_without_importing(tmp_path: Path) -> None:
    """A unit whose import would fail still tells its VERSION."""
    assert units.find("measure", "mine", own(tmp_path))["VERSION"] == 3


def test_own_unit_hides_the_shipped_one(tmp_path: Path) -> None:
    """A user's measure of the same name is taken."""
    assert units.find("measure", "copying", own(tmp_path, name="copying"))["VERSION"] == 3


def test_unknown_unit_is_named_with_the_nearest() -> None:
    """The sentence holds the place, the allowed names and the nearest."""
    with pytest.raises(
        InputError,
        match=r"x.yaml: unknown measure 'inducton'; there are: .*Did you mean 'induction'",
    ):
        units.find("measure", "inducton", Project(SHIPPED), "x.yaml")


def test_a_file_of_data_is_told_from_a_stimulus_set(tmp_path: Path) -> None:
    """stimuli/pairs.jsonl, asked for with its ending or without: the sentence says which Python
    file is missing, and what it needs.
    """
    (tmp_path / "stimuli").mkdir()
    (tmp_path / "stimuli/pairs.jsonl").write_text("{}")
    for name in ("pairs", "pairs.jsonl"):
        with pytest.raises(
            InputError,
            match=r"pairs.jsonl is data: write a file stimuli/pairs.py with VERSION and COLUM",
        ):
            units.find("stimuli", name, Project(tmp_path))


def test_missing_declaration_is_told(tmp_path: Path) -> None:
    """A measure without a literal VERSION is refused."""
    with pytest.raises(InputError, match="must declare VERSION"):
        units.find(
            "measure", "mine", own(tmp_path, UNIT.replace("VERSION = 3", "VERSION = int('3')"))
        )


def test_broken_unit_is_told(tmp_path: Path) -> None:
    """A unit that is no Python is named with its line."""
    with pytest.raises(InputError, match="mine.py, line 2"):
        units.find("measure", "mine", own(tmp_path, "x = 1\ndef broken(:\n"))


@pytest.mark.parametrize("kind", list(units.KINDS))
def test_every_shipped_unit_declares_itself(kind: str) -> None:
    """Every shipped unit has the literals that its kind needs."""
    project = Project(SHIPPED)
    for name in units.available(kind, project):
        units.find(kind, name, project)


def test_an_option_without_default_must_be_given(tmp_path: Path) -> None:
    """Told with its example, in a study's form; a factor (BY) and the seed are not options."""
    text = (
        UNIT
        + 'EXAMPLE = {"size": [{"n": 2}]}\nBY = ["language"]\ndef measure(model, items, *, seed, language, size, more=3): ...\n'
    )
    unit = units.find("measure", "mine", own(tmp_path, text))
    assert unit.options() == {"size": None, "more": "3"}
    unit.check_options(["size"], "x.yaml")
    with pytest.raises(
        InputError, match=r"x.yaml: mine needs the option size, e.g. size: \[{n: 2}\]"
    ):
        unit.check_options(["more"], "x.yaml")


@pytest.mark.parametrize("name", ["my measure", "con", "{wildcards.study}", "Copying", "a..b"])
def test_a_file_whose_name_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    """A unit's name stands in paths of results and in the workflow's rules."""
    with pytest.raises(InputError, match=r"\.py: .*(rename the file|rename one of them)"):
        units.find("measure", name, own(tmp_path, name=name))


def test_a_projects_unit_imports_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its own folder and the project's; a file that is called like a module of Python's is not
    taken for it.
    """
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    helped = "import colorsys\nimport _beside_it\nimport _in_the_project\n"
    project = own(tmp_path, UNIT.replace("import absent_module\n", helped))
    (tmp_path / "measures/_beside_it.py").write_text("x = 1\n")
    (tmp_path / "_in_the_project.py").write_text("x = 2\n")
    for place in (tmp_path, tmp_path / "measures"):
        (place / "colorsys.py").write_text("raise SystemExit\n")
    module = units.find("measure", "mine", project).load()
    assert (module._beside_it.x, module._in_the_project.x) == (1, 2)
    assert module.colorsys.rgb_to_hsv(1, 1, 1) == (0, 0, 1)
