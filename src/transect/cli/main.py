"""The program `transect`: every command, the exit codes, and what is shown of an error.

A command is imported when it is called, and imports its work when it runs.
"""

import contextlib
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

from cyclopts import App, CycloptsError, Group, Parameter

from transect.cli.arguments import default_text
from transect.cli.usage_errors import refusal
from transect.errors import (
    InputError,
    LoadError,
    NotApplicable,
    ResourceError,
    brief,
    of_disk,
    panics_are_errors,
)
from transect.jobs.workflow.stopping import Stopped, stoppable
from transect.store.hub import addresses

EXIT_CODES = (
    "Exit codes: 0 everything asked for is done; 1 finished, but cells failed, a model cannot be "
    "loaded, or a resource gave out (a full disk); 2 the input is wrong, or a place cannot be "
    "written; 130, 143, 129 stopped by Ctrl-C, SIGTERM, SIGHUP: what is finished is kept."
)
# the rooms of the commands and their titles in the help; where the function of each command is
ROOMS = {
    "study": "Studies",
    "model": "Models without a study",
    "table": "Tables of any origin",
    "registry": "Registry",
}
COMMANDS = {
    "init": "study.commands:init",
    "plan": "study.commands:plan",
    "run": "study.commands:run",
    "status": "study.commands:status",
    "verify": "study.commands:verify",
    "measures": "model.commands:measures",
    "measure": "model.commands:measure",
    "fit": "table.commands:fit",
    "gstudy": "table.commands:gstudy",
    "scaling": "table.commands:scaling",
    "registry list": "registry.commands:list_runs",
    "registry show": "registry.commands:show_run",
    "registry tree": "registry.commands:show_tree",
    "registry contrasts": "registry.commands:show_contrasts",
    "registry languages": "registry.commands:show_languages",
    "registry add": "registry.commands:add_model",
    "registry check": "registry.commands:check_suites",
    "registry audit": "registry.commands:audit_suite",
}
# where the parser's own line says less
USAGE = {
    "run": "transect run [OPTIONS] STUDY [-- SNAKEMAKE_ARGUMENTS]",
    "measures": "transect measures [OPTIONS] [NAME]",
}
HELP = ("--help", "-h")


def _version() -> str:
    from importlib.metadata import version  # here: it costs as much as a command's parser

    return f"transect {version('transect')}"


def program() -> App:
    """The parser of all commands; each is imported when it is asked for."""
    app = App(
        name="transect",
        help="How far does a finding about one language model reach?",
        help_epilogue=EXIT_CODES,
        help_format="plaintext",
        version=_version,
        group_parameters=Group("Options", sort_key=9),  # after the groups of each command
        default_parameter=Parameter(
            negative=(),
            json_list=False,
            json_dict=False,
            allow_repeating=True,
            show_default=default_text,
        ),
    )
    groups = {
        room: Group(title, sort_key=order) for order, (room, title) in enumerate(ROOMS.items())
    }
    registry = App(
        name="registry",
        help="List, add, check and audit the models that studies can use.",
        group=groups["registry"],
        help_epilogue="",
    )
    for order, (name, place) in enumerate(COMMANDS.items()):
        *parent, word = name.split()
        group = None if parent else groups[place.partition(".")[0]]
        (registry if parent else app).command(
            f"transect.cli.{place}",
            name=word,
            sort_key=order,
            group=group,
            help_epilogue="",
            usage=USAGE.get(name),
        )
    app.command(registry)
    return app


def read(words: Sequence[str], app: App) -> Callable[[], Any]:
    """The command that the words of a command line ask for, ready to be called.

    What follows `--` after `run` is for Snakemake, wherever the options of `run` stand. Raises
    CycloptsError for words that no command takes, InputError where no command is named.
    """
    end = words.index("--") if words[:1] == ["run"] and "--" in words else len(words)
    command, bound, unparsed = app.parse_args(
        words[:end], exit_on_error=False, print_error=False, verbose=False
    )
    more = {"snakemake_arguments": tuple(words[end + 1 :])} if unparsed else {}
    if inspect.ismethod(command) and command.__func__ is App.help_print:
        group = app["registry"] if words[:1] == ["registry"] else app
        if not set(HELP) & set(words):
            names = ", ".join(name for name in group if not name.startswith("-"))
            raise InputError(
                f"`transect {' '.join(words)}".rstrip() + f"` needs a command: {names}."
            )
        from transect.cli.help_panels import Panels  # here: it imports what draws the help

        app.help_formatter = Panels()
        group.resolved_commands()  # a command that is not imported has no summary in a list
    return lambda: command(*bound.args, **bound.kwargs, **more)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors of the input are one sentence on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with stoppable(), panics_are_errors():
            return read(words, program())() or 0
    except CycloptsError as error:
        return _ended(refusal(error), 2)
    except InputError as error:
        return _ended(error, 2)
    except (LoadError, NotApplicable, ResourceError) as error:
        return _ended(error, 1)
    except BrokenPipeError:
        return 0
    except Stopped as stopped:
        with contextlib.suppress(OSError):  # the terminal may be gone
            _ended(stopped, 2)
        return 128 + stopped.number
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if (sentence_and_code := of_disk(error)) is None:
            raise
        return _ended(*sentence_and_code)


def _ended(error: object, code: int) -> int:
    """Show an error, without the passwords and keys of the addresses that it repeats."""
    print(f"transect: {brief(addresses.shown(str(error)))}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
