"""Running a study: Snakemake under a lock that dies with its owner, progress for people, an honest
end.
"""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from transect.errors import InputError
from transect.jobs.gather import grid_table
from transect.jobs.measure import STOPPED
from transect.jobs.progress import running
from transect.jobs.train import corpus_of
from transect.jobs.workflow import errors as workflow_errors
from transect.jobs.workflow import stopping
from transect.jobs.workflow.pace import Pace
from transect.registry.recipe import ERROR, corpus_unit, weights_folder
from transect.registry.run import Run
from transect.store import children, unit_code
from transect.store.cell_store import FAILED, MEASURED, MISSING, Store
from transect.store.files import json_file, whole_files
from transect.store.project import SHIPPED
from transect.study import cost
from transect.study.analyses import figures_of
from transect.study.cost import trained
from transect.study.grid import Cell
from transect.study.stale import stale
from transect.study.study_file import Study

# some shared disks are mounted without locks
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
USAGE = 2  # Snakemake's exit code where it does not know an argument


@dataclass(frozen=True)
class Outcome:
    """What is there at the end: counts of the four states, failed cells by reason, analyses and
    figures that broke. broken: the workflow itself ended with an error. refused: measured cells in
    which items were refused. measures: cells of each measure, set and entry, by state.
    """

    states: dict[str, int]
    failures: pd.DataFrame
    errors: dict[str, str]
    report: Path
    broken: bool = False
    refused: pd.DataFrame = field(default_factory=pd.DataFrame)
    measures: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def exit_code(self) -> int:
        """0: all asked for is there; 1: finished, but cells failed or are missing, or an analysis
        broke.
        """
        lacking = self.states.get(FAILED) or self.states.get(MISSING)
        return int(bool(lacking or self.errors or self.broken or not self.report.is_file()))


def _broke(study: Study, run: Run) -> bool:
    """Its training ended with an error, on the corpus as it is now."""
    if not (weights_folder(run, study.project) / ERROR).is_file():
        return False
    return corpus_of(run, study.project) in ("", unit_code.state(corpus_unit(run, study.project)))


def run(
    study: Study,
    cores: int,
    *,
    retry_failed: bool = False,
    trust_remote_code: bool = False,
    say: Callable[[str], object] = print,
    arguments: tuple[str, ...] = (),
) -> Outcome:
    """Run the workflow to its end. `arguments` go to Snakemake as they are (a profile for a
    cluster, for example).

    Raises InputError where a job stopped it: what lies at a revision is not what was measured there
    before.
    """
    stopped = study.results / STOPPED
    whole_files.check_links(study.results)
    whole_files.check_writable(study.results, study.project.store)
    with _lock(study) as lock:
        shutil.rmtree(study.results / "progress", ignore_errors=True)  # what a killed run was doing
        shutil.rmtree(stopped, ignore_errors=True)
        due = _due(study, retry_failed)
        forced = ("--forcerun", *due) if due else ()
        command = snakemake(study, cores, retry_failed, (*forced, *arguments), trust_remote_code)
        log = study.results / "log" / "snakemake.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        code = _attended(study, cores, command, log, lock, say)
        for reason in sorted(stopped.glob("*.txt")):
            raise InputError(reason.read_text(encoding="utf-8").strip())
        if code != 0:
            whole_files.check_writable(study.results, study.project.store)
            _explain(code, log, study, say)
    return outcome(study, code != 0)


def _attended(
    study: Study,
    cores: int,
    command: list[str],
    log: Path,
    lock: int,
    say: Callable[[str], object],
) -> int:
    """Run Snakemake with its output in the log, and say how far it is; its exit code.

    lock: the open file that it inherits. On a signal it is ended, and Stopped is raised.
    """
    with log.open("w", encoding="utf-8") as file:
        process = stopping.start(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
            env=children.environment(),
        )
        try:
            _watch(process, Pace(study, cores, log), say)
        except KeyboardInterrupt as interruption:
            number = getattr(interruption, "number", signal.SIGINT)
            with suppress(OSError):  # the terminal may be gone
                say(f"Stopping on {signal.Signals(number).name} ...")
            stopping.end(process)
            raise stopping.Stopped(number, _kept(study)) from None
        finally:
            if process.poll() is None:
                stopping.end(process)
    return int(process.returncode)


def _explain(code: int, log: Path, study: Study, say: Callable[[str], object]) -> None:
    """Say what the log holds of an error; InputError where Snakemake refuses its arguments."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if code == USAGE:
        raise InputError(f"Snakemake refuses what it was given: {workflow_errors.own_error(text)}")
    for line in workflow_errors.explained(text, study.project.root):
        say(line)
    say(f"The workflow ended with an error; all of its log is in {_shown(log)}.")


def _kept(study: Study) -> str:
    """What is finished, in words."""
    left = cost.estimate(study)
    trained_runs = sum(trained(study, run) for run in study.runs if run.trained_here)
    runs = trained_runs + left.trainings
    of_runs = f"{trained_runs} of {runs} trained runs and " if runs else ""
    return f"{of_runs}{left.finished} of {left.finished + left.cells} cells are kept"


def snakemake(
    study: Study,
    cores: int,
    retry_failed: bool = False,
    arguments: tuple[str, ...] = (),
    trust_remote_code: bool = False,
) -> list[str]:
    """The command line that runs a study's workflow."""
    # Snakemake reads the values of --config as YAML, after it has cut quotes off both ends
    path = f" {json.dumps(str(study.path), ensure_ascii=False)} "
    # named, as Snakemake would take one of the folder in which the program was started; a profile
    # may run commands
    profiles = [root / "profiles/default" for root in study.project.roots]
    profile = next(
        folder for folder in (*profiles, SHIPPED / "profiles/default") if folder.is_dir()
    )
    return children.python(
        "snakemake",
        "--snakefile",
        str(SHIPPED / "Snakefile"),
        "--directory",
        str(study.project.root),
        "--workflow-profile",
        str(profile),
        "--cores",
        str(cores),
        "--nolock",
        "--config",
        f"study={path}",
        f"retry_failed={retry_failed}",
        f"trust_remote_code={trust_remote_code}",
        *arguments,
    )


def outcome(study: Study, broken: bool = False) -> Outcome:
    """What is there now."""
    grid = grid_table(study, Store(study.project.store).index())
    partly = grid[(grid["state"] == MEASURED) & (grid["n_refused"] > 0)]
    entry = ["measure", "stimuli", "entry"]
    states = grid.groupby(entry, sort=False)["state"].value_counts()
    return Outcome(
        {str(state): int(number) for state, number in grid["state"].value_counts().items()},
        _counted(grid[grid["state"] == FAILED], ["run", "reason"]),
        _errors(study),
        study.results / "report.html",
        broken,
        _counted(partly, ["run", *entry, "reason"]),
        states.rename("cells").reset_index(),
    )


def _counted(grid: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The number of cells (`cells`) with each combination of values."""
    return grid.groupby(by, sort=False).size().rename("cells").reset_index()


def _errors(study: Study) -> dict[str, str]:
    """Analysis or figure -> the error that it ended with."""
    tables, figures = study.results / "tables", study.results / "figures"
    paths = [tables / spec["analysis"] / "manifest.json" for spec in study.data["analyses"]]
    paths += [figures / f"{name}.json" for name in figures_of(study)]
    errors = {}
    for path in filter(Path.is_file, paths):
        made = json_file.read_object(path, "error")
        if made["error"]:
            errors[made.get("analysis") or made["figure"]] = made["error"]
    return errors


@contextmanager
def _lock(study: Study) -> Iterator[int]:
    """One run of a study at a time. The lock is handed to Snakemake and its jobs: it is free when
    the last of them is gone.
    """
    path = study.results / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_LOCKS:
                raise InputError(
                    f"{path}: this disk knows no locks ({error.strerror}), by which a study runs once at a time; `results` may be a link to "
                    "a folder on another disk, and the store may stay where it is."
                ) from None
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise InputError(
                f"The study {study.name!r} is running already (process {owner}); `transect status {study.name}` shows how far."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def _due(study: Study, retry_failed: bool) -> list[str]:
    """The markers that Snakemake must make again: the store, not a marker or its time, decides
    whether cells and weights are there.
    """
    index = Store(study.project.store).index()

    def to_train(run: Run) -> bool:
        if trained(study, run):
            return False
        return retry_failed or not _broke(study, run)

    def to_measure(cell: Cell) -> bool:
        return not cell.reason and stale(cell, index, retry_failed)

    markers = []
    for batch in study.batches:
        if any(map(to_train, batch.runs)):
            markers.append(f"training/{batch.target}.done")
    for shard in study.shards:
        if any(map(to_measure, shard.cells)):
            markers.append(f"shards/{shard.target}.done")
    return [f"results/{study.name}/{marker}" for marker in markers]


def _watch(process: subprocess.Popen[bytes], pace: Pace, say: Callable[[str], object]) -> None:
    """Say how far a run is, every five seconds and where something has changed, until it ends."""
    start, looked, line = time.monotonic(), 0.0, ""
    while process.poll() is None:
        time.sleep(0.2)
        if time.monotonic() - looked < 5 or time.monotonic() - start < 3:
            continue
        looked = time.monotonic()
        now = progress_line(pace)
        if now != line:
            line = now
            say(f"[{_clock(time.monotonic() - start)}] {line}")


def progress_line(pace: Pace) -> str:
    """One line: how much is done, what runs, how long still."""
    jobs = running(pace.study.results / "progress")
    forecast = pace.now(jobs)
    left = forecast.left
    parts = []
    if left.trainings:
        n_runs = len(pace.untrained)
        parts.append(f"{n_runs - left.trainings} of {n_runs} runs trained")
    if left.cells:
        n_cells = len(pace.stale)
        parts.append(f"{n_cells - left.cells} of {n_cells} cells measured")
    if forecast.steps:
        step = min(forecast.steps_done + 1, forecast.steps)
        parts.append(f"step {step} of {forecast.steps}")
    done = ", ".join(parts) or "planning"
    doing = [f"{job['job']}: {job['what']}" if job["what"] else job["job"] for job in jobs]
    now = "; ".join(doing) or "the next step starts"
    return f"{done}; about {time_left(forecast.seconds)} left | {now}"


def time_left(seconds: float) -> str:
    """As finely as it is worth: to 10 s, from 100 s on to half a minute, from 10 min on to a
    minute.
    """
    if seconds < 95:
        return f"{max(10, 10 * round(seconds / 10))} s"
    if seconds < 600:
        return f"{round(seconds / 30) / 2:g} min"
    return f"{round(seconds / 60)} min"


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
