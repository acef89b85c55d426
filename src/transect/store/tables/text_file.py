"""The text of a file: unpacked by its last ending, decoded, and told from what only has the name of
a text.

UTF-8 (with or without byte-order mark) and UTF-16. Other bytes are no Unicode: Windows-1252, the
usual one of Western Europe, is a guess that a caller may allow where a wrong letter changes no
number.
"""

from dataclasses import dataclass
from pathlib import Path

from transect.errors import InputError
from transect.store.files.unpacking import LARGEST, OPENED, Unreadable, unpacked
from transect.store.tables.bounds import check_lines

# how files begin that are no text
BEGINNINGS = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file; name it .parquet",
    b"\x1f\x8b": "compressed by gzip; let its name end in .gz",
    b"BZh": "compressed by bzip2; let its name end in .bz2",
    b"\xfd7zXZ": "compressed by xz; let its name end in .xz",
    b"<!DOCTYPE": "a page of the web, not what it links to",
    b"<html": "a page of the web, not what it links to",
    b"\x89HDF": "an HDF5 file; write it as .csv or .parquet",
}
WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
ADVICE = "save it as UTF-8: in Excel as 'CSV UTF-8', elsewhere by iconv -f WINDOWS-1252 -t UTF-8 IN > OUT"


@dataclass(frozen=True)
class Text:
    """`notes`: sentences on what was guessed of its encoding."""

    text: str
    notes: tuple[str, ...]


def endings(path: Path) -> tuple[str, str]:
    """The form and the compression that a name says, in lower case: "Z.CSV.gz" -> (".csv", ".gz");
    no compression: "".
    """
    packed = path.suffix.lower() if path.suffix.lower() in OPENED else ""
    return Path(path.stem if packed else path.name).suffix.lower(), packed


def refuse_workbook(path: Path, place: str) -> None:
    """Raise InputError, beginning with `place`, for a name that ends as that of a spreadsheet."""
    if endings(path)[0] in WORKBOOKS:
        raise InputError(
            f"{place}: a workbook is not read; save its sheet as 'CSV UTF-8' and name that file."
        )


def read_text(path: Path, place: str, *, guess: bool) -> Text:
    """Raises InputError, beginning with `place`, for bytes that are no text. guess: whether
    Windows-1252 may be guessed.
    """
    _, packed = endings(path)
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise InputError(f"{place}: this is no file.")
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise Unreadable(f"it has {size:,} bytes; at most {LARGEST:,} are read")
        content = unpacked(path.read_bytes(), packed) if packed else path.read_bytes()
    except (OSError, Unreadable) as error:
        raise InputError(
            f"{place}: this cannot be read ({' '.join(str(error).split())})."
        ) from None
    for beginning, kind in BEGINNINGS.items():
        if content[:9].lower().startswith(beginning.lower()):
            raise InputError(f"{place}: this is no text but {kind}.")
    check_lines(content, place)
    return _decoded(content, place, guess)


def _decoded(content: bytes, place: str, guess: bool) -> Text:
    encoding = _utf16(content)
    if encoding or b"\0" not in content:
        try:
            return Text(content.decode(encoding or "utf-8-sig"), ())
        except UnicodeDecodeError as error:
            where = f"byte {error.start}" if encoding else f"line {_line(content, error.start)}"
    else:
        line = _line(content, content.index(b"\0"))
        raise InputError(f"{place}, line {line}: this is no text, it holds bytes of 0.")
    if encoding or any(ord(c) > 127 and c != "\ufffd" for c in content.decode("utf-8", "replace")):
        raise InputError(
            f"{place}, {where}: this is {'UTF-16' if encoding else 'UTF-8'} with a broken character."
        )
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        guess = False
    if not guess:
        raise InputError(f"{place}, {where}: this cannot be read as UTF-8 text; {ADVICE}.")
    word = next(w for w in text.split() if not w.isascii())[:40]
    return Text(
        text, (f"the file is not UTF-8; it is read as Windows-1252, e.g. {word!r} in {where}",)
    )


def _line(content: bytes, at: int) -> int:
    return content[:at].count(b"\n") + 1


def _utf16(content: bytes) -> str:
    """The name of the UTF-16 that the first bytes say, by their mark or by a 0 in every second one;
    else "".
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    sample = content[:200]
    odd, even = sample[1::2], sample[::2]
    if len(sample) > 3 and not odd.strip(b"\0") and b"\0" not in even:
        return "utf-16-le"
    return "utf-16-be" if len(sample) > 3 and not even.strip(b"\0") and b"\0" not in odd else ""
