"""From the runs of a suite to what is held of them: on the hub, in a saved listing, in folders on
this machine.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from transect.errors import InputError, nearest
from transect.registry.audit import Holding, disk_listing, listed
from transect.registry.audit.listing import (
    CONFIGURATION,
    Repository,
    checkpoints,
    of_run,
    parse,
    to_json,
)
from transect.registry.recipe import weights_folder
from transect.registry.run import Run, Suite
from transect.registry.suites import Registry
from transect.store.files.whole_files import write_text
from transect.store.project import Project

# what a config.json says -> field of the registry -> value
Read = Callable[[Mapping[str, Any]], dict[str, object]]


def read(
    project: Project,
    loaded: Registry,
    suite: Suite,
    runs: Sequence[Run],
    source: Path | None,
    save: Path | None,
    facts_of: Read,
) -> tuple[list[Holding], str]:
    """What is held of each run, in their order, without those of which nothing is; and where that
    is, in words.

    source: a saved listing or a folder; without it the hub, and folders of this project. save: file
    for what was listed. facts_of: reads a configuration.
    """
    where = _where(source, runs)
    if source is not None and source.is_dir():
        held = disk_listing.read_folder(source, runs)
        repositories = {str(r.get("hub_id", r.id)): held[r.id] for r in runs if r.id in held}
    else:
        if source is not None:
            repositories = _saved(source, suite, runs)
        else:
            repositories = _on_hub(runs) | _here(project, runs)
        held = _by_run(repositories, runs, where)
    if save:
        write_text(save, json.dumps(to_json(repositories), indent=1) + "\n")
    facts = configured(held.values(), facts_of)
    named = _named(loaded, runs)
    return [
        Holding(run, held[run.id], where, _of_others(run, named), facts, suite.notes)
        for run in runs
        if run.id in held
    ], where


def _where(source: Path | None, runs: Sequence[Run]) -> str:
    """Where it is looked for what is held, in words."""
    if source:
        return f"in {source}"
    return "on the hub" if any(run.on_hub for run in runs) else "here"


def _by_run(
    repositories: Mapping[str, Repository], runs: Sequence[Run], where: str
) -> dict[str, Repository]:
    """Run id -> what the repositories hold of it; without runs of which they hold nothing."""
    held = ((run.id, of_run(run, repositories, where)) for run in runs)
    return {run: repository for run, repository in held if repository is not None}


def _of_others(run: Run, named: Mapping[str, Mapping[str, set[str]]]) -> frozenset[str]:
    """The revisions of the run's repository that the rules of other runs name."""
    points = checkpoints(run)
    by_run = named.get(points[0].hub_id, {}) if points else {}
    return frozenset[str]().union(*(names for other, names in by_run.items() if other != run.id))


def _saved(source: Path, suite: Suite, runs: Sequence[Run]) -> dict[str, Repository]:
    """Repositories from a saved listing."""
    try:
        data = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"--listing {source}: there is no such file or folder.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--listing {source}: this cannot be read ({error}).") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{source}, line {error.lineno}: this is not valid JSON ({error.msg})."
        ) from None
    # a listing that does not say whose revisions it has is of the run asked for
    repositories = parse(data, str(source), _main_repository(runs[0]) if len(runs) == 1 else None)
    known = set[str]().union(*map(_repositories_of, runs))
    if not set(repositories) & known:
        other = next(iter(repositories))
        raise InputError(
            f"{source}: this lists {listed(sorted(repositories), 4)}; of {suite.name} there is none.{nearest(other, known)}"
        )
    return repositories


def _repositories_of(run: Run) -> set[str]:
    """The names under which a listing may have the run: hub ids, or its own where it is on none."""
    return {point.hub_id for point in checkpoints(run)} if run.on_hub else {run.id}


def _main_repository(run: Run) -> str:
    """The repository of most of its checkpoints."""
    if not run.on_hub:
        return run.id
    return Counter(point.hub_id for point in checkpoints(run)).most_common(1)[0][0]


def _on_hub(runs: Sequence[Run]) -> dict[str, Repository]:
    """Hub id -> what lies there of the runs that are on the hub."""
    on_hub = [run for run in runs if run.on_hub]
    if not on_hub:
        return {}
    wanted: dict[str, set[str]] = {}
    main_alone: set[str] = set()
    for run in on_hub:
        own, points = str(run.get("hub_id")), checkpoints(run)
        for point in points:
            wanted.setdefault(point.hub_id, set()).add(point.hub_revision)
            wanted.setdefault(own, set()).add("main")
        if [point.revision for point in points] == ["main"]:
            main_alone.add(own)
    from transect.registry.audit.hub_listing import read_hub

    return read_hub(wanted, main_alone)


def _here(project: Project, runs: Sequence[Run]) -> dict[str, Repository]:
    """Run id -> its weights in folders of this project: trained here, or entered with a path."""
    repositories = {}
    for run in runs:
        if run.on_hub or not run.loadable or run.get("mixer") == "ngram":  # counts are no weights
            continue
        path = Path(run.get("path", "")).expanduser()
        folder = weights_folder(run, project) if run.trained_here else project.root / path
        repositories[run.id] = _in_folder(folder, run)
    return repositories


def _in_folder(folder: Path, run: Run) -> Repository:
    """What a folder holds of a run; an error where that is nothing."""
    if folder.is_dir():
        revisions = [point.revision for point in checkpoints(run)]
        if places := disk_listing.below(folder, revisions):
            return disk_listing.read_places(places)
    return Repository(error=f"no weights in {folder}")


def _named(loaded: Registry, runs: Sequence[Run]) -> dict[str, dict[str, set[str]]]:
    """Hub id -> run -> the revisions that its rule names there, for the repositories of these runs."""
    wanted = {point.hub_id for run in runs if run.on_hub for point in checkpoints(run)[:1]}
    named: dict[str, dict[str, set[str]]] = {}
    for run in loaded.runs.values():
        if not run.on_hub:
            continue
        points = checkpoints(run)
        if {str(run.get("hub_id")), points[0].hub_id} & wanted:
            for point in points:
                revisions = named.setdefault(point.hub_id, {}).setdefault(run.id, set())
                revisions.add(point.hub_revision)
    return named


def configured(repositories: Iterable[Repository], facts_of: Read) -> dict[str, dict[str, object]]:
    """Digest of a config.json -> what it says, in the registry's fields."""
    contents = {}
    for repository in repositories:
        for file in chain.from_iterable(repository.revisions.values()):
            if file.path == CONFIGURATION and file.content:
                contents[file.digest] = file.content
    return {digest: facts_of(content) for digest, content in contents.items()}
