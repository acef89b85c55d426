"""What `transect registry audit` does: reads what lies at the revisions of a suite, has it judged,
and tells.

It asks the hub, or reads a saved listing, or folders on this machine; with --measured it reads the
cells of a study.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from transect.errors import InputError, nearest
from transect.registry import suites as registry
from transect.registry.audit import KINDS, Finding, Holding, audit, listed, measured
from transect.registry.audit.finding import NOTICES
from transect.registry.audit.holding import read
from transect.registry.audit.listing import Repository
from transect.registry.run import Run, Suite
from transect.store.cell_store import MEASURED, Store
from transect.store.project import Project
from transect.study import study_file


@dataclass(frozen=True)
class Report:
    """The findings, and on how much they rest."""

    suite: str
    runs: int
    revisions: int
    findings: list[Finding]
    notes: list[str]

    @property
    def exit_code(self) -> int:
        """1 where something is new and a fault, or could not be listed; else 0."""
        return int(any(not f.known and f.kind not in NOTICES for f in self.findings))


def audit_files(
    project: Project,
    name: str,
    *,
    runs: Sequence[str] = (),
    source: Path | None = None,
    save: Path | None = None,
) -> Report:
    """The audit of the files of a suite. source: a saved listing or a folder; without it the hub,
    and the weights trained here.

    Raises InputError for an unknown suite or run and for a listing that is malformed or of other
    repositories; LoadError or ResourceError where nothing at all could be listed.
    """
    loaded = registry.load(project)
    suite, chosen = _chosen(loaded, name, runs)
    holdings, where = read(project, loaded, suite, chosen, source, save, _facts)
    held = {holding.run.id for holding in holdings}
    return Report(
        suite=name,
        runs=len(holdings),
        revisions=sum(len(holding.listed) for holding in holdings),
        findings=audit(holdings),
        notes=_not_compared(chosen, held, where),
    )


def _not_compared(chosen: Sequence[Run], held: set[str], where: str) -> list[str]:
    """Notes on the runs of which no files were compared, one for each cause."""
    without, counted, absent = [], [], []
    for run in chosen:
        of_counts = run.trained_here and run.get("mixer") == "ngram"
        if of_counts:
            counted.append(run.id)
        if not run.loadable:
            without.append(run.id)
        elif run.id not in held and not of_counts:
            absent.append(run.id)
    causes = (
        (without, "have no weights that can be had"),
        (counted, "are tables of counts, which have no weights"),
        (absent, f"are not {where}"),
    )
    return [f"{len(ids)} runs {cause}: {listed(ids)}" for ids, cause in causes if ids]


def audit_values(
    project: Project, name: str, measured_in: str, *, runs: Sequence[str] = ()
) -> Report:
    """The audit of what a study has measured of a suite. Raises InputError where it has measured
    none of the runs.
    """
    loaded = registry.load(project)
    suite, chosen = _chosen(loaded, name, runs)
    values = _values(study_file.load(measured_in, project), {run.id for run in chosen})
    if values.empty:
        raise InputError(
            f"The study {measured_in!r} has measured nothing of {listed([r.id for r in chosen])}; `transect run {measured_in}` does."
        )
    holdings = [Holding(run, Repository(), "measured", notes=suite.notes) for run in chosen]
    judged = measured.judge(holdings, values)
    notes = [f"{judged.curves} curves of {judged.runs} runs were judged"]
    if judged.short:
        notes.append(
            f"{judged.short} runs have fewer than {measured.LEAST} checkpoints with different values: no curve"
        )
    points = values[["run", "revision"]].drop_duplicates()
    return Report(name, points["run"].nunique(), len(points), judged.findings, notes)


def as_json(report: Report) -> str:
    return json.dumps(
        {
            "suite": report.suite,
            "runs": report.runs,
            "revisions": report.revisions,
            "notes": report.notes,
            "findings": [asdict(f) for f in report.findings],
        },
        indent=1,
    )


def summary(report: Report) -> str:
    """The printed report: kinds in their order, each finding with what was expected and how it is
    known.
    """
    lines = []
    for kind, meaning in KINDS.items():
        findings = [finding for finding in report.findings if finding.kind == kind]
        if not findings:
            continue
        lines.append(f"{kind}: {meaning}")
        for finding in findings:
            lines += _lines(finding)
        lines.append("")
    for note in report.notes:
        lines.append(f"note     {note}")
    outcome = "no findings"
    if report.findings:
        known = sum(finding.known for finding in report.findings)
        outcome = f"{len(report.findings) - known} new findings, {known} known"
    compared = f"{report.runs} runs, {report.revisions} revisions compared"
    lines.append(f"{report.suite}: {compared}: {outcome}.")
    return "\n".join(lines)


def _lines(finding: Finding) -> list[str]:
    """One finding as three lines: where, what, and whether it is known."""
    # across runs each revision stands with its run
    several = len(finding.runs) > 1 and "across runs" in finding.kind
    names = f"{len(finding.runs)} runs" if several else listed(finding.runs, 4)
    revisions = f" at {listed(finding.revisions)}" if finding.revisions else ""
    files = f" [{listed(finding.files, 4)}]" if finding.files else ""
    if finding.known:
        state = f"known: {finding.reason}"
    else:
        state = f"NEW; {finding.reason}" if finding.reason else "NEW"
    return [
        f"  {names}{revisions}{files}",
        f"      {finding.found}; expected: {finding.expected}",
        f"      {state}",
    ]


def _chosen(loaded: registry.Registry, name: str, runs: Sequence[str]) -> tuple[Suite, list[Run]]:
    suites = {suite.name: suite for suite in loaded.suites}
    if name not in suites:
        raise InputError(
            f"There is no suite {name!r} in the registry; there are {', '.join(suites)}.{nearest(name, suites)}"
        )
    known = {run.id: run for run in suites[name].runs}
    for run in runs:
        if run not in known:
            raise InputError(
                f"--run {run}: the suite {name!r} has no such run.{nearest(run, known)}"
            )
    return suites[name], [known[run] for run in runs] if runs else list(known.values())


def _values(measured_in: study_file.Study, runs: set[str]) -> pd.DataFrame:
    """The measured values of the runs' cells, with run, revision, step, measure and stimuli."""
    steps = {
        cell.key: cell.checkpoint.step
        for cell in measured_in.cells
        if cell.checkpoint.run.id in runs
    }
    store = Store(measured_in.project.store)
    index = store.index()
    index = index[index.index.isin(list(steps)) & (index["state"] == MEASURED)]
    facts = index[["run", "revision", "measure", "stimuli"]].reset_index(names="cell")
    of_cells = pd.DataFrame(list(steps.items()), columns=["cell", "step"])
    return store.read(index).merge(facts.merge(of_cells, on="cell"), on="cell")


def _facts(content: Mapping[str, Any]) -> dict[str, object]:
    from transect.lm.checkpoint.counting import facts  # here: it imports torch

    return facts(content)
