"""What `transect plan` prints before anything is computed: the work and its cost, what the sample
can tell, power, and what to add.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transect.registry.run import Run
from transect.store.cell_store import Store
from transect.study import cost, openings
from transect.study.plan import power, refusals, suggestions
from transect.study.plan import text as design_text
from transect.study.plan.check import DesignCheck, check
from transect.study.stale import stale
from transect.study.study_file import Study

DOWNLOAD_BYTES_PER_SECOND = 25e6  # to compare the costs of runs that lie on the hub with computing
SHOWN = 5  # jobs


SHOWN = 8  # sentences of one kind


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
    found = work(study, cores) | {
        "calibrated_by_cells": speed.cells,
        "jobs_to_run": _jobs(study, speed, index),
    }
    found["measures"] = _measures(study, index)
    found["design_check"] = design_text.facts(judged)
    found["refused_contrasts"] = refusals.refused(study)
    found["openings"] = openings.planned(study)
    found["power"] = power.power(study, judged, index, wishes.effect, wishes.sd)
    if wishes.suggest:
        found["suggestions"] = suggestions.suggestions(
            study,
            judged,
            suggestions.Candidates(pool, prices, [_bytes(r, loads) for r in pool]),
            tokens,
            wishes.suggest,
            wishes.criterion,
            wishes.contrasts,
        )
    return found | {"sentences": _sentences(judged)}


def work(study: Study, cores: int) -> dict[str, Any]:
    """Cells, loads, bytes and hours of what is still to be done."""
    spent = cost.estimate(study)
    roles = list(study.roles.values())
    trained = spent.disk_bytes - spent.download_bytes
    return {
        "study": study.name,
        "question": study.data["question"],
        "runs": roles.count("population") + roles.count("held_out"),
        "baselines": roles.count("baseline"),
        "suites": sorted({r.suite for r in study.runs}),
        "cells": len(study.cells),
        "cells_finished": spent.finished,
        "cells_not_applicable": spent.not_applicable,
        "cells_to_measure": spent.cells,
        "runs_to_train": spent.trainings,
        "checkpoints_to_load": spent.loads,
        "jobs": len(study.shards),
        "download_gb": round(spent.download_bytes / 1e9, 3),
        "disk_gb": round(spent.disk_bytes / 1e9, 3),
        # each job holds one checkpoint of the hub at a time
        "disk_without_keeping_gb": round(
            (trained + min(spent.download_bytes, cores * spent.largest_load_bytes)) / 1e9, 3
        ),
        "largest_checkpoint_gb": round(spent.largest_load_bytes / 1e9, 3),
        "cpu_hours": round((spent.train_seconds + spent.measure_seconds) / 3600, 2),
        "minutes_here": round(spent.minutes(cores), 1),
    }


def sampled_tokens(study: Study, runs: Sequence[Run]) -> tuple[dict[str, int], list[str]]:
    """Run -> tokens seen at its last sampled checkpoint, and the runs that are sampled at several
    amounts.
    """
    seen: dict[str, set[int]] = {}
    wanted = {r.id for r in runs}
    for cell in study.cells:
        if cell.checkpoint.run.id in wanted and cell.checkpoint.tokens_seen:
            seen.setdefault(cell.checkpoint.run.id, set()).add(cell.checkpoint.tokens_seen)
    return {run: max(amounts) for run, amounts in seen.items()}, [
        run for run, amounts in seen.items() if len(amounts) > 1
    ]


def _jobs(study: Study, speed: cost.Speed, index: Any) -> list[dict[str, Any]]:
    """Of each job with something to do: cells, loads, hours of one core, the largest memory, bytes
    to download.
    """
    found = []
    for shard in study.shards:
        todo = [c for c in shard.cells if not c.reason and stale(c, index)]
        if not todo:
            continue
        loads = {c.checkpoint for c in todo}
        seconds = (
            cost.START_SECONDS
            + sum(cost.load_seconds(c.run, speed) for c in loads)
            + sum(cost.cell_seconds(c, speed) for c in todo)
        )
        memory = max(cost.memory_bytes(c.run, study, speed) for c in loads)
        download = sum(cost.checkpoint_bytes(c.run) for c in loads if not c.run.trained_here)
        found.append(
            {
                "job": shard.name,
                "cells": len(todo),
                "loads": len(loads),
                "cpu_hours": round(seconds / 3600, 4),
                "memory_gb": round(memory / 1e9, 2),
                "download_gb": round(download / 1e9, 3),
            }
        )
    return found


def _measures(study: Study, index: Any) -> list[dict[str, Any]]:
    """Of each measure on each stimulus set, by its name where it stands twice: cells in all, not
    applicable, and still to measure.
    """
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for cell in study.cells:
        names = {
            "measure": cell.entry.measure.name,
            "stimuli": cell.stimuli_name,
            "entry": cell.entry.name,
        }
        row = found.setdefault(
            tuple(names.values()), names | {"cells": 0, "not_applicable": 0, "to_measure": 0}
        )
        row["cells"] += 1
        row["not_applicable"] += bool(cell.reason)
        row["to_measure"] += not cell.reason and stale(cell, index)
    return list(found.values())


def _loads(study: Study) -> float:
    """Checkpoints that the study samples of a run, on average."""
    return max(
        1.0,
        len({(c.checkpoint.run.id, c.checkpoint.revision) for c in study.cells})
        / max(len(study.runs), 1),
    )


def _first(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - SHOWN
    return (
        [*lines]
        if rest <= 1
        else [*lines[:SHOWN], f"... and {rest} more (all of them with --json)"]
    )


def _bytes(run: Run, loads: float) -> int:
    """To download of a further run, at as many checkpoints as the study samples, if it has them."""
    return (
        0
        if run.trained_here
        else round(min(loads, len(run.checkpoints))) * cost.checkpoint_bytes(run)
    )


def _price(run: Run, study: Study, loads: float, speed: cost.Speed) -> float:
    """Seconds that a further run would take: training or download, loads and cells."""
    before = (
        cost.training_seconds(run)
        if run.trained_here
        else _bytes(run, loads) / DOWNLOAD_BYTES_PER_SECOND
    )
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


def text(found: Mapping[str, Any]) -> str:
    """The plan for a reader: short tables, then sentences."""
    said = found["sentences"]
    blocks = [
        _work_text(found),
        _block(
            "What varies",
            table(
                [
                    ("factor", "varies over", "values", "unknown in", "can be judged"),
                    *(row.split("\t") for row in said["factors"]),
                ]
            ),
        ),
        _block(
            "What goes together",
            _first(said["aliased"]) or ["Nothing is aliased with anything else."],
        ),
        _block("What differs with it, and what varies alone", _first(said["besides"])),
        _block("What would tell more", _first(said["remedies"])),
        _block("Power", power.text(found["power"])),
        _block(
            "What this sample cannot show",
            said["cannot show"] or ["Nothing that its factors name."],
        ),
    ]
    if found["refused_contrasts"]:
        blocks.append(
            _block("What its analyses ask for and cannot be told", found["refused_contrasts"])
        )
    if found["openings"]:
        blocks.append(_block("What texts are opened with", found["openings"]))
    if "suggestions" in found:
        blocks.append(_block("What would teach most", suggestions.text(found["suggestions"])))
    return "\n\n".join(b for b in blocks if b)


def _work_text(found: Mapping[str, Any]) -> str:
    jobs = sorted(found["jobs_to_run"], key=lambda j: -j["cpu_hours"])
    how = (
        f"calibrated by {found['calibrated_by_cells']} finished cells"
        if found["calibrated_by_cells"]
        else "not calibrated yet: no cell is finished"
    )
    lines = [
        f"{found['study']}: {found['question']}",
        "",
        *table(
            [
                (
                    "runs",
                    f"{found['runs']} (and {found['baselines']} baselines) of {', '.join(found['suites'])}",
                ),
                (
                    "cells",
                    f"{found['cells']}: {found['cells_finished']} finished, {found['cells_not_applicable']} not applicable, {found['cells_to_measure']} to measure",
                ),
                (
                    "to do",
                    f"{found['runs_to_train']} runs to train, {found['checkpoints_to_load']} checkpoints to load, in {len(jobs)} jobs",
                ),
                (
                    "download",
                    f"{found['download_gb']:.3g} GB, the largest checkpoint {found['largest_checkpoint_gb']:.3g} GB",
                ),
                (
                    "disk",
                    f"{found['disk_gb']:.3g} GB if weights are kept, {found['disk_without_keeping_gb']:.3g} GB if not (keep_weights: false)",
                ),
                (
                    "time",
                    f"{found['cpu_hours']:.3g} core hours, about {found['minutes_here']:.0f} min here ({how})",
                ),
            ]
        ),
    ]
    named = ["entry"] * any(m["entry"] for m in found["measures"])
    columns = ["measure", "stimuli", *named, "cells", "not_applicable", "to_measure"]
    told = [[str(m[c]) for c in columns] for m in found["measures"]]
    lines += ["", *table([[c.replace("_", " ") for c in columns], *told])]
    if jobs:
        rows = [
            (
                j["job"],
                str(j["cells"]),
                str(j["loads"]),
                f"{j['cpu_hours']:.3g}",
                f"{j['memory_gb']:.2f}",
                f"{j['download_gb']:.3g}",
            )
            for j in jobs[:SHOWN]
        ]
        lines += [
            "",
            *table(
                [
                    ("longest jobs", "cells", "loads", "core hours", "memory GB", "download GB"),
                    *rows,
                ]
            ),
        ]
    return "\n".join(lines)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned lines, two spaces between columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""
