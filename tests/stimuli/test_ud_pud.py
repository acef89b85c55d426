"""Parallel text: aligned in all languages, whole, and told apart by genre and original."""

import os

import pytest

from transect.errors import InputError
from transect.stimuli import ud_pud
from transect.store import units
from transect.store.project import SHIPPED

needs_mirror = pytest.mark.skipif(
    not os.environ.get("TRANSECT_MIRROR"),
    reason="TRANSECT_MIRROR names no folder with the treebanks",
)
CONLLU = """# newdoc id = n01001
# sent_id = n01001011
# text = One sentence.
1	One	one	NUM	CD	_	2	nummod	_	_

# sent_id = w05010039
# text = Another # text = one.
1	Another	another	DET	DT	_	2	det	_	_
"""


def test_reads_id_text_genre_and_original():
    """From two lines of comment per sentence, and from nothing else."""
    assert ud_pud._sentences(CONLLU) == [
        ("n01001011", "One sentence.", "news", "eng"),
        ("w05010039", "Another # text = one.", "wikipedia", "spa"),
    ]


def test_every_language_has_a_source():
    """The languages for which the set says it exists are those of its files, readable without
    import.
    """
    declared = units.literals(SHIPPED / "src" / "transect" / "stimuli" / "ud_pud.py")
    assert declared["APPLIES"]["language"] == [source["language"] for source in declared["SOURCE"]]


def test_unknown_language():
    """The languages there are, and the nearest."""
    with pytest.raises(
        InputError, match="has no language 'enf'; it has eng, spa.* Did you mean 'eng'"
    ):
        ud_pud.items(seed=1, language="enf")


@needs_mirror
@pytest.mark.parametrize("language", ud_pud.APPLIES["language"])
def test_the_same_thousand_sentences(language, tmp_path, monkeypatch):
    """1,000 sentences with the same names in the same order, 750 of them written in English
    (treebank's README).
    """
    monkeypatch.setenv("TRANSECT_CACHE", str(tmp_path))
    frame, english = ud_pud.items(seed=1, language=language), ud_pud.items(seed=1, language="eng")
    assert len(frame) == 1000 and frame["item"].is_unique and (frame["text"].str.len() > 0).all()
    assert frame["item"].tolist() == english["item"].tolist()
    assert (frame["original"] == "eng").sum() == 750


@needs_mirror
def test_fewer_sentences_are_the_same_ones(tmp_path, monkeypatch):
    """A part is taken by position, so that it stays aligned; it is spread over genres."""
    monkeypatch.setenv("TRANSECT_CACHE", str(tmp_path))
    spanish, english = (
        ud_pud.items(seed=1, language=language, sentences=50) for language in ("spa", "eng")
    )
    assert spanish["item"].tolist() == english["item"].tolist()
    assert set(english["genre"]) == {"news", "wikipedia"}
