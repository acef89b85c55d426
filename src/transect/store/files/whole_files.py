"""Files that are written whole or not at all: under another name, synchronised, then put in place
by one rename.

After a kill a reader finds the old file or the new one, never half of it. What a killed writer
leaves begins with PART. The umask alone says who may read and write them: 0666 less the umask for a
file, 0777 less the umask for a folder.
"""

import ctypes
import errno
import glob
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from transect.errors import InputError

PART = ".part-"
ASIDE = f"{PART}old-"  # a whole folder whose place a new one takes
LEFTOVER_SECONDS = 24 * 3600


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make the file at the path that it is given, and put it in place. Two writers of
    equal content do no harm.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{PART}{secrets.token_hex(8)}{path.suffix}")
    try:
        with _naming(path):
            with part.open("xb") as made:
                mode = (
                    os.fstat(made.fileno()).st_mode & 0o777
                )  # the umask's; it cannot be asked for without being set
            write(part)
            part.chmod(mode)  # some libraries put a private file in its place
            _sync(part)
        os.replace(part, path)
        _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    write_whole(path, lambda part: part.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_folder(path: Path, write: Callable[[Path], object]) -> None:
    """The same for a folder. One that is there already was written whole; it is replaced, by
    however many writers, the last of whom stays.

    Where the file system can, old and new change places in one step. Where it cannot (NFS), the old
    one is put aside first: a reader that finds neither calls `recover`, as every writer does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover(path)
    _remove_leftovers(path)
    part = _beside(path, PART)
    part.mkdir()
    try:
        with _naming(path):
            write(part)
            _share(part)
            for inner in [*part.rglob("*"), part]:
                _sync(inner)
        _put_in_place(part, path)
    finally:
        _remove(part)


def recover(path: Path) -> bool:
    """Whether a folder of `write_folder` is there. Where a writer was killed between two renames,
    the old one is put back.
    """
    if not path.is_dir():
        for old in path.parent.glob(_beside_form(path, ASIDE)):
            with suppress(OSError):  # another process was first
                old.rename(path)
    return path.is_dir()


def _put_in_place(part: Path, path: Path) -> None:
    try:
        while True:
            try:
                part.rename(path)
                break
            except OSError as error:
                if error.errno not in (
                    errno.ENOTEMPTY,
                    errno.EEXIST,
                    errno.ENOTDIR,
                ):  # nothing is in the way
                    raise
            if _exchange(part, path):
                break
            with suppress(FileNotFoundError):  # another writer has put it aside
                path.rename(_beside(path, ASIDE))
    except OSError:
        recover(path)
        raise
    _sync(path.parent)
    for old in path.parent.glob(_beside_form(path, ASIDE)):
        _remove(old)


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places in one step (renameat2 of Linux); False where system or file
    system cannot.
    """
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    here, both = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return call is not None and call(here, os.fsencode(one), here, os.fsencode(other), both) == 0


def _beside(path: Path, prefix: str) -> Path:
    """A new name beside a path, that tells whose it is."""
    return path.with_name(f"{prefix}{secrets.token_hex(8)}-{path.name}")


def _beside_form(path: Path, prefix: str) -> str:
    """The form of such names, for `glob`."""
    return f"{prefix}{'[0-9a-f]' * 16}-{glob.escape(path.name)}"


def _remove_leftovers(path: Path) -> None:
    """What killed writers of this folder left: a living one touches its own within
    LEFTOVER_SECONDS.
    """
    for part in path.parent.glob(_beside_form(path, PART)):
        with suppress(OSError):  # another process was first
            if time.time() - part.lstat().st_mtime > LEFTOVER_SECONDS:
                _remove(part)


def _remove(path: Path) -> None:
    """A folder, or a link to one (its target stays); nothing is done where there is none."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _share(folder: Path) -> None:
    """Give all that lies in a folder the mode that the umask gave the folder: libraries make some
    of their files private.
    """
    mode = folder.stat().st_mode & 0o777
    for path in folder.rglob("*"):
        path.chmod(mode if path.is_dir() else mode & 0o666)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """An error of the disk says where: a write that fails for want of room knows no name."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def check_inside(base: Path, path: Path) -> None:
    """Raise InputError where a link below `base` leads a path elsewhere: what is written there
    would not stay inside. `base` may be a link.
    """
    if path.resolve() != base.resolve() / path.relative_to(base):
        raise InputError(
            f"{path} leads to {path.resolve()} by a symbolic link, and nothing is written outside {base}; remove the link."
        )


def check_links(base: Path) -> None:
    """The same of all that is there below `base`."""
    for path in base.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(base.resolve()):
            check_inside(base, path)


def check_writable(*folders: Path) -> None:
    """Write and remove a file of 1 MiB in each folder (made where it is absent); OSError where that
    fails.
    """
    for folder in folders:
        write_whole(folder / "writable", lambda part: part.write_bytes(bytes(2**20)))
        (folder / "writable").unlink(missing_ok=True)  # two studies may begin at once


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
