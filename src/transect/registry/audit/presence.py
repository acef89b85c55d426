"""Is every checkpoint there, with whole weights that may be read? Revisions against the rule, files
against their own names.
"""

import re
from collections.abc import Sequence

from transect.registry.audit.finding import Finding, Holding
from transect.registry.audit.listing import COMMIT, CONFIGURATION, PICKLED, SAFE, File

OF_HOW_MANY = re.compile(r".*-(\d+)-of-(\d+)\.\w+")


def findings(holdings: Sequence[Holding]) -> list[Finding]:
    """What could not be listed, is missing, has no weights, or not all of them, or pickled ones;
    and what no rule names.
    """
    found = [finding for holding in holdings for finding in _of_run(holding)]
    return found + _beyond_the_rule(holdings)


def _of_run(holding: Holding) -> list[Finding]:
    repository, run = holding.repository, (holding.run.id,)
    if repository.error:
        return [
            Finding("could not be listed", run, (), (), repository.error, "a list of its revisions")
        ]
    found = []
    for why in dict.fromkeys(repository.unread.values()):
        names = tuple(
            r for r, told in repository.unread.items() if told == why and r in holding.rule
        )
        if names:
            found.append(
                Finding("could not be listed", run, names, (), why or "not asked for", "its files")
            )
    for revision, files in holding.listed.items():
        for file in files:
            if file.error:
                kind = "could not be listed" if file.path == CONFIGURATION else "damaged file"
                found.append(
                    Finding(kind, run, (revision,), (file.path,), file.error, "its content")
                )
    absent = [r for r in holding.rule if r not in repository.existing]
    found += holding.each(
        "missing revision", absent, (), f"not {holding.where}", "a revision of the registry's rule"
    )
    return found + _of_weights(holding)


def _of_weights(holding: Holding) -> list[Finding]:
    none, pickled = [], []
    lacking: dict[str, list[str]] = {}
    for revision, files in holding.listed.items():
        safe, unsafe = ([f for f in files if form.fullmatch(f.path)] for form in (SAFE, PICKLED))
        if not safe and not unsafe:
            none.append(revision)
        elif not safe:
            pickled.append(revision)
        for name in _lacking(safe or unsafe):
            lacking.setdefault(name, []).append(revision)
    found = holding.each("no weights", none, (), "no file of weights", "model*.safetensors")
    for without in dict.fromkeys(
        map(tuple, lacking.values())
    ):  # one finding for the shards that the same revisions lack
        shards = [name for name, revisions in lacking.items() if tuple(revisions) == without]
        told = f"{len(shards)} {'shard is' if len(shards) == 1 else 'shards are'} not there"
        found += holding.each(
            "incomplete weights", without, shards, told, "every shard that the others' names count"
        )
    names = sorted(
        {f.path for r in pickled for f in holding.listed[r] if PICKLED.fullmatch(f.path)}
    )
    return found + holding.each(
        "weights only pickled", pickled, names, "weights only as pickle", "safetensors"
    )


def _lacking(files: Sequence[File]) -> list[str]:
    """The shards that the names of the others promise (`-00001-of-00003`) and that are not there."""
    names = {file.path for file in files}
    promised = set()
    for name in names:
        if match := OF_HOW_MANY.fullmatch(name):
            i, n = match.groups()
            promised |= {
                name.replace(f"-{i}-of-", f"-{k:0{len(i)}d}-of-") for k in range(1, int(n) + 1)
            }
    return sorted(promised - names)


def _beyond_the_rule(holdings: Sequence[Holding]) -> list[Finding]:
    """Revisions that no run of the same repository names; one finding for a repository."""
    sharing: dict[int, list[Holding]] = {}
    for holding in holdings:
        sharing.setdefault(id(holding.repository), []).append(holding)
    found = []
    for group in sharing.values():
        named = {"main"}.union(
            *(h.rule for h in group), *(h.others for h in group), *(h.run.excluded for h in group)
        )
        more = tuple(
            sorted(r for r in group[0].repository.existing - named if not COMMIT.fullmatch(r))
        )
        if more:
            told = f"{len(more)} more {group[0].where}"
            runs = tuple(h.run.id for h in group)
            found.append(
                Finding(
                    "not in the rule", runs, more, (), told, "the revisions of the registry's rule"
                )
            )
    return found
