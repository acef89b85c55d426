"""The step that trains: the runs of one batch, one after another, in one process."""

import json
import time
import traceback
from functools import partial
from pathlib import Path

from transect.errors import ResourceError, disk_full
from transect.jobs.progress import Progress
from transect.jobs.training_lease import Lease, lease
from transect.registry.recipe import COST, DONE, ERROR, corpus_unit, weights_folder
from transect.registry.run import Run
from transect.store import unit_code
from transect.store.environment import environment, peak_memory_mb
from transect.store.files import json_file
from transect.store.files.whole_files import check_inside, write_text
from transect.store.home import without_home
from transect.store.project import Project
from transect.study.study_file import Study

CORPUS = "corpus.json"


def begun(run: Run, project: Project) -> bool:
    """Whether some checkpoint of a run that is trained here is there."""
    return any((weights_folder(run, project) / c.revision).is_dir() for c in run.checkpoints)


def corpus_of(run: Run, project: Project) -> str:
    """The state (unit_code.py) of the corpus on which a run was trained; empty where it was not
    recorded.
    """
    path = weights_folder(run, project) / CORPUS
    return str(json_file.read_object(path, "state")["state"]) if path.is_file() else ""


def train(study: Study, name: str, marker: Path) -> None:
    """Train what is not there yet; what another process trains is waited for, and taken over where
    that one dies.

    A run whose training breaks leaves its error beside its weights; the others go on.
    """
    batch = next(b for b in study.batches if b.name == name)
    progress = Progress(study.results / "progress", f"train-{name}", len(batch.runs))
    for index, run in enumerate(batch.runs):
        folder = weights_folder(run, study.project)
        if (folder / DONE).is_file():
            continue
        check_inside(study.project.store / "weights", folder)
        told = f"{run.id}, {run.get('params_total', '?')} parameters"
        with lease(
            folder, partial(progress.say, index, f"{told}: another process trains it")
        ) as mine:
            if not (folder / DONE).is_file():
                progress.say(index, told)
                _train_one(run, folder, study.project, progress, index, mine)
    progress.end()
    write_text(marker, json.dumps({"runs": [r.id for r in batch.runs]}) + "\n")


def _train_one(
    run: Run, folder: Path, project: Project, progress: Progress, index: int, mine: Lease
) -> None:
    from transect.lm.train.trainer import train_run

    (folder / ERROR).unlink(missing_ok=True)
    if not begun(run, project):
        write_text(
            folder / CORPUS,
            json.dumps({"state": unit_code.state(corpus_unit(run, project))}) + "\n",
        )
    start = time.time(), time.process_time()

    def saved(revision: str, folder: Path) -> None:
        mine.check()
        reached = next(c.step for c in run.checkpoints if c.revision == revision) or 0
        progress.say(
            index,
            f"{run.id} has reached {revision}",
            run.id,
            reached / max(run.checkpoints[-1].step or 1, 1),
        )

    try:
        train_run(run, folder, on_checkpoint=saved, project=project)
    except Exception as error:
        if (
            isinstance(error, MemoryError | OSError | ResourceError)
            or "out of memory" in str(error)
            or disk_full(error)
        ):
            raise  # memory, disk or network: the job fails and is tried again
        told = f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}"
        write_text(folder / ERROR, without_home(told))
        print(f"{run.id}: training failed: {error}")
        return
    earlier = json_file.read_object(folder / COST) if (folder / COST).is_file() else {}
    cost = {
        "run": run.id,
        "seconds": earlier.get("seconds", 0) + time.time() - start[0],
        "cpu_seconds": earlier.get("cpu_seconds", 0) + time.process_time() - start[1],
        "peak_memory_mb": peak_memory_mb(),
        "environment": environment(),
    }
    write_text(folder / COST, json.dumps(cost, indent=1) + "\n")
