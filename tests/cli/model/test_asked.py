"""Several measures and files per load: what is asked, what each row says, and what is told before a
model is loaded.
"""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.shelf import tiny_model
from transect import lm
from transect.cli import main

PAIRS = [("the dog runs .", "the dog run ."), ("the cats sleep", "the cats sleeps")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"), "gpt2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of pairs that hold texts as well."""
    path = tmp_path_factory.mktemp("items")
    for name, pairs in (("a", PAIRS), ("b", PAIRS[::-1])):
        rows = [
            {"item": str(i), "sentence_good": g, "sentence_bad": b, "text": g}
            for i, (g, b) in enumerate(pairs)
        ]
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def measured(out: Path, *given: str) -> pd.DataFrame:
    assert main.main(["measure", *given, "--out", str(out)]) == 0
    return pd.read_parquet(out)


def test_one_load_gives_what_many_give(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two measures on a pattern of two files and one that makes its own: the rows of five runs of
    the command, from one load.
    """
    loads: list[object] = []
    load = lm.load
    monkeypatch.setattr(lm, "load", lambda *a, **k: (loads.append(a), load(*a, **k))[1])
    induction = [
        "--measure",
        "induction",
        "--option",
        "n=2",
        "--option",
        "conditions=[{length: 4}]",
    ]
    texts = ["--measure", "minimal_pair", "--measure", "fertility"]
    together = measured(
        tmp_path / "all.parquet",
        str(model),
        *texts,
        *induction,
        "--stimuli",
        str(folder / "*.jsonl"),
    )
    assert len(loads) == 1 and list(together)[:4] == ["model", "measure", "stimuli", "item"]
    alone = [
        measured(
            tmp_path / "one.parquet", str(model), "--measure", name, "--stimuli", str(folder / file)
        ).assign(measure=name, stimuli=str(folder / file))
        for name in ("minimal_pair", "fertility")
        for file in ("a.jsonl", "b.jsonl")
    ]
    alone.append(
        measured(tmp_path / "one.parquet", str(model), *induction).assign(
            measure="induction", stimuli=None
        )
    )
    expected = pd.concat(alone, ignore_index=True)[list(together)]
    same = [table.astype(object).where(table.notna(), None) for table in (together, expected)]
    pd.testing.assert_frame_equal(*same, check_dtype=False, rtol=0, atol=1e-5)


def test_one_measure_on_one_file_has_no_more_columns(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    """A pattern of one file is that file."""
    rows = measured(
        tmp_path / "x.parquet",
        str(model),
        "--measure",
        "minimal_pair",
        "--stimuli",
        str(folder / "a*"),
    )
    assert "measure" not in rows and "stimuli" not in rows and len(rows) == 8


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["--measure", "minimal_pair", "--measure", "minimal_pair", "--stimuli", "a.jsonl"],
            "minimal_pair is given twice",
        ),
        (
            ["--measure", "minimal_pair", "--stimuli", "*.csv"],
            "--stimuli '*.csv': no file is called so",
        ),
        (
            ["--measure", "minimal_pair", "--stimuli", "a.jsonl", "--stimuli", "*.jsonl"],
            "--stimuli a.jsonl is given twice",
        ),
        (
            [
                "--measure",
                "minimal_pair",
                "--measure",
                "surprisal",
                "--stimuli",
                "a.jsonl",
                "--option",
                "bso=true",
            ],
            "Did you mean 'bos'",
        ),
        (
            ["--measure", "copying", "--measure", "induction", "--stimuli", "a.jsonl"],
            "none of copying, induction takes stimuli",
        ),
        (["--measure", "minimal_pair", "--measure", "copying"], "minimal_pair needs stimuli"),
    ],
)
def test_what_cannot_be_is_told_before_the_load(
    given: list[str],
    told: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One sentence and exit code 2, of a folder that holds no model."""
    monkeypatch.chdir(folder)
    assert main.main(["measure", str(tmp_path), *given, "--out", str(tmp_path / "x.csv")]) == 2
    assert told in capsys.readouterr().err


def test_a_measure_that_cannot_be_taken_leaves_the_others(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that only its values rule out: told with the measure's name, exit code 1, the other
    one's rows are written.
    """
    given = [
        str(model),
        "--measure",
        "minimal_pair",
        "--measure",
        "bits_per_byte",
        "--option",
        "window=1",
        "--stimuli",
        str(folder / "a.jsonl"),
    ]
    assert main.main(["measure", *given, "--out", str(tmp_path / "x.parquet")]) == 1
    assert "bits_per_byte on" in capsys.readouterr().err
    assert set(pd.read_parquet(tmp_path / "x.parquet")["measure"]) == {"minimal_pair"}


def test_refused_items_are_counted_in_each_measure_and_file(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files with the same ids, an empty text in one of them: 1 of 2 there, in both measures,
    and none in the other file.
    """
    for name, text in (("one", "the dog runs"), ("two", "")):
        (tmp_path / f"{name}.csv").write_text(f"item,text\n1,the cat sleeps\n2,{text}\n")
    given = ["measure", str(model), "--out", str(tmp_path / "rows.csv")]
    given += [
        "--measure",
        "bits_per_byte",
        "--measure",
        "fertility",
        "--stimuli",
        str(tmp_path / "*.csv"),
    ]
    assert main.main(given) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if "items were refused" in line]
    assert told == [
        f"transect: {m} on {tmp_path / 'two.csv'}: 1 of 2 items were refused:"
        for m in ("bits_per_byte", "fertility")
    ]
