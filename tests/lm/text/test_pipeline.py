"""What a tokenizer's file may say and what it may not: limits of length, no chance, and settings
that must not have an effect.
"""

import json
import re
import time

import pytest
from tokenizers import Tokenizer, models

from tests.shelf import SPECIAL, tiny_model
from transect.errors import LoadError
from transect.lm import load
from transect.lm.score.scoring import lines
from transect.lm.text.tokenizer import read_tokenizer

TEXT = "the dog runs near the cabinet"


@pytest.fixture
def path(tmp_path):
    """A tiny model."""
    return tiny_model(tmp_path, "gpt2")


def edited(path, change):
    """The folder with another tokenizer.json: `change` gets what it says."""
    file = path / "tokenizer.json"
    state = json.loads(file.read_text())
    change(state)
    file.write_text(json.dumps(state))
    return path


def replacing(pattern, content):
    """A normalizer's replacement, as the file has it."""
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


@pytest.mark.parametrize(
    ("normalizer", "told"),
    [
        (
            {"type": "Sequence", "normalizers": [replacing("a", "a" * 100)] * 4},
            "normalizer makes a text 1e.08 times as long",
        ),
        (
            {"type": "Replace", "pattern": {"Regex": ""}, "content": "a" * 200},
            "normalizer makes a text 201 times as long",
        ),
        (
            {"type": "Prepend", "prepend": "a" * 10**6},
            "normalizer puts 1,000,000 characters before a text",
        ),
    ],
)
def test_a_pipeline_that_makes_texts_much_longer_is_refused(normalizer, told, path):
    """Four replacements in a row are 10^8 characters for one: the library would end the process for
    want of memory.
    """
    edited(path, lambda state: state.update(normalizer=normalizer))
    with pytest.raises(LoadError, match=told):
        load(path)


def test_the_replacements_of_published_tokenizers_are_read(path):
    """SentencePiece's blank, quotes of two characters, a prefix."""
    steps = [
        {"type": "Prepend", "prepend": "▁"},
        replacing("``", '"'),
        replacing(" ", "▁"),
        replacing("…", "..."),
    ]
    edited(path, lambda state: state.update(normalizer={"type": "Sequence", "normalizers": steps}))
    assert read_tokenizer(path)("a b")["input_ids"]


def test_merges_are_never_dropped(path):
    """BPE-dropout of .5 cuts one word in many ways; what is loaded cuts it in the one of the file
    without it.
    """
    vocabulary = {
        letter: i
        for i, letter in enumerate(
            [*SPECIAL.values(), *"abcdefgh", "ab", "abcd", "cd", "abcdefgh", "ef", "efgh", "gh"]
        )
    }
    merges = [
        ("a", "b"),
        ("c", "d"),
        ("e", "f"),
        ("g", "h"),
        ("ab", "cd"),
        ("ef", "gh"),
        ("abcd", "efgh"),
    ]
    random = Tokenizer(models.BPE(vocabulary, merges, dropout=0.5, unk_token="<unk>"))
    assert len({tuple(random.encode("abcdefgh").ids) for _ in range(50)}) > 1
    random.save(str(path / "tokenizer.json"))
    assert {tuple(read_tokenizer(path)("abcdefgh")["input_ids"]) for _ in range(50)} == {
        (vocabulary["abcdefgh"],)
    }


def test_truncation_and_padding_of_the_file_have_no_effect(path):
    """Neither a text cut to two tokens nor one filled up to a thousand."""
    before = [line.ids for line in lines(load(path), [TEXT, "the"])]
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    fill = {
        "strategy": {"Fixed": 1000},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }
    edited(path, lambda state: state.update(truncation=cut, padding=fill))
    assert [line.ids for line in lines(load(path), [TEXT, "the"])] == before
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 2}))
    assert [line.ids for line in lines(load(path), [TEXT, "the"])] == before


def test_a_chat_template_is_not_run(path):
    """One that would run for ever, or reach for classes: it is a text in which tokens are looked
    for.
    """
    template = (
        "{% for i in range(10**12) %}{{ ''.__class__.__mro__[1].__subclasses__() }}{% endfor %}"
    )
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
    start = time.process_time()
    assert not lines(load(path), [TEXT])[0].error and time.process_time() - start < 5


@pytest.mark.parametrize("place", [5_000, 4 * 10**9])
def test_a_token_beyond_the_vocabulary_refuses_its_text_alone(place, path):
    """The file gives a word an id that has no embedding: texts with it are refused by the token,
    others are read.
    """
    edited(path, lambda state: state["model"]["vocab"].update(dog=place))
    bad, good = lines(load(path), ["the dog runs", "the cat runs"])
    assert re.search("the token .*has no embedding", bad.error) and not good.error


@pytest.mark.slow
def test_very_many_added_tokens_are_read(path):
    """200,000 of them (about 10 s): the texts without them are cut as before."""
    before = lines(load(path), [TEXT])[0].ids
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    more = [{"id": 100 + i, "content": f"added{i}x", **flags} for i in range(200_000)]
    edited(path, lambda state: state["added_tokens"].extend(more))
    assert lines(load(path), [TEXT])[0].ids == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"model": {"type": "X"}},
            "tokenizer.json: this is no tokenizer of the tokenizers library",
        ),
        (
            {"normalizer": {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}},
            "tokenizer.json: this is no tokenizer",
        ),
        ({"version": "9.9"}, "tokenizer.json: this is no tokenizer"),
    ],
)
def test_a_broken_pipeline_is_told_with_its_file(change, told, path):
    """The library's words stand in brackets behind what is wrong and where."""
    edited(path, lambda state: state.update(change))
    with pytest.raises(LoadError, match=told):
        load(path)


def test_settings_that_the_pipeline_cannot_take_are_told_with_their_file(path):
    """tokenizer.json is whole; what is said of it beside is not."""
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(settings | {"extra_special_tokens": 7}))
    with pytest.raises(
        LoadError,
        match="cannot be read with what tokenizer_config.json and special_tokens_map.json say",
    ):
        load(path)
