"""The audit: whether the checkpoints of runs are what their names say, from names, sizes and hashes
of files, and from measured values.

`audit(holdings)` compares the files of all revisions (nothing is read here: see
cli/registry/audit.py); `measured.findings` judges values. Each finding says what was found and
what was expected, and whether the registry knows of it already.
"""

from collections.abc import Sequence
from dataclasses import replace

from transect.registry.audit import contents, presence, weights
from transect.registry.audit.finding import KINDS, Finding, Holding, listed

__all__ = ["KINDS", "Finding", "Holding", "audit", "listed"]


def audit(holdings: Sequence[Holding]) -> list[Finding]:
    """Every finding about the files of these runs, in the order of KINDS, then of the runs; known
    ones are among them.
    """
    findings = [
        *presence.findings(holdings),
        *weights.findings(holdings),
        *(finding for holding in holdings for finding in contents.findings(holding)),
    ]
    place = {holding.run.id: i for i, holding in enumerate(holdings)}
    return sorted(_grouped(findings), key=lambda f: (list(KINDS).index(f.kind), place[f.runs[0]]))


def _grouped(findings: Sequence[Finding]) -> list[Finding]:
    """One finding for the runs of which the same was found: of a suite whose runs all start with
    three equal steps, for example.
    """
    runs: dict[Finding, list[str]] = {}
    for finding in findings:
        runs.setdefault(replace(finding, runs=()), []).extend(finding.runs)
    return [replace(finding, runs=tuple(dict.fromkeys(names))) for finding, names in runs.items()]
