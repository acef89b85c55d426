"""Imports of a file, followed to the files of the package."""

from pathlib import Path

import pytest

from transect.errors import InputError
from transect.store import code_imports, units
from transect.store.project import PACKAGE, SHIPPED, Project


def direct(tmp_path: Path, text: str) -> set[str]:
    path = tmp_path / "file.py"
    path.write_text(text)
    return {str(file.relative_to(PACKAGE)) for file in code_imports.direct(path)}


def test_a_name_that_a_package_hands_on_is_its_definers(tmp_path: Path) -> None:
    """``from transect.lm import Model`` is an import of the file that defines Model."""
    assert direct(tmp_path, "from transect.lm import Model\n") == {"lm/model.py"}


def test_imports_for_type_checkers_do_not_count(tmp_path: Path) -> None:
    """They are never run."""
    text = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from transect.lm import words\n"
    )
    assert direct(tmp_path, text) == set()


def test_other_packages_do_not_count(tmp_path: Path) -> None:
    """Only files of this one."""
    assert (
        direct(tmp_path, "import json\nimport transectional\nfrom pandas import DataFrame\n")
        == set()
    )


@pytest.mark.parametrize(
    "text",
    [
        "from transect.lm.wrods import spans",
        "import transect.lm.wrods",
        "from transect.lm import wrods",
    ],
)
def test_an_import_that_leads_nowhere_is_an_error_with_the_nearest(
    tmp_path: Path, text: str
) -> None:
    """The file, its line, and the module that was probably meant."""
    with pytest.raises(
        InputError, match=r"file.py, line 2: .*Did you mean 'transect\.lm\.text\.words'"
    ):
        direct(tmp_path, f"\n{text}\n")


def test_the_closure_goes_through_functions_and_files(tmp_path: Path) -> None:
    """An import inside a function counts, and so do the imports of what is imported."""
    path = tmp_path / "file.py"
    path.write_text("def later():\n    from transect.study import grid\n")
    closure = code_imports.closure([path])
    assert {
        PACKAGE / "study/grid.py",
        PACKAGE / "store/cell_store.py",
        PACKAGE / "store/files/whole_files.py",
    } <= closure
    assert code_imports.closure([path], lambda file: file.name == "grid.py") == {
        PACKAGE / "study/grid.py"
    }


@pytest.mark.parametrize(
    ("kind", "name", "files"),
    [
        ("analysis", "attribution", ["stats/effects/attribution.py", "stats/mixed/gaussian.py"]),
        ("analysis", "attribution", ["study/outcome.py", "registry/factors.py"]),
        ("analysis", "relatedness", ["stats/phylogeny/covariance.py", "registry/kinship.py"]),
        ("figure", "attribution_forest", ["report/style.py"]),
    ],
)
def test_a_unit_rests_on_what_it_imports(kind: str, name: str, files: list[str]) -> None:
    """The inputs of the workflow's rules: its own file first, and the statistics, the factors, the
    kinship and the style that it reaches.
    """
    unit = units.find(kind, name, Project(SHIPPED))
    inputs = code_imports.of_unit(unit)
    assert inputs[0] == unit.path
    assert {PACKAGE / file for file in files} <= set(inputs)


def test_an_analysis_does_not_rest_on_the_engine() -> None:
    """A changed tokenizer draws no figure again: its cells would change first."""
    inputs = code_imports.of_unit(units.find("analysis", "attribution", Project(SHIPPED)))
    assert not [path for path in inputs if path.is_relative_to(PACKAGE / "lm")]
