"""What is wrong with the words of a command line, as one sentence: what was given, what is allowed,
and the nearest guess.
"""

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
    command = " ".join(["transect", *(error.command_chain or ())])
    if isinstance(error, UnknownCommandError):
        return _unknown_command(error, command)
    if isinstance(error, UnknownOptionError):
        return _unknown_option(error, command)
    if isinstance(error, UnusedCliTokensError):
        words = ", ".join(repr(word) for word in error.unused_tokens or ())
        return f"`{command}` takes no more arguments, but got {words}; see `{command} --help`."
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return f"{_missing(error.argument, error.keyword, command)}; see `{command} --help`."
    if isinstance(error, CoercionError) and error.argument is not None:
        return _unreadable(error, error.argument)
    return str(error)


def _unknown_command(error: UnknownCommandError, command: str) -> str:
    word = (error.unused_tokens or [""])[0]
    names = [name for name in error.app or () if not name.startswith("-")]
    return (
        f"`{command}` has no command {word!r}.{nearest(word, names)} Commands: {', '.join(names)}."
    )


def _unknown_option(error: UnknownOptionError, command: str) -> str:
    word = (error.token.keyword or error.token.value).partition("=")[0]
    word = f"--{addresses.shown(word[2:])}" if word.startswith("--") else word
    names = [
        name
        for argument in error.argument_collection
        if argument.parse
        for name in argument.names
        if name.startswith("-")
    ]
    return f"`{command}` has no option {word!r}.{nearest(word, names)} Options: {', '.join(names)}."


def _missing(argument: Argument, keyword: str | None, command: str) -> str:
    """What is missing: the value of an option that was named, an argument, or an option."""
    value = argument.parameter.metavar or "VALUE"
    if keyword is not None:
        return f"{keyword} needs a value ({value})"
    if argument.index is not None:
        return f"`{command}` needs the argument {argument.name.lstrip('-').upper()}"
    return f"`{command}` needs the option {argument.name} {value}"


def _unreadable(error: CoercionError, argument: Argument) -> str:
    name = (error.token.keyword if error.token else None) or argument.name
    choices = argument.get_choices()
    if choices and error.token is not None:
        word = error.token.value
        allowed = f"choose one of {', '.join(choices)}"
        return f"{name}: {word!r} is not allowed; {allowed}.{nearest(word, choices)}"
    return str(error) if error.msg is None else f"{name}: {error.msg}"
