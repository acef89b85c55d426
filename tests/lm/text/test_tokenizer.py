"""The tokenizer of a directory: as it stands, or converted, or refused."""

import json
from pathlib import Path

import pytest
from transformers import ByT5Tokenizer, PerceiverTokenizer

from tests.shelf import byte_tokenizer, tiny_model
from tests.workflow.hub_world import TEXTS
from transect.errors import LoadError
from transect.lm.text import tokenizer
from transect.lm.text.tokenizer import read_tokenizer

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


@pytest.mark.parametrize(
    ("vocabulary", "settings", "found"),
    [
        (["The", "the", "dog"], None, ["The", "dog", "[UNK]"]),
        (["the", "dog", "NASA"], None, ["[UNK]", "dog", "NASA"]),
        (["the", "dog", "nasa"], None, ["the", "dog", "nasa"]),
        (["The", "the", "dog", "nasa"], {"do_lower_case": True}, ["the", "dog", "nasa"]),
        (["the", "dog", "nasa"], {"do_lower_case": False}, ["[UNK]", "dog", "[UNK]"]),
        (["The", "dog"], {"tokenizer_class": "BertTokenizer"}, ["The", "dog", "[UNK]"]),
    ],
)
def test_a_vocabulary_with_capital_letters_is_cased(tmp_path, vocabulary, settings, found):
    """Where no file says otherwise; transformers alone would lower-case every text. `casing` says
    how it was found.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (tmp_path / "vocab.txt").write_text("\n".join([*special, *vocabulary]) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    if settings is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    read = read_tokenizer(tmp_path)
    ids = read("The dog NASA", add_special_tokens=False)["input_ids"]
    assert read.convert_ids_to_tokens(ids) == found
    told = tokenizer.casing(tmp_path)
    assert bool(told) == ("do_lower_case" not in (settings or {}))
    if told:
        assert ("it is not" in told) == any(word != word.lower() for word in vocabulary)


@pytest.mark.parametrize("kind", [ByT5Tokenizer, PerceiverTokenizer])
@pytest.mark.parametrize("named_in", ["tokenizer_config.json", "config.json"])
def test_tokenizers_of_bytes_need_no_file(tmp_path, kind, named_in):
    """Ids with and without special tokens, and the text again, as the class itself gives them;
    offsets are the fast one's.
    """
    own = kind()
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    if named_in == "config.json":
        (tmp_path / named_in).write_text(
            json.dumps({"model_type": "t5", "tokenizer_class": kind.__name__})
        )
    else:
        own.save_pretrained(tmp_path)
    made = read_tokenizer(tmp_path)
    for text in ("The keys,\n\tto 語 naïve 👍🏽.", "", "a"):
        assert made(text)["input_ids"] == own(text)["input_ids"]
        ids = made(text, add_special_tokens=False)["input_ids"]
        assert ids == own(text, add_special_tokens=False)["input_ids"] and made.decode(ids) == text
    assert (len(made), made.eos_token_id, made.pad_token_id) == (
        len(own),
        own.eos_token_id,
        own.pad_token_id,
    )
    found = made("é!", add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert found == [(0, 1), (0, 1), (1, 2)]


def test_nothing_to_make_one_of(tmp_path):
    """Without any tokenizer file the sentence says so."""
    with pytest.raises(
        LoadError, match="no tokenizer.json, and no SentencePiece model or vocabulary"
    ):
        read_tokenizer(without_pipeline(tiny_model(tmp_path, "gpt2")))


def test_sentencepiece_without_its_library(tmp_path, monkeypatch):
    """What to install, or what to save instead, is part of the sentence."""
    path = without_pipeline(tiny_model(tmp_path, "gpt2"))
    (path / "spiece.model").write_bytes(b"\n\x05")
    monkeypatch.setattr(tokenizer, "CONVERTERS", ("a_library_that_is_not_here.part",))
    with pytest.raises(
        LoadError, match="only spiece.model; to convert it, install sentencepiece and protobuf"
    ):
        read_tokenizer(path)


@pytest.fixture
def pieces(tmp_path) -> Path:
    """A unigram model in the layout of XLM-RoBERTa, trained here by sentencepiece."""
    pytest.importorskip("google.protobuf", reason="protobuf is not installed")
    trainer = pytest.importorskip(
        "sentencepiece", reason="sentencepiece is not installed"
    ).SentencePieceTrainer
    path = without_pipeline(tiny_model(tmp_path, "gpt2"))
    texts = [text for part in TEXTS.values() for text in part] * 20
    prefix = str(path / "sentencepiece.bpe")
    trainer.train(
        sentence_iterator=iter(texts),
        model_prefix=prefix,
        vocab_size=160,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return path


def test_sentencepiece_is_converted(pieces):
    """The pieces are sentencepiece's own (the reference), by way of transformers' conversion."""
    from sentencepiece import SentencePieceProcessor

    (pieces / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
    theirs = SentencePieceProcessor(model_file=str(pieces / "sentencepiece.bpe.model"))
    ours = read_tokenizer(pieces)
    for text in (
        "The children of the village swim there.",
        "Nadie sabe quién escribió las cartas.",
    ):
        assert ours.tokenize(text) == theirs.encode(text, out_type=str)


def test_a_conversion_that_cuts_otherwise_is_refused(pieces):
    """The wrong class would tokenize without a word and give other ids than the model was trained
    on.
    """
    (pieces / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    (pieces / "sentencepiece.bpe.model").rename(pieces / "tokenizer.model")
    with pytest.raises(LoadError, match="where sentencepiece gives|cannot be read|gives no tokens"):
        read_tokenizer(pieces)
