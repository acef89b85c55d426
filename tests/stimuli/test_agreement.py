"""The agreement items: balanced, parallel in the four languages, and unknowable to a bigram model."""

import itertools

import pandas as pd
import pytest

from transect.lm.ngram import fit_ngram
from transect.stimuli import agreement
from transect.stimuli.corpora import grammar

LANGUAGES = list(itertools.product(("SVO", "SOV"), ("verb", "adjective")))


def items(word_order: str, marking: str, seed: int = 0) -> pd.DataFrame:
    return agreement.items(seed=seed, word_order=word_order, marking=marking)


@pytest.mark.parametrize(("word_order", "marking"), LANGUAGES)
def test_the_design_is_balanced(word_order: str, marking: str) -> None:
    """Each frame of each condition occurs once with a singular and once with a plural subject;
    names are unique.
    """
    found = items(word_order, marking)
    assert (
        found.groupby(["condition", "frame"])["number"].agg(set) == {"singular", "plural"}
    ).all()
    assert found["item"].is_unique and list(found.columns) == list(agreement.COLUMNS)


@pytest.mark.parametrize(("word_order", "marking"), LANGUAGES)
def test_attractors_have_the_other_number(word_order: str, marking: str) -> None:
    """In an attractor item every noun but the subject's has the other number, and a noun stands
    between subject and marked word.
    """
    found = items(word_order, marking)
    for row in found[found["condition"] == "attractor"].itertuples():
        numbers = [w[-1] for w in row.sentence_good.split() if w[0] == "n"]
        subject = "s" if row.number == "singular" else "p"
        assert sorted(numbers) == sorted([subject, *("sp".replace(subject, "") * 2)])


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("word_order", "marking"), LANGUAGES)
def test_unigrams_and_bigrams_are_at_chance(word_order: str, marking: str, order: int) -> None:
    """Planted: fitted on the corpus itself, both are right on exactly half of the items of either
    condition.
    """
    tokenizer = grammar.tokenizer()
    texts = grammar.train_documents(
        word_order=word_order, marking=marking, corpus_variant="bursty", n=500
    )
    bos = tokenizer.bos_token_id
    tables = fit_ngram(tokenizer(texts)["input_ids"], len(tokenizer), order, bos_id=bos)
    found = items(word_order, marking)

    def score(text: str) -> float:
        import numpy as np

        return float(
            np.log(tables.probabilities(np.array([bos, *tokenizer(text)["input_ids"]])))[1:].sum()
        )

    better = found["sentence_good"].map(score) - found["sentence_bad"].map(score)
    right = (better > 1e-9).astype(float) + 0.5 * (better.abs() <= 1e-9)
    assert right.groupby(found["condition"]).mean().to_dict() == {"simple": 0.5, "attractor": 0.5}


def test_the_meanings_are_the_same_in_all_languages() -> None:
    """Row i has the same words, numbers of the marked word aside, in all four languages."""
    bags = [
        items(*lang)["sentence_good"].map(lambda s: sorted(w.rstrip("sp") for w in s.split()))
        for lang in LANGUAGES
    ]
    assert all(bag.equals(bags[0]) for bag in bags)


def test_another_seed_gives_other_items() -> None:
    """And the same seed the same ones."""
    assert items("SVO", "verb").equals(items("SVO", "verb"))
    assert not items("SVO", "verb").equals(items("SVO", "verb", seed=1))
