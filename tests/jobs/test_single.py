"""`transect measure`: one measure of one model, without a study."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.shelf import tiny_model
from transect import cli
from transect.errors import InputError
from transect.jobs.single import parse_options

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


def test_minimal_pairs_of_a_file(model: Path, pairs: Path, tmp_path: Path) -> None:
    """A file in BLiMP's form is read as it is: items are named UID-pairID, four metrics each."""
    out = tmp_path / "rows.parquet"
    assert (
        cli.main(["measure", str(model), "--measure", "minimal_pair", "--stimuli", str(pairs), "--out", str(out)]) == 0
    )
    rows = pd.read_parquet(out)
    assert set(rows["item"]) == {"order-0", "order-1"}
    wide = rows.pivot(index="item", columns="metric", values="value")
    assert (wide["difference_nats"] == wide["logprob_good_nats"] - wide["logprob_bad_nats"]).all()


def test_csv_gives_the_same(model: Path, pairs: Path, tmp_path: Path) -> None:
    """The same pairs as CSV give the same values."""
    table = tmp_path / "order.csv"
    pd.DataFrame(PAIRS).to_csv(table, index=False)
    for source, name in ((pairs, "a"), (table, "b")):
        cli.main(
            [
                "measure",
                str(model),
                "--measure",
                "minimal_pair",
                "--stimuli",
                str(source),
                "--out",
                str(tmp_path / name),
            ]
        )
    assert pd.read_parquet(tmp_path / "a").equals(pd.read_parquet(tmp_path / "b"))


def test_options_are_yaml(model: Path, tmp_path: Path) -> None:
    """Numbers, lists and mappings are given as on a line of a study."""
    assert parse_options(["n=4", "conditions=[{length: 3}]", "bos=true"]) == {
        "n": 4,
        "conditions": [{"length": 3}],
        "bos": True,
    }
    out = tmp_path / "rows.parquet"
    options = ["--option", "n=4", "--option", "conditions=[{length: 3}]"]
    assert cli.main(["measure", str(model), "--measure", "induction", *options, "--out", str(out)]) == 0
    assert set(pd.read_parquet(out)["metric"]) == {"prefix_matching", "uniform_attention"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"--measure": "minimal_pairs"}, "unknown measure 'minimal_pairs'.*Did you mean 'minimal_pair'"),
        ({"--option": "bso=true"}, "minimal_pair has no option 'bso'; it has bos, context"),
        ({"--stimuli": "blimp"}, "unknown stimuli 'blimp'"),
        ({"model": "pythia-70"}, "no directory, no run of the registry and no hub id.*Did you mean 'pythia-70m'"),
        ({"--option": "bos"}, "write NAME=VALUE"),
    ],
)
def test_bad_input_is_one_sentence(
    change: dict[str, str], told: str, model: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and a sentence that names what was given and what is allowed."""
    given = {"--measure": "minimal_pair", "--stimuli": str(pairs), "--out": "x.parquet"} | {
        k: v for k, v in change.items() if k != "model"
    }
    arguments = [text for pair in given.items() for text in pair]
    assert cli.main(["measure", change.get("model", str(model)), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(InputError, match=told):
        raise InputError(error)


def test_missing_column_is_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file without a column that the measure reads is told, with the nearest column."""
    path = tmp_path / "x.csv"
    path.write_text("item,sentence_goood,sentence_bad\n1,a,b\n")
    assert cli.main(["measure", str(model), "--measure", "minimal_pair", "--stimuli", str(path), "--out", "x"]) == 2
    assert "no column 'sentence_good'" in capsys.readouterr().err
