"""The program `transect`: every command, and the exit codes."""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from transect.cli.arguments import Parser, above_zero, positive
from transect.cli.model import commands as model_commands
from transect.cli.registry import commands as registry_commands
from transect.cli.table import commands as table_commands
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
from transect.store import children
from transect.store.files.whole_files import write_text
from transect.store.hub import addresses
from transect.store.project import FOLDERS, SETTINGS, SETTINGS_FILE, find_project

EXIT_CODES = (
    "Exit codes: 0 all asked for is there; 1 finished, but cells failed, a model cannot be loaded, or a resource gave out (a full disk); 2 the input is wrong, or "
    "a place cannot be written; 130, 143, 129 stopped by Ctrl-C, SIGTERM, SIGHUP: what is finished is kept."
)


def main(argv: list[str] | None = None) -> int:
    """Run one command; errors of the input are one sentence on stderr."""
    given = sys.argv[1:] if argv is None else argv
    # what follows -- is for Snakemake, wherever the options of `run` stand
    end = given.index("--") if given[:1] == ["run"] and "--" in given else len(given)
    args = _parser().parse_args(given[:end])
    args.snakemake = given[end + 1 :]
    try:
        with stoppable(), panics_are_errors():
            return args.command(args) or 0
    except InputError as error:
        print(_of_error(error), file=sys.stderr)
        return 2
    except (LoadError, NotApplicable, ResourceError) as error:
        print(_of_error(error), file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0
    except Stopped as stopped:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(_of_error(stopped), file=sys.stderr, flush=True)
        return 128 + stopped.number
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if (told := of_disk(error)) is None:
            raise
        print(_of_error(told[0]), file=sys.stderr)
        return told[1]


def _of_error(error: object) -> str:
    """What is shown of an error, without the passwords and keys of the addresses that it repeats."""
    return f"transect: {brief(addresses.shown(str(error)))}"


def run(args: argparse.Namespace) -> int:
    """Train, measure, analyse, report."""
    from transect.jobs.workflow import runner

    study = _unedited(args)
    cores = args.cores or study.project.cores
    if args.dry_run:
        import subprocess

        (study.project.root / ".snakemake").mkdir(
            exist_ok=True
        )  # Snakemake needs it, and has no sentence for a disk without it
        command = runner.snakemake(
            study, cores, args.retry_failed, ("--dry-run", *args.snakemake), args.trust_remote_code
        )
        return subprocess.call(command, env=children.environment())
    print(_cost_sentence(study, cores), flush=True)
    ended = runner.run(
        study,
        cores,
        retry_failed=args.retry_failed,
        trust_remote_code=args.trust_remote_code,
        say=_say,
        arguments=tuple(args.snakemake),
    )
    if args.csv:
        from transect.jobs.gather import copy_as_csv

        copied = copy_as_csv(study.results)
        if not args.json:
            print(
                f"csv      {', '.join(path.name for path in copied) or 'nothing is gathered yet'} in {study.results}"
            )
    return _tell(ended, args.json)


def plan(args: argparse.Namespace) -> int:
    """What `run` would do and cost, what the sample can tell apart, and with what power; before any
    computing.
    """
    from transect.study.plan import work as job

    study = _unedited(args)
    wishes = job.Wishes(args.effect, args.sd, args.suggest, args.criterion, tuple(args.contrast))
    found = job.plan(study, args.cores or study.project.cores, wishes)
    print(json.dumps(found, indent=1) if args.json else job.text(found))
    return 0


def status(args: argparse.Namespace) -> int:
    """What is there, what is running, how long still."""
    from transect.jobs.progress import running
    from transect.jobs.workflow import runner
    from transect.report.grid import entry_label  # here: it imports pandas and jinja2
    from transect.study import cost

    study = _unedited(args)
    ended = runner.outcome(study)
    jobs = running(study.results / "progress")
    left = cost.estimate(study)
    if not args.json:
        for names, part in ended.measures.groupby(["measure", "stimuli", "entry"], sort=False):
            print(
                f"measure  {entry_label(*names)}: {', '.join(f'{n} {s}' for s, n in zip(part['state'], part['cells'], strict=True))}"
            )
        for job in jobs:
            print(
                f"running  {job['job']}{': ' if job['what'] else ''}{job['what']} ({job['done']:.0f} of {job['total']})"
            )
        print(
            f"to do    {left.trainings} runs to train, {left.cells} cells to measure, about {left.minutes(study.project.cores):.0f} min"
        )
    return _tell(
        ended,
        args.json,
        {
            "running": jobs,
            "measures": ended.measures.to_dict("records"),
            "cells_to_measure": left.cells,
            "runs_to_train": left.trainings,
        },
    )


def verify(args: argparse.Namespace) -> int:
    """Read every cell of a study again and compare its values with the digest that was stored."""
    from transect.jobs.verify import damages

    n, damaged = damages(_study(args))
    for sentence in damaged:
        print(sentence)
    print(f"{n} cells read, {len(damaged)} damaged.")
    return int(bool(damaged))


def init(args: argparse.Namespace) -> int:
    """Make a project folder for your own studies, models and measures."""
    folder: Path = args.folder
    if os.path.lexists(
        folder / SETTINGS_FILE
    ):  # a link that leads nowhere would be written through
        raise InputError(f"{folder} is a project already ({SETTINGS_FILE} is there).")
    for place in (folder / name for name in FOLDERS):
        in_the_way = next(
            (p for p in (place, *place.parents) if os.path.lexists(p) and not p.is_dir()), None
        )
        if in_the_way is not None:
            raise InputError(
                f"{in_the_way} is no folder, and {place} must be one; move it, or choose another folder."
            )
        place.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"# {name}:   # {meaning}\n" for name, meaning in SETTINGS.items())
    write_text(
        folder / SETTINGS_FILE,
        f"# Settings of this project; remove the first # to set one.\n{lines}",
    )
    print(
        f"{folder}: put studies into studies/, models into model_registry/, your own units into stimuli/, measures/, corpora/ and analyses/."
    )
    print(
        "They are read beside those that are shipped. Then, inside this folder: transect run STUDY"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="transect",
        description="How far does a finding about one language model reach?",
        epilog=EXIT_CODES,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, function: Any, group: Any = commands, study: bool = False
    ) -> argparse.ArgumentParser:
        command = group.add_parser(
            name, help=(function.__doc__ or "").strip().rstrip("."), description=function.__doc__
        )
        command.set_defaults(command=function)
        command.add_argument("--json", action="store_true", help="machine-readable output")
        if study:
            command.add_argument(
                "study", metavar="STUDY", help="a study's name or the path of its file"
            )
            command.add_argument(
                "-j", "--cores", type=positive, help="cores to use (default: the setting, else all)"
            )
        return command

    runs = add("run", run, study=True)
    runs.add_argument("-n", "--dry-run", action="store_true", help="show the jobs, compute nothing")
    runs.add_argument(
        "--csv",
        action="store_true",
        help="measurements, grid and registry as CSV too, beside their Parquet files",
    )
    runs.add_argument("--retry-failed", action="store_true", help="measure failed cells again")
    runs.add_argument("--trust-remote-code", action="store_true", help=model_commands.REMOTE_CODE)
    runs.epilog = "What follows -- goes to Snakemake as it is, e.g. -- --executor slurm --jobs 100."
    plans = add("plan", plan, study=True)
    plans.add_argument(
        "--effect",
        type=float,
        metavar="X",
        help="tell the power for a difference (or a change per tenfold) of X",
    )
    plans.add_argument(
        "--sd",
        type=above_zero,
        metavar="S",
        help="of a unit beside the factors (default: from finished cells)",
    )
    plans.add_argument(
        "--suggest",
        type=positive,
        default=0,
        metavar="K",
        help="the K runs, and untrained designs, that would add most",
    )
    plans.add_argument(
        "--criterion", choices=["D", "A"], default="D", help="by which additions are ranked"
    )
    plans.add_argument(
        "--contrast",
        action="append",
        default=[],
        metavar="FACTOR",
        help="a factor in question (default: the study's design)",
    )
    states = add("status", status, study=True)
    for command in (runs, plans, states):
        command.add_argument(
            "--same-values",
            action="store_true",
            help="units that were edited at an equal VERSION give the same values: keep what was measured",
        )
    add("verify", verify, study=True)
    model_commands.add_to(add)
    table_commands.add_to(add)
    entries = commands.add_parser("registry", help="the models").add_subparsers(
        required=True, metavar="COMMAND"
    )
    registry_commands.add_to(add, entries)
    add("init", init).add_argument("folder", metavar="DIR", type=Path)
    return parser


def _study(args: argparse.Namespace) -> Any:
    from transect.study import study_file as study

    return study.load(args.study, find_project())


def _unedited(args: argparse.Namespace) -> Any:
    """The study, where its units are still what its cells were measured with."""
    from transect.jobs import edited

    study = _study(args)
    edited.check(study, args.same_values)
    return study


def _cost_sentence(study: Any, cores: int) -> str:
    from transect.study.cost import estimate

    cost = estimate(study)
    if cost.cells == 0 and cost.trainings == 0:
        return f"{study.name}: all {cost.finished} cells are there."
    size = f"{max(cost.disk_bytes, 1e7) / 1e9:.2f} GB of disk" + (
        f" ({cost.download_bytes / 1e9:.2f} GB to download)" if cost.download_bytes else ""
    )
    return (
        f"{study.name}: {cost.trainings} runs to train, {cost.cells} cells to measure on {cost.loads} checkpoints; "
        f"about {cost.minutes(cores):.0f} min on {cores} cores and {size}."
    )


def _tell(ended: Any, as_json: bool, more: dict[str, Any] | None = None) -> int:
    if as_json:
        print(
            json.dumps(
                {
                    "states": ended.states,
                    "failures": ended.failures.to_dict("records"),
                    "refused": ended.refused.to_dict("records"),
                    "errors": ended.errors,
                    "report": str(ended.report) if ended.report.is_file() else None,
                    **(more or {}),
                },
                indent=1,
            )
        )
        return ended.exit_code
    from transect.report.grid import entry_label  # here: it imports pandas and jinja2

    print("cells    " + ", ".join(f"{n} {state}" for state, n in ended.states.items()))
    for row in ended.refused.head(10).to_dict("records"):
        print(
            f"refused  {row['run']}, {entry_label(row['measure'], row['stimuli'], row['entry'])} ({row['cells']} cells): {row['reason']}"
        )
    for row in ended.failures.head(10).to_dict("records"):
        print(f"failed   {row['run']} ({row['cells']} cells): {row['reason']}")
    for name, error in ended.errors.items():
        print(f"failed   {name}: {error}")
    if ended.report.is_file():
        print(f"report   {ended.report}")
        print(
            "beside   figures/ (SVG, PDF, PNG), their data in tables/ (CSV, Parquet), items/, and codebook.csv, which explains every column"
        )
    return ended.exit_code


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
