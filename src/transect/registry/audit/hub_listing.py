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
    with ThreadPoolExecutor(THREADS) as pool:
        told = pool.map(lambda hub_id: _names(hub_id, wanted[hub_id], hub_id in history), wanted)
        names = dict(zip(wanted, told, strict=True))
        refused = [answer for answer in names.values() if isinstance(answer, Exception)]
        if refused and len(refused) == len(names):
            raise refused[0]
        asked = [
            (hub_id, revision)
            for hub_id, found in names.items()
            if not isinstance(found, Exception)
            for revision in found
            if _is_wanted(revision, wanted[hub_id])
        ]
        trees = dict(zip(asked, pool.map(_tree, asked), strict=True))
        read = dict(pool.map(_content, _configurations(trees).items()))
    repositories = {}
    for hub_id, found in names.items():
        if isinstance(found, Exception):
            repositories[hub_id] = Repository(error=str(found))
            continue
        mine = {revision: trees.get((hub_id, revision)) for revision in found}
        unread = {r: str(tree or "") for r, tree in mine.items() if not isinstance(tree, tuple)}
        listed = {
            r: tuple(_filled(f, read.get((hub_id, f.digest))) for f in tree)
            for r, tree in mine.items()
            if isinstance(tree, tuple)
        }
        repositories[hub_id] = Repository(listed, unread)
    return repositories


def _is_wanted(revision: str, wanted: set[str]) -> bool:
    return revision in wanted or revision == "main" or COMMIT.fullmatch(revision) is not None


def _names(hub_id: str, wanted: set[str], history: bool) -> list[str] | LoadError | ResourceError:
    """Branches and tags of a repository, what is wanted by commit or proposal, and its newest
    commits where `history` is asked for.
    """
    from huggingface_hub import HfApi

    api = HfApi(**access.access())

    def ask() -> list[str]:
        refs = api.list_repo_refs(hub_id)
        names = [ref.name for ref in [*refs.branches, *refs.tags]]
        names += [
            r
            for r in sorted(wanted)
            if r not in names and (COMMIT.fullmatch(r) or r.startswith("refs/"))
        ]
        if history:
            names += [commit.commit_id for commit in api.list_repo_commits(hub_id)[:COMMITS]]
        return list(dict.fromkeys(names))

    return _asked(ask, hub_id, "main")


def _tree(at: tuple[str, str]) -> tuple[File, ...] | LoadError | ResourceError:
    """The files of the top folder of a revision."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    hub_id, revision = at

    def ask() -> tuple[File, ...]:
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
        at = access.access()
        url = hf_hub_url(hub_id, CONFIGURATION, revision=revision, endpoint=at["endpoint"])
        response = http_backoff(
            "GET", url, headers=build_hf_headers(token=at["token"]), follow_redirects=True
        )
        hf_raise_for_status(response)
        return json.loads(response.content)

    return (hub_id, digest), _asked(ask, hub_id, revision)


def _filled(file: File, content: Any) -> File:
    if file.path != CONFIGURATION or content is None:
        return file
    if isinstance(content, Exception):
        return replace(file, error=str(content))
    return (
        replace(file, content=content)
        if isinstance(content, dict)
        else replace(file, error="it is no JSON object")
    )


def _asked(ask: Callable[[], T], hub_id: str, revision: str) -> T | LoadError | ResourceError:
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
