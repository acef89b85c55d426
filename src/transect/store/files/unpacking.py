"""The content of a compressed file, counted while it is unpacked: 17 MB may unpack to 4 GB, and a
few bytes of bzip2 to terabytes.
"""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any

LARGEST = 10**9  # bytes of a text, unpacked
CHUNK = 2**20
OPENED: dict[str, Callable[[bytes], Any]] = {
    ".gz": lambda packed: gzip.GzipFile(fileobj=io.BytesIO(packed)),
    ".bz2": lambda packed: bz2.BZ2File(io.BytesIO(packed)),
    ".xz": lambda packed: lzma.LZMAFile(io.BytesIO(packed)),
    ".zip": lambda packed: _only_file(packed),
}


class Unreadable(Exception):
    """The message is why, as a clause: the file is damaged, or it is larger than may be read."""


def unpacked(packed: bytes, ending: str, largest: int = LARGEST) -> bytes:
    """The content of a file whose name ends so (OPENED). Raises Unreadable, also for more than
    `largest` bytes.
    """
    content = io.BytesIO()
    try:
        with OPENED[ending](packed) as file:
            while part := file.read(CHUNK):
                content.write(part)
                if content.tell() > largest:
                    raise Unreadable(f"unpacked it has more than {largest:,} bytes")
        return content.getvalue()
    except (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        lzma.LZMAError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        raise Unreadable(" ".join(str(error).split())) from None


def archive(packed: bytes, largest: int = LARGEST) -> zipfile.ZipFile:
    """A zip archive whose files have at most `largest` bytes together: no more than its list says
    is read of any of them.

    Raises Unreadable.
    """
    try:
        files = zipfile.ZipFile(io.BytesIO(packed))
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise Unreadable(" ".join(str(error).split())) from None
    if (size := sum(info.file_size for info in files.infolist())) > largest:
        raise Unreadable(f"unpacked it has {size:,} bytes; at most {largest:,} are read")
    return files


def _only_file(packed: bytes) -> IO[bytes]:
    files = archive(packed)
    names = [n for n in files.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
    if len(names) != 1:
        raise Unreadable(f"it holds {len(names)} files, not one")
    return files.open(names[0])
