"""What the tests of `transect measure` share: a tiny model, and a file of pairs in BLiMP's form."""

import json
from pathlib import Path

import pytest

from tests.shelf import tiny_model

PAIRS = [
    {"sentence_good": "a b c", "sentence_bad": "a c b", "UID": "order", "pairID": "0"},
    {"sentence_good": "b a d", "sentence_bad": "d a b", "UID": "order", "pairID": "1"},
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model", "gpt_neox")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "order.jsonl"
    path.write_text("\n".join(map(json.dumps, PAIRS)))
    return path
