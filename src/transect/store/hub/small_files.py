"""What a repository of the hub says about its model without its weights being downloaded: small
files, and the headers of the large ones.

A safetensors file begins with the shapes of its tensors; they are asked for by range, a few hundred
kilobytes of any number of gigabytes.
"""

from pathlib import Path

from transect.errors import LoadError, ResourceError
from transect.store.hub import snapshots
from transect.store.hub.access import access, told
from transect.store.model_files.folder import weight_files
from transect.store.model_files.headers import Tensor

SMALL = [pattern for pattern in snapshots.FILES if not pattern.endswith(".safetensors")]


def fetch(
    hub_id: str, revision: str = "main", cache: Path | None = None
) -> tuple[Path, dict[str, Tensor] | None]:
    """The snapshot's folder, and the shapes and types of its tensors; None where the weights are in
    the cache and can be read there.

    Raises LoadError or ResourceError as `hub.resolve` does.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    cache = cache or snapshots.cache_folder()
    snapshots.check_names(hub_id, revision)
    try:
        path = Path(
            snapshot_download(
                hub_id,
                revision=revision,
                cache_dir=cache,
                allow_patterns=SMALL,
                ignore_patterns=snapshots.NOT_FILES,
                local_files_only=snapshots.offline(),
                **access(),
            )
        )
    except LocalEntryNotFoundError as error:
        where = f"{hub_id} at revision {revision!r} is not in the hub cache {cache}"
        raise ResourceError(
            f"{where}, and HF_HUB_OFFLINE is set or the hub cannot be reached."
        ) from error
    except Exception as error:
        refused = snapshots.refusal(error, hub_id, revision)
        raise refused or ResourceError(f"{hub_id} could not be downloaded: {told(error)}") from None
    try:
        weight_files(path)
        return path, None
    except LoadError:
        if snapshots.offline():
            raise
    try:
        files = (
            HfApi(**access()).get_safetensors_metadata(hub_id, revision=path.name).files_metadata
        )
    except Exception as error:
        raise LoadError(
            f"{hub_id} at revision {revision!r} has no readable safetensors weights ({told(error)})."
        ) from None
    return path, {
        name: Tensor(tuple(t.shape), str(t.dtype))
        for file in files.values()
        for name, t in file.tensors.items()
    }
