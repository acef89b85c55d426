"""Templates: the names of fields in braces, and nothing else."""

import pytest

from transect.registry.suite_file import templates

FACTS = {"id": "demo", "seed": 7, "size": 1.5, "notes": "x" * 9_000, "odd": "a{id}"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{id}-{seed}", "demo-7"),
        ("s{seed:03d}", "s007"),
        ("{{id}} {size}", "{id} 1.5"),
        ("{odd}", "a{id}"),  # a value is no template
        ("plain", "plain"),
    ],
)
def test_fields_are_filled_in(text: str, filled: str) -> None:
    """As str.format does, for what is allowed."""
    assert templates.filled(text, FACTS) == filled == text.format(**FACTS)


@pytest.mark.parametrize(
    "text",
    [
        "{id:>3000000000}",
        "{id:9999999}",
        "{seed:300d}",
        "{seed:{seed}}",
        "{id.__class__.__mro__}",
        "{id[0]}",
        "{id!r}",
        "{}",
        "{0}",
        "{id",
        "id}",
        "{a b}",
        "{id:03d}",  # of a text
        "{notes}{notes}",
        "x" * 10_001 + "{id}",
    ],
)
def test_nothing_else_is(text: str) -> None:
    """No attribute, index, conversion or wide width; no width of a text; no more than 10,000
    characters.
    """
    with pytest.raises(ValueError):
        templates.filled(text, FACTS)


def test_a_field_that_is_lacking() -> None:
    """It is named."""
    with pytest.raises(KeyError, match="absent"):
        templates.filled("{absent}", FACTS)


def test_what_is_kept_is_filled_in_later() -> None:
    """Fields of a later step stay; braces of the text and of values stand for themselves then, too."""
    later = templates.filled("{odd}-{step:03d}-{{x}}", FACTS, kept={"step"})
    assert templates.filled(later, {"step": 5}) == later.format(step=5) == "a{id}-005-{x}"
