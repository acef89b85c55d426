"""The notation of designs and the effects that follow."""

import pytest

from transect.errors import InputError
from transect.stats.generalizability.facets import parse_design, parse_study


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("p x i", ["p", "i", "p x i"]),
        ("i:p", ["p", "i:p"]),
        ("p x (i:h)", ["p", "h", "p x h", "i:h", "p x i:h"]),
        ("p x i:h", ["p", "h", "p x h", "i:h", "p x i:h"]),
        ("r:(p x t)", ["p", "t", "p x t", "r:(p x t)"]),
        ("i:h:s", ["s", "h:s", "i:h:s"]),
        ("(i x j):h", ["h", "i:h", "j:h", "i x j:h"]),
        ("(m:f) x (i:b)", ["f", "b", "m:f", "f x b", "i:b", "m x b:f", "f x i:b", "m x i:(f x b)"]),
        ("x x `two words`", ["x", "two words", "x x two words"]),
    ],
)
def test_effects_are_brennans(text: str, names: list[str]) -> None:
    """Sets of facets closed under nesting, as in Brennan's Venn diagrams (2001, ch. 3)."""
    design = parse_design(text)
    assert sorted(map(design.name, design.effects())) == sorted(names)


def test_five_crossed_facets_have_sixty_three_effects() -> None:
    """The object of measurement and five facets: 2^6 - 1."""
    assert len(parse_design("p x a x b x c x d x e").effects()) == 63


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y p x i", "exactly one '~'"),
        ("~ p x i", "no column of scores"),
        ("y ~ y x i", "cannot be a facet"),
        ("y ~ p x p", "'p' twice"),
        ("y ~ p x", "at its end"),
        ("y ~ p x (i:h", "closing parenthesis"),
        ("y ~ p + i", r"'\+' cannot be read"),
        ("y ~ p i", "'i' is not expected"),
        ("y ~ a x b x c x d x e x f x g", "at most 6"),
        ("y ~ " + "(" * 100_000 + "a", "at most 2,000 characters and 50 parentheses"),
        ("y ~ " + "(" * 900 + "a" + ")" * 900, "at most 2,000 characters and 50 parentheses"),
        ("y ~ " + " x ".join(f"f{i}" for i in range(100_000)), "at most 2,000 characters"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, message: str) -> None:
    """One sentence each."""
    with pytest.raises(InputError, match=message):
        parse_study(text)
