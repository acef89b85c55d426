"""How large and deep a YAML document may be, found from its events before anything is built of it.

A small file can hold much: 100,000 brackets end the C parser's composer by a signal, and nine
aliases of nine of nine ... are few bytes that everything that walks the document takes hours for.
Events are read one after another, so that no depth is a danger here.
"""

from dataclasses import dataclass
from typing import Any

import yaml

LARGEST = 10_000_000  # characters, or bytes of a file; the largest that is shipped has 18,000
DEEPEST = 100  # collections in each other; 10 in what is shipped
MOST = (
    1_000_000  # values, those of an anchor counted at each of its aliases; 2,000 in what is shipped
)


@dataclass
class _Open:
    """A collection whose end was not read yet: the values before it, and how deep it is so far (1:
    nothing is nested in it).
    """

    anchor: str | None
    before: int
    depth: int = 1


def check(text: str, loader: Any) -> None:
    """Raise yaml.MarkedYAMLError at the place where a document goes beyond a limit, or where an
    anchor holds itself.
    """
    if len(text) > LARGEST:
        raise yaml.MarkedYAMLError(
            problem=f"it has {len(text):,} characters; at most {LARGEST:,} are read"
        )
    values, open_ones = 0, [_Open(None, 0)]
    anchored: dict[str, tuple[int, int]] = {}  # anchor -> values, depth
    for event in yaml.parse(text, Loader=loader):
        new, depth = 1, 0
        if isinstance(event, yaml.CollectionEndEvent):
            closed = open_ones.pop()
            new, depth = 0, closed.depth
            if closed.anchor:
                anchored[closed.anchor] = values - closed.before, depth
        elif isinstance(event, yaml.CollectionStartEvent):
            open_ones.append(_Open(event.anchor, values))
        elif isinstance(event, yaml.AliasEvent):
            new, depth = anchored.get(event.anchor or "", (1, 0))
            if any(one.anchor == event.anchor for one in open_ones):
                raise _error(f"the anchor {str(event.anchor)[:40]!r} holds itself", event)
        elif not isinstance(event, yaml.ScalarEvent):
            continue  # begins or ends a document
        elif event.anchor:
            anchored[event.anchor] = 1, 0
        values += new
        open_ones[-1].depth = max(open_ones[-1].depth, depth + 1)
        if len(open_ones) - 1 + depth > DEEPEST:
            raise _error(f"it is nested more than {DEEPEST} deep", event)
        if values > MOST:
            raise _error(
                f"it holds more than {MOST:,} values, those of an anchor counted at each alias",
                event,
            )


def _error(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
