"""The held-out documents of the generated languages."""

from transect.stimuli import grammar_heldout
from transect.stimuli.corpora import grammar


def test_items_are_the_first_held_out_documents() -> None:
    """Their text is the corpus's own, whatever the seed: documents are aligned between runs."""
    where = {"word_order": "SOV", "marking": "verb", "corpus_variant": "bursty"}
    found = grammar_heldout.items(seed=3, documents=5, **where)
    assert list(found["text"]) == grammar.held_out_documents(n=5, **where)
    assert list(found["item"]) == [f"document {i}" for i in range(5)]
