"""Files that are written whole or not at all."""

from pathlib import Path

import pytest

from transect import files


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """An error while writing leaves neither a half file nor a temporary one."""

    def fail(part: Path) -> None:
        part.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        files.write_whole(tmp_path / "x.json", fail)
    assert not list(tmp_path.iterdir())


def test_new_content_replaces_old(tmp_path: Path) -> None:
    """A second write is what is read afterwards, readable for everybody, and nothing else lies beside it."""
    for text in ("old", "new"):
        files.write_text(tmp_path / "x.txt", text)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["new"]
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o644


def test_folder_replaces_old(tmp_path: Path) -> None:
    """A folder is replaced as a whole: files of the old one are gone."""
    for name in ("a", "b"):
        files.write_folder(tmp_path / "step1", lambda part, name=name: (part / name).write_text(name))
    assert [p.name for p in (tmp_path / "step1").iterdir()] == ["b"]
