"""Held-out documents of the miniature suite's own corpora: of the run's language and variant, never
trained on (see stimuli/corpora/grammar.py).

Item i says the same in all languages, so a sum over a document compares languages; bits per byte
compares models of one language.
"""

import pandas as pd

from transect.stimuli.corpora import grammar

VERSION = 1
SOURCE = "generated here from a seed"
BY = ["word_order", "marking", "corpus_variant"]
APPLIES = {"corpus": ["grammar"]}
COLUMNS = {  # column -> meaning [unit]
    "item": "id of the item",
    "text": "the text",
}


def items(
    *, seed: int, word_order: str, marking: str, corpus_variant: str, documents: int = 64
) -> pd.DataFrame:
    """The first `documents` held-out documents; the seed changes nothing, because they belong to
    the corpus.
    """
    texts = grammar.held_out_documents(
        word_order=word_order, marking=marking, corpus_variant=corpus_variant, n=documents
    )
    return pd.DataFrame({"item": [f"document {i}" for i in range(len(texts))], "text": texts})
