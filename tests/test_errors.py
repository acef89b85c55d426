"""Disks that are full or may only be read: one sentence and the right exit code, from every command
that writes.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import WORLD
from transect.cli import main
from transect.errors import LONGEST_TEXT, brief, disk_full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB with the tiny world in it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True
    )
    if done.returncode:
        pytest.skip("a small file system can be mounted by root only")
    shutil.copytree(WORLD, disk / "world")
    here = Path.cwd()
    yield disk
    os.chdir(here)
    subprocess.run(["umount", "-l", str(disk)], check=True)


def told(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str]:
    code = main.main(list(command))
    return code, capsys.readouterr().err


def test_a_disk_that_may_only_be_read(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Code 2 and the place, for what must write; a plan writes nothing and is given."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    os.chdir(small_disk / "world")
    for command in (["run", "tiny"], ["run", "tiny", "-n"], ["init", str(small_disk / "new")]):
        code, error = told(capsys, *command)
        assert (
            code == 2
            and error.startswith(f"transect: {small_disk}/")
            and "Read-only file system" in error
        )
        assert error.count("\n") == 1
    assert told(capsys, "plan", "tiny") == (0, "")


def test_a_full_disk(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Code 1: the same command goes on once there is room."""
    with (small_disk / "filled").open("wb", buffering=0) as file:
        with pytest.raises(OSError) as error:
            while True:
                file.write(bytes(4096))
    assert disk_full(error.value)
    os.chdir(small_disk / "world")
    for command in (["run", "tiny"], ["init", str(small_disk / "new")]):
        code, said = told(capsys, *command)
        assert code == 1 and "the disk is full" in said and said.count("\n") == 1
    assert told(capsys, "plan", "tiny") == (0, "")


def test_other_libraries_say_so_in_words() -> None:
    """safetensors raises an error of its own, without a number."""
    assert disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert not disk_full(RuntimeError("out of memory"))


def test_a_long_text_is_told_in_part() -> None:
    """What was given stands in an error with its beginning and its end; a short one as it is."""
    assert brief("short") == "short"
    told = brief("a" * 50_000 + "the end")
    assert told.startswith("aaaa") and told.endswith("the end") and len(told) < LONGEST_TEXT + 50
    assert "(48,807 characters)" in told


def test_an_error_of_a_command_is_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A study whose name is 30,000 characters long is refused in fewer than 1,300."""
    monkeypatch.chdir(tmp_path)
    code, text = told(capsys, "plan", "x" * 30_000)
    assert code == 2 and 100 < len(text) < LONGEST_TEXT + 100
