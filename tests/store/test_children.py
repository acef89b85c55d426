"""Nothing that lies beside a study is imported in the place of a module of that name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transect.store import children
from transect.store.project import SHIPPED

WORLD = SHIPPED / "tests/world"
# of the standard library, of packages, and what Python itself looks for at its start
NAMES = (
    "random",
    "statistics",
    "types",
    "numpy",
    "yaml",
    "sitecustomize",
    "usercustomize",
    "transect",
    "snakemake",
)


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A project in a folder of an odd name, with modules that leave a file RAN where they are run."""
    folder = tmp_path / "study #2: {x} [1] 'y'"
    shutil.copytree(WORLD, folder)
    for place in (folder, folder / "studies"):
        for name in NAMES:
            (place / f"{name}.py").write_text(
                f"open({str(tmp_path / 'RAN')!r}, 'a').write({name!r})\nraise SystemExit('not the {name} you wanted')\n"
            )
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["transect", "run", "tiny", "-n"],
        ["snakemake", "-n", "--snakefile", str(SHIPPED / "Snakefile"), "--config", "study=tiny"],
    ],
    ids=["transect", "snakemake"],
)
def test_a_study_beside_such_modules_is_planned(trapped: Path, command: list[str]) -> None:
    """In a folder with modules of those names, whose own name YAML and Snakemake would read
    otherwise: all jobs are told.
    """
    program = [str(Path(sys.executable).parent / command[0]), *command[1:]]
    told = subprocess.run(program, cwd=trapped, capture_output=True, text=True)
    assert told.returncode == 0 and "rule report:" in told.stdout, told.stdout + told.stderr
    assert not (trapped.parent / "RAN").exists()


@pytest.mark.parametrize(
    ("given", "kept"), [("", None), (":", None), (":/a", "/a"), ("/a::/b:", "/a:/b"), (None, None)]
)
def test_an_empty_entry_of_the_path_is_not_handed_on(given: str | None, kept: str | None) -> None:
    """It means the current folder; other entries keep their order. Also a process that is started
    by a child keeps that folder off.
    """
    found = children.environment({"A": "1"} | ({} if given is None else {"PYTHONPATH": given}))
    assert found == {"A": "1", "PYTHONSAFEPATH": "1"} | (
        {} if kept is None else {"PYTHONPATH": kept}
    )


def test_a_module_runs_without_its_folder(tmp_path: Path) -> None:
    """`python -m` would import types.py of the current folder (control); ours does not."""
    (tmp_path / "types.py").write_text("raise SystemExit('not the types you wanted')\n")
    ours, control = children.python("this"), [sys.executable, "-m", "this"]
    said = [
        subprocess.run(c, cwd=tmp_path, capture_output=True, text=True) for c in (ours, control)
    ]
    assert (
        "Beautiful is better than ugly" in said[0].stdout
        and "not the types you wanted" in said[1].stderr
    )
