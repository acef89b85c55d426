"""Tests of words and regions as tokens, on small tokenizers of every kind, trained here."""

import json

import numpy as np
import pytest
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from tests.shelf import piece_tokenizer, word_tokenizer
from transect.errors import InputError
from transect.lm.text import words

TEXTS = [
    "Ça va? Naïve café — 語 words 👍🏽👎 don't stop.",
    "The  dog\nruns\n\nfast \t now.",
    "the keys to the cabinet are here",
    "東京 は 大きい 。",
    "  two blanks first",
]


def byte_bpe(trim):
    """GPT-2's scheme, with or without offsets that leave out the blank."""
    whole = Tokenizer(models.BPE())
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder, whole.post_processor = (
        decoders.ByteLevel(),
        processors.ByteLevel(trim_offsets=trim),
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    whole.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=whole, eos_token="<|endoftext|>")


# how Llama 3, Qwen 2 and OLMo 2 cut a text into pieces: newlines stay with the punctuation before
# them
CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def cl100k():
    """Byte-level BPE with pieces that end in newlines; NBSP is one token, the blank of CJK begins
    one.
    """
    whole = Tokenizer(models.BPE())
    pieces, letters = (
        pre_tokenizers.Split(Regex(CL100K), "isolated"),
        pre_tokenizers.ByteLevel(False, use_regex=False),
    )
    whole.pre_tokenizer, whole.decoder = (
        pre_tokenizers.Sequence([pieces, letters]),
        decoders.ByteLevel(),
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    whole.train_from_iterator(
        ["The dogs run.\nA dog (she) said: no!\n\nNow 語\u3000words\u00a0here.\r\nEnd"] * 9, trainer
    )
    return PreTrainedTokenizerFast(tokenizer_object=whole, eos_token="<|endoftext|>")


def unigram():
    """T5's and XGLM's scheme: SentencePiece unigram with Metaspace and NFKC."""
    whole = Tokenizer(models.Unigram())
    whole.normalizer, whole.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    whole.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=100, special_tokens=["</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    whole.train_from_iterator(TEXTS * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=whole, eos_token="</s>", unk_token="<unk>")


def fallback_bpe():
    """Llama's scheme: SentencePiece BPE, whose blank is put in by the normalizer, and bytes for
    what it lacks.
    """
    whole = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    whole.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    whole.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    whole.train_from_iterator([word for text in TEXTS[1:3] for word in text.split()], trainer)
    state = json.loads(whole.to_str())
    state["added_tokens"] = state["added_tokens"][
        :3
    ]  # the trainer knows special tokens only: the bytes are none
    whole = Tokenizer.from_str(json.dumps(state))
    return PreTrainedTokenizerFast(
        tokenizer_object=whole, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def word_pieces():
    """BERT's scheme: accents and case removed, punctuation apart, ## before continuing pieces."""
    whole = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    whole.normalizer, whole.pre_tokenizer = (
        normalizers.BertNormalizer(),
        pre_tokenizers.BertPreTokenizer(),
    )
    trainer = trainers.WordPieceTrainer(
        vocab_size=120, special_tokens=["[SEP]", "[UNK]"], show_progress=False
    )
    whole.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=whole, sep_token="[SEP]", unk_token="[UNK]")


def characters():
    """One token per character, blanks included."""
    vocabulary = {
        symbol: i for i, symbol in enumerate(["<s>", "<unk>", *sorted(set("".join(TEXTS)))])
    }
    whole = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    whole.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=whole, bos_token="<s>", unk_token="<unk>")


def suffixed():
    """The first GPT's scheme: </w> after the last piece of a word."""
    whole = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<unk>"))
    whole.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=120, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    whole.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=whole, unk_token="<unk>")


def unmarked():
    """Whitespace is dropped and nothing marked."""
    whole = Tokenizer(models.BPE(unk_token="<unk>"))
    whole.pre_tokenizer = pre_tokenizers.Whitespace()
    whole.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=100, special_tokens=["<unk>"], show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=whole, unk_token="<unk>")


KINDS = {
    "byte_bpe": lambda: byte_bpe(False),
    "byte_bpe_trimmed": lambda: byte_bpe(True),
    "cl100k": cl100k,
    "unigram": unigram,
    "fallback_bpe": fallback_bpe,
    "word_pieces": word_pieces,
    "characters": characters,
    "suffixed": suffixed,
    "unmarked": unmarked,
    "whole_words": word_tokenizer,
}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    """Each kind in turn."""
    return KINDS[request.param]()


def cut(tokenizer, text, parts=None):
    """(ids, pieces) of a text's words or parts."""
    encoded = tokenizer([text], add_special_tokens=False, return_offsets_mapping=True)
    pieces = words.align(
        text, encoded["offset_mapping"][0], words.words(text) if parts is None else parts
    )
    return encoded["input_ids"][0], pieces


@pytest.mark.parametrize("text", TEXTS)
def test_the_words_share_out_all_tokens(tokenizer, text):
    """Accents, CJK, emoji, punctuation, newlines, tabs, double blanks: the words' tokens follow
    each other, first to last, and there is one word per string between whitespace."""
    ids, pieces = cut(tokenizer, text)
    assert [p.text for p in pieces] == text.split() and not any(p.error for p in pieces)
    assert pieces[0].first == 0 and pieces[-1].last == len(ids)
    assert all(
        a.last == b.first and b.last > b.first for a, b in zip(pieces, pieces[1:], strict=False)
    )


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_what_the_tokens_say(text):
    """Decoding a word's tokens gives the word back, for byte-level tokens too, several of which
    share a character.
    """
    for tokenizer in (byte_bpe(False), byte_bpe(True)):
        ids, pieces = cut(tokenizer, text)
        assert [tokenizer.decode(ids[p.first : p.last]).strip() for p in pieces] == text.split()


def test_every_word_begins_where_a_token_begins_one(tokenizer):
    """What marks a border agrees with whitespace, in all kinds but the one without marks."""
    found = words.marks(tokenizer, len(tokenizer))
    if tokenizer.backend_tokenizer.model.__class__.__name__ == "BPE" and found is None:
        return  # the unmarked kind
    for text in TEXTS:
        ids, pieces = cut(tokenizer, text)
        assert all(found.between(ids[p.first - 1], ids[p.first]) for p in pieces[1:])


@pytest.mark.parametrize(
    ("kind", "begins", "continues"),
    [
        ("byte_bpe", ["Ġ", "Ċ", "ĉ", "Ġthe"], ["the", ".", "Ã", "Â"]),
        ("cl100k", ["Ġ", "Ċ", "Âł", "ãĢĢwords", "Âłhere"], ["The", ".Ċ", "Â", "."]),
        ("unigram", ["▁", "▁do", "\n"], ["t", "."]),
        ("fallback_bpe", ["▁", "<0x20>", "<0x0A>"], ["t", "<0x61>", "<0xC2>"]),
        ("word_pieces", ["the", ".", "[UNK]"], ["##s"]),
        ("characters", [" ", "\n", "\t"], ["t", "."]),
    ],
)
def test_which_tokens_begin_a_word(kind, begins, continues):
    """Blanks and newlines in each spelling; punctuation only where whitespace is dropped; no
    incomplete character.
    """
    tokenizer = KINDS[kind]()
    vocabulary, found = tokenizer.get_vocab(), words.marks(tokenizer, len(tokenizer))
    assert [found.begins[vocabulary[t]] for t in begins] == [True] * len(begins)
    assert [found.begins[vocabulary[t]] for t in continues] == [False] * len(continues)


@pytest.mark.parametrize(
    ("kind", "closes", "goes_on"),
    [
        ("byte_bpe", ["Ġ", "Ċ", "ĉ"], ["Ġthe", ".", "Â"]),
        ("cl100k", [".Ċ", "!ĊĊ", ".čĊ", "Ġ", "Âł", "Ċ"], ["ãĢĢwords", ".", "Â", "ł"]),
        ("unigram", ["▁", "\n"], ["▁do", "."]),
        ("fallback_bpe", ["▁", "<0x20>", "<0x0A>"], ["t", "<0x61>", "<0xA0>"]),
        ("word_pieces", [], ["the", ".", "##s"]),
        ("characters", [" ", "\n", "\t"], ["t", "."]),
        ("suffixed", [], ["the</w>"]),
    ],
)
def test_which_tokens_end_in_whitespace(kind, closes, goes_on):
    """Newlines after punctuation, NBSP; not the last byte of one, which may end a letter, too."""
    tokenizer = KINDS[kind]()
    vocabulary, found = tokenizer.get_vocab(), words.marks(tokenizer, len(tokenizer))
    assert [found.closes[vocabulary[t]] for t in closes] == [True] * len(closes)
    assert [found.closes[vocabulary[t]] for t in goes_on] == [False] * len(goes_on)


@pytest.mark.parametrize(
    "text",
    [
        "The dogs run.\nA dog said:\r\nno!\n\nNow",
        "語\u3000words\u00a0here.\nEnd (she)\n said",
        "A.\n",
        "A.\n\n  dog",
    ],
)
def test_words_at_line_ends_begin_and_end_where_tokens_say(text):
    """Every two words of cl100k's pieces have a border between their tokens, and share out all but
    trailing whitespace.
    """
    tokenizer = cl100k()
    found = words.marks(tokenizer, len(tokenizer))
    ids, pieces = cut(tokenizer, text)
    assert [p.text for p in pieces] == text.split() and not any(p.error for p in pieces)
    assert all(found.between(ids[p.first - 1], ids[p.first]) for p in pieces[1:])
    assert all(a.last == b.first for a, b in zip(pieces, pieces[1:], strict=False))


def test_the_alphabet_of_bytes_is_the_tokenizers_own():
    """256 symbols; what a ByteLevel pre-tokenizer makes of a string is its UTF-8 bytes."""
    assert set(words.BYTES) == set(pre_tokenizers.ByteLevel.alphabet())
    ((symbols, _),) = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    ).pre_tokenize_str(TEXTS[0])
    assert bytes(words.BYTES[symbol] for symbol in symbols) == TEXTS[0].encode()


def test_special_tokens_end_a_text():
    """They are no word, and border one; the unknown token is part of a text."""
    tokenizer = unigram()
    found = words.marks(tokenizer, len(tokenizer))
    end, unknown = tokenizer.eos_token_id, tokenizer.unk_token_id
    assert found.border[end] and not found.begins[end] and not found.border[unknown]


def test_added_tokens_of_blanks_begin_a_word():
    """GPT-NeoX's tokenizer has added tokens for runs of blanks, which are written as they are."""
    tokenizer = byte_bpe(False)
    tokenizer.add_tokens(["    ", "ing"])
    found = words.marks(tokenizer, len(tokenizer) + 2)  # a vocabulary with room to spare
    assert found.begins[tokenizer.convert_tokens_to_ids("    ")]
    assert not found.begins[tokenizer.convert_tokens_to_ids("ing")]
    assert (
        not found.known[-2:].any()
        and not found.first(tokenizer.convert_tokens_to_ids("a"))[-2:].any()
    )


def test_whole_words_and_marked_ends_leave_no_choice():
    """After a finished word every token begins one: the border is certain."""
    for tokenizer in (word_tokenizer(), suffixed()):
        assert words.marks(tokenizer, len(tokenizer)).border.all()


def test_no_marks_are_told():
    """Where whitespace is dropped without a trace nothing can be said."""
    tokenizer = unmarked()
    assert words.marks(tokenizer, len(tokenizer)) is None


def test_regions_take_the_tokens_of_their_characters():
    """Blanks at a region's ends do not matter; the blank before it is in its first token."""
    tokenizer = piece_tokenizer()
    text = "the cabinets sleep near the keys"
    for start, end in ((4, 12), (3, 12), (4, 13)):
        ids, (region,) = cut(tokenizer, text, [("noun", start, end)])
        assert tokenizer.convert_ids_to_tokens(ids[region.first : region.last]) == [
            "cabinet",
            "##s",
        ]
        assert region.name == "noun" and region.text == "cabinets"


def test_a_token_on_both_sides_of_a_border_is_an_error_of_both():
    """ "dogs" is one token: neither "dog" nor "s" has a probability; nor has half of an emoji's
    neighbour.
    """
    _, pieces = cut(word_tokenizer(), "the dogs", [("stem", 4, 7), ("end", 7, 8), ("whole", 4, 8)])
    assert [p.error for p in pieces] == [
        "'dog' shares a token with its neighbour",
        "'s' shares a token with its neighbour",
        "",
    ]


def test_regions_that_cannot_be_are_told():
    """Beyond the text, the wrong way round, or without a token (blanks only): an error of that
    region alone.
    """
    _, pieces = cut(
        byte_bpe(False),
        "the  dog",
        [("a", 4, 9), ("b", 5, 5), ("c", -1, 3), ("d", 3, 5), ("e", 5, 8)],
    )
    assert [p.error for p in pieces] == [
        "the region 4 to 9 does not lie in the text of 8 characters",
        "the region 5 to 5 does not lie in the text of 8 characters",
        "the region -1 to 3 does not lie in the text of 8 characters",
        "'' has no token",
        "",
    ]


def test_what_a_normalizer_removes_has_no_token():
    """A control character alone is a word of no token for BERT's tokenizer."""
    _, pieces = cut(word_pieces(), "the \u200b keys")
    assert [p.error for p in pieces] == ["", "'\\u200b' has no token", ""]


def test_regions_are_read_from_lists_and_from_json():
    """As JSON lines give them and as CSV does."""
    wanted = [("noun", 4, 7), ("verb", 8, 12)]
    assert words.regions([["noun", 4, 7], ["verb", 8, 12]]) == wanted
    assert words.regions('[["noun", 4, 7], ["verb", 8, 12]]') == wanted
    for wrong in ("noun", "[]", float("nan"), None, [["noun", 4]], [["noun", "a", 3]]):
        with pytest.raises(InputError, match=r"regions: .*a list of \[name, start, end\]"):
            words.regions(wrong)


def test_regions_are_read_from_columns():
    """Each column holds a part of the text, which occurs there once."""
    row = {
        "text": "the dog sees the cat",
        "subject": " dog",
        "verb": "sees",
        "article": "the",
        "none": "cow",
    }
    assert words.columns(row, ["subject", "verb"]) == [("subject", 4, 7), ("verb", 8, 12)]
    for name, times in (("article", 2), ("none", 0)):
        with pytest.raises(InputError, match=f"of column {name} occurs {times} times in the text"):
            words.columns(row, [name])


def test_arrays_have_the_vocabulary_of_the_model():
    """A model's vocabulary may be padded beyond the tokenizer's, or cut below it."""
    tokenizer = byte_bpe(False)
    for size in (len(tokenizer) + 7, 300):
        found = words.marks(tokenizer, size)
        assert found.border.shape == (size,) and found.border.dtype == np.bool_
