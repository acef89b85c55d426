"""What can go wrong, told apart by what a user can do about it."""

import contextlib
import difflib
import errno
import os
from collections.abc import Iterable, Iterator

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED = (
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
)

LISTED = 50  # names of a list
# characters of what is told of one error; what was given stands in it, however long that is
LONGEST_TEXT = 1_200
# characters of a name that is compared with others, which takes the product of their lengths
LONGEST_NAME = 200


class InputError(ValueError):
    """The input is wrong: one sentence that names what was given, where, and what is allowed. Exit
    code 2.
    """


class UnavailableError(InputError):
    """Rightly asked for, but not on this machine or not with these flags (a device, a model's own
    code): the next run tries again.
    """


class NotApplicable(Exception):
    """A measure does not exist for this model; the message is the reason. The cell is neither
    missing nor failed.
    """


class LoadError(RuntimeError):
    """A checkpoint or its tokenizer cannot be loaded: its cells are failed, the others are kept."""


class ForwardError(LoadError):
    """A network's own forward raises: one sentence that names what it raised. The item is refused
    or, where every one fails, the cell.
    """


class LibraryPanic(LoadError):
    """A library written in Rust (tokenizers, safetensors) gave up on what it was given."""


class ResourceError(RuntimeError):
    """Network, memory or disk gave out: the next run tries again."""


@contextlib.contextmanager
def panics_are_errors() -> Iterator[None]:
    """Raise LibraryPanic in place of a Rust library's panic, which is no Exception, so that no
    `except Exception` would catch it.

    Its class cannot be imported, and each library has its own: it is known by its name. Ctrl-C and
    exits pass.
    """
    try:
        yield
    except BaseException as error:
        if (type(error).__module__, type(error).__name__) != ("pyo3_runtime", "PanicException"):
            raise
        raise LibraryPanic(f"a library gave up: {' '.join(str(error).split())[:200]}") from None


def disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of room; libraries that are written in other languages say so
    in their text only.
    """
    if getattr(error, "errno", None) in DISK_FULL:
        return True
    sentence = str(error)
    return any(os.strerror(number) in sentence for number in DISK_FULL)


def of_disk(error: BaseException) -> tuple[str, int] | None:
    """A sentence about a disk that cannot be written (or a file that may not be read), and its exit
    code; None for any other error.

    1: the disk is full, and the same command goes on once there is room; 2: this place is not
    allowed.
    """
    number, name = getattr(error, "errno", None), getattr(error, "filename", None)
    place = f"{name}: " if name else ""
    if disk_full(error):
        return f"{place}the disk is full; what was finished before is kept.", 1
    if number in NOT_ALLOWED:
        return f"{place}this place cannot be used ({os.strerror(number)}).", 2
    return None


def brief(text: str, most: int = LONGEST_TEXT) -> str:
    """The text; of a longer one its first and its last characters, and how many are left out
    between.
    """
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end]} ... ({len(text) - most:,} characters) ... {text[-end:]}"


def nearest(name: object, allowed: Iterable[object]) -> str:
    """A clause that offers the nearest allowed name, e.g. `` Did you mean 'induction'?``; empty
    when none is near.
    """
    if len(str(name)) > LONGEST_NAME:
        return ""
    close = difflib.get_close_matches(str(name), [str(a) for a in allowed], n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def listed(names: Iterable[object]) -> str:
    """The names, of many the first ones and how many follow."""
    every = [str(name)[:LONGEST_NAME] for name in names]
    first = ", ".join(every[:LISTED])
    if len(every) <= LISTED:
        return first
    return f"{first} and {len(every) - LISTED:,} more"
