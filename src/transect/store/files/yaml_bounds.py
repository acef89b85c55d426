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


class _Size:
    """The size of what was read of a document so far."""

    def __init__(self) -> None:
        self.values = 0
        self.open = [_Open(None, 0)]
        self.anchored: dict[str, tuple[int, int]] = {}  # anchor -> values, depth

    def add(self, event: Any) -> None:
        """Count an event. Raises yaml.MarkedYAMLError where it goes beyond a limit."""
        values, depth = self._of(event)
        self.values += values
        self.open[-1].depth = max(self.open[-1].depth, depth + 1)
        if len(self.open) - 1 + depth > DEEPEST:
            raise _error(f"it is nested more than {DEEPEST} deep", event)
        if self.values > MOST:
            raise _error(
                f"it holds more than {MOST:,} values, those of an anchor counted at each alias",
                event,
            )

    def _of(self, event: Any) -> tuple[int, int]:
        """The values that an event adds, and how deep they are in themselves."""
        if isinstance(event, yaml.CollectionEndEvent):
            return 0, self._close()
        if isinstance(event, yaml.CollectionStartEvent):
            self.open.append(_Open(event.anchor, self.values))
        elif isinstance(event, yaml.AliasEvent):
            if any(collection.anchor == event.anchor for collection in self.open):
                raise _error(f"the anchor {str(event.anchor)[:40]!r} holds itself", event)
            return self.anchored.get(event.anchor or "", (1, 0))
        elif event.anchor:
            self.anchored[event.anchor] = 1, 0
        return 1, 0

    def _close(self) -> int:
        """End the innermost collection; its depth."""
        closed = self.open.pop()
        if closed.anchor:
            self.anchored[closed.anchor] = self.values - closed.before, closed.depth
        return closed.depth


def check(text: str, loader: Any) -> None:
    """Raise yaml.MarkedYAMLError at the place where a document goes beyond a limit, or where an
    anchor holds itself.
    """
    if len(text) > LARGEST:
        raise yaml.MarkedYAMLError(
            problem=f"it has {len(text):,} characters; at most {LARGEST:,} are read"
        )
    size = _Size()
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionEndEvent | yaml.NodeEvent):  # else of a document
            size.add(event)


def _error(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
