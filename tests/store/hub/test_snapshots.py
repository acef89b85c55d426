"""Hub id and revision -> local directory: through a hub on this machine, and through each of its
refusals.
"""

import json
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from tests.lm.hub_server import commit, serve
from transect.errors import LoadError, ResourceError
from transect.store.hub import snapshots

WEIGHTS = b"weights of one revision"
MODEL = {
    "config.json": b'{"model_type": "gpt2"}',
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
}
OTHER = MODEL | {"model.safetensors": b"other weights"}
TWIN = {"step0": MODEL, "step1": MODEL, "step1000": OTHER, "step4000": OTHER, "main": OTHER}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty hub cache that the environment names; nothing is reachable yet."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: refused at once
    return tmp_path / "cache"


@pytest.fixture
def online(cache, monkeypatch):
    """Make a server's address the hub's."""
    return lambda address: monkeypatch.setenv("HF_ENDPOINT", address)


def test_downloads_a_revision_and_names_its_commit(cache, online):
    """The files arrive under the commit that the hub states for the branch."""
    with serve({"lab/model": TWIN}) as address:
        online(address)
        path = snapshots.resolve("lab/model", "step1000")
    assert path.name == commit("lab/model", "step1000")
    assert (path / "model.safetensors").read_bytes() == b"other weights"


def test_downloads_only_what_a_model_needs(cache, online):
    """Pickles, folders, other formats and Python files stay on the hub."""
    unwanted = {
        "pytorch_model.bin": b"",
        "onnx/model.safetensors": b"",
        "tf_model.h5": b"",
        "modeling_own.py": b"",
    }
    with serve({"lab/model": {"main": MODEL | unwanted | {"spiece.model": b"s"}}}) as address:
        online(address)
        path = snapshots.resolve("lab/model")
    assert sorted(file.name for file in path.rglob("*")) == sorted([*MODEL, "spiece.model"])


def test_a_loaded_revision_asks_no_network(cache, online):
    """The second time, and with HF_HUB_OFFLINE, the cache is enough; the commit can be read without
    loading.
    """
    with serve({"lab/model": TWIN}) as address:
        online(address)
        assert snapshots.commit_of("lab/model", "main") is None
        first = snapshots.resolve("lab/model")
    assert snapshots.resolve("lab/model") == first
    assert snapshots.commit_of("lab/model", "main") == first.name
    assert snapshots.resolve("lab/model", first.name) == first


def test_a_lost_shard_is_downloaded_again(cache, online):
    """A snapshot that lacks a file of its index is not taken for whole."""
    shards = {f"model-0000{n}-of-00002.safetensors": b"%d" % n for n in (1, 2)}
    index = json.dumps({"weight_map": {f"tensor{i}": name for i, name in enumerate(shards)}})
    files = {"config.json": b"{}", "model.safetensors.index.json": index.encode(), **shards}
    with serve({"lab/large": {"main": files}}) as address:
        online(address)
        path = snapshots.resolve("lab/large")
        (path / "model-00002-of-00002.safetensors").unlink()
        snapshots.resolve("lab/large")
    assert (path / "model-00002-of-00002.safetensors").read_bytes() == b"2"


def test_no_network(cache):
    """An unreachable hub is trouble that may pass, told in one sentence with the revision and the
    cache.
    """
    with pytest.raises(
        ResourceError, match=r"^lab/model at revision 'main' is not in .* could not be downloaded"
    ):
        snapshots.resolve("lab/model")


def test_offline_names_the_nearest_cached_revision(cache, online, monkeypatch):
    """HF_HUB_OFFLINE is named as the reason, and the revision that is there."""
    with serve({"lab/model": TWIN}) as address:
        online(address)
        snapshots.resolve("lab/model", "step1000")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(
            ResourceError, match="HF_HUB_OFFLINE is set.* The nearest is 'step1000'"
        ):
            snapshots.resolve("lab/model", "step2000")


def test_gated(cache, online):
    """What to do about a gated repository is part of the sentence; waiting does not help."""
    with serve({}, gated=frozenset({"lab/secret"})) as address:
        online(address)
        with pytest.raises(
            LoadError,
            match="lab/secret is gated: accept its terms at https://huggingface.co/lab/secret",
        ):
            snapshots.resolve("lab/secret")


def test_missing_repository(cache, online):
    """A repository that does not exist."""
    with serve({"lab/model": TWIN}) as address:
        online(address)
        with pytest.raises(LoadError, match="The hub has no model repository 'lab/modell'"):
            snapshots.resolve("lab/modell")


@pytest.mark.parametrize(
    ("asked", "near"), [("step1500", "step1000"), ("step3999", "step4000"), ("mian", "main")]
)
def test_missing_revision_names_the_nearest(cache, online, asked, near):
    """Nearest by the numbers of a revision of the same form, else by spelling."""
    with serve({"lab/model": TWIN}) as address:
        online(address)
        with pytest.raises(
            LoadError, match=f"lab/model has no revision '{asked}' on the hub.*'{near}'"
        ):
            snapshots.resolve("lab/model", asked)


def test_pickle_only(cache, online):
    """Weights that exist only as pickle are refused with their name."""
    files = {"config.json": b"{}", "pytorch_model.bin": b""}
    with serve({"lab/old": {"main": files}}) as address:
        online(address)
        with pytest.raises(
            LoadError, match=r"'main' holds its weights only as pickle \(pytorch_model.bin\)"
        ):
            snapshots.resolve("lab/old")


def test_conversion_by_the_hub(cache, online):
    """Where main is pickled, the converter's proposal is taken, told by its commit, and found again
    without network.
    """
    pickled = {"config.json": b"{}", "pytorch_model.bin": b""}
    with serve(
        {"lab/old": {"main": pickled, "refs/pr/3": MODEL}}, proposals={"refs/pr/3": "SFconvertbot"}
    ) as address:
        online(address)
        first = snapshots.resolve("lab/old")
    assert first.name == commit("lab/old", "refs/pr/3")
    assert snapshots.resolve("lab/old") == first


def test_conversion_by_a_stranger_is_not_taken(cache, online):
    """Anyone may propose weights; only the hub's own account is believed."""
    pickled = {"config.json": b"{}", "pytorch_model.bin": b""}
    with serve(
        {"lab/old": {"main": pickled, "refs/pr/3": MODEL}}, proposals={"refs/pr/3": "somebody"}
    ) as address:
        online(address)
        with pytest.raises(LoadError, match="only as pickle"):
            snapshots.resolve("lab/old")


def test_no_weights_at_all(cache, online):
    """A repository without weights of any kind says so."""
    with serve({"lab/empty": {"main": {"config.json": b"{}"}}}) as address:
        online(address)
        with pytest.raises(LoadError, match="holds no safetensors weights"):
            snapshots.resolve("lab/empty")


def test_hub_out_of_order(cache, online):
    """A server's own error may pass."""
    with serve({}, status=500) as address:
        online(address)
        with pytest.raises(ResourceError, match="lab/model"):
            snapshots.resolve("lab/model")


def test_full_disk(cache, online, monkeypatch):
    """No space left is told as such, with the cache."""

    def full(*args, **options):
        if options.get("local_files_only"):
            raise LocalEntryNotFoundError("none")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(ResourceError, match="The disk of the hub cache .* is full"):
        snapshots.resolve("lab/model")


def test_a_fault_of_the_program_is_not_retried(cache, monkeypatch):
    """An error that is neither network nor disk is passed on as it is."""

    def broken(*args, **options):
        if options.get("local_files_only"):
            raise LocalEntryNotFoundError("none")
        raise TypeError("a fault")

    monkeypatch.setattr("huggingface_hub.snapshot_download", broken)
    with pytest.raises(TypeError):
        snapshots.resolve("lab/model")


@pytest.mark.parametrize(
    ("hub_id", "revision"),
    [("../../etc", "main"), ("lab/model", "../../../x"), ("a/b/c", "main"), ("lab/model", "")],
)
def test_names_that_climb_out_of_the_cache_are_refused(cache, hub_id, revision):
    """Names become paths, so they are checked first."""
    with pytest.raises(LoadError):
        snapshots.commit_of(hub_id, revision)


def test_release_keeps_shared_weights_and_the_rest(cache, online):
    """Weights go, configuration and tokenizer stay; a blob that another revision uses stays too."""
    with serve({"lab/model": TWIN}) as address:
        online(address)
        zero, one = snapshots.resolve("lab/model", "step0"), snapshots.resolve("lab/model", "step1")
        assert snapshots.release(zero) == 0
        assert (one / "model.safetensors").read_bytes() == WEIGHTS
        assert snapshots.release(one) == len(WEIGHTS)
        assert sorted(file.name for file in one.iterdir()) == ["config.json", "tokenizer.json"]
        assert (
            snapshots.resolve("lab/model", "step1") / "model.safetensors"
        ).read_bytes() == WEIGHTS


def test_release_refuses_other_directories(tmp_path):
    """A directory that is no snapshot is not touched."""
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS)
    with pytest.raises(LoadError, match="no snapshot of a hub cache"):
        snapshots.release(tmp_path)
    assert (tmp_path / "model.safetensors").exists()


def test_python_files_come_only_where_they_may_be_run(cache, online):
    """Without permission the code stays on the hub; with it, it is fetched beside what is there
    already.
    """
    config = b'{"model_type": "own", "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}'
    files = MODEL | {"config.json": config, "modeling_own.py": b"code"}
    with serve({"lab/own": {"main": files}}) as address:
        online(address)
        path = snapshots.resolve("lab/own")
        assert not (path / "modeling_own.py").exists()
        assert snapshots.resolve("lab/own", code=True) == path
    assert (path / "modeling_own.py").read_bytes() == b"code"
    assert snapshots.resolve("lab/own", code=True) == path  # now without network


def test_code_that_is_not_in_the_cache_offline(cache, online, monkeypatch):
    """The weights are there, their code is not, and the hub may not be asked: one sentence."""
    config = b'{"auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}'
    with serve(
        {"lab/own": {"main": MODEL | {"config.json": config, "modeling_own.py": b"code"}}}
    ) as address:
        online(address)
        snapshots.resolve("lab/own")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        ResourceError, match="lab/own at revision 'main' is not .wholly. in the hub cache"
    ):
        snapshots.resolve("lab/own", code=True)


def test_a_tokenizer_that_never_came_is_downloaded(cache, online):
    """A download that was interrupted after the weights is not taken for whole."""
    with serve({"lab/model": TWIN}) as address:
        online(address)
        path = snapshots.resolve("lab/model")
        (path / "tokenizer.json").unlink()
        assert snapshots.resolve("lab/model") == path
    assert (path / "tokenizer.json").exists()
