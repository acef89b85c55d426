"""The tokenizer of a directory: as it stands, or converted, or refused."""

import json
from pathlib import Path

import pytest

from tests.shelf import byte_tokenizer, tiny_model
from tests.workflow.hub_world import TEXTS
from transect.errors import LoadError
from transect.lm import tokenizer
from transect.lm.tokenizer import read_tokenizer

TEXT = "the cabinet dogs run ."


def without_pipeline(path: Path) -> Path:
    """The directory without tokenizer.json and the class that was saved with it."""
    (path / "tokenizer.json").unlink()
    (path / "tokenizer_config.json").unlink()
    return path


def test_word_pieces_from_a_vocabulary(tmp_path):
    """BERT's vocab.txt alone: the ids of the pipeline it was written from."""
    path = tiny_model(tmp_path, "bert")
    before = read_tokenizer(path)
    ids = before(TEXT, add_special_tokens=False)["input_ids"]
    vocabulary = sorted(before.get_vocab(), key=before.get_vocab().get)
    (without_pipeline(path) / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    after = read_tokenizer(path)
    assert after(TEXT, add_special_tokens=False)["input_ids"] == ids
    assert after.mask_token_id == before.mask_token_id


def test_byte_pairs_from_vocabulary_and_merges(tmp_path):
    """GPT-2's vocab.json and merges.txt: the same ids, and offsets into the text."""
    path = tiny_model(tmp_path, "gpt2", tokenizer=byte_tokenizer())
    before = read_tokenizer(path)
    ids = before(TEXT, add_special_tokens=False)["input_ids"]
    (without_pipeline(path) / "vocab.json").write_text(json.dumps(before.get_vocab()))
    (path / "merges.txt").write_text("#version: 0.2\n")
    after = read_tokenizer(path)(TEXT, add_special_tokens=False, return_offsets_mapping=True)
    assert after["input_ids"] == ids and after["offset_mapping"][-1] == (len(TEXT) - 1, len(TEXT))


def test_nothing_to_make_one_of(tmp_path):
    """Without any tokenizer file the sentence says so."""
    with pytest.raises(LoadError, match="no tokenizer.json, and no SentencePiece model or vocabulary"):
        read_tokenizer(without_pipeline(tiny_model(tmp_path, "gpt2")))


def test_sentencepiece_without_its_library(tmp_path, monkeypatch):
    """What to install, or what to save instead, is part of the sentence."""
    path = without_pipeline(tiny_model(tmp_path, "gpt2"))
    (path / "spiece.model").write_bytes(b"\n\x05")
    monkeypatch.setattr(tokenizer, "CONVERTERS", ("a_library_that_is_not_here.part",))
    with pytest.raises(LoadError, match="only spiece.model; to convert it, install sentencepiece and protobuf"):
        read_tokenizer(path)


@pytest.fixture
def pieces(tmp_path) -> Path:
    """A unigram model in the layout of XLM-RoBERTa, trained here by sentencepiece."""
    pytest.importorskip("google.protobuf", reason="protobuf is not installed")
    trainer = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed").SentencePieceTrainer
    path = without_pipeline(tiny_model(tmp_path, "gpt2"))
    texts = [text for part in TEXTS.values() for text in part] * 20
    prefix = str(path / "sentencepiece.bpe")
    trainer.train(
        sentence_iterator=iter(texts), model_prefix=prefix, vocab_size=160, hard_vocab_limit=False, minloglevel=2
    )
    return path


def test_sentencepiece_is_converted(pieces):
    """The pieces are sentencepiece's own (the reference), by way of transformers' conversion."""
    from sentencepiece import SentencePieceProcessor

    (pieces / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
    theirs = SentencePieceProcessor(model_file=str(pieces / "sentencepiece.bpe.model"))
    ours = read_tokenizer(pieces)
    for text in ("The children of the village swim there.", "Nadie sabe quién escribió las cartas."):
        assert ours.tokenize(text) == theirs.encode(text, out_type=str)


def test_a_conversion_that_cuts_otherwise_is_refused(pieces):
    """The wrong class would tokenize without a word and give other ids than the model was trained on."""
    (pieces / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    (pieces / "sentencepiece.bpe.model").rename(pieces / "tokenizer.model")
    with pytest.raises(LoadError, match="where sentencepiece gives|cannot be read|gives no tokens"):
        read_tokenizer(pieces)
