"""Names that become folders and files: one rule, for those who read them and for those who write
there.

A name is made of 1 to LONGEST letters, digits, `_`, `.`, `+` and `-` of ASCII. The first is a
letter, a digit or `_`, the last no dot; there is no `..`; and no system takes it for a device (CON,
NUL, COM1 ... on Windows, with any ending). Such a name is one folder on every system, and no place
outside. A *revision* is one name or several with `/` between them (refs/pr/1). Two names that
differ in capitals only are one folder on some systems, so they never stand side by side.
"""

import re
import unicodedata
from collections.abc import Iterable

from transect.errors import InputError

LONGEST = 100
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_OTHER = re.compile(r"[^A-Za-z0-9_.+-]+")
_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}
FORM = f"letters, digits, _, ., + and - of ASCII, at most {LONGEST}, the first a letter, digit or _, the last no dot"


def fault(name: object) -> str:
    """What is wrong with a name, as the end of a sentence that begins with it; empty where nothing
    is.
    """
    if not isinstance(name, str) or not name:
        return "is no name"
    if len(name) > LONGEST:
        return f"has {len(name)} characters; allowed are {LONGEST}"
    if not _NAME.fullmatch(name) or ".." in name or name.endswith("."):
        near = nearest_name(name)
        return f"is not made of {FORM}, without '..'{f'; perhaps {near!r}' if near else ''}"
    first, *rest = name.split(".")
    if first.lower() in _DEVICES:
        return f"is a device on Windows, where no file can be called so; perhaps {'.'.join([first + '_', *rest])!r}"
    return ""


def revision_fault(revision: object) -> str:
    """The same of a revision: names with `/` between them, at most LONGEST characters in all."""
    if not isinstance(revision, str) or len(revision) > LONGEST:
        return fault(revision)
    for part in revision.split("/"):
        if of_part := fault(part):
            return of_part if part == revision else f"has the part {part!r}, which {of_part}"
    return ""


def check(name: object, what: str) -> str:
    """The name itself. Raises InputError for one that is no name; `what` says where it was given
    and of what it is the name.
    """
    if wrong := fault(name):
        raise InputError(f"{what} {short(name)} {wrong}.")
    return str(name)


def check_revision(revision: object, what: str) -> str:
    """The revision itself; InputError as `check`."""
    if wrong := revision_fault(revision):
        raise InputError(f"{what} {short(revision)} {wrong}.")
    return str(revision)


def one_folder(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two different names that are one folder where capitals do not count; None where
    there are none.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            return other, name
    return None


def nearest_name(text: str) -> str:
    """A name that is allowed and reads like the text; empty where there is none."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"\.{2,}", ".", _OTHER.sub("-", plain)).lstrip(".+-")[:LONGEST].rstrip(".+-")
    return "" if fault(name) else name


def short(name: object) -> str:
    """A name as it is shown: long ones cut."""
    text = repr(name)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
