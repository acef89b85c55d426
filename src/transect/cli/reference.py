"""All commands as data, read from the parser: what a page of documentation and the tests need."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cyclopts import App
from cyclopts.help import create_parameter_help_panel, format_doc, format_usage

from transect.cli.help_panels import joined, plain

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry

EXAMPLES = "For example:"  # what a docstring writes above its examples


@dataclass(frozen=True)
class Option:
    """An option or argument of a command.

    names: as they are typed, of an argument its name in the usage; value: what its value is called
    (empty: a flag, or an argument); default: as the help shows it (None: none is shown); group: the
    title under which the help lists it.
    """

    names: tuple[str, ...]
    value: str
    help: str
    default: str | None
    required: bool
    choices: tuple[str, ...]
    group: str


@dataclass(frozen=True)
class Command:
    """A command. name: without `transect`; text: what the help says below its first sentence,
    without the examples; examples: whole command lines.
    """

    name: str
    usage: str
    summary: str
    text: str
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]
    examples: tuple[str, ...]


def commands(app: App) -> list[Command]:
    """Every command of the program `app` in the order of its help."""
    return [_command(app, name) for name in _names(app, "")]


def words(example: str) -> list[str]:
    """The words of an example after `transect`, as a shell hands them over."""
    return shlex.split(example)[1:]


def _names(app: App, prefix: str) -> Iterator[str]:
    for name, child in app.resolved_commands().items():
        if name.startswith("-"):
            continue
        if child.default_command is None:
            yield from _names(child, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def _command(app: App, name: str) -> Command:
    chain, path, _ = app.parse_commands(name.split())
    with app.app_stack(path):
        command = path[-1]
        usage = command.usage or str(format_usage(app, chain, execution_path=path))
        summary, *paragraphs = joined(plain(format_doc(command, "plaintext"))).split("\n\n")
        arguments, options = _arguments_and_options(command)
    examples = [line.strip() for p in paragraphs if p.startswith(" ") for line in p.splitlines()]
    text = [p for p in paragraphs if not p.startswith(" ") and p != EXAMPLES]
    return Command(
        name,
        usage.strip(),
        summary,
        "\n\n".join(text),
        tuple(arguments),
        tuple(options),
        tuple(examples),
    )


def _arguments_and_options(command: App) -> tuple[list[Option], list[Option]]:
    """What a command takes, in the order of its help."""
    collection = command.assemble_argument_collection(parse_docstring=True)
    arguments: list[Option] = []
    options: list[Option] = []
    for group in collection.groups:
        members = collection.filter_by(group=group)
        for entry in create_parameter_help_panel(group, members, "plaintext").entries:
            listed = arguments if entry.positional_label else options
            listed.append(_option(entry, group.name))
    return arguments, options


def _option(entry: "HelpEntry", group: str) -> Option:
    return Option(
        names=entry.display_labels,
        value="" if entry.positional_label else entry.metavar or "",
        help=joined(plain(entry.description)),
        default=entry.default,
        required=entry.required,
        choices=entry.choices or (),
        group=group,
    )
