"""Secrets in texts: found in every dress, and nothing else is changed."""

import random
import string
import time

import pytest

from transect.store.hub.masking import MASK, PIECE, mask

KEY = "sk-CANARYKEY-0123456789abcdef"


def test_the_text_around_a_secret_stays() -> None:
    """Each run is replaced by one mask, wherever it stands."""
    assert mask(f"{KEY} is wrong, {KEY}!", [KEY]) == f"{MASK} is wrong, {MASK}!"
    assert (
        mask(f"a {KEY[:8]}... b {KEY[-8:]} c {KEY[5:15]}", [KEY])
        == f"a {MASK}... b {MASK} c {MASK}"
    )


def test_fewer_than_a_piece_is_no_secret() -> None:
    """Seven characters of it stay; so does all where the secret itself is shorter, or there is
    none.
    """
    assert mask(KEY[:7], [KEY]) == KEY[:7]
    assert mask("abc abc", ["abc", None, ""]) == "abc abc"


@pytest.mark.parametrize("seed", range(5))
def test_texts_without_the_secret_are_unchanged(seed: int) -> None:
    """Random texts of the secret's own letters, escapes and white space, in which no piece of it
    stands; seeds fixed.
    """
    draw = random.Random(seed)
    alphabet = [*string.printable, "%41", "\\u0041", "&#65;", "\\n", "***", "é", "\u200b", "日"]
    text = "".join(draw.choices(alphabet, k=20_000))
    assert mask(text, [KEY]) == text


@pytest.mark.parametrize("seed", range(5))
def test_a_secret_is_found_wherever_it_stands(seed: int) -> None:
    """Random keys at random places of random texts: no piece is left, and what was before and after
    is.
    """
    draw = random.Random(seed)
    letters = string.ascii_letters + string.digits + "-_.+/="
    for _ in range(20):
        key = "".join(draw.choices(letters, k=draw.randint(PIECE, 200)))
        before, after = ("".join(draw.choices("äöü€ \n", k=draw.randint(0, 50))) for _ in range(2))
        told = mask(before + key + after, [key])
        assert MASK in told and not any(
            key[i : i + PIECE] in told for i in range(len(key) - PIECE + 1)
        )
        assert told.startswith(before.rstrip()) and told.endswith(after.lstrip())


@pytest.mark.parametrize(
    "text",
    ["\\" * 10**5, "%25" * 10**5, "&amp;" * 10**5, "&" * 10**5, "&#x" * 10**5, "\\u{" * 10**5],
)
def test_long_texts_are_looked_at_once(text: str) -> None:
    """Escapes that begin and do not end: a hundred thousand take seconds at most."""
    start = time.process_time()
    assert mask(text, [KEY]) == text and time.process_time() - start < 5


def test_masking_twice_changes_nothing_more() -> None:
    """What is masked holds no piece."""
    once = mask(f"x {KEY.upper()} y {' '.join(KEY)} z", [KEY])
    assert mask(once, [KEY]) == once == f"x {MASK} y {MASK} z"
