"""How much a suite file may expand to. All is counted before it is built: a line of YAML can ask
for 10^12 steps or runs.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

STEPS = 100_000  # of a rule
RUNS = 20_000  # of a suite; the largest that is shipped has 1,154
CHECKPOINTS = 1_000_000  # of a suite
JOINED = 10_000_000  # runs x rows of tables that are compared with them


class TooMany(Exception):
    """More than a suite file may expand to: the message is the end of a sentence about it."""


def steps(parts: Iterable[Any]) -> list[int | None]:
    """The steps of a rule, its ranges written out. Raises TooMany for more than STEPS."""
    every: list[int | None] = []
    for part in parts:
        span = (
            range(part["from"], part["to"] + 1, part["by"]) if isinstance(part, dict) else range(1)
        )
        if len(every) + _length(span) > STEPS:
            raise TooMany(f"has more than {STEPS:,} steps")
        every += (list(span) or [part["from"], part["to"]]) if isinstance(part, dict) else [part]
    return every


def _length(span: range) -> float:
    try:
        return len(span)
    except OverflowError:
        return math.inf


def counted(runs: Iterable[Any], tables: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    """The runs, one after another. Raises TooMany for one too many, for too many checkpoints, and
    for tables too long to be joined.
    """
    rows = sum(len(table["rows"]) for table in tables)
    checkpoints = 0
    for number, run in enumerate(runs, 1):
        checkpoints += len(run.rule.steps)
        if number > RUNS:
            raise TooMany(f"expands to more than {RUNS:,} runs")
        if checkpoints > CHECKPOINTS:
            raise TooMany(f"expands to more than {CHECKPOINTS:,} checkpoints")
        if number * rows > JOINED:
            raise TooMany(
                f"joins tables of {rows:,} rows to {number:,} runs or more; at most {JOINED:,} such pairs are compared"
            )
        yield run
