"""How long a run will still take: what is left over what is done, times what that took.

Both are seconds of one core by the same model (cost.py), as the work that is finished by now has
calibrated it, so that an error
of its constants falls out:    left [s] = work left x (elapsed + p / cores) / (work done + p),  p = PRIOR x whole work
The steps after measuring cost what they cost the last time, else the mean of their kind, else a
constant; one beside which nothing runs takes all cores.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transect.store.cell_store import Store
from transect.store.files import json_file
from transect.store.files.whole_files import write_text
from transect.study import cost
from transect.study.analyses import figures_of
from transect.study.stale import stale
from transect.study.study_file import Study

STEPS = {
    "gather": 2.5,
    "analyse": 5.0,
    "draw": 3.5,
    "report": 4.0,
}  # seconds of one core, where none is known
ALONE = ("gather", "report")  # beside these nothing else can run
PRIOR = (
    0.05  # of the whole work: done work that weighs as much as the belief that the model is right
)
PLANNED = re.compile(r"^(\w+) +(\d+)$", re.MULTILINE)
STARTED = re.compile(r"^(?:local)?rule (\w+):", re.MULTILINE)
FAILED = re.compile(r"^Error in rule (\w+):", re.MULTILINE)
FINISHED = re.compile(r"^Finished jobid: \d+ \(Rule: (\w+)\)", re.MULTILINE)


def spent(study: Study, step: str, name: str, seconds: float) -> None:
    """Remember what a step after measuring took of one core."""
    write_text(_times(study) / f"{step}-{name}.json", json.dumps({"cpu_seconds": seconds}) + "\n")


@dataclass(frozen=True)
class Forecast:
    """What is still to do: the cost of the cells and runs that are left, steps of the workflow that
    are finished, all steps, and seconds left.
    """

    left: cost.Cost
    steps_done: int
    steps: int
    seconds: float


class Pace:
    """Of one run of a study, from its start."""

    def __init__(self, study: Study, cores: int, log: Path):
        self.study, self.cores, self.log, self.began = study, cores, log, time.time()
        self.first = 0.0  # when the first jobs started: Snakemake's own start is no pace
        index = Store(study.project.store).index()
        self.stale = frozenset(c.key for c in study.cells if not c.reason and stale(c, index))
        self.untrained = frozenset(
            r.id for r in study.runs if r.trained_here and not cost.trained(study, r)
        )

    def now(self, jobs: Collection[Mapping[str, Any]]) -> Forecast:
        """The forecast of this moment. jobs: those that run now (jobs/progress.py)."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        planned, finished = _planned(text), Counter(FINISHED.findall(text))
        if planned and not self.first:
            self.first = time.time()
        elapsed = time.time() - self.first if self.first else 0.0
        left, whole = self._costs()
        all_work = whole.train_seconds + whole.measure_seconds
        work = left.train_seconds + left.measure_seconds - self._begun(jobs)
        half = 0.0  # of the jobs that run: how far they are on average
        if jobs_of_work := planned["train"] + planned["measure"]:
            training = sum(1 for job in jobs if job["training"])  # of these it is known
            running = _running(text, finished, ("train", "measure")) - training
            half = 0.5 * max(running, 0) * all_work / jobs_of_work
        half = min(half, work, elapsed * self.cores)
        steps_done, steps_left = self._steps(planned, finished)
        work, done = work - half, all_work - work + half + steps_done
        prior = PRIOR * (work + steps_left + done)
        seconds = (work + steps_left) * (elapsed + prior / self.cores) / max(done + prior, 1e-9)
        return Forecast(left, finished.total(), sum(planned.values()), seconds)

    def _costs(self) -> tuple[cost.Cost, cost.Cost]:
        """Of what is left, and of all that this run had to do."""
        study, index = self.study, Store(self.study.project.store).index()
        left = cost.cost_of(study, index, stale, lambda run: cost.trained(study, run))
        whole = cost.cost_of(
            study, index, lambda c, _: c.key in self.stale, lambda run: run.id not in self.untrained
        )
        return left, whole

    def _begun(self, jobs: Collection[Mapping[str, Any]]) -> float:
        """Seconds of one core, of the parts of running trainings that are done."""
        runs = self.study.registry.runs
        parts = [
            job["share"] * cost.training_seconds(runs[job["training"]])
            for job in jobs
            if job["training"]
        ]
        return cost.calibration(self.study) * sum(parts)

    def _steps(
        self, planned: Mapping[str, int], finished: Mapping[str, int]
    ) -> tuple[float, float]:
        """Seconds of one core of the steps after measuring: of those that are done in this run, and
        of those that are left.
        """
        done = left = 0.0
        for step, names in _names(self.study).items():
            known, fresh = self._recorded(step, names)
            usual = sum(known.values()) / len(known) if known else STEPS[step]
            waiting = [known.get(name, usual) for name in names if name not in fresh]
            jobs = planned[step] if planned else len(names)
            to_do = max(jobs - finished.get(step, 0), 0)
            idle = self.cores if step in ALONE else 1
            done += idle * sum(known[name] for name in fresh)
            if waiting:
                left += idle * sum(waiting) * min(1.0, to_do / len(waiting))
        return done, left

    def _recorded(self, step: str, names: Collection[str]) -> tuple[dict[str, float], set[str]]:
        """Name -> seconds that a step took the last time; and the names of those since the start."""
        known, fresh = {}, set()
        for name in names:
            path = _times(self.study) / f"{step}-{name}.json"
            if path.is_file():
                known[name] = json_file.read_object(path, "cpu_seconds")["cpu_seconds"]
                if path.stat().st_mtime >= self.began:
                    fresh.add(name)
        return known, fresh


def _planned(text: str) -> Counter[str]:
    """Rule -> its jobs, from the table that Snakemake prints before it begins."""
    table = text.partition("Job stats:\n")[2].partition("\n\n")[0]
    jobs = {rule: int(number) for rule, number in PLANNED.findall(table)}
    return Counter({rule: n for rule, n in jobs.items() if rule not in ("total", "all")})


def _running(text: str, finished: Mapping[str, int], rules: Collection[str]) -> int:
    """Jobs of some rules that were started and neither finished nor failed."""
    started = Counter(STARTED.findall(text))
    failed = Counter(FAILED.findall(text))
    number = 0
    for rule in rules:
        ended = finished.get(rule, 0) + failed[rule]
        number += started[rule] - ended
    return number


def _names(study: Study) -> dict[str, list[str]]:
    analyses = [spec["analysis"] for spec in study.data["analyses"]]
    return {"gather": [""], "analyse": analyses, "draw": list(figures_of(study)), "report": [""]}


def _times(study: Study) -> Path:
    return study.results / "log" / "times"
