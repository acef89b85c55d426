"""What is wrong with the words of a command line, as one sentence: what was given, what is allowed,
and the nearest guess.
"""

from functools import singledispatch

from cyclopts import (
    Argument,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from transect.errors import nearest
from transect.store.hub import addresses


def refusal(error: CycloptsError) -> str:
    """The sentence; of a kind of error that is not named here, the parser's own."""
    return _sentence(error, " ".join(["transect", *(error.command_chain or ())]))


@singledispatch
def _sentence(error: CycloptsError, command: str) -> str:
    return str(error)


@_sentence.register
def _(error: UnknownCommandError, command: str) -> str:
    word = (error.unused_tokens or [""])[0]
    names = [name for name in error.app or () if not name.startswith("-")]
    allowed = f"Commands: {', '.join(names)}."
    return f"`{command}` has no command {word!r}.{nearest(word, names)} {allowed}"


@_sentence.register
def _(error: UnknownOptionError, command: str) -> str:
    word = (error.token.keyword or error.token.value).partition("=")[0]
    if word.startswith("--"):  # an address is known as one where nothing stands before it
        word = f"--{addresses.shown(word[2:])}"
    names = [
        name
        for argument in error.argument_collection
        if argument.parse
        for name in argument.names
        if name.startswith("-")
    ]
    allowed = f"Options: {', '.join(names)}."
    return f"`{command}` has no option {word!r}.{nearest(word, names)} {allowed}"


@_sentence.register
def _(error: UnusedCliTokensError, command: str) -> str:
    words = ", ".join(repr(word) for word in error.unused_tokens or ())
    return f"`{command}` takes no more arguments, but got {words}; see `{command} --help`."


@_sentence.register
def _(error: MissingArgumentError, command: str) -> str:
    if error.argument is None:
        return str(error)
    return f"{_missing(error.argument, error.keyword, command)}; see `{command} --help`."


@_sentence.register
def _(error: CoercionError, command: str) -> str:
    if error.argument is None or error.token is None:
        return str(error)
    name, word = error.token.keyword or error.argument.name, error.token.value
    if choices := error.argument.get_choices():
        allowed = f"choose one of {', '.join(choices)}"
        return f"{name}: {word!r} is not allowed; {allowed}.{nearest(word, choices)}"
    return str(error) if error.msg is None else f"{name}: {error.msg}"


def _missing(argument: Argument, keyword: str | None, command: str) -> str:
    """What is missing: the value of an option that was named, an argument, or an option."""
    value = argument.parameter.metavar or "VALUE"
    if keyword is not None:
        return f"{keyword} needs a value ({value})"
    if argument.index is not None:
        return f"`{command}` needs the argument {argument.name.lstrip('-').upper()}"
    return f"`{command}` needs the option {argument.name} {value}"
