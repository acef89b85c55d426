"""What `transect registry audit` does: reads what lies at the revisions of a suite, has it judged,
and tells.

It asks the hub, or reads a saved listing, or folders on this machine; with --measured it reads the
cells of a study.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

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
    holdings, where = read(project, loaded, suite, chosen, source, save)
    held = {h.run.id for h in holdings}
    without = [run.id for run in chosen if not run.loadable]
    counted = [run.id for run in chosen if run.trained_here and run.get("mixer") == "ngram"]
    absent = [run.id for run in chosen if run.loadable and run.id not in held.union(counted)]
    notes = [f"{len(without)} runs have no weights that can be had: {listed(without)}"] * bool(
        without
    )
    notes += [
        f"{len(counted)} runs are tables of counts, which have no weights: {listed(counted)}"
    ] * bool(counted)
    notes += [f"{len(absent)} runs are not {where}: {listed(absent)}"] * bool(absent)
    return Report(name, len(holdings), sum(len(h.listed) for h in holdings), audit(holdings), notes)


def audit_values(
    project: Project, name: str, measured_in: str, *, runs: Sequence[str] = ()
) -> Report:
    """The audit of what a study has measured of a suite. Raises InputError where it has measured
    none of the runs.
    """
    loaded = registry.load(project)
    suite, chosen = _chosen(loaded, name, runs)
    asked = study_file.load(measured_in, project)
    values = _values(asked, {run.id for run in chosen})
    if values.empty:
        raise InputError(
            f"The study {measured_in!r} has measured nothing of {listed([r.id for r in chosen])}; `transect run {measured_in}` does."
        )
    holdings = [Holding(run, Repository(), "measured", notes=suite.notes) for run in chosen]
    judged = measured.judge(holdings, values)
    notes = [f"{judged.curves} curves of {judged.runs} runs were judged"]
    notes += [
        f"{judged.short} runs have fewer than {measured.LEAST} checkpoints with different values: no curve"
    ] * bool(judged.short)
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
        rows = [f for f in report.findings if f.kind == kind]
        if not rows:
            continue
        lines += [f"{kind}: {meaning}"]
        for f in rows:
            several = (
                len(f.runs) > 1 and "across runs" in f.kind
            )  # then each revision is told with its run
            names = f"{len(f.runs)} runs" if several else listed(f.runs, 4)
            at = f" at {listed(f.revisions)}" if f.revisions else ""
            files = f" [{listed(f.files, 4)}]" if f.files else ""
            state = f"known: {f.reason}" if f.known else f"NEW{'; ' * bool(f.reason)}{f.reason}"
            lines += [
                f"  {names}{at}{files}",
                f"      {f.found}; expected: {f.expected}",
                f"      {state}",
            ]
        lines += [""]
    count = Counter(f.known for f in report.findings)
    lines += [f"note     {note}" for note in report.notes]
    told = f"{count[False]} new findings, {count[True]} known" if report.findings else "no findings"
    return "\n".join(
        [
            *lines,
            f"{report.suite}: {report.runs} runs, {report.revisions} revisions compared: {told}.",
        ]
    )


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


def _values(asked: study_file.Study, runs: set[str]) -> pd.DataFrame:
    """The measured values of the runs' cells, with run, revision, step, measure and stimuli."""
    cells = [c for c in asked.cells if c.checkpoint.run.id in runs]
    store = Store(asked.project.store)
    index = store.index()
    index = index[index.index.isin([c.key for c in cells]) & (index["state"] == MEASURED)]
    at = pd.DataFrame(
        [(c.key, c.checkpoint.step) for c in cells], columns=["cell", "step"]
    ).drop_duplicates("cell")
    where = (
        index[["run", "revision", "measure", "stimuli"]]
        .reset_index(names="cell")
        .merge(at, on="cell")
    )
    return store.read(index).merge(where, on="cell")
