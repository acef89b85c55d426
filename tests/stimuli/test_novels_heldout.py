"""Passages of held-out novels."""

import os

import pytest

from transect.errors import InputError
from transect.stimuli import novels_heldout
from transect.stimuli.readers import eltec

needs_data = pytest.mark.skipif(
    "TRANSECT_MIRROR" not in os.environ, reason="needs the novels: set TRANSECT_MIRROR"
)


@pytest.fixture
def planted(monkeypatch):
    """Two novels of 40 and 10 paragraphs of 20 characters, each paragraph saying where it stands."""
    texts = {
        name: "\n".join(f"{name} paragraph {k:03d} áé" for k in range(n))
        for name, n in (("A", 40), ("B", 10))
    }
    monkeypatch.setattr(
        novels_heldout, "novels", lambda language: [eltec.Novel(*t) for t in texts.items()]
    )


def test_passages_are_spread_evenly_over_the_text(planted):
    """Ten passages of fifty equal paragraphs: one in every five, from the third on."""
    items = novels_heldout.items(seed=0, language="eng", passages=10, passage_bytes=30)
    assert items["item"].tolist() == [*(f"A:{k}" for k in range(3, 40, 5)), "B:3", "B:8"]


def test_every_paragraph_can_be_asked_for_once(planted):
    """As many passages as paragraphs: no paragraph is taken twice."""
    assert novels_heldout.items(seed=0, language="eng", passages=50)["item"].is_unique


def test_more_passages_than_paragraphs_are_refused(planted):
    """The error says how many there are."""
    with pytest.raises(InputError, match="allowed are 1 to 50"):
        novels_heldout.items(seed=0, language="eng", passages=51)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (100, "Él vio\ntres aves"),
        (11, "Él vio"),
        (12, "Él vio\ntres"),
        (3, "Él"),
        (5, "Él"),
        (2, "É"),
        (1, ""),
    ],
)
def test_passage_ends_with_the_last_whole_word_within_the_limit(limit, expected):
    """Bytes count, not characters (É has two); a first word that is too long is cut between
    characters.
    """
    assert novels_heldout.passage(["Él vio", "tres aves"], limit) == expected


def test_unknown_language_is_refused():
    """The error lists the languages."""
    with pytest.raises(InputError, match="there are: eng, spa"):
        novels_heldout.items(seed=0, language="deu")


@needs_data
@pytest.mark.parametrize("language", ["eng", "spa"])
def test_passages_of_all_six_novels(language):
    """512 passages, at most 400 bytes, of all six held-out novels of a language."""
    items = novels_heldout.items(seed=0, language=language)
    assert len(items) == 512 and items["item"].is_unique and items["novel"].nunique() == 6
    assert items["text"].str.encode("utf-8").str.len().between(1, 400).all()
