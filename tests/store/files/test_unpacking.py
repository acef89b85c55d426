"""Compressed files are counted while they are unpacked."""

import bz2
import gzip
import io
import lzma
import struct
import zipfile
from collections.abc import Callable

import pytest

from transect.store.files.unpacking import OPENED, Unreadable, archive, unpacked


def zipped(content: bytes, *more: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as files:
        for i, part in enumerate((content, *more)):
            files.writestr(f"t{i}.csv", part)
    return file.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": zipped,
}


def test_every_ending_is_tried() -> None:
    """The ones below are all that are read."""
    assert set(PACKED) == set(OPENED)


@pytest.mark.parametrize("ending", PACKED)
def test_content_up_to_the_limit(ending: str) -> None:
    """What has just as many bytes comes out as it went in; one more is refused."""
    content = bytes(range(256)) * 8192
    assert unpacked(PACKED[ending](content), ending, largest=len(content)) == content
    with pytest.raises(Unreadable, match=r"unpacked it has (more than )?2,097,15"):
        unpacked(PACKED[ending](content), ending, largest=len(content) - 1)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_files_in_a_row(ending: str) -> None:
    """Several streams behind each other are one file, and are counted together."""
    packed = PACKED[ending](b"x" * 1000) * 100
    assert unpacked(packed, ending) == b"x" * 100_000
    with pytest.raises(Unreadable):
        unpacked(packed, ending, largest=99_999)


@pytest.mark.parametrize("ending", PACKED)
def test_what_is_damaged(ending: str) -> None:
    """Cut off, or something else: a clause about it, never another error."""
    packed = PACKED[ending](bytes(range(256)) * 64)
    for wrong in (
        packed[: len(packed) // 2],
        b"not packed",
        packed[:-40] + bytes(20) + packed[-20:],
    ):
        with pytest.raises(Unreadable, match="."):
            unpacked(wrong, ending)


def test_an_archive_that_is_locked() -> None:
    """The flag for a password stands in both headers of the file."""
    packed = bytearray(zipped(b"a,b\n1,2\n"))
    for head, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", packed, packed.index(head) + at, 1)
    with pytest.raises(Unreadable, match="password"):
        unpacked(bytes(packed), ".zip")


def test_files_of_an_archive_are_counted_together() -> None:
    """By its own list, beyond which nothing is read."""
    packed = zipped(b"\0" * 1_000_000, b"\0" * 1_000_000)
    assert len(archive(packed, largest=2_000_000).infolist()) == 2
    with pytest.raises(Unreadable, match="2,000,000 bytes"):
        archive(packed, largest=1_999_999)
