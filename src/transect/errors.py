"""What can go wrong, told apart by what a user can do about it."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The input is wrong: one sentence that names what was given, where, and what is allowed. Exit code 2."""


class UnavailableError(InputError):
    """Rightly asked for, but not on this machine or not with these flags (a device, a model's own code): the next run tries again."""


class NotApplicable(Exception):
    """A measure does not exist for this model; the message is the reason. The cell is neither missing nor failed."""


class LoadError(RuntimeError):
    """A checkpoint or its tokenizer cannot be loaded: its cells are failed, the others are kept."""


class ForwardError(LoadError):
    """A network's own forward raises: one sentence that names what it raised. The item is refused or, where every one fails, the cell."""


class ResourceError(RuntimeError):
    """Network, memory or disk gave out: the next run tries again."""


def nearest(name: object, allowed: Iterable[object]) -> str:
    """A clause that offers the nearest allowed name, e.g. `` Did you mean 'induction'?``; empty when none is near."""
    close = difflib.get_close_matches(str(name), [str(a) for a in allowed], n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
