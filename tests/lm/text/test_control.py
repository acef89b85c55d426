"""Strings inside a text that a tokenizer takes for control tokens: one rule in every place that
reads text.
"""

import numpy as np
import pandas as pd
import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.architectures import model_of
from tests.lm.text.test_opening import model_with
from tests.shelf import byte_tokenizer, piece_tokenizer, word_tokenizer
from transect.lm.generate.generation import continue_texts
from transect.lm.score.scoring import lines
from transect.lm.text.control import control_tokens, placeholders
from transect.measures.behaviour import (
    bits_per_byte,
    fertility,
    forced_choice,
    minimal_pair,
    surprisal,
)
from transect.measures.mechanism import activation_patching

TOLD = "spells '<s>', a control token of the tokenizer"
BAD = "the <s> dog runs"


def marked():
    """Bytes, with tokens that were added: flagged special, not flagged, a word, a run of blanks."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.add_tokens([AddedToken("<think>"), AddedToken("[tool]"), AddedToken("|||EMAIL|||")])
    tokenizer.add_tokens([AddedToken("gavagai"), AddedToken("    "), AddedToken("\n\n")])
    return tokenizer


def test_what_counts_as_control():
    """Roles, flags, and what is written as markup; words and blanks that were added are text."""
    found = set(control_tokens(marked()).values())
    assert found == {"<|endoftext|>", "<|im_start|>", "<think>", "[tool]", "|||EMAIL|||"}


@pytest.mark.parametrize(
    "token", ["<|endoftext|>", "<|im_start|>", "<think>", "[tool]", "|||EMAIL|||"]
)
@pytest.mark.parametrize("form", ["{}dogs", "a {} b", "dogs{}", "{}"])
def test_it_is_refused_wherever_it_stands(token, form):
    """Flagged or not, at the beginning, inside, at the end, alone; the text beside it is read."""
    bad, good = lines(model_with(marked()), [form.format(token), "a gavagai    \n\ndog"])
    assert f"spells {token!r}" in bad.error and not good.error


def test_normalisation_does_not_hide_it():
    """Lower-cased before the added tokens are looked for: [TOOL] and full-width letters become the
    token.
    """
    tokenizer = Tokenizer(models.WordLevel({"[unk]": 0, "dogs": 1}, unk_token="[unk]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_tokens([AddedToken("[tool]", normalized=True)])
    model = model_with(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[unk]"))
    told = [
        line.error for line in lines(model, ["dogs [TOOL] dogs", "dogs ［tool］ dogs"], bos=False)
    ]
    assert all("spells '[tool]'" in error for error in told)


def test_an_unknown_word_is_no_control_token():
    """It is read as the unknown token; the unknown token's own name is not."""
    word, name = lines(model_of("gpt2"), ["the gavagai runs", "the <unk> runs"])
    assert not word.error and "spells '<unk>'" in name.error


def _texts(measure, **options):
    return lambda model: measure.measure(
        model, pd.DataFrame({"item": ["x"], "text": [BAD]}), seed=0, **options
    )


def _pairs(measure):
    items = pd.DataFrame({"item": ["x"], "sentence_good": ["the dog runs"], "sentence_bad": [BAD]})
    return lambda model: measure.measure(model, items, seed=0)


def _patching(**changed):
    row = {"clean": "the dog", "corrupted": "the dogs", "answer": "runs", "foil": "run"} | changed
    return lambda model: activation_patching.measure(
        model, pd.DataFrame([{"item": "x", **row}]), seed=0
    )


PLACES = {
    "surprisal": _texts(surprisal),
    "bits_per_byte": _texts(bits_per_byte),
    "bits_per_byte without BOS": _texts(bits_per_byte, bos=False),
    "fertility": _texts(fertility),
    "minimal_pair": _pairs(minimal_pair),
    "forced_choice": _pairs(forced_choice),
    "clean": _patching(clean="<s> dog"),
    "corrupted": _patching(corrupted="<s> dogs"),
    "answer": _patching(answer="<s>"),
    "foil": _patching(foil="<s>"),
}


@pytest.mark.parametrize("place", PLACES)
def test_every_measure_names_it(place):
    """The item is refused with the token; no row of it has a value."""
    rows = PLACES[place](model_of("gpt2"))
    assert rows["value"].isna().all() and rows["error"].str.contains(TOLD, regex=False).all()


def test_masked_models_and_encoders():
    """[MASK] in a text is no mask to be filled; the context of an encoder is read too."""
    (line,) = lines(model_of("bert"), ["the [MASK] runs"])
    assert "spells '[MASK]'" in line.error
    (found,) = continue_texts(model_of("t5"), [BAD], max_new_tokens=2, seed=0)
    assert TOLD in found.error


def test_placeholders_are_told_by_their_names():
    """Rows that wait for a use, which tokenizers do not flag; byte tokens and words are none."""
    names = [
        "[unused1]",
        "<unused12>",
        "<|reserved_special_token_3|>",
        "<extra_id_0>",
        "madeupword0001",
        "<｜place▁holder▁no▁1｜>",
    ]
    kept = ["<0x0A>", "unused", "extra", "[", "reserved"]
    vocabulary = {token: i for i, token in enumerate([*kept, *names, "[UNK]"])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    )
    assert {tokenizer.convert_ids_to_tokens(i) for i in placeholders(tokenizer)} == set(names)


def test_repeats_draw_neither(monkeypatch):
    """The default pool of copying and induction: text only, of word pieces and of added tokens that
    are not flagged.
    """
    from transect.lm.repeats import repeats

    tokenizer = piece_tokenizer()
    tokenizer.add_tokens(["[unused1]", "<|im_start|>"])
    drawn = repeats(model_with(tokenizer), [{"length": 12, "gap": 0}], n=40, seed=0)[0].ids[:, 1:]
    names = {tokenizer.convert_ids_to_tokens(int(i)) for i in np.unique(drawn)}
    assert len(names) > 20 and not {n for n in names if n.startswith(("[", "<"))}


def test_whole_words_are_left_as_they_are():
    """A tokenizer whose added tokens are the roles alone: nothing else is control."""
    assert set(control_tokens(word_tokenizer()).values()) == {"<s>", "<pad>", "<mask>", "<unk>"}
