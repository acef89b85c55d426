"""The generated languages: what differs between them, what does not, and that a seed fixes every
byte.
"""

import hashlib
import itertools
import random

import pytest

from transect.stimuli.corpora import grammar
from transect.stimuli.corpora.grammar import Meaning, Phrase

LANGUAGES = list(itertools.product(("SVO", "SOV"), ("verb", "adjective")))
SUBJECT = Phrase(noun=1, plural=False, adjective=2, adposition=0, complement=(3, True))
SAID = Meaning(SUBJECT, 4, Phrase(noun=5, plural=True))


def bare(word: str) -> str:
    """A word without its number."""
    return word[:-1] if word[0] in "nvia" and word[-1] in "sp" and word[1:-1].isdigit() else word


@pytest.mark.parametrize(
    ("word_order", "marking", "expected"),
    [
        ("SVO", "verb", "n1s p0 n3p link a2 subj v4s obj n5p ."),
        ("SVO", "adjective", "n1s p0 n3p link a2s subj v4 obj n5p ."),
        ("SOV", "verb", "a2 link n3p p0 n1s subj n5p obj v4s ."),
        ("SOV", "adjective", "a2s link n3p p0 n1s subj n5p obj v4 ."),
    ],
)
def test_one_meaning_in_four_languages(word_order: str, marking: str, expected: str) -> None:
    """Worked out by hand: a subject with an adposition phrase, a verb, an object of the other
    number.
    """
    assert " ".join(grammar.sentence(SAID, word_order, marking)) == expected


@pytest.mark.parametrize(("word_order", "marking"), LANGUAGES)
def test_the_wrong_form_differs_in_one_word(word_order: str, marking: str) -> None:
    """`flip` changes the number of the marked word and nothing else."""
    good, bad = (grammar.sentence(SAID, word_order, marking, flip=flip) for flip in (False, True))
    changed = [(a, b) for a, b in zip(good, bad, strict=True) if a != b]
    assert [(bare(a), bare(b)) for a, b in changed] == [
        ("v4", "v4") if marking == "verb" else ("a2", "a2")
    ]


def test_documents_say_the_same_in_all_languages() -> None:
    """Document i holds the same words, numbers aside, in all four languages: only their order
    differs.
    """
    for i in range(50):
        bags = [
            sorted(bare(w) for w in grammar.document(f"train {i}", *lang, "bursty").split()[:40])
            for lang in LANGUAGES
        ]
        whole = [
            " ".join(grammar.document(f"train {i}", *lang, "bursty").split()).count(".")
            for lang in LANGUAGES
        ]
        assert bags[0] == bags[1] and bags[2] == bags[3]
        assert len(set(whole)) == 1


def test_bursty_and_fresh_differ_in_syllables_only() -> None:
    """Everything but the syllables of verses and names stands at the same place in both variants."""
    for i in range(50):
        pair = [
            grammar.document(f"train {i}", "SVO", "verb", variant).split()
            for variant in ("bursty", "fresh")
        ]
        assert all(a == b or {a, b} <= set(grammar.SYLLABLES) for a, b in zip(*pair, strict=True))


def repeated_trigrams(variant: str) -> float:
    """Share of the trigrams of syllables that occurred before in their document."""
    seen_before = total = 0
    for i in range(200):
        words = grammar.document(f"train {i}", "SVO", "verb", variant).split()
        trigrams = [
            t
            for t in zip(words, words[1:], words[2:], strict=False)
            if set(t) <= set(grammar.SYLLABLES)
        ]
        total += len(trigrams)
        seen_before += len(trigrams) - len(set(trigrams))
    return seen_before / total


def test_spans_recur_in_bursty_documents_only() -> None:
    """Planted: more than a quarter of the trigrams recur in bursty documents, next to none in fresh
    ones (40^3 are possible).
    """
    assert repeated_trigrams("bursty") > 0.25
    assert repeated_trigrams("fresh") < 0.005


@pytest.mark.parametrize(("word_order", "marking"), LANGUAGES)
def test_no_neighbours_agree(word_order: str, marking: str) -> None:
    """The words beside a marked word are never nouns: an invariant word separates it from what it
    agrees with.
    """
    marked = {"verb": "vi", "adjective": "a"}[marking]
    rng = random.Random(0)
    for _ in range(500):
        words = grammar.sentence(
            grammar.draw_meaning(rng, lambda: ("ba", "bo")), word_order, marking
        )
        for before, word, after in zip([".", *words], words, [*words[1:], "."], strict=False):
            if word[0] in marked and word[1:2].isdigit():
                toward = before if (word_order, marking) != ("SOV", "adjective") else after
                assert toward in (grammar.SUBJECT, grammar.OBJECT, grammar.LINK)


def test_the_corpus_is_the_same_bytes_everywhere() -> None:
    """Golden digest of 200 documents in two languages: a change of the corpus must raise VERSION
    (and this digest).
    """
    texts = [
        *grammar.train_documents(word_order="SVO", marking="verb", corpus_variant="bursty", n=100),
        *grammar.train_documents(
            word_order="SOV", marking="adjective", corpus_variant="fresh", n=100
        ),
    ]
    assert (grammar.VERSION, hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]) == (
        1,
        "6fcf789ad79ae855",
    )


def test_documents_fill_a_row_and_lie_in_the_vocabulary() -> None:
    """63 words, all of them known: with the beginning-of-sequence token a row of 64, and no unknown
    token.
    """
    tokenizer = grammar.tokenizer()
    for text in grammar.held_out_documents(
        word_order="SOV", marking="verb", corpus_variant="fresh", n=50
    ):
        ids = tokenizer(text)["input_ids"]
        assert len(ids) == grammar.WORDS_PER_DOCUMENT == 63
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text


def test_no_document_is_held_out_and_trained_on() -> None:
    """The two sets are drawn from different seeds and share no document."""
    train = set(
        grammar.train_documents(word_order="SVO", marking="verb", corpus_variant="fresh", n=2000)
    )
    assert not train & set(
        grammar.held_out_documents(word_order="SVO", marking="verb", corpus_variant="fresh")
    )
