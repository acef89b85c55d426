"""Files that are written whole or not at all: under another name, synchronised, then put in place by one rename.

After a kill a reader finds the old file or the new one, never half of it. What a killed writer leaves begins with PART.
The umask alone says who may read and write them: 0666 less the umask for a file, 0777 less the umask for a folder.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part-"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make the file at the path that it is given, and put it in place. Two writers of equal content do no harm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{PART}{secrets.token_hex(8)}{path.suffix}")
    try:
        with _naming(path):
            with part.open("xb") as made:
                mode = os.fstat(made.fileno()).st_mode & 0o777  # the umask's; it cannot be asked for without being set
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
    """The same for a folder. One that is there already was written whole; it is replaced."""
    part = path.with_name(PART + path.name)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write(part)
    _share(part)
    for file in part.iterdir():
        _sync(file)
    shutil.rmtree(path, ignore_errors=True)
    part.rename(path)
    _sync(path.parent)


def _share(folder: Path) -> None:
    """Give all that lies in a folder the mode that the umask gave the folder: libraries make some of their files private."""
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


def check_writable(*folders: Path) -> None:
    """Write and remove a file of 1 MiB in each folder (made where it is absent); OSError where that fails."""
    for folder in folders:
        write_whole(folder / "writable", lambda part: part.write_bytes(bytes(2**20)))
        (folder / "writable").unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
