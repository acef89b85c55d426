"""Files that are written whole or not at all."""

import os
import shutil
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from transect.errors import InputError
from transect.store.files import whole_files


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """An error while writing leaves neither a half file nor a temporary one."""

    def fail(part: Path) -> None:
        part.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        whole_files.write_whole(tmp_path / "x.json", fail)
    assert not list(tmp_path.iterdir())


def test_new_content_replaces_old(tmp_path: Path) -> None:
    """A second write is what is read afterwards, and nothing else lies beside it."""
    for text in ("old", "new"):
        whole_files.write_text(tmp_path / "x.txt", text)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("umask", [0o077, 0o002, 0o022])
def test_the_umask_alone_says_who_may_read(tmp_path: Path, umask: int) -> None:
    """Files are 0666 and folders 0777 less the umask, also where a library makes a private file, as
    safetensors does.
    """

    def private(part: Path) -> None:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT, 0o600))

    def folder(part: Path) -> None:
        (part / "below").mkdir(mode=0o700)
        private(part / "below/weights")
        private(part / "weights")

    before = os.umask(umask)
    try:
        whole_files.write_text(tmp_path / "new/x.txt", "x")
        whole_files.write_whole(tmp_path / "new/y.bin", private)
        whole_files.write_folder(tmp_path / "new/model", folder)
    finally:
        os.umask(before)
    made = list((tmp_path / "new").rglob("*"))
    assert len(made) == 6
    assert {p: p.stat().st_mode & 0o777 for p in made} == {
        p: (0o777 if p.is_dir() else 0o666) & ~umask for p in made
    }


def test_writing_asks_no_other_thread_for_its_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask is of the whole process: to set it for a moment would make another thread's file
    open to everybody.
    """
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was set"))
    whole_files.write_text(tmp_path / "x.txt", "x")
    whole_files.write_folder(tmp_path / "model", lambda part: (part / "x").write_text("x"))


def test_folder_replaces_old(tmp_path: Path) -> None:
    """A folder is replaced as a whole: files of the old one are gone."""
    for name in ("a", "b"):
        whole_files.write_folder(
            tmp_path / "step1", lambda part, name=name: (part / name).write_text(name)
        )
    assert [p.name for p in (tmp_path / "step1").iterdir()] == ["b"]


BOTH_WAYS = pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "put aside"])


def whole(folder: Path, size: int = 2) -> str:
    """The content of a folder all of whose files say the same; "" where it is not there, "half"
    where some are missing.
    """
    try:
        said = [(folder / str(i)).read_text() for i in range(size)]
    except FileNotFoundError:
        return "half" if folder.is_dir() else ""
    return said[0] if len(set(said)) == 1 and all(said) else "half"


def say(text: str, size: int = 2) -> Callable[[Path], None]:
    """A writer of such a folder."""

    def write(part: Path) -> None:
        for i in range(size):
            (part / str(i)).write_text(text)

    return write


def killed_at(line: int, path: Path) -> bool:
    """Whether a process that replaces the folder was killed when it came to the `line`th line of
    files.py, without any clean-up.
    """
    child = os.fork()
    if child == 0:
        left = [line]

        def trace(frame, event, argument):  # type: ignore[no-untyped-def]
            if frame.f_code.co_filename != whole_files.__file__:
                return None
            left[0] -= event == "line"
            return os._exit(9) if left[0] == 0 else trace

        sys.settrace(trace)
        whole_files.write_folder(path, say("new"))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize(("before", "exchange"), [("old", True), ("old", False), ("", True)])
def test_a_folder_is_whole_wherever_its_writer_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, exchange: bool
) -> None:
    """Killed at every line in turn: the old one is there or the new one, or none where there was
    none; the next writer goes on.
    """
    if not exchange:  # as NFS, which knows no exchange
        monkeypatch.setattr(whole_files, "_exchange", lambda one, other: False)
    monkeypatch.setattr(
        whole_files, "_sync", lambda path: None
    )  # a kill loses nothing that was not synchronised
    path, seen, line = tmp_path / "step1", set(), 1
    while True:
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        if before:
            path.mkdir()
            say(before)(path)
        was_killed = killed_at(line, path)
        if exchange and before:
            assert whole(path) in ("old", "new")  # at no moment neither
        assert whole_files.recover(path) == bool(whole(path)) and whole(path) in {before, "new"}
        seen.add(whole(path))
        whole_files.write_folder(path, say("next"))
        assert whole(path) == "next" and not list(tmp_path.glob(f"{whole_files.ASIDE}*"))
        if not was_killed:
            break
        line += 1
    assert line > 30 and seen == {before, "new"}


@BOTH_WAYS
def test_several_writers_of_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    """Two threads and two processes, 40 writes each: no error, a whole folder whenever one looks,
    nothing left beside it.
    """
    if not exchange:
        monkeypatch.setattr(whole_files, "_exchange", lambda one, other: False)
    path = tmp_path / "step1"
    whole_files.write_folder(path, say("first"))

    def many(name: str) -> None:
        for i in range(40):
            whole_files.write_folder(path, say(f"{name} {i}"))

    children = []
    for name in ("c", "d"):
        if (child := os.fork()) == 0:
            try:
                many(name)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(many, name) for name in ("a", "b")]
        looked = 0
        while not all(w.done() for w in writers):
            assert not exchange or path.is_dir()
            looked += 1
        for writer in writers:
            writer.result()
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [
        0,
        0,
    ] and looked > 10
    assert whole(path)[2:] in map(str, range(40)) and [p.name for p in tmp_path.iterdir()] == [
        "step1"
    ]


def test_a_link_in_the_place_of_a_folder_is_replaced(tmp_path: Path) -> None:
    """Where a link leads nothing is written or removed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").write_text("x")
    (tmp_path / "step1").symlink_to(tmp_path / "elsewhere")
    whole_files.write_folder(tmp_path / "step1", say("new"))
    assert whole(tmp_path / "step1") == "new" and not (tmp_path / "step1").is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "step1"]
    assert (tmp_path / "elsewhere/kept").read_text() == "x"


def test_what_killed_writers_left_goes_after_a_day(tmp_path: Path) -> None:
    """A part of this folder that nobody has touched for a day; that of a living writer, or of
    another folder, stays.
    """
    names = ["0" * 16 + "-step1", "1" * 16 + "-step1", "0" * 16 + "-last-step1"]
    for name in names:
        (tmp_path / f"{whole_files.PART}{name}").mkdir()
    for name in (names[0], names[2]):
        os.utime(tmp_path / f"{whole_files.PART}{name}", (0, 0))
    whole_files.write_folder(tmp_path / "step1", say("new"))
    assert {p.name for p in tmp_path.iterdir()} == {
        "step1",
        *(f"{whole_files.PART}{n}" for n in names[1:]),
    }


def test_an_error_while_writing_leaves_the_old_folder(tmp_path: Path) -> None:
    """And nothing beside it."""
    whole_files.write_folder(tmp_path / "step1", say("old"))

    def fail(part: Path) -> None:
        (part / "0").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        whole_files.write_folder(tmp_path / "step1", fail)
    assert whole(tmp_path / "step1") == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    """Below a folder; the folder itself may be a link (results on a large disk), and links within
    it lead nowhere else.
    """
    (tmp_path / "large/tables").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    base = tmp_path / "results"
    base.symlink_to(tmp_path / "large")
    (base / "same").symlink_to(base / "tables")
    whole_files.check_links(base)
    whole_files.check_inside(base, base / "tables/x.csv")
    (base / "tables/out").symlink_to(tmp_path / "secret")
    for refused in (
        lambda: whole_files.check_links(base),
        lambda: whole_files.check_inside(base, base / "tables/out/x.csv"),
    ):
        with pytest.raises(InputError, match="leads to .*/secret.* by a symbolic link"):
            refused()
