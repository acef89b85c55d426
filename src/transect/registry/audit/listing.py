"""What lies at the revisions of a repository: names, sizes and hashes of its files.

As JSON, the form that `transect registry audit --save` writes and `--listing` reads:
    {"<hub id>": {"<revision>": [{"path", "size", "oid", "lfs": {"oid", "size"}}, ...], ...}, ...}
or, for one repository, {"<revision>": [...]}. The entries are the hub's tree entries: oid is the
sha1 of the git blob, lfs.oid the sha256 of a large file's content. A revision of 40 hexadecimal
digits is a commit, an earlier state of `main`; newest first. Of our own are the "content" of a
config.json, the "error" that kept it from being read, and in place of a list of entries null for a
revision that is there and was not asked for, {"error": why} for one that could not be listed; the
same in place of a repository.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transect.errors import InputError
from transect.registry.run import Checkpoint, Run

COMMIT = re.compile(r"[0-9a-f]{40}")
SAFE = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
PICKLED = re.compile(r"(pytorch_model|model|consolidated).*\.(bin|pt|pth|ckpt|pkl)")
TOKENIZER = re.compile(
    r"(tokenizer|vocab|merges|added_tokens|special_tokens_map)[^/]*\.(json|txt)|[^/]*\.model"
)
CONFIGURATION = "config.json"


@dataclass(frozen=True)
class File:
    """One file. digest: sha256 of a large file's content, else the sha1 of its git blob. content:
    of config.json, where it was read.
    """

    path: str
    size: int
    digest: str
    content: Mapping[str, Any] | None = field(default=None, compare=False)
    error: str = ""


@dataclass(frozen=True)
class Repository:
    """revisions: those that were listed. unread: those that are there and were not: why ("" if
    nobody asked). error: why none was.
    """

    revisions: Mapping[str, tuple[File, ...]] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def existing(self) -> set[str]:
        return {*self.revisions, *self.unread}


def checkpoints(run: Run) -> list[Checkpoint]:
    """Every checkpoint that a run's rule names, excluded or not, in the order of training."""
    return [Checkpoint(run, run.rule.revision_of(step), step) for step in run.rule.steps]


def of_run(run: Run, repositories: Mapping[str, Repository], where: str) -> Repository | None:
    """What is held of a run: its repository, or, where its checkpoints lie in several, one put
    together of them under the rule's names.

    None where none of its repositories was read.
    """
    points = checkpoints(run)
    own = str(run.get("hub_id", run.id))
    in_own = all(p.hub_id == own and p.hub_revision == p.revision for p in points)
    any_read = any(p.hub_id in repositories for p in points)
    if not run.on_hub or in_own or not any_read:
        return repositories.get(own)
    revisions, unread = _under_own_names(points, repositories, where)
    for revision in _unnamed(points, repositories):
        unread.setdefault(revision, "")
    if own in repositories and "main" in repositories[own].revisions:
        revisions.setdefault("main", repositories[own].revisions["main"])
    return Repository(revisions, unread)


def _under_own_names(
    points: Sequence[Checkpoint], repositories: Mapping[str, Repository], where: str
) -> tuple[dict[str, tuple[File, ...]], dict[str, str]]:
    """Revision of the rule -> its files, from the repository of each; and why others were not read."""
    revisions, unread = {}, {}
    for point in points:
        absent = Repository(error=f"{point.hub_id} is not {where}")
        repository = repositories.get(point.hub_id, absent)
        if repository.error:
            unread[point.revision] = repository.error
        elif point.hub_revision in repository.revisions:
            revisions[point.revision] = repository.revisions[point.hub_revision]
        elif point.hub_revision in repository.unread:
            unread[point.revision] = repository.unread[point.hub_revision]
    return revisions, unread


def _unnamed(points: Sequence[Checkpoint], repositories: Mapping[str, Repository]) -> list[str]:
    """The revisions beyond the rule, of the repositories whose names are the rule's own."""
    named = {"main"} | {point.revision for point in points}
    revisions: dict[str, None] = {}
    for point in points:
        if point.hub_revision == point.revision and point.hub_id in repositories:
            beyond = repositories[point.hub_id].existing - named
            revisions |= dict.fromkeys(sorted(beyond))
    return list(revisions)


def parse(data: Any, place: str, hub_id: str | None = None) -> dict[str, Repository]:
    """Hub id -> repository, from the JSON form above. hub_id: whose revisions they are where the
    file does not say.

    Raises InputError that names the place in the file, what stands there and what is allowed.
    """
    if not isinstance(data, dict) or not data:
        raise InputError(
            f"{place}: a listing is a JSON object, hub id -> revision -> tree entries; this is {_quoted(data)}."
        )
    if not any(isinstance(value, list) for value in data.values()):
        return {name: _repository(value, f"{place}: {name}") for name, value in data.items()}
    if hub_id is None:
        raise InputError(
            f"{place}: this lists the revisions of one repository ({next(iter(data))!r}, ...) and does not say of which; "
            "name the run with --run."
        )
    return {hub_id: _repository(data, place)}


def to_json(repositories: Mapping[str, Repository]) -> dict[str, Any]:
    """The JSON form above."""
    return {name: _revisions(repository) for name, repository in repositories.items()}


def _revisions(repository: Repository) -> dict[str, Any]:
    if repository.error:
        return {"error": repository.error}
    revisions: dict[str, Any] = {
        revision: [_entry(file) for file in files]
        for revision, files in repository.revisions.items()
    }
    for revision, why in repository.unread.items():
        revisions[revision] = {"error": why} if why else None
    return revisions


def _repository(data: Any, place: str) -> Repository:
    if not isinstance(data, dict):
        raise InputError(f"{place}: expected revision -> tree entries, not {_quoted(data)}.")
    if isinstance(data.get("error"), str):
        return Repository(error=data["error"])
    revisions, unread = {}, {}
    for revision, entries in data.items():
        where = f"{place}: revision {revision!r}"
        if entries is None:
            unread[revision] = ""
        elif isinstance(entries, dict) and isinstance(entries.get("error"), str):
            unread[revision] = entries["error"]
        elif isinstance(entries, list):
            revisions[revision] = _files(entries, where)
        else:
            raise InputError(f"{where}: expected a list of tree entries, not {_quoted(entries)}.")
    return Repository(revisions, unread)


def _files(entries: Sequence[Any], place: str) -> tuple[File, ...]:
    """The tree entries that are files."""
    files = [_file(entry, f"{place}, entry {i}") for i, entry in enumerate(entries, 1)]
    return tuple(file for file in files if file is not None)


def _file(entry: Any, place: str) -> File | None:
    """One tree entry; None for a folder."""
    if not isinstance(entry, dict):
        raise InputError(
            f"{place}: expected an object with path, size and oid, not {_quoted(entry)}."
        )
    if entry.get("type") == "directory":
        return None
    large = entry.get("lfs") or {}
    if not isinstance(large, dict):
        raise InputError(
            f"{place}: lfs is {_quoted(large)}; it must be an object with oid and size."
        )
    digest = large.get("oid", entry.get("oid"))
    _check_types(entry | {"oid": digest}, place)
    content = entry.get("content")
    if content is not None and not isinstance(content, dict):
        raise InputError(
            f"{place}: content is {_quoted(content)}; it must be the object of the configuration."
        )
    return File(entry["path"], entry["size"], str(digest), content, str(entry.get("error", "")))


def _check_types(entry: Mapping[str, Any], place: str) -> None:
    for name, kind, wanted in (
        ("path", str, "text"),
        ("size", int, "a whole number"),
        ("oid", str, "text"),
    ):
        value = entry.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{place}: {name} is {_quoted(value)}; it must be {wanted}.")


def _quoted(value: Any) -> str:
    """A value of the file for a sentence, cut after 60 characters."""
    text = "absent" if value is None else repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _entry(file: File) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": file.path, "size": file.size, "oid": file.digest}
    if len(file.digest) == 64:  # sha256: of a large file
        entry["lfs"] = {"oid": file.digest, "size": file.size}
    if file.content is not None:
        entry["content"] = dict(file.content)
    return entry | ({"error": file.error} if file.error else {})
