"""The unit that each measure declares of each metric is the one that its values are in, on tiny
models and on words counted by hand.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.lm.chat_server import answering_model
from tests.shelf import tiny_model
from transect.lm import Model, load
from transect.store import units
from transect.store.project import SHIPPED, Project

PROJECT = Project(SHIPPED)
TEXTS = ["the dog runs", "cats sleep ."]
PAIRS = {
    "sentence_good": ["the dogs run .", "a cat runs"],
    "sentence_bad": ["the dogs runs .", "a cat run"],
}
SWAPS = {"clean": ["the dog"], "corrupted": ["the dogs"], "answer": ["runs"], "foil": ["run"]}
REPEATED = {"conditions": [{"length": 6, "gap": 3}], "n": 8}
# measure -> model, items, options; of every shipped measure
GIVEN: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "minimal_pair": ("gpt2", PAIRS, {}),
    "forced_choice": ("answering", PAIRS, {"max_new_tokens": 1}),
    "surprisal": ("gpt2", {"text": TEXTS}, {}),
    "bits_per_byte": ("gpt2", {"text": TEXTS}, {}),
    "fertility": ("gpt2", {"text": TEXTS}, {}),
    "copying": ("gpt2", {}, REPEATED),
    "induction": ("gpt2", {}, REPEATED | {"sequences": True}),
    "previous_token": ("gpt2", {}, REPEATED),
    "activation_patching": ("gpt2", SWAPS, {}),
}
SHARES = ("proportion", "share", "attention mass")
AMOUNTS = (
    "bits",
    "bits/byte",
    "bytes",
    "tokens",
    "tokens/word",
    "tokens/character",
    "bytes/token",
)  # never below 0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder: Path = tmp_path_factory.mktemp("models")
    paths = {
        "gpt2": tiny_model(folder, "gpt2"),
        "bert": tiny_model(folder, "bert"),
        "answering": answering_model(folder),
    }
    return {name: load(path) for name, path in paths.items()}


def measured(name: str, models: dict[str, Model], kind: str = "") -> pd.DataFrame:
    model, items, options = GIVEN[name]
    frame = pd.DataFrame(
        {"item": [f"i{n}" for n in range(len(next(iter(items.values()), [])))]} | items
    )
    return (
        units.find("measure", name, PROJECT)
        .load()
        .measure(models[kind or model], frame, seed=1, **options)
    )


def values(rows: pd.DataFrame, metric: str) -> np.ndarray:
    return rows.loc[rows["metric"] == metric, "value"].to_numpy(float)


@pytest.mark.parametrize("name", sorted(units.available("measure", PROJECT)))
def test_values_are_such_as_their_unit_allows(name: str, models: dict[str, Model]) -> None:
    """Every metric has a unit; shares lie in [0, 1], amounts are not below 0, counts of bytes and
    tokens are whole numbers.
    """
    unit, rows = units.find("measure", name, PROJECT), measured(name, models)
    assert set(rows["metric"]) <= set(unit["UNIT"]) and rows["value"].notna().any()
    for metric in rows["metric"].unique():
        found, word = values(rows, metric), unit.unit_of(metric)
        assert word
        if word in SHARES:
            assert ((found >= 0) & (found <= 1)).all()
        if word in AMOUNTS:
            assert (found[~np.isnan(found)] >= (-1e-9 if metric == "surprisal_bits" else 0)).all()
        if word in ("bytes", "tokens"):
            assert (found == found.round()).all()


def test_nats_and_bits_are_those_of_one_probability(models: dict[str, Model]) -> None:
    """Of one text: bits = -nats / ln 2, per byte of UTF-8, and the words' uncorrected bits add up
    to them (1e-6, float32 sums).
    """
    whole, words = measured("bits_per_byte", models), measured("surprisal", models)
    nats, n_bytes = values(whole, "logprob_nats"), values(whole, "n_bytes")
    assert n_bytes.sum() == sum(len(t.encode()) for t in TEXTS)
    bits = -nats / math.log(2)
    assert values(whole, "bits_per_byte") * n_bytes == pytest.approx(bits, rel=1e-6)
    assert values(words, "surprisal_bits_uncorrected").sum() == pytest.approx(bits.sum(), rel=1e-6)


def test_a_pair_is_told_in_nats_of_either_quantity(models: dict[str, Model]) -> None:
    """difference = good - bad, of log-probabilities and of pseudo-log-likelihoods; both of those
    are sums of logs, so below 0.
    """
    for kind, start in (("gpt2", ""), ("bert", "pll_")):
        rows = measured("minimal_pair", models, kind)
        good, bad = (
            values(rows, f"{start or 'logprob_'}{which}_nats") for which in ("good", "bad")
        )
        assert (good < 0).all() and (bad < 0).all()
        assert values(rows, f"{start}difference_nats") == pytest.approx(good - bad, abs=1e-12)
        assert (values(rows, f"{start}correct") == (good > bad)).all()


def test_tokens_words_characters_and_bytes(models: dict[str, Model]) -> None:
    """3 words of 1 token each in 12 characters and bytes, as the word tokenizer of the tiny models
    cuts them.
    """
    rows = measured("fertility", models)
    first = rows[rows["item"] == "i0"].set_index("metric")["value"]
    assert first["tokens_per_word"] == 1 and first["continued_words"] == 0
    assert first["tokens_per_character"] == pytest.approx(3 / 12) and first[
        "bytes_per_token"
    ] == pytest.approx(12 / 3)


def test_recovery_is_a_share_of_the_difference(models: dict[str, Model]) -> None:
    """(patched - corrupted) / (clean - corrupted), of logit differences in nats: no share of a
    whole, so it may leave [0, 1].
    """
    rows = measured("activation_patching", models)
    clean, corrupted = (
        values(rows, "logit_difference_clean")[0],
        values(rows, "logit_difference_corrupted")[0],
    )
    patched = values(rows, "logit_difference")
    assert values(rows, "recovery") == pytest.approx(
        (patched - corrupted) / (clean - corrupted), rel=1e-6
    )
