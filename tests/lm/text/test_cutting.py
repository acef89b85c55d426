"""A tokenizer that gives up on one text, by a panic or an error, takes no other text with it.

The pattern is that of the tokenizers library's own limit: Oniguruma stops a search that backtracks
too long, and pyo3 turns that into a panic, which is no Exception.
"""

import pandas as pd
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.lm.text.test_opening import model_with
from tests.shelf import WORDS, byte_tokenizer, tiny_model
from transect.errors import LibraryPanic, panics_are_errors
from transect.lm import load
from transect.lm.generate.generation import continue_texts
from transect.lm.score.scoring import lines
from transect.lm.text.cutting import added, cut, ids_of
from transect.lm.text.tokenizer import CANARY_TEXT, canary
from transect.measures.behaviour import bits_per_byte, fertility, minimal_pair, surprisal
from transect.measures.mechanism import activation_patching

BACKTRACKS = Regex("(a+)+$")
BAD = "a" * 3000 + "!"
TOLD = "the tokenizer cannot cut the text 'aaaaaaaaaaaaaaaaaaaa'"


def panicking() -> PreTrainedTokenizerFast:
    """Bytes, whose pre-tokenizer backtracks without end on BAD; an end-of-text token."""
    tokenizer = byte_tokenizer()
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = pre_tokenizers.Split(BACKTRACKS, "isolated")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, whole])
    return tokenizer


def without_unknown() -> PreTrainedTokenizerFast:
    """Whole words and no unknown token: any other word is an error of the library."""
    words = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["<s>", *WORDS])}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>")


def test_the_panic_is_no_exception():
    """Otherwise nothing here would be tested; as an error it keeps the library's words."""
    with pytest.raises(BaseException, match="retry-limit") as found:
        panicking()(BAD)
    assert not isinstance(found.value, Exception)
    with pytest.raises(LibraryPanic, match="a library gave up: .*retry-limit"), panics_are_errors():
        panicking()(BAD)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_stops_a_program_is_no_panic(kind):
    """Ctrl-C and exits pass as they are."""
    with pytest.raises(kind), panics_are_errors():
        raise kind


@pytest.mark.parametrize(
    ("tokenizer", "bad"), [(panicking(), BAD), (without_unknown(), "the gavagai runs")]
)
def test_one_text_takes_no_other_with_it(tokenizer, bad):
    """The ids of the others are as they are alone; the bad one has none, with a sentence that
    quotes its beginning.
    """
    texts = ["the dog", bad, "the cat", "half \ud800", bad]
    found, told = cut(tokenizer, texts)
    alone = [
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("the dog", "the cat")
    ]
    assert [found["input_ids"][i] for i in (0, 2)] == alone
    assert [found["input_ids"][i] for i in (1, 3, 4)] == [[], [], []]
    assert set(told) == {bad, texts[3]} and told[bad].startswith(
        f"the tokenizer cannot cut the text {bad[:20]!r}"
    )
    assert ids_of(tokenizer, bad) is None and ids_of(tokenizer, "the dog") == alone[0]


def _measured(measure, rows, **options) -> pd.DataFrame:
    items = pd.DataFrame(rows, index=range(2)).assign(item=["bad", "good"])
    return measure(model_with(panicking()), items, seed=1, **options)


@pytest.mark.parametrize(
    ("measure", "rows"),
    [
        (
            minimal_pair.measure,
            {"sentence_good": [BAD, "the dog"], "sentence_bad": ["the dog", "the cats"]},
        ),
        (surprisal.measure, {"text": [BAD, "the dog runs"]}),
        (bits_per_byte.measure, {"text": [BAD, "the dog runs"]}),
        (fertility.measure, {"text": [BAD, "the dog runs"]}),
        (
            activation_patching.measure,
            {
                "clean": [BAD, "ab"],
                "corrupted": ["ab", "cd"],
                "answer": ["x", "x"],
                "foil": ["y", "y"],
            },
        ),
        (
            activation_patching.measure,
            {
                "clean": ["a" * 30, "ab"],
                "corrupted": ["b" * 30, "cd"],
                "answer": [BAD, "x"],
                "foil": ["y", "y"],
            },
        ),
    ],
)
def test_a_measure_names_the_item_and_keeps_the_others(measure, rows):
    """The bad item's rows carry the tokenizer's reason and no value; the good one is measured."""
    found = _measured(measure, rows)
    bad, good = (found[found["item"] == item] for item in ("bad", "good"))
    assert (
        bad["value"].isna().all()
        and bad["error"].str.contains("the tokenizer cannot cut the text").any()
    )
    assert good["value"].notna().any()


def test_a_prompt_keeps_its_place():
    """The bad prompt has the reason, the other its continuation."""
    bad, good = continue_texts(model_with(panicking()), [BAD, "the"], max_new_tokens=3, seed=1)
    assert bad.error.startswith(TOLD) and not bad.samples
    assert not good.error and len(good.samples[0]) <= 3


def test_a_context_that_cannot_be_cut_is_told():
    """The context of all texts is an error of the input."""
    with pytest.raises(ValueError, match="context: the tokenizer cannot cut"):
        lines(model_with(panicking()), ["dogs"], context=BAD)


def test_tokens_that_cannot_be_written_are_an_error_of_their_prompt():
    """A decoder's pattern backtracks on what was written: that prompt has no text, and the reason."""
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.decoder = decoders.Sequence(
        [decoders.Fuse(), decoders.Replace(BACKTRACKS, "")]
    )
    ids = tokenizer.convert_tokens_to_ids([*("a" * 3000), "!"])
    with pytest.raises(LibraryPanic, match="cannot write the tokens as text .*retry-limit"):
        added(tokenizer, [], ids)
    bad, good = continue_texts(
        model_with(tokenizer), ["a" * 60, "b"], max_new_tokens=2, seed=1, bos=False
    )
    assert (
        "cannot write the tokens as text" in bad.error and not bad.samples and len(good.texts) == 1
    )


def test_the_canary_of_a_tokenizer_that_gives_up_is_that_of_its_words():
    """Two tokenizers without an unknown token that cut otherwise have other canaries; one has
    always the same.
    """
    first = without_unknown()
    assert ids_of(first, CANARY_TEXT) is None and canary(first) == canary(without_unknown())
    other = Tokenizer.from_str(first.backend_tokenizer.to_str().replace('"keys":9', '"keys":90'))
    assert "keys" in CANARY_TEXT and canary(first) != canary(
        PreTrainedTokenizerFast(tokenizer_object=other)
    )


def test_a_folder_with_such_a_tokenizer_is_loaded(tmp_path):
    """Registered facts and fingerprints need no text of the user's; the model can be measured."""
    path = tiny_model(tmp_path, "gpt2", tokenizer=without_unknown())
    model = load(path)
    assert model.fingerprint["tokenizer"] == canary(without_unknown())
    good, bad = lines(model, ["the dog runs", "the gavagai"])
    assert not good.error and "cannot cut the text 'the gavagai'" in bad.error
