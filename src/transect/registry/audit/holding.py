"""From the runs of a suite to what is held of them: on the hub, in a saved listing, in folders on
this machine.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    where = (
        f"in {source}" if source else "on the hub" if any(run.on_hub for run in runs) else "here"
    )
    if source is not None and source.is_dir():
        held = disk_listing.read_folder(source, runs)
        repositories = {
            str(run.get("hub_id", run.id)): held[run.id] for run in runs if run.id in held
        }
    else:
        repositories = (
            _saved(source, suite, runs) if source else _on_hub(runs) | _here(project, runs)
        )
        found = {run.id: of_run(run, repositories, where) for run in runs}
        held = {run: repository for run, repository in found.items() if repository is not None}
    if save:
        write_text(save, json.dumps(to_json(repositories), indent=1) + "\n")
    says = configured(held.values(), facts_of)
    named = _named(loaded, runs)
    holdings = []
    for run in runs:
        if run.id in held:
            of_others = [
                names
                for p in checkpoints(run)[:1]
                for other, names in named.get(p.hub_id, {}).items()
                if other != run.id
            ]
            holdings.append(
                Holding(
                    run, held[run.id], where, frozenset[str]().union(*of_others), says, suite.notes
                )
            )
    return holdings, where


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
    # a listing that does not say whose revisions it has is of the run asked for: of the repository
    # of most of its checkpoints
    usual = (
        Counter(p.hub_id for p in checkpoints(runs[0])).most_common(1)[0][0]
        if runs[0].on_hub
        else runs[0].id
    )
    repositories = parse(data, str(source), usual if len(runs) == 1 else None)
    known = {p.hub_id for run in runs if run.on_hub for p in checkpoints(run)} | {
        run.id for run in runs if not run.on_hub
    }
    if not set(repositories) & known:
        other = next(iter(repositories))
        raise InputError(
            f"{source}: this lists {listed(sorted(repositories), 4)}; of {suite.name} there is none.{nearest(other, known)}"
        )
    return repositories


def _on_hub(runs: Sequence[Run]) -> dict[str, Repository]:
    wanted: dict[str, set[str]] = {}
    for run in runs:
        for point in checkpoints(run) if run.on_hub else ():
            wanted.setdefault(point.hub_id, set()).add(point.hub_revision)
            wanted.setdefault(str(run.get("hub_id")), set()).add("main")
    if not wanted:
        return {}
    from transect.registry.audit.hub_listing import read_hub

    alone = {
        str(run.get("hub_id"))
        for run in runs
        if run.on_hub and [p.revision for p in checkpoints(run)] == ["main"]
    }
    return read_hub(wanted, alone)


def _here(project: Project, runs: Sequence[Run]) -> dict[str, Repository]:
    """Run id -> its weights in folders of this project: trained here, or entered with a path."""
    found = {}
    for run in runs:
        if run.on_hub or not run.loadable or run.get("mixer") == "ngram":  # counts are no weights
            continue
        path = Path(run.get("path", "")).expanduser()
        folder = weights_folder(run, project) if run.trained_here else project.root / path
        places = (
            disk_listing.below(folder, [p.revision for p in checkpoints(run)])
            if folder.is_dir()
            else {}
        )
        found[run.id] = (
            disk_listing.read_places(places)
            if places
            else Repository(error=f"no weights in {folder}")
        )
    return found


def _named(loaded: Registry, runs: Sequence[Run]) -> dict[str, dict[str, set[str]]]:
    """Hub id -> run -> the revisions that its rule names there, for the repositories of these runs."""
    wanted = {p.hub_id for run in runs if run.on_hub for p in checkpoints(run)[:1]}
    found: dict[str, dict[str, set[str]]] = {}
    for run in loaded.runs.values():
        if run.on_hub and {str(run.get("hub_id")), checkpoints(run)[0].hub_id} & wanted:
            for point in checkpoints(run):
                found.setdefault(point.hub_id, {}).setdefault(run.id, set()).add(point.hub_revision)
    return found


def configured(repositories: Iterable[Repository], facts_of: Read) -> dict[str, dict[str, object]]:
    """Digest of a config.json -> what it says, in the registry's fields."""
    files = {
        file.digest: file.content
        for repository in repositories
        for held in repository.revisions.values()
        for file in held
        if file.path == CONFIGURATION and file.content
    }
    return {digest: facts_of(content) for digest, content in files.items()}
