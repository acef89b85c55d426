"""`transect measure`: one measure of one model, without a study."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.cli.model.conftest import PAIRS
from tests.lm.test_loading import own_model
from tests.shelf import byte_tokenizer, tiny_model
from transect.cli import main
from transect.cli.model.single import parse_options
from transect.errors import InputError


def test_minimal_pairs_of_a_file(model: Path, pairs: Path, tmp_path: Path) -> None:
    """A file in BLiMP's form is read as it is: items are named UID-pairID, four metrics each."""
    out = tmp_path / "rows.parquet"
    assert (
        main.main(
            [
                "measure",
                str(model),
                "--measure",
                "minimal_pair",
                "--stimuli",
                str(pairs),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    rows = pd.read_parquet(out)
    assert set(rows["item"]) == {"order-0", "order-1"}
    wide = rows.pivot(index="item", columns="metric", values="value")
    assert (wide["difference_nats"] == wide["logprob_good_nats"] - wide["logprob_bad_nats"]).all()


def test_nothing_is_imported_that_measuring_does_not_need() -> None:
    """Before a model is loaded: no torch, and none of what analyses and reports are made with, half
    a second of processor time.
    """
    needless = (
        "torch",
        "transformers",
        "scipy.stats",
        "statsmodels",
        "matplotlib",
        "snakemake",
        "jinja2",
    )
    code = f"import sys, transect.cli.main, transect.cli.model.single; print([m for m in {needless} if m in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert told.strip() == "[]"


def test_csv_gives_the_same(model: Path, pairs: Path, tmp_path: Path) -> None:
    """The same pairs as CSV give the same values."""
    table = tmp_path / "order.csv"
    pd.DataFrame(PAIRS).to_csv(table, index=False)
    for source, name in ((pairs, "a.parquet"), (table, "b.parquet")):
        main.main(
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
    assert pd.read_parquet(tmp_path / "a.parquet").equals(pd.read_parquet(tmp_path / "b.parquet"))


def test_options_are_yaml(model: Path, tmp_path: Path) -> None:
    """Numbers, lists and mappings are given as on a line of a study."""
    assert parse_options(["n=4", "conditions=[{length: 3}]", "bos=true"]) == {
        "n": 4,
        "conditions": [{"length": 3}],
        "bos": True,
    }
    out = tmp_path / "rows.parquet"
    options = ["--option", "n=4", "--option", "conditions=[{length: 3}]"]
    assert (
        main.main(["measure", str(model), "--measure", "induction", *options, "--out", str(out)])
        == 0
    )
    assert set(pd.read_parquet(out)["metric"]) == {"prefix_matching", "uniform_attention"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"--measure": "minimal_pairs"},
            "unknown measure 'minimal_pairs'.*Did you mean 'minimal_pair'",
        ),
        ({"--option": "bso=true"}, "minimal_pair has no option 'bso'; it has bos, context"),
        ({"--stimuli": "blimp"}, "unknown stimuli 'blimp'"),
        (
            {"model": "pythia-70"},
            "no directory, no run of the registry and no hub id.*Did you mean 'pythia-70m'",
        ),
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
    assert main.main(["measure", change.get("model", str(model)), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(InputError, match=told):
        raise InputError(error)


def test_missing_column_is_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file without a column that the measure reads is told, with the nearest column."""
    path = tmp_path / "x.csv"
    path.write_text("item,sentence_goood,sentence_bad\n1,a,b\n")
    given = ["measure", str(model), "--measure", "minimal_pair", "--stimuli", str(path)]
    assert main.main([*given, "--out", str(tmp_path / "x.csv")]) == 2
    assert "no column 'sentence_good'" in capsys.readouterr().err


def test_surprisal_of_a_csv(tmp_path: Path) -> None:
    """A table with a column `text` is enough: two rows per word; an empty text has its error and
    stops nothing.
    """
    path, table, out = (
        tiny_model(tmp_path, "gpt2", tokenizer=byte_tokenizer()),
        tmp_path / "x.csv",
        tmp_path / "rows.parquet",
    )
    table.write_text("item,text,verb\none,the dog runs,runs\ntwo,,\n", encoding="utf-8")
    given = [
        "measure",
        str(path),
        "--measure",
        "surprisal",
        "--stimuli",
        str(table),
        "--out",
        str(out),
    ]
    assert main.main(given) == 1  # finished, and an item was refused
    rows = pd.read_parquet(out)
    one, two = (rows[rows["item"] == name] for name in ("one", "two"))
    assert one["word"].tolist()[::2] == ["the", "dog", "runs"] and one["position"].tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]
    assert (
        set(rows["metric"]) == {"surprisal_bits", "surprisal_bits_uncorrected"}
        and (one["value"] > 0).all()
    )
    assert two["value"].isna().all() and two["error"].str.contains("no token to score").all()
    main.main([*given, "--option", "regions=verb"])
    region = pd.read_parquet(out).query("item == 'one'")
    assert (
        set(region["region"]) == {"verb"} and region["value"].tolist() == one["value"].tolist()[-2:]
    )


def pairs_with_faults(folder: Path) -> Path:
    """Five pairs: the first is fine, the others cannot be scored."""
    path = folder / "faults.csv"
    rows = ["fine,the dog runs,the dog run", *(f"bad{i},,the dog" for i in range(4))]
    path.write_text("\n".join(["item,sentence_good,sentence_bad", *rows]) + "\n")
    return path


def test_refused_items_are_listed_and_the_others_written(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1; on stderr how many and the first three; in the file every item, refused ones
    with their error.
    """
    out = tmp_path / "rows.parquet"
    given = [
        "measure",
        str(model),
        "--measure",
        "minimal_pair",
        "--stimuli",
        str(pairs_with_faults(tmp_path)),
        "--out",
        str(out),
    ]
    assert main.main(given) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "transect: 4 of 5 items were refused:"
    assert [line.split(":")[0].strip() for line in told[1:4]] == ["bad0", "bad1", "bad2"]
    assert told[4] == f"  and 1 more (column error of {out})"
    assert [line[:52] for line in told[5:]] == [
        "transect: the tokenizer puts nothing before a text i"
    ]
    rows = pd.read_parquet(out)
    assert rows["item"].nunique() == 5 and rows.loc[rows["item"] == "fine", "value"].notna().all()
    assert (rows["error"].notna() == rows["value"].isna()).all()


def test_json_names_every_refused_item(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--json: means over the numbers, all refused items with their reasons, and the self-check's
    difference.
    """
    given = [
        "--stimuli",
        str(pairs_with_faults(tmp_path)),
        "--out",
        str(tmp_path / "rows.parquet"),
        "--json",
    ]
    assert main.main(["measure", str(model), "--measure", "minimal_pair", *given]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [r["item"] for r in told["refused"]] == ["bad0", "bad1", "bad2", "bad3"]
    assert told["metrics"]["correct"]["size"] == 1 and 0 <= told["self_check_nats"] < 1e-5


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_one_sentence(
    model: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--device cuda on a machine without one: exit code 2, and nothing is written."""
    out = tmp_path / "x.parquet"
    given = [
        "measure",
        str(model),
        "--measure",
        "minimal_pair",
        "--stimuli",
        str(pairs),
        "--device",
        "cuda",
        "--out",
        str(out),
    ]
    assert main.main(given) == 2
    assert (
        capsys.readouterr().err
        == "transect: device: 'cuda' is not on this machine; there are: cpu (or auto).\n"
    )
    assert not out.exists()


def test_budget_and_dtype_reach_the_model(model: Path, pairs: Path, tmp_path: Path) -> None:
    """A small budget gives the same values to 1e-5 nats; bfloat16 gives others (it keeps 8 bits)."""
    found = {}
    for name, more in {
        "plain": [],
        "small": ["--budget", "1"],
        "half": ["--dtype", "bfloat16"],
    }.items():
        out = tmp_path / f"{name}.parquet"
        given = [
            "measure",
            str(model),
            "--measure",
            "minimal_pair",
            "--stimuli",
            str(pairs),
            "--out",
            str(out),
        ]
        assert main.main([*given, *more]) == 0
        found[name] = pd.read_parquet(out)["value"]
    assert (found["plain"] - found["small"]).abs().max() < 1e-5
    assert 1e-4 < (found["plain"] - found["half"]).abs().max() < 1


@pytest.mark.parametrize("budget", ["0", "much", "nan"])
def test_a_budget_is_a_number_of_megabytes(
    model: Path, budget: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before anything is loaded, with what is allowed."""
    given = ["measure", str(model), "--measure", "induction", "--budget", budget, "--out", "x"]
    assert main.main(given) == 2
    assert "must be a number of megabytes" in capsys.readouterr().err


def test_a_directory_with_code_of_its_own_needs_the_flag(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused in one sentence without --trust-remote-code (exit code 2, nothing is run), measured
    with it.
    """
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    path = own_model(tmp_path / "own")
    given = [
        "measure",
        str(path),
        "--measure",
        "minimal_pair",
        "--stimuli",
        str(pairs),
        "--out",
        str(tmp_path / "x.parquet"),
    ]
    assert main.main(given) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "remote_code: true" in told and "--trust-remote-code" in told
    assert not (path / "ran").exists()
    assert main.main([*given, "--trust-remote-code"]) == 0 and (path / "ran").exists()


def test_out_may_not_be_a_folder(
    model: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told before the work is done, not after."""
    given = [
        "measure",
        str(model),
        "--measure",
        "minimal_pair",
        "--stimuli",
        str(pairs),
        "--out",
        str(tmp_path),
    ]
    assert main.main(given) == 2 and "this is a folder" in capsys.readouterr().err


def test_a_measure_that_the_model_cannot_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Heads of a model without attention: not applicable, in one sentence, exit code 1."""
    path = tiny_model(tmp_path, "ngram")
    given = [
        "measure",
        str(path),
        "--measure",
        "previous_token",
        "--option",
        "conditions=[{length: 3}]",
    ]
    assert main.main([*given, "--out", str(tmp_path / "x.csv")]) == 1
    assert capsys.readouterr().err == (
        f"transect: previous_token needs attention, heads, which {path} does not offer; it can be measured with: "
        "bits_per_byte, copying, fertility, forced_choice, minimal_pair, surprisal.\n"
    )


def test_a_causal_measure_of_a_masked_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence says what the measure is defined for, what the model is, and what can be
    measured instead.
    """
    path, table = tiny_model(tmp_path, "bert"), tmp_path / "x.csv"
    table.write_text("text\na b c\n")
    given = ["--measure", "surprisal", "--stimuli", str(table), "--out", str(tmp_path / "rows.csv")]
    assert main.main(["measure", str(path), *given]) == 1
    assert capsys.readouterr().err == (
        f"transect: surprisal is defined for causal models; {path} is a masked one; it can be measured with: fertility, minimal_pair.\n"
    )
