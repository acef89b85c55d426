"""Headers of weight files that lie: told before a number is read, and before a network is built."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from tests.shelf import tiny_model
from transect.errors import LoadError
from transect.lm import load
from transect.store.model_files.headers import numbers, tensors

ONE = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
B = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def written(folder, header, body=b"0000", length=None):
    """A file with that header (an object, or bytes)."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    file = folder / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(head) if length is None else length) + head + body)
    return file


@pytest.mark.parametrize(
    ("header", "body", "length"),
    [
        (b"{}", b"", 2**60),
        (b"", b"", 0),
        ([1], b"", None),
        (b'{"\xff": 1}', b"", None),
        ({"a": ONE["a"] | {"shape": [2**60]}}, b"0000", None),
        ({"a": ONE["a"] | {"shape": [2**33, 2**33]}}, b"0000", None),
        ({"a": ONE["a"] | {"shape": [-1]}}, b"0000", None),
        (ONE | {"b": B}, b"0000", None),
        ({"a": ONE["a"] | {"dtype": "X9"}}, b"0000", None),
        (ONE, b"00", None),
        (ONE, b"00000000", None),
        (ONE | {"__metadata__": 7}, b"0000", None),
        (b'{"a":' * 100_000, b"", None),
    ],
    ids=[
        "2^60",
        "0",
        "list",
        "utf8",
        "shape",
        "overflow",
        "negative",
        "overlap",
        "dtype",
        "cut",
        "long",
        "meta",
        "deep",
    ],
)
def test_a_header_that_lies_is_refused(header, body, length, tmp_path):
    """One sentence with the file; the library's reason in it."""
    with pytest.raises(
        LoadError, match="model.safetensors: this is no safetensors file, or not all of it"
    ):
        tensors([written(tmp_path, header, body, length)])


def test_a_link_to_another_file_is_no_safetensors(tmp_path):
    """/etc/passwd is a regular file, and its first bytes are no length."""
    (tmp_path / "model.safetensors").symlink_to("/etc/passwd")
    with pytest.raises(LoadError, match="this is no safetensors file"):
        tensors([tmp_path / "model.safetensors"])


def test_a_name_twice_in_a_header_is_refused(tmp_path):
    """Two entries of one name: the last one would count, in silence."""
    entry = '"a":' + json.dumps(ONE["a"])
    with pytest.raises(LoadError, match="'a' stands twice in the header"):
        tensors([written(tmp_path, f"{{{entry},{entry}}}".encode())])


def test_a_name_in_two_files_is_refused(tmp_path):
    """Of two shards only one can be meant."""
    for name in ("one", "two"):
        save_file({"a": torch.zeros(1), name: torch.zeros(1)}, tmp_path / name)
    with pytest.raises(LoadError, match="two: 'a' stands in another of the weight files, too"):
        tensors([tmp_path / "one", tmp_path / "two"])


def test_names_shapes_and_types_are_those_of_the_file(tmp_path):
    """As save_file was given them; a float of 16 bits and more has a torch dtype, a code has none."""
    given = {
        "a": torch.zeros(2, 3),
        "b": torch.zeros(4, dtype=torch.int8),
        "c": torch.zeros(1, dtype=torch.bfloat16),
    }
    save_file(given, tmp_path / "x", {"format": "pt"})
    found = tensors([tmp_path / "x"])
    assert {name: t.shape for name, t in found.items()} == {"a": (2, 3), "b": (4,), "c": (1,)}
    assert [found[name].dtype for name in "abc"] == [
        torch.float32,
        None,
        torch.bfloat16,
    ] and numbers(found) == 11


@pytest.mark.slow
def test_very_many_tensors_are_refused_in_time(tmp_path):
    """200,000 empty tensors: a sentence (about 20 s of one core beside other work)."""
    path = tiny_model(tmp_path, "gpt2")
    save_file(
        {f"t{i}": torch.zeros(0) for i in range(200_000)},
        path / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(LoadError, match="29 weights are missing"):
        load(path)
