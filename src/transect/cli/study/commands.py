"""The commands that work on a study: `transect init | plan | run | status | verify`."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from transect.cli.arguments import (
    REMOTE_CODE,
    Cores,
    Count,
    Json,
    Number,
    SameValues,
    StandardDeviation,
    Study,
)
from transect.errors import InputError
from transect.store import children
from transect.store.files.whole_files import write_text
from transect.store.project import FOLDERS, SETTINGS, SETTINGS_FILE, find_project

if TYPE_CHECKING:
    from transect.jobs.workflow.runner import Outcome
    from transect.study.study_file import Study as LoadedStudy

ROWS = 10  # refusals and failures that are printed


@Parameter(name="*", group=Group("Jobs", sort_key=1))
@dataclass(frozen=True)
class Jobs:
    """How the jobs of a study are run.

    Parameters
    ----------
    dry_run
        show the jobs and compute nothing
    retry_failed
        measure failed cells again
    """

    dry_run: Annotated[bool, Parameter(alias="-n")] = False
    retry_failed: bool = False
    trust_remote_code: Annotated[bool, Parameter(help=REMOTE_CODE)] = False


@Parameter(name="*", group=Group("Power and suggestions", sort_key=1))
@dataclass(frozen=True)
class Question:
    """What is asked of a design, beside its costs.

    Parameters
    ----------
    effect
        report the power to detect a difference of X (or of X per tenfold increase)
    sd
        standard deviation between units not explained by the factors
    contrast
        factor whose effect you want to estimate; may be repeated
    suggest
        number of runs, and of designs that nobody has trained, to suggest: those that would add
        most
    criterion
        rank suggested runs by D- or A-optimality
    """

    effect: Annotated[Number | None, Parameter(show_default="no effect is assumed")] = None
    sd: Annotated[
        StandardDeviation | None, Parameter(show_default="estimated from finished cells")
    ] = None
    contrast: Annotated[
        tuple[str, ...],
        Parameter(metavar="FACTOR", show_default="the terms of `design` in the study file"),
    ] = ()
    suggest: Count = 0
    criterion: Literal["D", "A"] = "D"


DEFAULT_JOBS = Jobs()
DEFAULT_QUESTION = Question()


def run(
    study: Study,
    /,
    *,
    cores: Cores = None,
    jobs: Jobs = DEFAULT_JOBS,
    csv: bool = False,
    same_values: SameValues = False,
    as_json: Json = False,
    snakemake_arguments: Annotated[tuple[str, ...], Parameter(parse=False)] = (),
) -> int:
    """Train, measure and analyse the models of a study, and write its report.

    What is finished is kept and not computed again. What follows -- goes to Snakemake as it is.

    For example:

      transect run miniature
      transect run miniature --cores 4 --retry-failed
      transect run miniature --dry-run
      transect run miniature -- --executor slurm --jobs 100

    Parameters
    ----------
    csv
        write measurements, grid and registry as CSV too, in the folder of their Parquet files
    """
    from transect.jobs.workflow import runner

    loaded = _unedited(study, same_values)
    workers = cores or loaded.project.cores
    if jobs.dry_run:
        return _dry_run(loaded, workers, jobs, snakemake_arguments)
    print(_cost_sentence(loaded, workers), flush=True)
    ended = runner.run(
        loaded,
        workers,
        retry_failed=jobs.retry_failed,
        trust_remote_code=jobs.trust_remote_code,
        say=_say,
        arguments=snakemake_arguments,
    )
    if csv:
        from transect.jobs.gather import copy_as_csv

        names = ", ".join(path.name for path in copy_as_csv(loaded.results))
        if not as_json:
            print(f"csv      {names or 'nothing is gathered yet'} in {loaded.results}")
    return _print_outcome(ended, as_json)


def plan(
    study: Study,
    /,
    *,
    cores: Cores = None,
    question: Question = DEFAULT_QUESTION,
    same_values: SameValues = False,
    as_json: Json = False,
) -> int:
    """Estimate cost, identifiability and power of a study before running it.

    For example:

      transect plan miniature
      transect plan miniature --effect 0.1 --sd 0.05
      transect plan miniature --suggest 5 --contrast size --criterion A
    """
    from transect.study.plan import work as job

    loaded = _unedited(study, same_values)
    wishes = job.Wishes(
        question.effect, question.sd, question.suggest, question.criterion, question.contrast
    )
    planned = job.plan(loaded, cores or loaded.project.cores, wishes)
    print(json.dumps(planned, indent=1) if as_json else job.text(planned))
    return 0


def status(
    study: Study,
    /,
    *,
    cores: Cores = None,
    same_values: SameValues = False,
    as_json: Json = False,
) -> int:
    """Show finished cells, running jobs and the time remaining.

    For example:

      transect status miniature
      transect status miniature --json
    """
    from transect.jobs.progress import running
    from transect.jobs.workflow import runner
    from transect.study import cost

    loaded = _unedited(study, same_values)
    ended = runner.outcome(loaded)
    jobs = running(loaded.results / "progress")
    left = cost.estimate(loaded)
    if as_json:
        facts = {
            "running": jobs,
            "measures": ended.measures.to_dict("records"),
            "cells_to_measure": left.cells,
            "runs_to_train": left.trainings,
        }
        return _print_outcome(ended, as_json, facts)
    from transect.report.grid import entry_label  # here: it imports pandas and jinja2

    for names, part in ended.measures.groupby(["measure", "stimuli", "entry"], sort=False):
        states = zip(part["state"], part["cells"], strict=True)
        print(f"measure  {entry_label(*names)}: {', '.join(f'{n} {s}' for s, n in states)}")
    for job in jobs:
        what = f"{job['job']}{': ' if job['what'] else ''}{job['what']}"
        print(f"running  {what} ({job['done']:.0f} of {job['total']})")
    minutes = f"{left.minutes(loaded.project.cores):.0f} min"
    print(
        f"to do    {left.trainings} runs to train, {left.cells} cells to measure, about {minutes}"
    )
    return _print_outcome(ended, as_json)


def verify(study: Study, /, *, cores: Cores = None, as_json: Json = False) -> int:
    """Read every cell of a study again and compare its values with the digest that was stored.

    The exit code is 1 where a cell is damaged.

    For example:

      transect verify miniature
    """
    from transect.jobs.verify import damages

    n, damaged = damages(_load(study))
    for sentence in damaged:
        print(sentence)
    print(f"{n} cells read, {len(damaged)} damaged.")
    return int(bool(damaged))


def init(folder: Path, /, *, as_json: Json = False) -> int:
    """Make a project folder for your own studies, models and measures.

    For example:

      transect init my-project

    Parameters
    ----------
    folder
        folder to make, or to make a project of
    """
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


def _load(name: str) -> "LoadedStudy":
    from transect.study import study_file

    return study_file.load(name, find_project())


def _unedited(name: str, same_values: bool) -> "LoadedStudy":
    """The study, where its units are still what its cells were measured with."""
    from transect.jobs import edited

    loaded = _load(name)
    edited.check(loaded, same_values)
    return loaded


def _dry_run(study: "LoadedStudy", cores: int, jobs: Jobs, arguments: tuple[str, ...]) -> int:
    """Let Snakemake list the jobs; its exit code."""
    import subprocess

    from transect.jobs.workflow import runner

    # Snakemake needs this folder, and has no sentence for a disk without it
    (study.project.root / ".snakemake").mkdir(exist_ok=True)
    command = runner.snakemake(
        study, cores, jobs.retry_failed, ("--dry-run", *arguments), jobs.trust_remote_code
    )
    return subprocess.call(command, env=children.environment())


def _cost_sentence(study: "LoadedStudy", cores: int) -> str:
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


def _print_outcome(ended: "Outcome", as_json: bool, more: dict[str, Any] | None = None) -> int:
    """Print the states of the cells, what failed and where the report is; the exit code."""
    if as_json:
        facts = {
            "states": ended.states,
            "failures": ended.failures.to_dict("records"),
            "refused": ended.refused.to_dict("records"),
            "errors": ended.errors,
            "report": str(ended.report) if ended.report.is_file() else None,
        }
        print(json.dumps(facts | (more or {}), indent=1))
        return ended.exit_code
    from transect.report.grid import entry_label  # here: it imports pandas and jinja2

    print("cells    " + ", ".join(f"{n} {state}" for state, n in ended.states.items()))
    for row in ended.refused.head(ROWS).to_dict("records"):
        label = entry_label(row["measure"], row["stimuli"], row["entry"])
        print(f"refused  {row['run']}, {label} ({row['cells']} cells): {row['reason']}")
    for row in ended.failures.head(ROWS).to_dict("records"):
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
