"""What the README, the lock and the conda file promise."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from importlinter import cli as importlinter_cli
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# where each command of the README is run: by .ci/run, or by the test named here
RUN_BY = {
    "make study": "tests/workflow/test_fresh_clone.py",
    "make test": ".ci/run",
    "transect plan": "tests/cli/test_main.py",
    "transect run": "tests/workflow/test_workflow.py",
    "transect status": "tests/workflow/test_workflow.py",
    "transect measures": "tests/cli/test_main.py",
    "transect measure": "tests/cli/model/test_single.py",
    "transect fit": "tests/cli/table/test_fit.py",
    "transect gstudy": "tests/cli/table/test_gstudy.py",
    "transect scaling": "tests/cli/table/test_scaling.py",
    "transect registry list": "tests/cli/test_main.py",
    "transect registry contrasts": "tests/cli/test_main.py",
    "transect registry add": "tests/cli/registry/test_add.py",
    "transect registry audit": "tests/cli/registry/test_audit.py",
    "transect init": "tests/store/test_project.py",
}


def test_every_command_of_the_readme_is_run_somewhere() -> None:
    """Each command line in the README is run by CI or by the test that is named for it."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    commands = [
        line.split("#")[0].strip()
        for block in blocks
        for line in block.splitlines()
        if line.strip()
    ]
    assert commands
    for command in commands:
        known = [name for name in RUN_BY if command.startswith(name)]
        assert known, f"no test runs {command!r}"
        words = known[0].split()
        text = (ROOT / RUN_BY[known[0]]).read_text()
        assert (known[0] if words[0] == "make" else words[-1]) in text


def test_every_dependency_is_pinned() -> None:
    """constraints.txt names a version of everything that pyproject.toml asks for, torch exactly."""
    pinned = {
        line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    assert {re.split(r"[=<>~]", name)[0].lower() for name in asked} <= pinned
    assert "torch==2.13.0" in PROJECT["dependencies"]


def _pins(name: str) -> dict[str, str]:
    text = re.sub(r"\\\n *", "", (ROOT / name).read_text())
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", text, flags=re.M)
    return {re.sub(r"[_.]", "-", package.lower()): version for package, version in found}


def test_every_dependency_has_a_lower_bound_that_the_pins_meet() -> None:
    """pyproject.toml says of each package from which version on it was tried, and constraints.txt
    pins no older one.
    """
    pins = _pins("constraints.txt")
    for asked in map(
        Requirement, [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["sentencepiece"]]
    ):
        assert any(bound.operator in (">=", "==") for bound in asked.specifier), asked
        assert asked.specifier.contains(pins[re.sub(r"[_.]", "-", asked.name.lower())]), asked


def test_the_lock_holds_a_hash_of_every_pin_but_torch() -> None:
    """requirements.lock pins the versions of constraints.txt, each with its sha256; torch's build
    differs by machine.
    """
    pins, locked = _pins("constraints.txt"), _pins("requirements.lock")
    assert set(pins) - set(locked) == {"torch"}
    assert {name: locked[name] for name in pins if name != "torch"} == {
        n: v for n, v in pins.items() if n != "torch"
    }
    for entry in re.sub(r"\\\n *", "", (ROOT / "requirements.lock").read_text()).splitlines():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_conda_installs_the_same() -> None:
    """environment.yml installs this project with the same constraints, and its Python is
    pyproject's.
    """
    spec = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in spec["dependencies"] if isinstance(d, dict))
    assert pip == ["--constraint constraints.txt", "--editable ."]
    assert f"python{PROJECT['requires-python']}" in spec["dependencies"]


def test_no_function_is_longer_than_a_screen() -> None:
    """80 lines, everywhere."""
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "analyses").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 80, f"{path}: {node.name}"


def test_the_end_of_a_text_is_written_as_such() -> None:
    r"""`$` of Python's re is also the place before a last newline, so that "name\\n" passes for a
    name: \\Z or fullmatch is meant.
    """
    end = re.compile(r"(?<!\\)\$(?![^\[\]]*\])")
    for path in (ROOT / "src").rglob("*.py"):
        for call in _calls_of_re(ast.parse(path.read_text())):
            pattern = ast.unparse(call.args[0])
            if "MULTILINE" not in ast.unparse(call):
                assert not end.search(pattern), f"{path}, line {call.lineno}: {pattern}"


def _calls_of_re(tree: ast.Module) -> Iterator[ast.Call]:
    """The calls of functions of `re`, which have the pattern first."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "re":
                yield node


def test_imports_point_downwards(capsys: pytest.CaptureFixture[str]) -> None:
    """The contracts of pyproject.toml hold, and CONTRIBUTING prints their layers."""
    assert importlinter_cli.lint_imports(str(ROOT / "pyproject.toml"), no_cache=True) == 0, (
        capsys.readouterr().out
    )
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = settings["contracts"][0]["layers"]
    printed = " > ".join(layer.replace(" | ", ", ") for layer in layers)
    assert printed in (ROOT / "CONTRIBUTING.md").read_text()


def test_no_folder_is_a_heap() -> None:
    """At most 12 entries in the package and 15 files in a folder, but for measures and stimuli,
    where every file is a unit of its own.
    """
    package = ROOT / "src" / "transect"
    assert len([path for path in package.iterdir() if path.name != "__pycache__"]) <= 12
    for folder in (path for path in package.rglob("*") if path.is_dir()):
        if folder.relative_to(package).parts[0] not in ("measures", "stimuli"):
            assert len([path for path in folder.iterdir() if path.is_file()]) <= 15, folder


def test_the_version_stands_in_one_place() -> None:
    """pyproject.toml; how to cite the package repeats it."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == PROJECT["version"]
