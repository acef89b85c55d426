"""Do two checkpoints hold the same weights? By the hashes of their files: sha256 of the whole
content, so that equal means the same bytes.

Two checkpoints are twins when all their files of one format (safetensors, or pickles) have the same
hashes; a *class* is a set of twins. Shards are shared when a hash occurs in more than one class. A
format of which a checkpoint has none says nothing about it. `main` beside the last checkpoint is no
twin: it is the same point by another name.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from transect.registry.audit.finding import Finding, Holding
from transect.registry.audit.listing import PICKLED, SAFE, File

FORMATS = {"safetensors": SAFE, "pickle": PICKLED}
Node = tuple[int, str]  # place of the holding, revision


def findings(holdings: Sequence[Holding]) -> list[Finding]:
    """Identical weights, shared shards, and weights that were replaced under one name."""
    held = {
        (i, revision): _weights(files)
        for i, holding in enumerate(holdings)
        for revision, files in holding.with_main.items()
    }
    classes = _classes(held)
    twins = [nodes for cls in classes if len(nodes := _without_main(cls, holdings)) > 1]
    found = [_twins(holdings, nodes, held) for nodes in twins]
    return [
        *_joined(found),
        *_shared(holdings, classes, held),
        *(f for h in holdings if "main" in h.rule for f in _replaced(h)),
    ]


def _weights(files: Iterable[File]) -> dict[str, dict[str, str]]:
    """Format -> hash -> name, of the files of weights."""
    found: dict[str, dict[str, str]] = {}
    for file in files:
        for name, form in FORMATS.items():
            if form.fullmatch(file.path):
                found.setdefault(name, {})[file.digest] = file.path
    return found


def _classes(held: Mapping[Node, Mapping[str, Mapping[str, str]]]) -> list[list[Node]]:
    """The checkpoints that have weights, in sets of twins, each in the order given."""
    first: dict[tuple[str, frozenset[str]], Node] = {}
    of: dict[Node, Node] = {}  # a checkpoint -> an earlier twin, or itself

    def root(node: Node) -> Node:
        while of[node] != node:
            node = of[node]
        return node

    for node, formats in held.items():
        of[node] = node
        for form, files in formats.items():
            of[root(node)] = root(first.setdefault((form, frozenset(files)), node))
    classes: dict[Node, list[Node]] = {}
    for node, formats in held.items():
        if formats:
            classes.setdefault(root(node), []).append(node)
    return list(classes.values())


def _without_main(nodes: Sequence[Node], holdings: Sequence[Holding]) -> list[Node]:
    """The twins of a class without the `main` of a run whose last checkpoint is among them."""
    return [
        (i, r)
        for i, r in nodes
        if r != "main" or r in holdings[i].rule or (i, list(holdings[i].rule)[-1]) not in nodes
    ]


def _twins(
    holdings: Sequence[Holding], nodes: Sequence[Node], held: dict[Node, dict[str, dict[str, str]]]
) -> Finding:
    runs = tuple(dict.fromkeys(holdings[i].run.id for i, _ in nodes))
    of_each = [
        {d: name for files in held[node].values() for d, name in files.items()} for node in nodes
    ]
    common = set.intersection(*(set(names) for names in of_each)) or set(
        of_each[0]
    )  # twins of twins by two formats
    files = tuple(sorted(of_each[0][digest] for digest in common & set(of_each[0])))
    kind = "identical weights" if len(runs) == 1 else "identical weights across runs"
    known, reason = _known(holdings, nodes)
    return Finding(
        kind,
        runs,
        _names(holdings, nodes),
        files,
        f"{len(nodes)} with the same bytes",
        "weights of its own at each",
        known,
        reason,
    )


def _known(holdings: Sequence[Holding], nodes: Sequence[Node]) -> tuple[bool, str]:
    """Whether at most one of the twins is still taken for a checkpoint; and the reasons, or what is
    not excluded yet.
    """
    points = [(i, r) for i, r in nodes if r in holdings[i].rule]
    reasons = {node: holdings[node[0]].reason(node[1]) for node in points}
    left = [node for node in points if not reasons[node]]
    told = "; ".join(dict.fromkeys(reason for reason in reasons.values() if reason))
    seeds = {holdings[i].run.get("init_seed") for i, _ in left}
    at_start = all(holdings[i].rule[r] == 0 for i, r in left) and len({i for i, _ in left}) == len(
        left
    )
    if at_start and len(left) > 1 and len(seeds) == 1 and None not in seeds:
        return True, "; ".join(
            [f"the same initialisation (init_seed {seeds.pop()})", *([told] if told else [])]
        )
    # a `main` among the twins is not at the last step: then the one that is left is wrong, too
    if len(left) <= 1 and not any(
        (i, "main") in nodes and "main" not in holdings[i].rule for i, _ in left
    ):
        return True, told
    return (
        False,
        f"not excluded: {', '.join(_names(holdings, left))}; known: {told}" if told else "",
    )


def _names(holdings: Sequence[Holding], nodes: Sequence[Node]) -> tuple[str, ...]:
    """Revisions; of several runs each with its run."""
    several = len({i for i, _ in nodes}) > 1
    return tuple(f"{holdings[i].run.id}@{r}" if several else r for i, r in nodes)


def _joined(found: Sequence[Finding]) -> list[Finding]:
    """The twins across the same runs in one finding: two repositories with equal content would give
    one for each step.
    """
    groups: dict[Hashable, list[Finding]] = {}
    for finding in found:
        key = (finding.runs, finding.known, finding.reason) if len(finding.runs) > 1 else finding
        groups.setdefault(key, []).append(finding)
    return [
        group[0]
        if len(group) == 1
        else replace(
            group[0],
            revisions=tuple(r for f in group for r in f.revisions),
            found=f"{len(group)} sets of twins",
        )
        for group in groups.values()
    ]


def _shared(
    holdings: Sequence[Holding],
    classes: Sequence[Sequence[Node]],
    held: dict[Node, dict[str, dict[str, str]]],
) -> list[Finding]:
    """Hashes of one of several files that occur in more than one class; those of the same classes
    in one finding.
    """
    places: dict[str, list[int]] = {}
    names: dict[str, str] = {}
    most: dict[str, int] = {}
    for c, nodes in enumerate(classes):
        for files in {id(f): f for node in nodes for f in held[node].values()}.values():
            for digest, name in files.items():
                if c not in places.setdefault(digest, []):
                    places[digest].append(c)
                names[digest], most[digest] = name, max(most.get(digest, 0), len(files))
    groups: dict[tuple[int, ...], list[str]] = {}
    for digest, at in places.items():
        if len(at) > 1:
            groups.setdefault(tuple(at), []).append(digest)
    found = []
    for several, digests in groups.items():
        nodes = _without_main([node for c in several for node in classes[c]], holdings)
        runs = tuple(dict.fromkeys(holdings[i].run.id for i, _ in nodes))
        known, reason = _known(holdings, nodes)
        shards = tuple(sorted(names[digest] for digest in digests))
        told = f"{len(digests)} of {most[digests[0]]} files the same in {len(nodes)}"
        found.append(
            Finding(
                "shared shards" + " across runs" * (len(runs) > 1),
                runs,
                _names(holdings, nodes),
                shards,
                told,
                "shards of its own at each",
                known,
                reason,
            )
        )
    return found


def _replaced(holding: Holding) -> list[Finding]:
    """Commits of `main` between which its weights changed; a file that was added later (another
    format) is no change.
    """
    states = {
        **({"main": holding.listed["main"]} if "main" in holding.listed else {}),
        **holding.commits,
    }
    found = []
    for name in FORMATS:
        generations: dict[frozenset[str], list[str]] = {}
        for commit, files in states.items():
            if weights := _weights(files).get(name):
                generations.setdefault(frozenset(weights), []).append(commit)
        if len(generations) < 2:
            continue
        commits = tuple(
            next((c for c in names if c != "main"), names[0]) for names in generations.values()
        )
        paths = tuple(
            sorted({f for state in states.values() for f in _weights(state).get(name, {}).values()})
        )
        pinned = str(holding.run.get("commit", ""))
        known = pinned != "" and any(c.startswith(pinned) for c in holding.commits)
        told = f"{len(generations)} generations under main"
        reason = f"pinned to commit {pinned[:12]}" if known else holding.reason("main")
        found.append(
            Finding(
                "weights replaced",
                (holding.run.id,),
                commits,
                paths,
                told,
                "one, or a pinned commit (field `commit`)",
                bool(reason),
                reason,
            )
        )
    return found[:1]
