"""One finding of the audit, and what is held of one run: the ground that all its checks stand on."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from transect.registry.audit.listing import COMMIT, File, Repository, checkpoints
from transect.registry.run import Run

# kind -> what it means; in the order of the report
KINDS = {
    "could not be listed": "nothing is known of these revisions; the others were compared",
    "missing revision": "the registry's rule names it, and it is not there",
    "no weights": "the revision is there, but no file of weights",
    "incomplete weights": "some of the shards that the names count are not there",
    "weights only pickled": "no safetensors; pickles can run code when they are read and are refused",
    "identical weights": "revisions of one run hold the same bytes",
    "shared shards": "some, not all, files of weights are the same in revisions of one run",
    "identical weights across runs": "checkpoints of several runs hold the same bytes",
    "shared shards across runs": "some, not all, files of weights are the same in checkpoints of several runs",
    "weights replaced": "one revision has held different weights in the course of its commits",
    "damaged file": "the content of a file in the hub cache is not what its name says",
    "sizes differ": "the weights of some revisions have another size than those of the others",
    "size contradicts the entry": "the weights' bytes are no number of weights that the entry states, at 1, 2 or 4 bytes each",
    "number of shards differs": "some revisions hold their weights in another number of files",
    "configuration contradicts the entry": "config.json says otherwise than the registry",
    "configuration changed": "config.json is not the same in all revisions",
    "no tokenizer": "no file of which a tokenizer can be made",
    "tokenizer changed": "the tokenizer's files are not the same in all revisions",
    "not in the rule": "the revision is there, and the registry's rule does not name it",
    "equal values": "checkpoints of one run gave exactly the same values for every item",
    "off the curve": "a checkpoint does not lie on the smooth curve of its run",
}
NOTICES = {"not in the rule"}  # no fault of a checkpoint


@dataclass(frozen=True)
class Finding:
    """One row of the report. known: the registry excludes or notes it; `reason` says how, or which
    part of it is new.
    """

    kind: str
    runs: tuple[str, ...]
    revisions: tuple[str, ...]
    files: tuple[str, ...]
    found: str
    expected: str
    known: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Holding:
    """What a repository (or folder) holds of one run.

    where: in words, e.g. "on the hub". others: what the rules of other runs name in this
    repository; its `main` is the run's if they name nothing. configured: digest of a config.json ->
    what it says, in the registry's fields. notes: texts of the suite.
    """

    run: Run
    repository: Repository
    where: str
    others: frozenset[str] = frozenset()
    configured: dict[str, dict[str, object]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @cached_property
    def rule(self) -> dict[str, int | None]:
        """Revision -> step, of every checkpoint that the registry's rule names, excluded or not, in
        the order of training.
        """
        return {point.revision: point.step for point in checkpoints(self.run)}

    @cached_property
    def listed(self) -> dict[str, tuple[File, ...]]:
        """Revision of the rule -> its files in the top folder."""
        held = self.repository.revisions
        return {revision: _top(held[revision]) for revision in self.rule if revision in held}

    @cached_property
    def with_main(self) -> dict[str, tuple[File, ...]]:
        """`listed`, and `main` where it is this run's."""
        main = self.repository.revisions.get("main", ())
        if not main or self.others or "main" in self.rule:
            return self.listed
        return self.listed | {"main": _top(main)}

    @cached_property
    def commits(self) -> dict[str, tuple[File, ...]]:
        """Earlier states of `main`, newest first."""
        return {
            name: files
            for name, files in self.repository.revisions.items()
            if COMMIT.fullmatch(name)
        }

    def reason(self, revision: str) -> str:
        """How the registry knows that something is wrong with a revision; empty if it does not."""
        if revision in self.run.excluded:
            return self.run.excluded[revision]
        step = self.rule.get(revision)
        names = [revision] if step is None else [revision, str(step)]
        notes = self.run.get("notes", [])
        for text in [notes] if isinstance(notes, str) else notes:
            if _mentions_any(text, names):
                return f"noted: {text}"
        run_names = [self.run.id, str(self.run.get("hub_id", "")).split("/")[-1]]
        for text in self.notes:
            if _mentions_any(text, filter(None, run_names)) and _mentions_any(text, names):
                return f"noted: {text}"
        return ""

    def each(
        self, kind: str, revisions: Iterable[str], files: Iterable[str], found: str, expected: str
    ) -> list[Finding]:
        """Findings of a fault that each revision has by itself: one of those that are new, one for
        each reason of those that are known.
        """
        by_reason: dict[str, list[str]] = {}
        for revision in revisions:
            by_reason.setdefault(self.reason(revision), []).append(revision)
        names = tuple(dict.fromkeys(files))
        return [
            Finding(kind, (self.run.id,), tuple(part), names, found, expected, bool(reason), reason)
            for reason, part in sorted(by_reason.items())
        ]


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names in words; of many the first ones, the last, and how many."""
    if len(names) <= most:
        return ", ".join(names)
    first = ", ".join(names[: most - 2])
    return f"{first} ... {names[-1]} ({len(names)})"


def _top(files: Sequence[File]) -> tuple[File, ...]:
    """The files in the top folder, which are the ones that are loaded."""
    return tuple(file for file in files if "/" not in file.path)


def _mentions_any(text: str, names: Iterable[str]) -> bool:
    return any(_mentions(text, name) for name in names)


def _mentions(text: str, name: str) -> bool:
    """Whether a name stands in a text as a word of its own: `olmo-7b` does not in
    `olmo-7b-instruct`.
    """
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-]|\.\d)", text) is not None
