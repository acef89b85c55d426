"""Unigram, bigram ... models of a corpus: what can be known from a few neighbouring words alone.
The estimate is that of lm/ngram.py.
"""

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from transect.lm.ngram import fit_ngram, save_ngram
from transect.lm.train import data
from transect.registry.recipe import Recipe
from transect.store.files.whole_files import write_folder


def train(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, documents: list[str], folder: Path
) -> None:
    """Count the whole corpus and write the one checkpoint. Nothing is counted across documents;
    each opens with the BOS token, if there is one.
    """
    ids = list(data.encoded(documents, tokenizer))
    tables = fit_ngram(
        ids, len(tokenizer), recipe.order, smoothing=recipe.smoothing, bos_id=tokenizer.bos_token_id
    )
    write_folder(folder, lambda unfinished: save_ngram(tables, unfinished, tokenizer))
