"""JSON files of our own."""

from pathlib import Path

import pytest

from transect.errors import InputError
from transect.store.files import json_file


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b"\xff", "utf-8"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b"1" * 5000, "4300"),
        (b"[]", "it holds list where an object was written"),
        (b"null", "it holds NoneType"),
        (b'{"b": 1}', "it lacks a"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes, told: str) -> None:
    """With the file and what is wrong, on one line."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=told) as error:
        json_file.read_object(path, "a")
    assert str(error.value).startswith(f"{path}: this file is damaged") and "\n" not in str(
        error.value
    )


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    """What was written comes back."""
    (tmp_path / "x.json").write_text('{"a": [1, "\u00e9"]}', encoding="utf-8")
    assert (
        json_file.read_object(tmp_path / "x.json", "a")
        == {"a": [1, "\u00e9"]}
        == json_file.read(tmp_path / "x.json")
    )
