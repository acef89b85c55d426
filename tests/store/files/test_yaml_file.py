"""YAML that people write."""

import os
from pathlib import Path

import pytest

from transect.errors import InputError
from transect.store.files import yaml_file

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
    """`<<` brings in facts that the mapping itself may state otherwise, also when what is merged
    has merged others.
    """
    text = "[&a {x: 1, y: 1}, &b {<<: *a, x: 2}, {<<: *b, x: 3}, {<<: *b}]"
    assert yaml_file.parse(text, "") == [
        {"x": 1, "y": 1},
        {"x": 2, "y": 1},
        {"x": 3, "y": 1},
        {"x": 2, "y": 1},
    ]


def test_a_date_is_a_text() -> None:
    """Dates are compared and stored as they are written."""
    assert yaml_file.parse("2024-05-01", "--set release_date") == "2024-05-01"


@pytest.mark.parametrize(
    ("keys", "line"),
    [(["a"], 1), (["b", 1, "x"], 4), (["b", 1, "y", 1], 5), (["b", 1, "absent"], 4), ([], 1)],
)
def test_line_of_a_value(tmp_path: Path, keys: list[str | int], line: int) -> None:
    """The line under a path of keys, counted from 1; of the nearest ancestor where the value is
    absent.
    """
    path = tmp_path / "x.yaml"
    path.write_text(TEXT)
    assert yaml_file.line(path, keys) == line


def test_a_place_is_looked_for_when_it_is_written(tmp_path: Path) -> None:
    """Made before its file is there, it names the line that the value has at last."""
    path = tmp_path / "suite.yaml"
    place = yaml_file.Place(path, "runs", 1, "id")
    path.write_text("runs:\n- {id: a}\n- {id: b}\n")
    assert f"{place}: here" == f"{path}, line 3: here"


NINES = "a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("\n" + "[" * 100_000, "line 2: .*nested more than 100 deep"),
        ("{a: " * 100_000, "line 1: .*nested more than 100 deep"),
        ("- " * 100_000 + "x", "line 1: .*nested more than 100 deep"),
        ("? " * 100_000, "line 1: .*nested more than 100 deep"),
        ("".join(" " * i + "a:\n" for i in range(500)), "line 101: .*nested more than 100 deep"),
        (CHAIN, "line 100: .*nested more than 100 deep"),
        (NINES, "line 7: .*more than 1,000,000 values, those of an anchor counted at each alias"),
        ("a: 1\nb: &b [1, {c: *b}]", "line 2: .*the anchor 'b' holds itself"),
        ("- x\n" * 2_500_001, r"it has 10,000,004 bytes; of YAML at most 10,000,000 are read"),
    ],
    ids=[
        "sequences",
        "mappings",
        "dashes",
        "questions",
        "blocks",
        "chain",
        "nines",
        "circle",
        "long",
    ],
)
def test_no_document_is_built_beyond_the_limits(tmp_path: Path, content: str, told: str) -> None:
    """Depth and size are told before a parser's recursion, or whoever walks what aliases stand for,
    meets them.
    """
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=told):
        yaml_file.read(path)


def test_what_is_within_the_limits_is_read() -> None:
    """A hundred levels and a million values, aliases counted."""
    assert str(yaml_file.parse("[" * 100 + "]" * 100, "")) == "[" * 100 + "]" * 100
    found = yaml_file.parse(f"[&a [{', '.join('1' * 999)}], {', '.join(['*a'] * 998)}]", "")
    assert sum(map(len, found)) == 999 * 999


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("!!int abc", "'abc' is no int"),
        ("!!float abc", "'abc' is no float"),
        ("!!int ''", "'' is no int"),
        ("!!bool maybe", "'maybe' is no bool"),
        ("!!timestamp xyz", "timestamp"),
        ("!!timestamp 2001-01-01", "timestamp"),
        ("!!set {a}", "set"),
        ("!!binary aGVsbG8=", "binary"),
        ("!!python/object/apply:os.system [x]", "python/object/apply:os.system"),
        ("1" * 5_000, "a number has 5,000 characters; at most 100 are read"),
        ("0x" + "f" * 5_000, "a number has 5,002 characters"),
    ],
)
def test_a_value_that_is_not_of_its_tag(tmp_path: Path, value: str, told: str) -> None:
    """A sentence with the line: values are of JSON's types."""
    path = tmp_path / "x.yaml"
    path.write_text(f"a: 1\nb: {value}\n")
    with pytest.raises(InputError, match=f"line 2: this is not valid YAML .*{told}"):
        yaml_file.read(path)


def test_a_value_on_the_command_line_is_repeated_in_part() -> None:
    """A lone surrogate is no text, and a long value is no sentence."""
    with pytest.raises(InputError, match="is not valid YAML"):
        yaml_file.parse("\ud800", "--option x")
    with pytest.raises(InputError) as error:
        yaml_file.parse("[" * 100_000, "--option x")
    assert len(str(error.value)) < 400


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """It would be waited for."""
    os.mkfifo(tmp_path / "x.yaml")
    with pytest.raises(InputError, match="this is no file"):
        yaml_file.read(tmp_path / "x.yaml")
