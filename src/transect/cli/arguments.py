"""Kinds of values that commands take: how each is read from the command line, and what its help
calls it.

The signature of a command is its parser: what stands before `/` is an argument, what stands after
`*` an option, and the fields of a group of options (a dataclass) are options too. The docstring is
its help.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from transect.errors import InputError

LEAST_SAMPLES = 100  # percentiles of fewer bootstrap samples are no intervals


def positive(text: str) -> int:
    """An integer of at least 1. Raises InputError for another text."""
    return _counted(text, 1, f"{text!r} is not allowed; it must be an integer of at least 1.")


def samples(text: str) -> int:
    """A number of bootstrap samples. Raises InputError for fewer than 100."""
    allowed = f"a whole number of at least {LEAST_SAMPLES}"
    return _counted(text, LEAST_SAMPLES, f"{text!r} bootstrap samples; give {allowed}.")


def whole(text: str) -> int:
    """A whole number. Raises InputError for another text."""
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{text!r} is not a whole number.") from None


def number(text: str) -> float:
    """A number. Raises InputError for another text."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{text!r} is not a number.") from None


def above_zero(text: str) -> float:
    """A standard deviation: a finite number above 0. Raises InputError for another text."""
    return _within(
        text,
        lambda value: 0 < value < float("inf"),
        f"{text!r} is not a standard deviation; it must be a number above 0.",
    )


def megabytes(text: str) -> float:
    """A memory budget in MB, from 1 to 1e9. Raises InputError for another text."""
    return _within(
        text,
        lambda value: 1 <= value < 1e9,
        f"{text!r} is not a memory budget; it must be a number of megabytes, at least 1.",
    )


def at_most_one(**options: object) -> None:
    """Refuse options of which one at most may be given, by the names that Python calls them.

    Raises InputError where two of them are neither None nor False.
    """
    given = [f"--{name}" for name, value in options.items() if value not in (None, False)]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} exclude each other; give one of them.")


def default_text(value: object) -> str:
    """What the help shows of a default."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None or value == () else str(value)


def _counted(text: str, least: int, refusal: str) -> int:
    if not text.isdecimal() or int(text) < least:
        raise InputError(refusal)
    return int(text)


def _within(text: str, allowed: Callable[[float], bool], refusal: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(refusal) from None
    if not allowed(value):
        raise InputError(refusal)
    return value


def read_by(read: Callable[[str], Any], metavar: str) -> Parameter:
    """The parameter of a kind of value: `read` makes it of its text."""

    def converted(_kind: Any, tokens: Sequence[Token]) -> Any:
        return read(tokens[0].value)

    return Parameter(converter=converted, metavar=metavar)


# numbers
Count = Annotated[int, read_by(positive, "N")]
Samples = Annotated[int, read_by(samples, "N")]
Whole = Annotated[int, read_by(whole, "N")]
Number = Annotated[float, read_by(number, "X")]
StandardDeviation = Annotated[float, read_by(above_zero, "SD")]
Megabytes = Annotated[float, read_by(megabytes, "MB")]
Seed = Annotated[Whole, Parameter(name="--seed", help="seed of the random numbers that are drawn")]

# names
Column = Annotated[str, Parameter(metavar="COLUMN")]
Facet = Annotated[str, Parameter(metavar="FACET")]
File = Annotated[Path, Parameter(metavar="FILE")]
Query = Annotated[
    str | None,
    Parameter(
        name="--where",
        metavar="QUERY",
        show_default="all runs",
        help="list only the runs that satisfy a query, e.g. \"objective == 'causal' and "
        'params_total < 2e9"',
    ),
]

# what many commands take
Json = Annotated[bool, Parameter(name="--json", help="print the result as JSON")]
Study = Annotated[str, Parameter(help="name of a study, or path of its file")]
Table = Annotated[
    Path,
    Parameter(
        help="CSV or a variant of it (any separator; also .gz, .bz2, .xz, .zip), JSON lines, "
        "Parquet or Feather"
    ),
]
Cores = Annotated[
    Count | None,
    Parameter(
        name=("--cores", "-j"),
        show_default="the setting `cores` of the project, otherwise all",
        help="number of cores to use",
    ),
]
SameValues = Annotated[
    bool,
    Parameter(
        name="--same-values",
        help="keep what was measured although units were edited at an equal VERSION: you state "
        "that they give the same values",
    ),
]
REMOTE_CODE = "run the Python files of a model whose registry entry says `remote_code: true`"
