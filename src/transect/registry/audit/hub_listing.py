"""What the hub says lies at each revision: branches and tags, trees of files, and config.json; no
weights are downloaded, nothing is cached.

One request for the branches of a repository, one for the tree of each revision, one for each
distinct config.json; THREADS at a time. Of a run that is published as `main` alone, the trees of
its COMMITS newest commits too: weights may have been replaced. Source: huggingface_hub's
documentation of list_repo_refs, list_repo_tree and list_repo_commits.
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from transect.errors import LoadError, ResourceError
from transect.registry.audit.listing import COMMIT, CONFIGURATION, File, Repository
from transect.store.hub import access, snapshots

THREADS = 16
COMMITS = 20
T = TypeVar("T")


Refusal = LoadError | ResourceError
Place = tuple[str, str]  # hub id, revision
Tree = tuple[File, ...]


def read_hub(wanted: Mapping[str, set[str]], history: set[str]) -> dict[str, Repository]:
    """Hub id -> what lies at the wanted revisions of it and at `main`; the names of all others.
    history: of which commits are read.

    What could not be listed stands in the answer; raises its LoadError or ResourceError only where
    that is everything.
    """
    if snapshots.offline():
        raise ResourceError(
            "HF_HUB_OFFLINE is set, so the hub cannot be asked; a saved listing is read with --listing FILE."
        )

    def names_of(hub_id: str) -> list[str] | Refusal:
        return _names(hub_id, wanted[hub_id], hub_id in history)

    with ThreadPoolExecutor(THREADS) as pool:
        names = dict(zip(wanted, pool.map(names_of, wanted), strict=True))
        refusals = [answer for answer in names.values() if isinstance(answer, Exception)]
        if refusals and len(refusals) == len(names):
            raise refusals[0]
        places = _places(names, wanted)
        trees = dict(zip(places, pool.map(_tree, places), strict=True))
        contents = dict(pool.map(_content, _configurations(trees).items()))
    return {
        hub_id: _repository(hub_id, revisions, trees, contents)
        for hub_id, revisions in names.items()
    }


def _places(
    names: Mapping[str, list[str] | Refusal], wanted: Mapping[str, set[str]]
) -> list[Place]:
    """The revisions whose trees are to be read."""
    return [
        (hub_id, revision)
        for hub_id, revisions in names.items()
        if not isinstance(revisions, Exception)
        for revision in revisions
        if _is_wanted(revision, wanted[hub_id])
    ]


def _repository(
    hub_id: str,
    revisions: list[str] | Refusal,
    trees: Mapping[Place, Tree | Refusal],
    contents: Mapping[tuple[str, str], Any],
) -> Repository:
    """What was read of a repository: files of the revisions, with what their config.json says, and
    the revisions of which nothing was.
    """
    if isinstance(revisions, Exception):
        return Repository(error=str(revisions))
    listed: dict[str, Tree] = {}
    unread: dict[str, str] = {}
    for revision in revisions:
        tree = trees.get((hub_id, revision))
        if isinstance(tree, tuple):
            listed[revision] = tuple(_filled(f, contents.get((hub_id, f.digest))) for f in tree)
        else:
            unread[revision] = str(tree or "")
    return Repository(listed, unread)


def _is_wanted(revision: str, wanted: set[str]) -> bool:
    return revision in wanted or revision == "main" or COMMIT.fullmatch(revision) is not None


def _names(hub_id: str, wanted: set[str], history: bool) -> list[str] | Refusal:
    """Branches and tags of a repository, what is wanted by commit or proposal, and its newest
    commits where `history` is asked for.
    """
    from huggingface_hub import HfApi

    api = HfApi(**access.access())

    def ask() -> list[str]:
        refs = api.list_repo_refs(hub_id)
        names = [ref.name for ref in [*refs.branches, *refs.tags]]
        names += [r for r in sorted(wanted) if COMMIT.fullmatch(r) or r.startswith("refs/")]
        if history:
            names += [commit.commit_id for commit in api.list_repo_commits(hub_id)[:COMMITS]]
        return list(dict.fromkeys(names))

    return _asked(ask, hub_id, "main")


def _tree(place: Place) -> Tree | Refusal:
    """The files of the top folder of a revision."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    hub_id, revision = place

    def ask() -> Tree:
        entries = HfApi(**access.access()).list_repo_tree(hub_id, revision=revision)
        return tuple(
            File(e.path, e.size, e.lfs.sha256 if e.lfs else e.blob_id)
            for e in entries
            if isinstance(e, RepoFile)
        )

    return _asked(ask, hub_id, revision)


def _configurations(trees: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], str]:
    """(Hub id, hash of a config.json) -> a revision that holds it."""
    return {
        (hub_id, file.digest): revision
        for (hub_id, revision), files in trees.items()
        if isinstance(files, tuple)
        for file in files
        if file.path == CONFIGURATION
    }


def _content(item: tuple[tuple[str, str], str]) -> tuple[tuple[str, str], Any]:
    """What a config.json says. It goes past the cache, where a revision would come to mean the
    commit of today.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    (hub_id, digest), revision = item

    def ask() -> Any:
        options = access.access()
        url = hf_hub_url(hub_id, CONFIGURATION, revision=revision, endpoint=options["endpoint"])
        headers = build_hf_headers(token=options["token"])
        response = http_backoff("GET", url, headers=headers, follow_redirects=True)
        hf_raise_for_status(response)
        return json.loads(response.content)

    return (hub_id, digest), _asked(ask, hub_id, revision)


def _filled(file: File, content: Any) -> File:
    """A config.json with what it says, or why that is not known; other files as they are."""
    if file.path != CONFIGURATION or content is None:
        return file
    if isinstance(content, Exception):
        return replace(file, error=str(content))
    if not isinstance(content, dict):
        return replace(file, error="it is no JSON object")
    return replace(file, content=content)


def _asked(ask: Callable[[], T], hub_id: str, revision: str) -> T | Refusal:
    """The answer, or in one sentence why there is none."""
    try:
        return ask()
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        return LoadError(f"{hub_id} at revision {revision!r}: config.json is no JSON ({error}).")
    except Exception as error:
        if sentence := snapshots.refusal(error, hub_id, revision):
            return sentence
        return ResourceError(
            f"The hub could not be asked about {hub_id} ({access.told(error)}); a saved listing is read with --listing FILE."
        )
