"""Tests that a token without an embedding or a logit costs its own items only, in every measure."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.architectures import CAUSAL, LEAKING, MASKED, MORE, SEQ2SEQ, model_of
from transect.lm.repeats import repeats
from transect.lm.score.scoring import lines, total_logprobs
from transect.lm.score.vocabulary import lacking
from transect.store import units
from transect.store.project import find_project


def short(kind: str, rows: int = 1):
    """A model whose embedding and unembedding lack the last `rows` tokens of its tokenizer, and the
    first word that they lack.
    """
    whole = model_of(kind)
    size = len(whole.tokenizer) - rows
    return model_of(kind, vocab_size=size), whole.tokenizer.convert_ids_to_tokens(size)


@pytest.mark.parametrize("kind", [*CAUSAL, *MASKED, *MORE, *LEAKING, *SEQ2SEQ])
def test_a_text_with_a_token_that_has_no_embedding_is_refused_alone(kind):
    """Every architecture: the sentence names the token, the other text has its total."""
    model, word = short(kind)
    read = lines(model, ["the dog", f"the {word}"], context="a" if kind in SEQ2SEQ else "")
    assert (
        read[1].error
        == f"the token {word!r} (id {model.vocab_size}) has no embedding: {kind} has {model.vocab_size}"
    )
    assert np.isfinite(total_logprobs(model, read)).tolist() == [True, False]


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_a_context_with_such_a_token_is_refused_where_an_encoder_reads_it(kind):
    """No text has a total then; each is told why."""
    model, word = short(kind)
    read = lines(model, ["the dog", "the cat"], context=f"a {word}")
    assert all(
        f"the token {word!r} (id {model.vocab_size}) has no embedding" in line.error
        for line in read
    )
    assert np.isnan(total_logprobs(model, read)).all()


def test_a_token_without_a_logit_is_read_and_not_predicted():
    """Planted: an unembedding of 50 rows under an embedding of 63; only what has a logit gets a
    number.
    """
    model = model_of("gpt2", tie_word_embeddings=False)
    model.network.lm_head = torch.nn.Linear(32, 50, bias=False)
    assert model.n_logits == 50
    assert lacking(model, [0, 55, 6], 2) == "" and "has no logit" in lacking(model, [0, 6, 55], 1)
    (found,) = model.token_logprobs([[0, 6, 55, 7]])
    assert np.isfinite(found).tolist() == [False, True, False, True]
    assert repeats(model, [{"length": 4}], n=64, seed=0)[0].ids.max() < 50


ITEMS = {
    "minimal_pair": {
        "sentence_good": ["the dog", "the {}"],
        "sentence_bad": ["the cat", "the cat"],
    },
    "surprisal": {"text": ["the dog", "the {}"]},
    "bits_per_byte": {"text": ["the dog", "the {}"]},
    "forced_choice": {
        "sentence_good": ["the dog", "the {}"],
        "sentence_bad": ["the cat", "the cat"],
    },
    "activation_patching": {
        **{"clean": ["the dog", "the {}"], "corrupted": ["the cat", "the cat"]},
        **{"answer": ["runs", "runs"], "foil": ["sees", "sees"]},
    },
}


@pytest.mark.parametrize("name", ITEMS)
def test_a_measure_refuses_such_an_item_and_keeps_the_other(name):
    """llama: the second item has the token; its error names it (forced choice: in the prompt)."""
    model, word = short("llama")
    items = pd.DataFrame(
        {"item": ["a", "b"], **{c: [t.format(word) for t in v] for c, v in ITEMS[name].items()}}
    )
    rows = units.find("measure", name, find_project()).load().measure(model, items, seed=0)
    told = rows[rows["item"] == "b"]["error"]
    assert (
        told.notna().all()
        and told.str.contains(word if name != "forced_choice" else str(model.vocab_size)).all()
    )
    other = rows[rows["item"] == "a"]["error"]
    assert (
        other.isna().all()
        or name == "forced_choice"
        and not other.str.contains("has no|token id").any()
    )
