"""Regular expressions of a user, within a time."""

import re
import time

import pytest

from transect.errors import InputError
from transect.store import patterns

WORDS = ["the", "Ġdog", "\n", "", "日本", "a1", "\ud800", "z" * 40]


@pytest.mark.parametrize(
    "pattern", ["^[a-z]+$", "Ġ", r"\d", "", r"^\w{2}$", "(?i)THE", "[^ -~]", "(?<!a)1", "\ud800"]
)
def test_results_are_those_of_re(pattern: str) -> None:
    """Text by text, half a character too."""
    assert patterns.found_in(pattern, WORDS, "tokens") == [
        bool(re.search(pattern, word)) for word in WORDS
    ]


@pytest.mark.parametrize("pattern", ["(z+)+!", "(z|zz)+!", "(z*)*!"])
def test_a_search_without_end_is_ended(pattern: str) -> None:
    """Each of these takes 2^40 steps in 40 z."""
    began = time.perf_counter()
    with pytest.raises(
        InputError, match=r"^tokens: the search for .* took more than 0.5 seconds and was ended"
    ):
        patterns.found_in(pattern, WORDS, "tokens", seconds=0.5)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    "pattern",
    ["(", "[z-a]", "a{2,1}", "(" * 900 + "a" + ")" * 900, "a" * 1_001, "x{99999999999999}"],
)
def test_what_is_no_pattern(pattern: str) -> None:
    """One sentence that names the option."""
    with pytest.raises(InputError, match="^tokens: .*regular expression"):
        patterns.found_in(pattern, WORDS, "tokens")
