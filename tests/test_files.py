"""Files that are written whole or not at all."""

import os
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
    """A second write is what is read afterwards, and nothing else lies beside it."""
    for text in ("old", "new"):
        files.write_text(tmp_path / "x.txt", text)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("umask", [0o077, 0o002, 0o022])
def test_the_umask_alone_says_who_may_read(tmp_path: Path, umask: int) -> None:
    """Files are 0666 and folders 0777 less the umask, also where a library makes a private file, as safetensors does."""

    def private(part: Path) -> None:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT, 0o600))

    def folder(part: Path) -> None:
        (part / "below").mkdir(mode=0o700)
        private(part / "below/weights")
        private(part / "weights")

    before = os.umask(umask)
    try:
        files.write_text(tmp_path / "new/x.txt", "x")
        files.write_whole(tmp_path / "new/y.bin", private)
        files.write_folder(tmp_path / "new/model", folder)
    finally:
        os.umask(before)
    made = list((tmp_path / "new").rglob("*"))
    assert len(made) == 6
    assert {p: p.stat().st_mode & 0o777 for p in made} == {p: (0o777 if p.is_dir() else 0o666) & ~umask for p in made}


def test_writing_asks_no_other_thread_for_its_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The umask is of the whole process: to set it for a moment would make another thread's file open to everybody."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was set"))
    files.write_text(tmp_path / "x.txt", "x")
    files.write_folder(tmp_path / "model", lambda part: (part / "x").write_text("x"))


def test_folder_replaces_old(tmp_path: Path) -> None:
    """A folder is replaced as a whole: files of the old one are gone."""
    for name in ("a", "b"):
        files.write_folder(tmp_path / "step1", lambda part, name=name: (part / name).write_text(name))
    assert [p.name for p in (tmp_path / "step1").iterdir()] == ["b"]
