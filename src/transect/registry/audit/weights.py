"""Do two checkpoints hold the same weights? By the hashes of their files: sha256 of the whole
content, so that equal means the same bytes.

Two checkpoints are twins when all their files of one format (safetensors, or pickles) have the same
hashes; a *class* is a set of twins. Shards are shared when a hash occurs in more than one class. A
format of which a checkpoint has none says nothing about it. `main` beside the last checkpoint is no
twin: it is the same point by another name.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transect.registry.audit.finding import Finding, Holding
from transect.registry.audit.listing import PICKLED, SAFE, File

FORMATS = {"safetensors": SAFE, "pickle": PICKLED}
Node = tuple[int, str]  # place of the holding, revision
Formats = Mapping[str, Mapping[str, str]]  # format -> hash -> name of a file


def findings(holdings: Sequence[Holding]) -> list[Finding]:
    """Identical weights, shared shards, and weights that were replaced under one name."""
    held = {}
    for i, holding in enumerate(holdings):
        for revision, files in holding.with_main.items():
            held[i, revision] = _weights(files)
    classes = _classes(held)
    twins = []
    for members in classes:
        nodes = _without_main(members, holdings)
        if len(nodes) > 1:
            twins.append(_twins(holdings, nodes, held))
    replacements = []
    for holding in holdings:
        if "main" in holding.rule:
            replacements += _replaced(holding)
    return [*_joined(twins), *_shared(holdings, classes, held), *replacements]


def _weights(files: Iterable[File]) -> dict[str, dict[str, str]]:
    """Format -> hash -> name, of the files of weights."""
    formats: dict[str, dict[str, str]] = {}
    for file in files:
        for name, form in FORMATS.items():
            if form.fullmatch(file.path):
                formats.setdefault(name, {})[file.digest] = file.path
    return formats


def _classes(held: Mapping[Node, Formats]) -> list[list[Node]]:
    """The checkpoints that have weights, in sets of twins, each in the order given."""
    first: dict[tuple[str, frozenset[str]], Node] = {}
    earlier: dict[Node, Node] = {}  # a checkpoint -> an earlier twin, or itself

    def root(node: Node) -> Node:
        while earlier[node] != node:
            node = earlier[node]
        return node

    for node, formats in held.items():
        earlier[node] = node
        for form, files in formats.items():
            earlier[root(node)] = root(first.setdefault((form, frozenset(files)), node))
    classes: dict[Node, list[Node]] = {}
    for node, formats in held.items():
        if formats:
            classes.setdefault(root(node), []).append(node)
    return list(classes.values())


def _without_main(nodes: Sequence[Node], holdings: Sequence[Holding]) -> list[Node]:
    """The twins of a class without the `main` of a run whose last checkpoint is among them."""

    def is_last(i: int) -> bool:
        return (i, list(holdings[i].rule)[-1]) in nodes

    return [
        (i, revision)
        for i, revision in nodes
        if revision != "main" or revision in holdings[i].rule or not is_last(i)
    ]


def _twins(
    holdings: Sequence[Holding], nodes: Sequence[Node], held: Mapping[Node, Formats]
) -> Finding:
    runs = _runs(holdings, nodes)
    names_of_each = [_names_by_hash(held[node]) for node in nodes]
    first = names_of_each[0]
    # twins of twins by two formats have no file in common
    common = set.intersection(*(set(names) for names in names_of_each)) or set(first)
    known, reason = _known(holdings, nodes)
    return Finding(
        "identical weights" if len(runs) == 1 else "identical weights across runs",
        runs,
        _names(holdings, nodes),
        tuple(sorted(first[digest] for digest in common & set(first))),
        f"{len(nodes)} with the same bytes",
        "weights of its own at each",
        known,
        reason,
    )


def _names_by_hash(formats: Formats) -> dict[str, str]:
    """Hash -> name, of the files of all formats."""
    return {digest: name for files in formats.values() for digest, name in files.items()}


def _known(holdings: Sequence[Holding], nodes: Sequence[Node]) -> tuple[bool, str]:
    """Whether at most one of the twins is still taken for a checkpoint; and the reasons, or what is
    not excluded yet.
    """
    points = [(i, revision) for i, revision in nodes if revision in holdings[i].rule]
    reasons = {(i, revision): holdings[i].reason(revision) for i, revision in points}
    in_use = [point for point in points if not reasons[point]]
    stated = "; ".join(dict.fromkeys(filter(None, reasons.values())))
    seed = _common_initialisation(holdings, in_use)
    if seed is not None:
        same = f"the same initialisation (init_seed {seed})"
        return True, f"{same}; {stated}" if stated else same
    if len(in_use) <= 1 and not _has_main_twin(holdings, in_use, nodes):
        return True, stated
    if not stated:
        return False, ""
    return False, f"not excluded: {', '.join(_names(holdings, in_use))}; known: {stated}"


def _has_main_twin(
    holdings: Sequence[Holding], points: Sequence[Node], nodes: Sequence[Node]
) -> bool:
    """Whether the `main` of a point's run is among the twins. It is not at the last step: then the
    point is wrong, too.
    """
    return any((i, "main") in nodes and "main" not in holdings[i].rule for i, _ in points)


def _common_initialisation(holdings: Sequence[Holding], points: Sequence[Node]) -> Any:
    """The init_seed of several runs' first steps, which then are the same by right; None where
    these are other points or the seeds differ.
    """
    runs = {i for i, _ in points}
    if len(points) < 2 or len(runs) < len(points):
        return None
    seeds = set()
    for i, revision in points:
        holding = holdings[i]
        if holding.rule[revision] != 0:
            return None
        seeds.add(holding.run.get("init_seed"))
    return seeds.pop() if len(seeds) == 1 else None


def _runs(holdings: Sequence[Holding], nodes: Sequence[Node]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(holdings[i].run.id for i, _ in nodes))


def _names(holdings: Sequence[Holding], nodes: Sequence[Node]) -> tuple[str, ...]:
    """Revisions; of several runs each with its run."""
    several = len({i for i, _ in nodes}) > 1
    return tuple(f"{holdings[i].run.id}@{r}" if several else r for i, r in nodes)


def _joined(twins: Sequence[Finding]) -> list[Finding]:
    """The twins across the same runs in one finding: two repositories with equal content would give
    one for each step.
    """
    groups: dict[Hashable, list[Finding]] = {}
    for finding in twins:
        key: Hashable = finding
        if len(finding.runs) > 1:
            key = (finding.runs, finding.known, finding.reason)
        groups.setdefault(key, []).append(finding)
    return [_one_of(group) for group in groups.values()]


def _one_of(group: Sequence[Finding]) -> Finding:
    first = group[0]
    if len(group) == 1:
        return first
    revisions = tuple(revision for finding in group for revision in finding.revisions)
    return replace(first, revisions=revisions, found=f"{len(group)} sets of twins")


@dataclass
class _Shard:
    """One content of a file of weights: its name (the last that it was met under), the classes that
    hold it, and the number of files of the largest set it belongs to.
    """

    name: str
    classes: list[int]
    of: int


def _shared(
    holdings: Sequence[Holding],
    classes: Sequence[Sequence[Node]],
    held: Mapping[Node, Formats],
) -> list[Finding]:
    """Hashes of one of several files that occur in more than one class; those of the same classes
    in one finding.
    """
    groups: dict[tuple[int, ...], list[_Shard]] = {}
    for shard in _shards(classes, held):
        if len(shard.classes) > 1:
            groups.setdefault(tuple(shard.classes), []).append(shard)
    return [
        _sharing(holdings, [node for c in several for node in classes[c]], shards)
        for several, shards in groups.items()
    ]


def _shards(classes: Sequence[Sequence[Node]], held: Mapping[Node, Formats]) -> list[_Shard]:
    """Every content of a file of weights, in the order in which it is first met."""
    shards: dict[str, _Shard] = {}
    for c, nodes in enumerate(classes):
        sets = [files for node in nodes for files in held[node].values()]
        for files in sets:
            for digest, name in files.items():
                shard = shards.setdefault(digest, _Shard(name, [], 0))
                shard.name = name
                shard.of = max(shard.of, len(files))
                if c not in shard.classes:
                    shard.classes.append(c)
    return list(shards.values())


def _sharing(
    holdings: Sequence[Holding], members: Sequence[Node], shards: Sequence[_Shard]
) -> Finding:
    nodes = _without_main(members, holdings)
    runs = _runs(holdings, nodes)
    known, reason = _known(holdings, nodes)
    return Finding(
        "shared shards" if len(runs) <= 1 else "shared shards across runs",
        runs,
        _names(holdings, nodes),
        tuple(sorted(shard.name for shard in shards)),
        f"{len(shards)} of {shards[0].of} files the same in {len(nodes)}",
        "shards of its own at each",
        known,
        reason,
    )


def _replaced(holding: Holding) -> list[Finding]:
    """Commits of `main` between which its weights changed; a file that was added later (another
    format) is no change.
    """
    main = {"main": holding.listed["main"]} if "main" in holding.listed else {}
    states = {commit: _weights(files) for commit, files in {**main, **holding.commits}.items()}
    for form in FORMATS:
        generations: dict[frozenset[str], list[str]] = {}
        for commit, formats in states.items():
            if weights := formats.get(form):
                generations.setdefault(frozenset(weights), []).append(commit)
        if len(generations) > 1:
            paths = {path for formats in states.values() for path in formats.get(form, {}).values()}
            return [_generations(holding, list(generations.values()), paths)]
    return []


def _generations(
    holding: Holding, generations: Sequence[Sequence[str]], paths: Iterable[str]
) -> Finding:
    """The weights that `main` has held one after another, each with the commits that hold it."""
    commits = [next((c for c in names if c != "main"), names[0]) for names in generations]
    pinned = str(holding.run.get("commit", ""))
    known = pinned != "" and any(commit.startswith(pinned) for commit in holding.commits)
    reason = f"pinned to commit {pinned[:12]}" if known else holding.reason("main")
    return Finding(
        "weights replaced",
        (holding.run.id,),
        tuple(commits),
        tuple(sorted(paths)),
        f"{len(generations)} generations under main",
        "one, or a pinned commit (field `commit`)",
        bool(reason),
        reason,
    )
