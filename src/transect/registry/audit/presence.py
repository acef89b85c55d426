"""Is every checkpoint there, with whole weights that may be read? Revisions against the rule, files
against their own names.
"""

import re
from collections.abc import Mapping, Sequence

from transect.registry.audit.finding import Finding, Holding
from transect.registry.audit.listing import COMMIT, CONFIGURATION, PICKLED, SAFE, File

OF_HOW_MANY = re.compile(r".*-(\d+)-of-(\d+)\.\w+")


def findings(holdings: Sequence[Holding]) -> list[Finding]:
    """What could not be listed, is missing, has no weights, or not all of them, or pickled ones;
    and what no rule names.
    """
    of_runs = [finding for holding in holdings for finding in _of_run(holding)]
    return of_runs + _beyond_the_rule(holdings)


def _of_run(holding: Holding) -> list[Finding]:
    repository, run = holding.repository, (holding.run.id,)
    if repository.error:
        return [
            Finding("could not be listed", run, (), (), repository.error, "a list of its revisions")
        ]
    absent = [r for r in holding.rule if r not in repository.existing]
    return [
        *_unread(holding),
        *_unreadable_files(holding),
        *holding.each(
            "missing revision",
            absent,
            (),
            f"not {holding.where}",
            "a revision of the registry's rule",
        ),
        *_of_weights(holding),
    ]


def _unread(holding: Holding) -> list[Finding]:
    """The revisions of the rule that were not listed, one finding for each cause."""
    causes: dict[str, list[str]] = {}
    for revision, why in holding.repository.unread.items():
        revisions = causes.setdefault(why, [])
        if revision in holding.rule:
            revisions.append(revision)
    run, kind = (holding.run.id,), "could not be listed"
    return [
        Finding(kind, run, tuple(revisions), (), why or "not asked for", "its files")
        for why, revisions in causes.items()
        if revisions
    ]


def _unreadable_files(holding: Holding) -> list[Finding]:
    run = (holding.run.id,)
    findings = []
    for revision, files in holding.listed.items():
        for file in files:
            if file.error:
                kind = "could not be listed" if file.path == CONFIGURATION else "damaged file"
                findings.append(
                    Finding(kind, run, (revision,), (file.path,), file.error, "its content")
                )
    return findings


def _of_weights(holding: Holding) -> list[Finding]:
    none: list[str] = []
    pickled: list[str] = []
    pickles: set[str] = set()
    lacking: dict[str, list[str]] = {}  # shard -> revisions
    for revision, files in holding.listed.items():
        safe = _named_as(SAFE, files)
        unsafe = _named_as(PICKLED, files)
        if not safe and not unsafe:
            none.append(revision)
        elif not safe:
            pickled.append(revision)
            pickles.update(unsafe)
        for name in _lacking(safe or unsafe):
            lacking.setdefault(name, []).append(revision)
    unsafe_only = ("weights only as pickle", "safetensors")
    return [
        *holding.each("no weights", none, (), "no file of weights", "model*.safetensors"),
        *_incomplete(holding, lacking),
        *holding.each("weights only pickled", pickled, sorted(pickles), *unsafe_only),
    ]


def _named_as(form: re.Pattern[str], files: Sequence[File]) -> list[str]:
    return [file.path for file in files if form.fullmatch(file.path)]


def _incomplete(holding: Holding, lacking: Mapping[str, Sequence[str]]) -> list[Finding]:
    """One finding for the shards that the same revisions lack; from shard -> revisions."""
    shards_of: dict[tuple[str, ...], list[str]] = {}
    for name, revisions in lacking.items():
        shards_of.setdefault(tuple(revisions), []).append(name)
    expected = "every shard that the others' names count"
    findings = []
    for without, shards in shards_of.items():
        sentence = f"{len(shards)} {'shard is' if len(shards) == 1 else 'shards are'} not there"
        findings += holding.each("incomplete weights", without, shards, sentence, expected)
    return findings


def _lacking(paths: Sequence[str]) -> list[str]:
    """The shards that the names of the others promise (`-00001-of-00003`) and that are not there."""
    names = set(paths)
    promised = set()
    for name in names:
        if match := OF_HOW_MANY.fullmatch(name):
            number, n_shards = match.groups()
            for i in range(1, int(n_shards) + 1):
                promised.add(name.replace(f"-{number}-of-", f"-{i:0{len(number)}d}-of-"))
    return sorted(promised - names)


def _beyond_the_rule(holdings: Sequence[Holding]) -> list[Finding]:
    """Revisions that no run of the same repository names; one finding for a repository."""
    sharing: dict[int, list[Holding]] = {}
    for holding in holdings:
        sharing.setdefault(id(holding.repository), []).append(holding)
    findings = []
    for group in sharing.values():
        existing = group[0].repository.existing
        unnamed = sorted(r for r in existing - _named(group) if not COMMIT.fullmatch(r))
        if unnamed:
            findings.append(
                Finding(
                    "not in the rule",
                    tuple(holding.run.id for holding in group),
                    tuple(unnamed),
                    (),
                    f"{len(unnamed)} more {group[0].where}",
                    "the revisions of the registry's rule",
                )
            )
    return findings


def _named(group: Sequence[Holding]) -> set[str]:
    """The revisions of a repository that the registry names, and `main`."""
    names = {"main"}
    for holding in group:
        names.update(holding.rule, holding.others, holding.run.excluded)
    return names
