"""All commands as data: what the help has to hold."""

import pytest

from transect.cli.main import COMMANDS, main, program, read
from transect.cli.reference import Command, commands, words
from transect.registry import suites
from transect.store import units
from transect.store.project import find_project

LISTED = commands(program())


@pytest.fixture(params=LISTED, ids=[command.name for command in LISTED])
def command(request: pytest.FixtureRequest) -> Command:
    """Each command."""
    return request.param


def test_every_command_is_listed() -> None:
    """None is missing, and the groups are no commands."""
    assert sorted(command.name for command in LISTED) == sorted(COMMANDS)


def test_every_command_has_an_example_that_parses(command: Command) -> None:
    """The parser takes each example, and it is an example of this command."""
    assert command.examples
    for example in command.examples:
        assert example.startswith(f"transect {command.name}")
        assert callable(read(words(example), program()))


def test_examples_name_what_is_shipped() -> None:
    """Studies, suites, runs and measures of the examples exist, so that they can be tried."""
    project = find_project()
    registry = suites.load(project)
    shipped = {
        "run": [path.stem for path in (project.root / "studies").glob("*.yaml")],
        "measures": units.available("measure", project),
        "registry show": registry.runs,
        "registry audit": [suite.name for suite in registry.suites],
    }
    shipped |= dict.fromkeys(("plan", "status", "verify"), shipped["run"])
    for listed in LISTED:
        for example in listed.examples if listed.name in shipped else ():
            name = words(example)[len(listed.name.split()) :][:1]
            assert not name or name[0] in shipped[listed.name], example


def test_every_option_says_what_it_is(command: Command) -> None:
    """A text, and the default where it is not required; a sentence is not cut or run together."""
    assert command.summary.endswith(".") and command.usage.startswith(f"transect {command.name}")
    for option in (*command.arguments, *command.options):
        assert option.help, option.names
        assert (option.default is None) == option.required, option.names
        assert "\n" not in option.help


def test_the_default_is_what_the_command_takes() -> None:
    """Of `fit`: 1000 samples, no intervals; choices are listed."""
    fit = next(command for command in LISTED if command.name == "fit")
    options = {option.names[0].split()[0]: option for option in fit.options}
    assert (options["-n"].default, options["-n"].value) == ("1000", "N")
    assert options["--intervals"].default == "none"
    assert options["--family"].choices == ("gaussian", "binomial")
    assert options["--relatedness-column"].names[-1].startswith("--of")
    assert options["--means"].group == "Additional output"


def test_the_help_shows_what_the_reference_lists(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Usage, summary, examples and every option, on stdout, code 0."""
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*command.name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert command.usage in shown and command.summary in shown
    assert all(f"  {example}\n" in shown for example in command.examples)
    assert all(option.names[0].split()[0] in shown for option in command.options)


def test_the_help_of_the_program_has_all_summaries(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the exit codes; the commands of the registry are in its own."""
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "Exit codes: 0" in shown
    assert all(c.summary in shown for c in LISTED if not c.name.startswith("registry "))
    assert main(["registry", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(c.summary in shown for c in LISTED if c.name.startswith("registry "))
