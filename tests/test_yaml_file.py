"""YAML that people write."""

from pathlib import Path

import pytest

from transect import yaml_file

TEXT = "a: 1\nb:\n  - x: 1\n  - x: 2\n    y: [1, 2]\n"


@pytest.mark.parametrize(
    ("keys", "line"), [(["a"], 1), (["b", 1, "x"], 4), (["b", 1, "y", 1], 5), (["b", 1, "absent"], 4), ([], 1)]
)
def test_line_of_a_value(tmp_path: Path, keys: list[str | int], line: int) -> None:
    """The line under a path of keys, counted from 1; of the nearest ancestor where the value is absent."""
    path = tmp_path / "x.yaml"
    path.write_text(TEXT)
    assert yaml_file.line(path, keys) == line
