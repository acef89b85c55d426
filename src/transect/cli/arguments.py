"""Arguments of the command line: the parser whose errors repeat no secret, and the types of
numbers.
"""

import argparse
from typing import NoReturn

from transect.store.hub import addresses


class Parser(argparse.ArgumentParser):
    """argparse's, but an error shows no password or key of an address that was given; its
    subcommands' parsers are of this kind too.
    """

    def error(self, message: str) -> NoReturn:
        super().error(addresses.shown(message))


def positive(text: str) -> int:
    """An integer of at least 1. Raises ArgumentTypeError for another text."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; it must be an integer of at least 1."
        )
    return int(text)


def above_zero(text: str) -> float:
    """A standard deviation: a finite number above 0. Raises ArgumentTypeError for another text."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no standard deviation; it must be a number above 0."
        )
    return value
