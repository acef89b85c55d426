"""A folder is read from the disk alone: no name is looked up and no connection made, whatever the
folder lacks or says of itself.

HF_HUB_OFFLINE is not set here: the promise is the code's and not the setting's.
"""

import json
import os
import socket

import pytest

from tests.shelf import byte_tokenizer, tiny_model
from transect.errors import LoadError
from transect.lm import load
from transect.lm.describe.description import describe

LACKING = [
    *("", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("tokenizer.json", "config.json", "model.safetensors"),
]


@pytest.fixture
def asked(monkeypatch):
    """What was asked of the network, which is not there: names that were looked up and addresses
    that were called.
    """
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    calls = []

    def refuse(*given, **options):
        calls.append(given)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return calls


def test_the_guard_sees_what_asks(asked):
    """Otherwise nothing below would be tested."""
    from huggingface_hub import HfApi

    with pytest.raises(Exception, match="no network in this test"):
        HfApi().model_info("some/body")
    assert asked


@pytest.mark.parametrize("lacking", LACKING)
@pytest.mark.parametrize("named", ["gpt2", "mistralai/Mistral-7B-v0.1"])
def test_a_folder_asks_nobody(lacking, named, asked, tmp_path, monkeypatch):
    """Under the names of real repositories, by a relative path, with a file missing, and with what
    files say of their origin.
    """
    folder = tmp_path / named
    folder.parent.mkdir(parents=True, exist_ok=True)
    tiny_model(tmp_path / "made", "llama", tokenizer=byte_tokenizer()).rename(folder)
    for name in ("config.json", "tokenizer_config.json"):
        said = json.loads((folder / name).read_text())
        (folder / name).write_text(
            json.dumps(
                said
                | {
                    "_name_or_path": "org/name",
                    "name_or_path": "org/name",
                    "transformers_version": "4.50.0",
                }
            )
        )
    (folder / lacking).unlink(missing_ok=True) if lacking else None
    monkeypatch.chdir(tmp_path)
    for read in (load, describe):
        try:
            read(folder.relative_to(tmp_path))
        except LoadError as error:
            assert lacking in ("tokenizer.json", "config.json", "model.safetensors"), error
    assert not asked and os.getcwd() == str(tmp_path)
