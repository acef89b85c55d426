"""YAML that people write."""

from pathlib import Path

import pytest

from transect import yaml_file
from transect.errors import InputError

TEXT = "a: 1\nb:\n  - x: 1\n  - x: 2\n    y: [1, 2]\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: 1\nb: 2\na: 3\n", r"line 3: .*the key 'a' stands twice"),
        (b"a: 1\nb: {c: 1, c: 2}\n", r"line 2: .*the key 'c' stands twice"),
        (b"a: 1\nb: \xe9\n", r"line 2: this is not UTF-8"),
        (b"a: x\0y\n", r"this is not valid YAML \(unacceptable character"),
    ],
)
def test_what_is_malformed(tmp_path: Path, content: bytes, told: str) -> None:
    """One sentence with the line; a key that stands twice would silently win."""
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=told):
        yaml_file.read(path)


def test_merged_keys_may_be_overridden() -> None:
    """`<<` brings in facts that the mapping itself may state otherwise, also when what is merged has merged others."""
    text = "[&a {x: 1, y: 1}, &b {<<: *a, x: 2}, {<<: *b, x: 3}, {<<: *b}]"
    assert yaml_file.parse(text, "") == [{"x": 1, "y": 1}, {"x": 2, "y": 1}, {"x": 3, "y": 1}, {"x": 2, "y": 1}]


def test_a_date_is_a_text() -> None:
    """Dates are compared and stored as they are written."""
    assert yaml_file.parse("2024-05-01", "--set release_date") == "2024-05-01"


@pytest.mark.parametrize(
    ("keys", "line"), [(["a"], 1), (["b", 1, "x"], 4), (["b", 1, "y", 1], 5), (["b", 1, "absent"], 4), ([], 1)]
)
def test_line_of_a_value(tmp_path: Path, keys: list[str | int], line: int) -> None:
    """The line under a path of keys, counted from 1; of the nearest ancestor where the value is absent."""
    path = tmp_path / "x.yaml"
    path.write_text(TEXT)
    assert yaml_file.line(path, keys) == line
