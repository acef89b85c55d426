"""The state of a project's own unit: its syntax, what it imports inside the project, the data that
it names.
"""

from pathlib import Path

import pytest

from transect.store import unit_code, units
from transect.store.project import SHIPPED, Project

MEASURE = '''"""Counts."""
from pathlib import Path

import pandas as pd
from measures._shared import factor

VERSION = 1
UNIT = {"n": "items"}
REQUIRES = ["logits"]
STIMULI: list[str] = []


def measure(model, items, *, seed, scale: float = 1.0):
    """One row."""
    words = pd.read_csv(Path(__file__).parent / "lexicon.csv")
    return factor(scale) * len(words)
'''
SHARED = "def factor(scale):\n    return scale\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "measures").mkdir()
    (tmp_path / "measures/counts.py").write_text(MEASURE)
    (tmp_path / "measures/_shared.py").write_text(SHARED)
    (tmp_path / "measures/lexicon.csv").write_text("word\na\n")
    return Project(tmp_path)


def state(project: Project) -> str:
    return unit_code.state(units.find("measure", "counts", project))


def edit(project: Project, file: str, old: str, new: str) -> list[str]:
    """The files in which the state differs after an edit."""
    before, path = state(project), project.root / "measures" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return unit_code.changed(before, state(project))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("counts.py", "len(words)", "len(words) + 1"),
        ("counts.py", "float = 1.0", "float = 2.0"),
        ("counts.py", '"lexicon.csv"', '"_shared.py"'),
        ("_shared.py", "return scale", "return -scale"),
        ("lexicon.csv", "a", "b"),
    ],
)
def test_an_edit_that_may_change_values_is_seen(
    project: Project, file: str, old: str, new: str
) -> None:
    """Code, a default, what it imports inside the project, a file of data that it names: the file
    is told.
    """
    assert f"measures/{file}" in edit(project, file, old, new)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("counts.py", "VERSION = 1", "# a comment\nVERSION = 1"),
        ("counts.py", '"""One row."""', '"""One row of counts."""'),
        ("counts.py", '"""Counts."""\n', '"""Counts, as\n    nobody counted before."""\n\n\n'),
        ("counts.py", "factor(scale) * len(words)", "(factor(scale)\n            * len(words))"),
        ("_shared.py", "    return", '    """Itself."""\n    return'),
    ],
)
def test_comments_docstrings_and_layout_are_not(
    project: Project, file: str, old: str, new: str
) -> None:
    """What cannot change a value leaves the state as it is."""
    assert edit(project, file, old, new) == []


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ('f"{language}.tsv"', "measures/eng.tsv"),
        ('Path("data") / "words.jsonl"', "data/words.jsonl"),
        ('"data/words.jsonl"', "data/words.jsonl"),
        ('Path(__file__).with_suffix(".txt")', "measures/counts.txt"),
    ],
)
def test_data_are_found_as_people_name_them(project: Project, written: str, file: str) -> None:
    """A computed name, a folder and a name, a path from the project's root, a file called like the
    unit.
    """
    (project.root / "measures/counts.py").write_text(MEASURE.replace('"lexicon.csv"', written))
    (project.root / file).parent.mkdir(exist_ok=True)
    (project.root / file).write_text("a")
    before = state(project)
    (project.root / file).write_text("b")
    assert unit_code.changed(before, state(project)) == [file]


def test_a_file_that_an_option_names_is_part_of_it(project: Project) -> None:
    """The option is in the key of the cell, the content of the file is not."""
    unit = units.find("measure", "counts", project)
    (project.root / "names.csv").write_text("a")
    before = unit_code.state(unit, {"names": ["names.csv"]})
    (project.root / "names.csv").write_text("b")
    assert unit_code.changed(before, unit_code.state(unit, {"names": ["names.csv"]})) == [
        "names.csv"
    ]


def test_results_are_no_part_of_it(project: Project) -> None:
    """What this program writes into the project is no data of a unit."""
    (project.root / "measures/counts.py").write_text(
        MEASURE.replace('"lexicon.csv"', '"results/index.parquet"')
    )
    (project.root / "results").mkdir()
    before = state(project)
    (project.root / "results/index.parquet").write_text("b")
    assert state(project) == before


def test_shipped_units_have_no_state() -> None:
    """Golden values keep their VERSION honest, so that planning reads none of them."""
    assert unit_code.state(units.find("measure", "copying", Project(SHIPPED))) == "shipped"


def test_the_files_of_an_analysis_are_inputs_of_its_rule(project: Project) -> None:
    """Its own file, what it imports in the project, and the data that it names: a change of any
    computes it again.
    """
    found = unit_code.files(units.find("measure", "counts", project))
    assert [p.name for p in found] == ["counts.py", "_shared.py", "lexicon.csv"]
