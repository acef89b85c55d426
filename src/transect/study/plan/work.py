"""What `transect plan` prints before anything is computed: the work and its cost, what the sample
can tell, power, and what to add.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transect.registry.run import Run
from transect.store.cell_store import Store
from transect.study import cost, openings
from transect.study.grid import Cell
from transect.study.plan import power, refusals, suggestions
from transect.study.plan import text as design_text
from transect.study.plan.check import DesignCheck, check
from transect.study.stale import stale
from transect.study.study_file import Study

DOWNLOAD_BYTES_PER_SECOND = 25e6  # to compare the costs of runs that lie on the hub with computing
SHOWN = 8  # jobs, and sentences of one kind


@dataclass(frozen=True)
class Wishes:
    """What the user asks of a plan: an effect and the sd of a unit, K suggestions by a criterion,
    and the factors in question.
    """

    effect: float | None = None
    sd: float | None = None
    suggest: int = 0
    criterion: str = "D"
    contrasts: tuple[str, ...] = ()


def plan(study: Study, cores: int, wishes: Wishes) -> dict[str, Any]:
    """All of the plan as values of JSON; `text` says it in words. Raises InputError for an unknown
    factor among the contrasts.
    """
    index = Store(study.project.store).index()
    speed = cost.measured_speed(study, index)
    runs = [r for r in study.runs if study.roles[r.id] != "baseline"]
    tokens, within = sampled_tokens(study, runs)
    pool = [r for r in study.registry.runs.values() if r.id not in study.roles and r.loadable]
    loads = _loads(study)
    prices = [_price(r, study, loads, speed) for r in pool]
    judged = check(runs, study.registry, tokens=tokens, within=within, pool=pool, prices=prices)
    advice = {}
    if wishes.suggest:
        advice["suggestions"] = suggestions.suggestions(
            study,
            judged,
            suggestions.Candidates(pool, prices, [_bytes(r, loads) for r in pool]),
            tokens,
            wishes.suggest,
            wishes.criterion,
            wishes.contrasts,
        )
    return {
        **work(study, cores),
        "calibrated_by_cells": speed.cells,
        "jobs_to_run": _jobs(study, speed, index),
        "measures": _measures(study, index),
        "design_check": design_text.facts(judged),
        "refused_contrasts": refusals.refused(study),
        "openings": openings.planned(study),
        "power": power.power(study, judged, index, wishes.effect, wishes.sd),
        **advice,
        "sentences": _sentences(judged),
    }


def work(study: Study, cores: int) -> dict[str, Any]:
    """Cells, loads, bytes and hours of what is still to be done."""
    remaining = cost.estimate(study)
    roles = list(study.roles.values())
    trained = remaining.disk_bytes - remaining.download_bytes
    # each job holds one checkpoint of the hub at a time
    held = min(remaining.download_bytes, cores * remaining.largest_load_bytes)
    return {
        "study": study.name,
        "question": study.data["question"],
        "runs": roles.count("population") + roles.count("held_out"),
        "baselines": roles.count("baseline"),
        "suites": sorted({r.suite for r in study.runs}),
        "cells": len(study.cells),
        "cells_finished": remaining.finished,
        "cells_not_applicable": remaining.not_applicable,
        "cells_to_measure": remaining.cells,
        "runs_to_train": remaining.trainings,
        "checkpoints_to_load": remaining.loads,
        "jobs": len(study.shards),
        "download_gb": round(remaining.download_bytes / 1e9, 3),
        "disk_gb": round(remaining.disk_bytes / 1e9, 3),
        "disk_without_keeping_gb": round((trained + held) / 1e9, 3),
        "largest_checkpoint_gb": round(remaining.largest_load_bytes / 1e9, 3),
        "cpu_hours": round((remaining.train_seconds + remaining.measure_seconds) / 3600, 2),
        "minutes_here": round(remaining.minutes(cores), 1),
    }


def sampled_tokens(study: Study, runs: Sequence[Run]) -> tuple[dict[str, int], list[str]]:
    """Run -> tokens seen at its last sampled checkpoint, and the runs that are sampled at several
    amounts.
    """
    amounts: dict[str, set[int]] = {}
    wanted = {r.id for r in runs}
    for cell in study.cells:
        run, seen = cell.checkpoint.run.id, cell.checkpoint.tokens_seen
        if run in wanted and seen:
            amounts.setdefault(run, set()).add(seen)
    largest = {run: max(of_run) for run, of_run in amounts.items()}
    return largest, [run for run, of_run in amounts.items() if len(of_run) > 1]


def _jobs(study: Study, speed: cost.Speed, index: Any) -> list[dict[str, Any]]:
    """Of each job with something to do: cells, loads, hours of one core, the largest memory, bytes
    to download.
    """
    jobs = []
    for shard in study.shards:
        todo = [cell for cell in shard.cells if not cell.reason and stale(cell, index)]
        if todo:
            jobs.append({"job": shard.name, **_job(todo, study, speed)})
    return jobs


def _job(todo: Sequence[Cell], study: Study, speed: cost.Speed) -> dict[str, Any]:
    """What a job costs that measures these cells."""
    loads = {cell.checkpoint for cell in todo}
    seconds = (
        cost.START_SECONDS
        + sum(cost.load_seconds(load.run, speed) for load in loads)
        + sum(cost.cell_seconds(cell, speed) for cell in todo)
    )
    memory = max(cost.memory_bytes(load.run, study, speed) for load in loads)
    from_hub = [load.run for load in loads if not load.run.trained_here]
    download = sum(map(cost.checkpoint_bytes, from_hub))
    return {
        "cells": len(todo),
        "loads": len(loads),
        "cpu_hours": round(seconds / 3600, 4),
        "memory_gb": round(memory / 1e9, 2),
        "download_gb": round(download / 1e9, 3),
    }


def _measures(study: Study, index: Any) -> list[dict[str, Any]]:
    """Of each measure on each stimulus set, by its name where it stands twice: cells in all, not
    applicable, and still to measure.
    """
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for cell in study.cells:
        names = {
            "measure": cell.entry.measure.name,
            "stimuli": cell.stimuli_name,
            "entry": cell.entry.name,
        }
        counts = {"cells": 0, "not_applicable": 0, "to_measure": 0}
        row = rows.setdefault(tuple(names.values()), names | counts)
        row["cells"] += 1
        if cell.reason:
            row["not_applicable"] += 1
        elif stale(cell, index):
            row["to_measure"] += 1
    return list(rows.values())


def _loads(study: Study) -> float:
    """Checkpoints that the study samples of a run, on average."""
    loads = {(cell.checkpoint.run.id, cell.checkpoint.revision) for cell in study.cells}
    return max(1.0, len(loads) / max(len(study.runs), 1))


def _first(lines: Sequence[str]) -> list[str]:
    """The first SHOWN lines, and how many more there are."""
    rest = len(lines) - SHOWN
    if rest <= 1:
        return [*lines]
    return [*lines[:SHOWN], f"... and {rest} more (all of them with --json)"]


def _bytes(run: Run, loads: float) -> int:
    """To download of a further run, at as many checkpoints as the study samples, if it has them."""
    if run.trained_here:
        return 0
    return round(min(loads, len(run.checkpoints))) * cost.checkpoint_bytes(run)


def _price(run: Run, study: Study, loads: float, speed: cost.Speed) -> float:
    """Seconds that a further run would take: training or download, loads and cells."""
    if run.trained_here:
        before = cost.training_seconds(run)
    else:
        before = _bytes(run, loads) / DOWNLOAD_BYTES_PER_SECOND
    cells = sum(cost.entry_seconds(run, entry, speed) for entry in study.entries)
    return before + min(loads, len(run.checkpoints)) * (cost.load_seconds(run, speed) + cells)


def _sentences(judged: DesignCheck) -> dict[str, list[str]]:
    return {
        "aliased": design_text.alias_sentences(judged),
        "besides": design_text.beside_sentences(judged) + design_text.alone_sentences(judged),
        "remedies": design_text.remedy_sentences(judged),
        "cannot show": design_text.cannot_show(judged),
        "factors": ["\t".join(row) for row in design_text.table_rows(judged)],
    }


def text(planned: Mapping[str, Any]) -> str:
    """The plan for a reader: short tables, then sentences."""
    sentences = planned["sentences"]
    factors = [
        ("factor", "varies over", "values", "unknown in", "can be judged"),
        *(row.split("\t") for row in sentences["factors"]),
    ]
    blocks = [
        _work_text(planned),
        _block("What varies", table(factors)),
        _block(
            "What goes together",
            _first(sentences["aliased"]) or ["Nothing is aliased with anything else."],
        ),
        _block("What differs with it, and what varies alone", _first(sentences["besides"])),
        _block("What would tell more", _first(sentences["remedies"])),
        _block("Power", power.text(planned["power"])),
        _block(
            "What this sample cannot show",
            sentences["cannot show"] or ["Nothing that its factors name."],
        ),
        _block("What its analyses ask for and cannot be told", planned["refused_contrasts"]),
        _block("What texts are opened with", planned["openings"]),
    ]
    if "suggestions" in planned:
        blocks.append(_block("What would teach most", suggestions.text(planned["suggestions"])))
    return "\n\n".join(filter(None, blocks))


def _work_text(planned: Mapping[str, Any]) -> str:
    """The question, what there is to do, the cells of each measure, and the longest jobs."""
    jobs = sorted(planned["jobs_to_run"], key=lambda job: -job["cpu_hours"])
    lines = [f"{planned['study']}: {planned['question']}", "", *table(_totals(planned, len(jobs)))]
    entry = ["entry"] if any(row["entry"] for row in planned["measures"]) else []
    columns = ["measure", "stimuli", *entry, "cells", "not_applicable", "to_measure"]
    header = [column.replace("_", " ") for column in columns]
    rows = [[str(row[column]) for column in columns] for row in planned["measures"]]
    lines += ["", *table([header, *rows])]
    if jobs:
        header = ["longest jobs", "cells", "loads", "core hours", "memory GB", "download GB"]
        lines += ["", *table([header, *map(_job_row, jobs[:SHOWN])])]
    return "\n".join(lines)


def _totals(planned: Mapping[str, Any], n_jobs: int) -> list[tuple[str, str]]:
    """What there is to do in all, row by row."""
    p, finished = planned, planned["calibrated_by_cells"]
    calibration = (
        f"calibrated by {finished} finished cells"
        if finished
        else "not calibrated yet: no cell is finished"
    )
    return [
        ("runs", f"{p['runs']} (and {p['baselines']} baselines) of {', '.join(p['suites'])}"),
        (
            "cells",
            f"{p['cells']}: {p['cells_finished']} finished, "
            f"{p['cells_not_applicable']} not applicable, {p['cells_to_measure']} to measure",
        ),
        (
            "to do",
            f"{p['runs_to_train']} runs to train, "
            f"{p['checkpoints_to_load']} checkpoints to load, in {n_jobs} jobs",
        ),
        (
            "download",
            f"{p['download_gb']:.3g} GB, "
            f"the largest checkpoint {p['largest_checkpoint_gb']:.3g} GB",
        ),
        (
            "disk",
            f"{p['disk_gb']:.3g} GB if weights are kept, "
            f"{p['disk_without_keeping_gb']:.3g} GB if not (keep_weights: false)",
        ),
        (
            "time",
            f"{p['cpu_hours']:.3g} core hours, "
            f"about {p['minutes_here']:.0f} min here ({calibration})",
        ),
    ]


def _job_row(job: Mapping[str, Any]) -> list[str]:
    return [
        job["job"],
        str(job["cells"]),
        str(job["loads"]),
        f"{job['cpu_hours']:.3g}",
        f"{job['memory_gb']:.2f}",
        f"{job['download_gb']:.3g}",
    ]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned lines, two spaces between columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""
