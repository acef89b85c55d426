"""Fertility of tokenizers."""

import pandas as pd
import pytest

from tests.shelf import byte_tokenizer, tiny_model
from transect.lm import load
from transect.measures.behaviour import fertility


def measured(tmp_path, *texts):
    """item -> metric -> value, with a tokenizer of bytes."""
    model = load(tiny_model(tmp_path, "gpt2", tokenizer=byte_tokenizer()))
    rows = fertility.measure(
        model, pd.DataFrame({"item": range(len(texts)), "text": texts}), seed=0
    )
    assert fertility.VERSION == 1 and list(rows) == ["item", "metric", "value", "error"]
    return {
        i: dict(zip(t["metric"], t["value"], strict=True)) for i, t in rows.groupby("item")
    }, rows


def test_by_hand(tmp_path):
    """Bytes as tokens: "a bc déf" is 9 bytes in 8 characters and 3 words, of which 2 are more than
    one token.
    """
    found, _ = measured(tmp_path, "a bc déf")
    assert found[0] == pytest.approx(
        {
            "tokens_per_character": 9 / 8,
            "bytes_per_token": 1,
            "tokens_per_word": 3,
            "continued_words": 2 / 3,
        }
    )


def test_scripts_without_spaces_have_no_words(tmp_path):
    """Chinese text has tokens per character (3 bytes each) and no tokens per word; a borrowed word
    changes nothing.
    """
    found, _ = measured(tmp_path, "我喜欢喝茶。", "我喜欢 AI。")
    assert set(found[0]) == set(found[1]) == {"tokens_per_character", "bytes_per_token"}
    assert found[0]["tokens_per_character"] == 3


def test_an_empty_text_is_refused(tmp_path):
    """A row with an error, and the other item is kept."""
    found, rows = measured(tmp_path, "", "a")
    assert "has no token" in rows["error"][0] and found[1]["tokens_per_character"] == 1


def test_a_word_tokenizer_has_fertility_one(tmp_path):
    """Every word of its vocabulary is one token."""
    model = load(tiny_model(tmp_path, "llama"))
    rows = fertility.measure(
        model, pd.DataFrame({"item": ["a"], "text": ["the dog runs ."]}), seed=0
    )
    assert dict(zip(rows["metric"], rows["value"], strict=True))["tokens_per_word"] == 1
