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
from collections.abc import Iterator
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
from transect.study.stale import stale
from transect.study.study_file import Study

NO_LOCKS = (
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOLCK,
)  # some shared disks are mounted without them
USAGE = 2  # Snakemake's exit code where it does not know an argument


@dataclass(frozen=True)
class Outcome:
    """What is there at the end: counts of the four states, failed cells by reason, analyses and
    figures that broke.
    """

    states: dict[str, int]
    failures: pd.DataFrame
    errors: dict[str, str]
    report: Path
    broken: bool = False  # the workflow itself ended with an error
    refused: pd.DataFrame = field(
        default_factory=pd.DataFrame
    )  # measured cells in which items were refused
    measures: pd.DataFrame = field(
        default_factory=pd.DataFrame
    )  # cells of each measure, set and entry, by state

    @property
    def exit_code(self) -> int:
        """0: all asked for is there; 1: finished, but cells failed or are missing, or an analysis
        broke.
        """
        return int(
            bool(
                self.states.get(FAILED)
                or self.states.get(MISSING)
                or self.errors
                or self.broken
                or not self.report.is_file()
            )
        )


def _broke(study: Study, run: Run) -> bool:
    """Its training ended with an error, on the corpus as it is now."""
    if not (weights_folder(run, study.project) / ERROR).is_file():
        return False
    return corpus_of(run, study.project) in ("", unit_code.state(corpus_unit(run, study.project)))


def run(  # type: ignore[no-untyped-def]
    study: Study,
    cores: int,
    *,
    retry_failed: bool = False,
    trust_remote_code: bool = False,
    say=print,
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
        log = study.results / "log" / "snakemake.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as file:
            process = stopping.start(
                snakemake(study, cores, retry_failed, (*forced, *arguments), trust_remote_code),
                stdout=file,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                env=children.environment(),
            )
            try:
                _watch(process, Pace(study, cores, log), say)
            except KeyboardInterrupt as asked:
                number = getattr(asked, "number", signal.SIGINT)
                with suppress(OSError):  # the terminal may be gone
                    say(f"Stopping on {signal.Signals(number).name} ...")
                stopping.end(process)
                raise stopping.Stopped(number, _kept(study)) from None
            finally:
                if process.poll() is None:
                    stopping.end(process)
        for reason in sorted(stopped.glob("*.txt")):
            raise InputError(reason.read_text(encoding="utf-8").strip())
        if process.returncode != 0:
            whole_files.check_writable(study.results, study.project.store)
            text = log.read_text(encoding="utf-8", errors="replace")
            if process.returncode == USAGE:
                raise InputError(
                    f"Snakemake refuses what it was given: {workflow_errors.own_error(text)}"
                )
            for line in workflow_errors.told(text, study.project.root):
                say(line)
            say(f"The workflow ended with an error; all of its log is in {_shown(log)}.")
    return outcome(study, process.returncode != 0)


def _kept(study: Study) -> str:
    """What is finished, in words."""
    left = cost.estimate(study)
    runs = sum(trained(study, run) for run in study.runs if run.trained_here)
    told = f"{runs} of {runs + left.trainings} trained runs and " if runs + left.trainings else ""
    return f"{told}{left.finished} of {left.finished + left.cells} cells are kept"


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
    failures = (
        grid[grid["state"] == FAILED]
        .groupby(["run", "reason"], sort=False)
        .size()
        .rename("cells")
        .reset_index()
    )
    partly = grid[(grid["state"] == MEASURED) & (grid["n_refused"] > 0)]
    told = ["run", "measure", "stimuli", "entry", "reason"]
    refused = partly.groupby(told, sort=False).size().rename("cells").reset_index()
    measures = (
        grid.groupby(told[1:4], sort=False)["state"].value_counts().rename("cells").reset_index()
    )
    errors = {}
    paths = [
        study.results / "tables" / spec["analysis"] / "manifest.json"
        for spec in study.data["analyses"]
    ]
    paths += [study.results / "figures" / f"{name}.json" for name in figures_of(study)]
    for path in filter(Path.is_file, paths):
        made = json_file.read_object(path, "error")
        if made["error"]:
            errors[made.get("analysis") or made["figure"]] = made["error"]
    return Outcome(
        {str(k): int(v) for k, v in grid["state"].value_counts().items()},
        failures,
        errors,
        study.results / "report.html",
        broken,
        refused,
        measures,
    )


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
    batches = [
        f"training/{batch.target}.done"
        for batch in study.batches
        if not all(trained(study, r) or (_broke(study, r) and not retry_failed) for r in batch.runs)
    ]
    shards = [
        f"shards/{shard.target}.done"
        for shard in study.shards
        if any(not c.reason and stale(c, index, retry_failed) for c in shard.cells)
    ]
    return [f"results/{study.name}/{marker}" for marker in [*batches, *shards]]


def _watch(process: subprocess.Popen, pace: Pace, say) -> None:  # type: ignore[no-untyped-def, type-arg]
    start, told, line = time.monotonic(), 0.0, ""
    while process.poll() is None:
        time.sleep(0.2)
        if time.monotonic() - told < 5 or time.monotonic() - start < 3:
            continue
        told = time.monotonic()
        now = progress_line(pace)
        if now != line:
            line = now
            say(f"[{_clock(time.monotonic() - start)}] {line}")


def progress_line(pace: Pace) -> str:
    """One line: how much is done, what runs, how long still."""
    jobs = running(pace.study.results / "progress")
    left, done, steps, seconds = pace.now(jobs)
    total = len(pace.untrained)
    parts = [f"{total - left.trainings} of {total} runs trained"] if left.trainings else []
    parts += (
        [f"{len(pace.stale) - left.cells} of {len(pace.stale)} cells measured"]
        if left.cells
        else []
    )
    parts += [f"step {min(done + 1, steps)} of {steps}"] if steps else []
    told = "; ".join(f"{job['job']}: {job['what']}" if job["what"] else job["job"] for job in jobs)
    return f"{', '.join(parts) or 'planning'}; about {time_left(seconds)} left | {told or 'the next step starts'}"


def time_left(seconds: float) -> str:
    """As finely as it is worth: to 10 s, from 100 s on to half a minute, from 10 min on to a
    minute.
    """
    if seconds < 95:
        return f"{max(10, 10 * round(seconds / 10))} s"
    return f"{round(seconds / 30) / 2:g} min" if seconds < 600 else f"{round(seconds / 60)} min"


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
