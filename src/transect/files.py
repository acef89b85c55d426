"""Files that are written whole or not at all: under another name, synchronised, then put in place by one rename.

After a kill a reader finds the old file or the new one, never half of it. What a killed writer leaves begins with PART.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part-"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make the file at the path that it is given, and put it in place. Two writers of equal content do no harm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PART, suffix=path.suffix)
    os.close(handle)
    try:
        with _naming(path):
            write(Path(name))
            os.chmod(name, 0o644)  # mkstemp's files are private
            _sync(Path(name))
        os.replace(name, path)
        _sync(path.parent)
    finally:
        Path(name).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda part: part.write_bytes(text.encode("utf-8")))


def write_folder(path: Path, write: Callable[[Path], object]) -> None:
    """The same for a folder. One that is there already was written whole; it is replaced."""
    part = path.with_name(PART + path.name)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write(part)
    for file in part.iterdir():
        _sync(file)
    shutil.rmtree(path, ignore_errors=True)
    part.rename(path)
    _sync(path.parent)


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
