"""From a hub id and a revision to a local directory: what a model needs and nothing else,
safetensors only.

The directory is a snapshot of the Hugging Face cache (HF_HUB_CACHE, else HF_HOME/hub):
    models--<organisation>--<name>/refs/<revision>            the commit, as text
                                  /snapshots/<commit>/<file>  a link into blobs/
A revision that is in the cache with weights and tokenizer is used as it stands and the network is
not asked, so that a branch keeps the commit it was first loaded at. HF_HUB_OFFLINE=1 forbids the
network altogether. Where `main` holds pickles only, the conversion that the hub's own converter has
proposed is taken, as transformers does, with its commit.

Raises LoadError for what will not change by waiting (gated, missing, pickle only) and ResourceError
for what may (network, hub, disk); each is one sentence. Source: huggingface_hub's documentation of
the cache and of its errors.
"""

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

from transect.errors import LoadError, ResourceError, nearest
from transect.store import names
from transect.store.hub import addresses
from transect.store.hub.access import access, told
from transect.store.model_files import folder

# The top folder only: repositories also carry onnx/, original/ and fp16 copies of the same weights.
FILES = [
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",  # sentencepiece
]
CODE = ["*.py"]  # only where the caller may run it
NOT_FILES = ["*/*"]
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
COMMIT = re.compile(r"[0-9a-f]{40}")
# the hub's account that proposes safetensors of pickled weights; anyone else may propose anything
CONVERTER = "SFconvertbot"


def resolve(
    hub_id: str, revision: str = "main", cache: Path | None = None, *, code: bool = False
) -> Path:
    """The directory of `hub_id` at `revision` (branch, tag or commit), downloaded unless it is in
    the cache.

    The directory's name is the commit. code: with the Python files that its configuration names.
    Raises LoadError or ResourceError, see above.
    """
    check_names(hub_id, revision)
    cache = cache or cache_folder()
    cached = _from_cache(hub_id, revision, cache)
    if cached and not (code and _lacks_code(cached)):
        return cached
    if offline():
        near = _nearest_revision(revision, _cached_revisions(hub_id, cache))
        raise ResourceError(
            f"{hub_id} at revision {revision!r} is not (wholly) in the hub cache {cache}, and HF_HUB_OFFLINE is set, "
            f"so it cannot be downloaded.{near}"
        )
    path = _download(hub_id, revision, cache, code)
    if not _has_weights(path) and revision == "main" and (conversion := _conversion(hub_id)):
        path = _download(hub_id, conversion, cache, code)
    if not _has_weights(path):
        raise LoadError(_no_safetensors(hub_id, revision, path))
    return path


def commit_of(hub_id: str, revision: str, cache: Path | None = None) -> str | None:
    """The commit that the cache holds for a revision; None when it was never loaded here. Asks no
    network.
    """
    check_names(hub_id, revision)
    if COMMIT.fullmatch(revision):
        return revision
    try:
        return (
            _repository(hub_id, cache or cache_folder()) / "refs" / revision
        ).read_text().strip() or None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def release(path: Path) -> int:
    """Delete the weights of a snapshot that were measured (configuration and tokenizer stay); bytes
    set free.

    Weights that another revision shares are kept. Raises LoadError for a directory outside a hub
    cache.
    """
    if path.parent.name != "snapshots" or not path.parent.parent.name.startswith("models--"):
        raise LoadError(
            f"{path} is no snapshot of a hub cache, so its weights are not ours to delete."
        )
    others = [link for link in path.parent.glob("*/*.safetensors") if link.parent != path]
    shared = {link.resolve() for link in others}
    freed = 0
    for link in path.glob("*.safetensors"):
        blob = link.resolve()
        link.unlink()
        if blob != link and blob not in shared and blob.exists():
            freed += blob.stat().st_size
            blob.unlink()
    return freed


def cache_folder() -> Path:
    """Where the hub cache lies. Read when asked, not at import as huggingface_hub does: a project
    may set it later.
    """
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface"
    )
    cache = (
        os.environ.get("HF_HUB_CACHE")
        or os.environ.get("HUGGINGFACE_HUB_CACHE")
        or os.path.join(home, "hub")
    )
    return Path(os.path.expandvars(cache)).expanduser()


def _from_cache(hub_id: str, revision: str, cache: Path) -> Path | None:
    """The snapshot, if the files that were to be downloaded are all there; of `main` also its
    conversion.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    conversions = [name for name in _cached_revisions(hub_id, cache) if name.startswith("refs/pr/")]
    for name in [revision, *(sorted(conversions) if revision == "main" else [])]:
        try:
            place = snapshot_download(
                hub_id,
                revision=name,
                cache_dir=cache,
                local_files_only=True,
                allow_patterns=FILES,
                ignore_patterns=NOT_FILES,
            )
        except LocalEntryNotFoundError:  # never downloaded, or interrupted
            return None
        path = Path(place)
        if (path / "config.json").exists() and _has_weights(path) and _has_tokenizer(path):
            return path
    return None


def _download(hub_id: str, revision: str, cache: Path, code: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        path = snapshot_download(
            hub_id,
            revision=revision,
            cache_dir=cache,
            **access(),
            allow_patterns=FILES + CODE * code,
            ignore_patterns=NOT_FILES,
        )
        return Path(path)
    except Exception as error:
        sentence = refusal(error, hub_id, revision) or _trouble(error, hub_id, revision, cache)
        if sentence is None:
            raise
        raise sentence from None  # the hub's own words may hold the token


def refusal(error: Exception, hub_id: str, revision: str) -> LoadError | ResourceError | None:
    """What the hub has against a request, in one sentence; None for an error that is no answer of
    the hub.
    """
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):
        terms = f"https://huggingface.co/{hub_id}"
        return LoadError(
            f"{hub_id} is gated: accept its terms at {terms}, then log in with `hf auth login`."
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        private = "or it is private and you are not logged in (`hf auth login`)"
        return LoadError(f"The hub has no model repository {hub_id!r}, {private}.")
    if isinstance(error, hub.RevisionNotFoundError):
        near = _nearest_revision(revision, _hub_revisions(hub_id))
        return LoadError(f"{hub_id} has no revision {revision!r} on the hub.{near}")
    if isinstance(error, hub.DisabledRepoError):
        return LoadError(f"The hub has disabled the repository {hub_id}.")
    if not isinstance(error, hub.HfHubHTTPError):
        return None
    status = error.response.status_code
    if status in (401, 403):
        return LoadError(
            f"The hub refused {hub_id} (HTTP {status}): check your login with `hf auth whoami`."
        )
    return ResourceError(f"The hub answered HTTP {status} for {hub_id} at revision {revision!r}.")


def _trouble(error: Exception, hub_id: str, revision: str, cache: Path) -> ResourceError | None:
    """Disk or network trouble in one sentence; None for an error of another kind, which must not be
    retried.
    """
    from huggingface_hub import errors

    what = f"{hub_id} at revision {revision!r}"
    reason = told(error)
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT) or "no space left" in reason.lower():
        return ResourceError(
            f"The disk of the hub cache {cache} is full: {what} could not be stored."
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ResourceError(
            f"The hub cache {cache} cannot be written to: {what} could not be stored ({reason})."
        )
    # errors.HTTPError is the base class of httpx or httpx2, whichever this version of
    # huggingface_hub is built upon
    if isinstance(error, OSError | errors.HTTPError | getattr(errors, "XetDownloadError", OSError)):
        return ResourceError(
            f"{what} is not in the hub cache {cache} and could not be downloaded: {reason}"
        )
    return None


def _conversion(hub_id: str) -> str | None:
    """The revision at which the hub's converter offers the weights of `main` as safetensors."""
    from huggingface_hub import HfApi

    try:
        proposals = HfApi(**access()).get_repo_discussions(
            hub_id, author=CONVERTER, discussion_type="pull_request"
        )
        return next(
            (
                p.git_reference
                for p in proposals
                if p.author == CONVERTER and "safetensors" in p.title
            ),
            None,
        )
    except Exception:  # then there is none, and the caller says that the weights are pickled
        return None


def _no_safetensors(hub_id: str, revision: str, path: Path) -> str:
    from huggingface_hub import HfApi

    if (path / "adapter_config.json").exists():
        return f"{hub_id} at revision {revision!r} is an adapter (PEFT): merge it into its base model, and measure that."
    try:
        names = HfApi(**access()).list_repo_files(hub_id, revision=path.name)
    except Exception:  # it only serves the sentence below
        names = []
    pickles = sorted(name for name in names if name.endswith(PICKLES))
    if pickles:
        return (
            f"{hub_id} at revision {revision!r} holds its weights only as pickle ({pickles[0]}), which can run code "
            "when it is read and is refused: convert it to safetensors, or name a revision that has them."
        )
    return f"{hub_id} at revision {revision!r} holds no safetensors weights."


def _has_weights(path: Path) -> bool:
    """Whether every file of weights is there: those that the index names, or a single one."""
    if (path / folder.INDEX).exists():
        return all((path / name).exists() for name in folder.shards(path))
    return any(file.exists() for file in path.glob("model*.safetensors"))


def _has_tokenizer(path: Path) -> bool:
    """Whether there is what a tokenizer can be made of: an interrupted download may have got the
    weights first.
    """
    return any(
        file.exists()
        for form in ("tokenizer.json", "*.model", "vocab.*")
        for file in path.glob(form)
    )


def _lacks_code(path: Path) -> bool:
    """Whether a Python file that the configuration names is not there."""
    named = folder.configuration(path).get("auto_map") or {}
    return any(not (path / f"{place.split('.')[0]}.py").exists() for place in folder.places(named))


def check_names(hub_id: str, revision: str) -> None:
    """Names become paths below the cache, so neither may climb out of it."""
    if hub_id.count("/") > 1 or "--" in hub_id or names.revision_fault(hub_id):
        raise LoadError(
            f"{names.short(addresses.shown(hub_id))} is not a hub id, which reads organisation/name."
        )
    if told := names.revision_fault(revision):
        raise LoadError(
            f"{names.short(revision)} is not a revision of {hub_id} (branch, tag, commit): it {told}."
        )


def _repository(hub_id: str, cache: Path) -> Path:
    return cache / ("models--" + hub_id.replace("/", "--"))


def offline() -> bool:
    """Whether the network is forbidden."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


def _cached_revisions(hub_id: str, cache: Path) -> list[str]:
    refs = _repository(hub_id, cache) / "refs"
    return [file.relative_to(refs).as_posix() for file in refs.rglob("*") if file.is_file()]


def _hub_revisions(hub_id: str) -> list[str]:
    from huggingface_hub import HfApi

    try:
        refs = HfApi(**access()).list_repo_refs(hub_id)
    except (
        Exception
    ):  # the missing revision is the news; without the list there is just no suggestion
        return []
    return [ref.name for ref in [*refs.branches, *refs.tags]]


def _nearest_revision(revision: str, existing: Iterable[str]) -> str:
    """A clause with the existing revision of the same form whose numbers are nearest, else the
    nearest spelling.
    """
    existing = sorted(existing)
    form, numbers = _form(revision)
    distances = {
        name: [abs(a - b) for a, b in zip(numbers, others, strict=True)]
        for name in existing
        for other_form, others in [_form(name)]
        if other_form == form and numbers
    }
    if distances:
        return f" The nearest is {min(distances, key=lambda name: distances[name])!r}."
    return nearest(revision, existing)


def _form(revision: str) -> tuple[str, list[int]]:
    """`stage1-step1000-tokens3B` -> (`stage#-step#-tokens#B`, [1, 1000, 3])."""
    return re.sub(r"\d+", "#", revision), [int(number) for number in re.findall(r"\d+", revision)]
