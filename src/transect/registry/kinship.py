"""The tree of models: class > family > suite > configuration > run, and below a run those that were
trained from it.

The levels at which a finding may transfer, and the groups within which runs are not independent.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from transect.registry.run import Run
from transect.registry.suites import Registry

LEVELS = ("model_class", "family", "suite", "configuration", "run")


def levels(runs: Iterable[Run], registry: Registry) -> pd.DataFrame:
    """One row per run, one column per level, outermost first; a level is named with those around it
    (`decoder/pythia`).
    """
    rows = []
    for run in runs:
        path = (
            run.model_class,
            run.get("family"),
            run.suite,
            registry.configurations[run.id],
            run.id,
        )
        rows.append(
            {level: "/".join(map(str, path[: i + 1])) for i, level in enumerate(LEVELS[:-1])}
            | {"run": run.id}
        )
    return pd.DataFrame(rows, columns=list(LEVELS))


def parents(runs: Iterable[Run], registry: Registry) -> dict[str, str | None]:
    """Node -> node above it (None at the top), for stats/phylogeny/covariance.py: levels as nodes, a run under
    the run it was trained from.
    """
    parent_of: dict[str, str | None] = {}
    for run in runs:
        chain = _ancestry(run, registry)
        top = levels(chain[-1:], registry).iloc[0]
        ids = [ancestor.id for ancestor in reversed(chain)]
        above: str | None = None
        for node in [*top[list(LEVELS[:-1])], *ids]:
            parent_of.setdefault(node, above)
            above = node
    return parent_of


def _ancestry(run: Run, registry: Registry) -> list[Run]:
    """A run and the runs above it, each trained from the next."""
    chain = [run]
    while True:
        parent = registry.runs.get(chain[-1].get("parent"))
        if parent is None or parent in chain:
            return chain
        chain.append(parent)


def printed(runs: Sequence[Run], registry: Registry) -> list[str]:
    """The tree as lines: classes, families and suites, with the numbers of their runs and
    configurations.
    """
    table = levels(runs, registry)
    lines: list[str] = []
    for kind, in_class in table.groupby("model_class", sort=True):
        lines.append(f"{kind} ({len(in_class)})")
        for family, in_family in in_class.groupby("family", sort=True):
            lines.append(f"  {_last(family)} ({len(in_family)})")
            for suite, in_suite in in_family.groupby("suite", sort=True):
                lines.append(f"    {_last(suite)}: {_counted(in_suite)}")
    return lines


def _counted(part: pd.DataFrame) -> str:
    n, k = len(part), part["configuration"].nunique()
    return f"{n} run{'s' * (n > 1)} in {k} configuration{'s' * (k > 1)}"


def _last(path: object) -> str:
    return str(path).rsplit("/", 1)[-1]
