"""`transect measure`: what its flags may be, and what it writes and prints."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.shelf import byte_tokenizer, tiny_model
from transect.cli import main
from transect.cli.model.rows_file import TAKEN, kept, with_columns, write_rows
from transect.errors import InputError


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"--measure": "induction", "--stimuli": None},
            r"needs --option conditions=\.\.\., e.g. 'conditions=\[{length: 32, gap: 0}\]'",
        ),
        (
            {"--measure": "induction", "--option": "conditions=random"},
            "--stimuli .*induction takes no stimuli",
        ),
        ({"--stimuli-option": "frames=3"}, "--stimuli-option frames: options are for a named set"),
        (
            {
                "--measure": "copying",
                "--option": "conditions=[{length: 3}]",
                "--stimuli": None,
                "--keep": "x",
            },
            "takes no stimuli",
        ),
        ({"--keep": "UIDs"}, "--keep UIDs: there is no such column.*Did you mean 'UID'"),
        ({"--keep": "item"}, "--keep item: the rows have a column 'item' of their own"),
        (
            {"--device": "gpu"},
            "'gpu' is no device; allowed are cpu, auto, cuda.*An NVIDIA GPU is cuda",
        ),
        ({"--out": "rows.tsv"}, r"--out rows.tsv: the rows are written as .parquet or .csv"),
        ({"--out": "/proc/none/rows.csv"}, "--out /proc/none/rows.csv: this cannot be written"),
        ({"model": "./nowhere"}, "no folder .*nowhere"),
        ({"model": __file__}, "is a file; a model is a folder"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_loaded(
    change: dict[str, str | None],
    told: str,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Options, device, stimuli and output file: exit code 2, one sentence, and no model was read."""
    monkeypatch.setattr("transect.lm.loading.load", lambda *_, **__: pytest.fail("loaded"))
    given = {
        "--measure": "minimal_pair",
        "--stimuli": str(pairs),
        "--out": str(tmp_path / "x.parquet"),
    } | change
    path = given.pop("model", None) or str(model)
    assert (
        main.main(
            ["measure", path, *(text for pair in given.items() if pair[1] for text in pair if text)]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("transect: ")
    with pytest.raises(InputError, match=told):
        raise InputError(error)


@pytest.mark.parametrize(
    ("measure", "option", "told"),
    [
        ("copying", "n=0", "n: 0; it must be a whole number of at least 1"),
        ("copying", "n=abc", "n: 'abc'; it must be"),
        ("copying", "conditions=random", "conditions: 'random'; it must be a list"),
        (
            "induction",
            "conditions={length: 10}",
            "conditions: .*it must be a list of conditions, e.g.",
        ),
        ("induction", "conditions=[repeated]", "'repeated' is no condition"),
        ("minimal_pair", "context=5", "context: 5 is no text"),
        ("minimal_pair", "bos=1", "bos: 1; allowed are auto, true, false"),
    ],
)
def test_an_option_of_the_wrong_type_is_one_sentence(
    measure: str,
    option: str,
    told: str,
    model: Path,
    pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The option, what was given, what is allowed; exit code 2."""
    more = (
        ["--stimuli", str(pairs)]
        if measure == "minimal_pair"
        else ["--option", "conditions=[{length: 3}]"]
    )
    more = [] if option.startswith("conditions=") else more
    given = ["measure", str(model), "--measure", measure, *more, "--option", option]
    assert main.main([*given, "--out", str(tmp_path / "x.csv")]) == 2
    with pytest.raises(InputError, match=told):
        raise InputError(capsys.readouterr().err)


def test_a_name_that_may_be_a_folder(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """organisation/name is looked for on the hub; where it is not there, that there is no such
    folder is told too.
    """
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    given = ["--measure", "minimal_pair", "--stimuli", str(pairs), "--out", str(tmp_path / "x.csv")]
    assert main.main(["measure", "models/mine", *given]) == 1
    assert capsys.readouterr().err.endswith("; and there is no folder models/mine here.\n")


def test_a_registered_run_is_refused_before_its_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the registry knows of a run suffices to say that it has no heads."""
    monkeypatch.setattr("transect.cli.model.single.locate", lambda *_: pytest.fail("downloaded"))
    given = ["--option", "conditions=[{length: 3}]", "--out", str(tmp_path / "x.csv")]
    assert (
        main.main(["measure", "mini-bigram-svo-verb-fresh", "--measure", "induction", *given]) == 1
    )
    assert "it can be measured with: " in capsys.readouterr().err


def test_the_largest_patch_names_its_item(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Positions of one item are not those of another: the largest row is told, with its item."""
    table, out = tmp_path / "x.csv", tmp_path / "x.parquet"
    model = tiny_model(tmp_path, "gpt2", tokenizer=byte_tokenizer())
    table.write_text("item,clean,corrupted,answer,foil\none,abc,adc,x,y\ntwo,ab,db,x,y\n")
    given = [
        "measure",
        str(model),
        "--measure",
        "activation_patching",
        "--stimuli",
        str(table),
        "--out",
        str(out),
    ]
    assert main.main([*given, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["metrics"]["recovery"]["largest"]
    rows = pd.read_parquet(out).query("metric == 'recovery'")
    row = rows.loc[rows["value"].idxmax()]
    assert told == {"value": row["value"], **{k: row[k] for k in ("layer", "position", "item")}}


def test_csv_out_with_kept_columns(model: Path, pairs: Path, tmp_path: Path) -> None:
    """--out x.csv is CSV: the values of the Parquet file, with the model and the kept columns
    beside each item.
    """
    given = [
        "measure",
        str(model),
        "--measure",
        "minimal_pair",
        "--stimuli",
        str(pairs),
        "--keep",
        "UID",
        "--keep",
        "pairID",
    ]
    for name in ("new/x.csv", "x.parquet"):
        assert main.main([*given, "--out", str(tmp_path / name)]) == 0
    table, same = pd.read_csv(tmp_path / "new/x.csv"), pd.read_parquet(tmp_path / "x.parquet")
    assert (
        table.columns.tolist() == same.columns.tolist() == [*TAKEN[:2], "UID", "pairID", *TAKEN[2:]]
    )
    assert table["value"].tolist() == same["value"].tolist() and set(same["model"]) == {str(model)}
    assert (same["item"] == same["UID"] + "-" + same["pairID"]).all()


def test_a_kept_column_of_several_types_is_text(tmp_path: Path) -> None:
    """A column of a table has one type; what JSON lines mix is kept as JSON, what is missing stays
    missing.
    """
    items = pd.DataFrame(
        {"item": ["a", "b", "c"], "x": [1, "two", None], "n": [1, 2, 3]}, dtype=object
    )
    found = with_columns(
        pd.DataFrame({"item": ["b", "a", "c"], "value": 0.5}), "m", kept(items, ["x", "n"], "f")
    )
    assert (
        found["x"].tolist()[:2] == ['"two"', "1"]
        and found["x"].isna()[2]
        and found["n"].tolist() == [2, 1, 3]
    )
    write_rows(tmp_path / "x.parquet", found)


def test_the_summary_names_the_largest_place(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a metric with a value per head: the largest mean over the items and where, not a mean over
    all heads.
    """
    out = tmp_path / "x.parquet"
    given = [
        "--option",
        "conditions=[{length: 3}, {length: 4}]",
        "--option",
        "n=4",
        "--out",
        str(out),
        "--json",
    ]
    assert main.main(["measure", str(model), "--measure", "previous_token", *given]) == 0
    told = json.loads(capsys.readouterr().out)["metrics"]["previous_token"]["largest"]
    means = pd.read_parquet(out).groupby(["layer", "head"])["value"].mean()
    assert (
        (told["layer"], told["head"]) == means.idxmax()
        and told["value"] == means.max()
        and told["items"] == 2
    )
    assert main.main(["measure", str(model), "--measure", "previous_token", *given[:-1]]) == 0
    assert (
        f"at layer {told['layer']}, head {told['head']} (mean over 2 items)"
        in capsys.readouterr().out
    )


def test_advice_of_transformers_is_not_shown(pairs: Path, tmp_path: Path) -> None:
    """A state-space model without its fast kernels is measured without a word about them: only the
    opening is told.
    """
    path = tiny_model(tmp_path, "mamba2")
    given = ["--measure", "minimal_pair", "--stimuli", str(pairs), "--out", str(tmp_path / "x.csv")]
    command = [sys.executable, "-m", "transect.cli.main", "measure", str(path), *given]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    assert [line.split(" before a text")[0] for line in told] == [
        "transect: the tokenizer puts nothing"
    ]
