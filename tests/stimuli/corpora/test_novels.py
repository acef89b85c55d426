"""The corpus of novels: passages and tokenizer."""

import os

import pytest

from transect.stimuli.corpora import novels

needs_data = pytest.mark.skipif(
    "TRANSECT_MIRROR" not in os.environ, reason="needs the novels: set TRANSECT_MIRROR"
)
TEXTS = ["El gobierno habló.\nLas mujeres hablaron.", "The old man spoke.\nThe women spoke."] * 20


def test_passages_are_whole_paragraphs_that_add_up_to_the_text():
    """Paragraphs of 400 characters come in fours; each ends in a line break and none is lost."""
    text = "\n".join(str(k).ljust(399, ".") for k in range(10))
    found = list(novels.passages(text))
    assert [passage.count("\n") for passage in found] == [4, 4, 2]
    assert "".join(found) == text + "\n"


def test_tokenizer_is_the_same_each_time_and_loses_nothing():
    """Byte-level: any text comes back; the separator is token 0; a line break is a token of its
    own.
    """
    tokenizer, again = (novels.train_tokenizer(TEXTS, 300) for _ in range(2))
    assert tokenizer.get_vocab() == again.get_vocab() and len(tokenizer) == 300
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 0, 0)
    text = "El gobierno: \U0001f600 naïve\nLas"
    ids = tokenizer(text)["input_ids"]
    assert 0 not in ids and tokenizer.decode(ids) == text
    assert tokenizer.convert_ids_to_tokens(ids).count("Ċ") == 1


@needs_data
@pytest.mark.parametrize(("language", "words"), [("eng", 5_444_000), ("spa", 5_412_537)])
def test_training_documents_hold_every_word_of_the_training_novels(language, words):
    """The words of all passages are those of the declared novels, in an order that mixes the
    novels.
    """
    documents = novels.train_documents(language=language)
    assert sum(len(d.split()) for d in documents) == words
    assert all(d.endswith("\n") for d in documents)
    assert documents == novels.train_documents(language=language)


@needs_data
def test_held_out_documents_hold_every_word_of_the_held_out_novels():
    """606,094 words in six novels."""
    assert sum(len(d.split()) for d in novels.held_out_documents(language="eng")) == 606_094
