"""`transect scaling` from a file to the chosen form, its intervals and what lies beyond."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transect.cli.main import main
from transect.cli.table import scaling as job


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A power law with E 1.7 and exponent 0.2 over 12 families of 8 models."""
    rng = np.random.default_rng(2)
    family = np.repeat([f"f{i}" for i in range(12)], 8)
    params = 10 ** rng.uniform(6, 11, 96)
    loss = 1.7 + 40 * params**-0.2 + rng.normal(0, 0.02, 12).repeat(8) + rng.normal(0, 0.01, 96)
    path = tmp_path / "losses.csv"
    pd.DataFrame({"loss": loss, "params": params, "family": family}).to_csv(path, index=False)
    return path


def test_the_planted_law_is_chosen_with_its_exponent(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The power law predicts left-out families best; its exponent's interval holds 0.2."""
    arguments = [
        "scaling",
        str(table),
        "--y",
        "loss",
        "--x",
        "params",
        "--group",
        "family",
        "-n",
        "100",
        "--json",
    ]
    assert main([*arguments, "--forms", "line,power"]) == 0
    found = json.loads(capsys.readouterr().out)
    a = next(p for p in found["parameters"] if p["parameter"] == "a")
    assert found["best"] == "power"
    assert a["lower"] < 0.2 < a["upper"] and a["n_groups"] == 12


def test_larger_models_are_predicted(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fitted up to 1e10, the rows beyond fall into the 95 % interval in at least 80 % of cases."""
    arguments = [
        "scaling",
        str(table),
        "--y",
        "loss",
        "--x",
        "params",
        "--group",
        "family",
        "-n",
        "100",
    ]
    assert main([*arguments, "--forms", "power", "--beyond", "1e10", "--json"]) == 0
    beyond = json.loads(capsys.readouterr().out)["beyond"]
    assert beyond["share_inside_95"] >= 0.8
    assert abs(beyond["mean_error"]) <= beyond["rmse"]


def test_an_unknown_column_is_one_sentence(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, with the nearest guess."""
    assert main(["scaling", str(table), "--y", "los", "--x", "params", "--group", "family"]) == 2
    assert "Did you mean 'loss'" in capsys.readouterr().err


def _rising(folder: Path, planted: str) -> Path:
    """60 results over size and data in 12 families: accuracies that rise with both, or losses after
    a law.
    """
    rng = np.random.default_rng(0)
    size, data = 10 ** rng.uniform(8, 11, 60), 10 ** rng.uniform(9, 12, 60)
    rising = 1 / (1 + np.exp(9.5 - np.log10(size))) + 0.05 * np.log10(data) / 12
    law = 1.69 + 406.4 * size**-0.34 + 410.7 * data**-0.28
    y = (rising if planted == "accuracies" else law) * np.exp(rng.normal(0, 0.01, 60))
    path = folder / "t.csv"
    pd.DataFrame(
        {"y": y, "size": size, "data": data, "family": np.repeat(np.arange(12), 5)}
    ).to_csv(path, index=False)
    return path


ARGUMENTS = ["--y", "y", "--group", "family", "-n", "100"]


def test_a_loss_law_of_rising_accuracies_is_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not fall, it does not predict, its exponents are not negative: said in the JSON and
    in the summary.
    """
    arguments = ["scaling", str(_rising(tmp_path, "accuracies")), "--x", "size,data", *ARGUMENTS]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    notes = " ".join(found["notes"])
    assert "no form predicts better than the mean of the other groups" in notes
    assert "the result does not fall with size (a, A); this law is for losses" in notes
    assert "chinchilla does not fit better than a constant" in notes
    assert found["parameters"] == []
    assert main(arguments) == 0
    assert "Note: no form predicts better" in capsys.readouterr().out


def test_a_loss_law_of_losses_is_not_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The planted exponents in their intervals, and no note; the law and what r2 is are printed."""
    arguments = ["scaling", str(_rising(tmp_path, "losses")), "--x", "size,data", *ARGUMENTS]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {p["parameter"]: p for p in found["parameters"]}
    assert found["notes"] == []
    assert (
        rows["a"]["lower"] < 0.34 < rows["a"]["upper"]
        and rows["b"]["lower"] < 0.28 < rows["b"]["upper"]
    )
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "chinchilla: y = E + A / N^a + B / D^b, 95 %" in text
    assert "r2: against the mean of the other groups" in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--x", "size", "--forms", "powr"], "unknown form 'powr'; there are line, power"),
        (["--x", "size", "--forms", "powr"], "Did you mean 'power'"),
        (
            ["--x", "size", "--forms", "chinchilla"],
            "the form chinchilla takes 2 columns in --x, not 1 (size)",
        ),
        (["--x", "size,data", "--forms", "power"], "the form power takes 1 columns in --x"),
        (["--x", "size,data,zero"], "--x names 3 columns"),
        (["--x", "zero"], "the column 'zero' holds 2 values that are not above 0"),
        (["--x", "zero"], "leave the rows with 0 (step 0) out of the table"),
        (["--x", "size", "--beyond", "1e15"], "--beyond 1e+15: size reaches from"),
        (["--x", "size", "--beyond", "3"], "--beyond 3: size reaches from"),
    ],
)
def test_what_does_not_fit_is_said_before_fitting(
    more: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forms, columns and --beyond; one sentence, and no fit."""
    path = _rising(tmp_path, "losses")
    pd.read_csv(path).assign(zero=np.r_[0.0, -1.0, np.ones(58)]).to_csv(path, index=False)
    monkeypatch.setattr(job, "leave_groups_out", lambda *_: pytest.fail("fitted"))
    assert main(["scaling", str(path), *more, *ARGUMENTS]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1


@pytest.fixture
def margins(tmp_path: Path) -> Path:
    """Margins of 30 items of 5 runs at 9 sizes, rising along a line; right is a margin above 0."""
    rng = np.random.default_rng(3)
    run, size, item = (
        g.ravel() for g in np.meshgrid(np.arange(5), np.arange(9), np.arange(30), indexing="ij")
    )
    margin = size - 3.5 + rng.normal(0, 0.1, 30)[item] + rng.normal(0, 0.1, len(run))
    rows = {
        "correct": margin > 0,
        "margin": margin,
        "params": 1e6 * 2.0**size,
        "run": run,
        "data": 1.0 + size,
    }
    path = tmp_path / "margins.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


JUMP = ["--y", "correct", "--group", "run", "--forms", "line", "-n", "100", "--continuous"]


def test_the_jump_of_a_thresholded_metric_is_labelled(
    margins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Made by the metric, with place and resolution, in the JSON and in the summary."""
    arguments = ["scaling", str(margins), "--x", "params", *JUMP, "margin"]
    assert main([*arguments, "--json"]) == 0
    jump = json.loads(capsys.readouterr().out)["jump"]
    assert jump["label"] == "metric-induced"
    assert (jump["below"], jump["above"]) == (pytest.approx(8e6), pytest.approx(16e6))
    assert abs(jump["continuous"]["estimate"]) < 0.05 < 0.9 < jump["thresholded"]["estimate"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert (
        "The jump of correct beside margin: metric-induced (the continuous metric has no such step"
        in text
    )
    assert (
        "between params 8e+06 and 1.6e+07, the largest change in 5 of 5 groups; a rise within 0.3 decades"
        in text
    )


@pytest.mark.parametrize(
    ("x", "metric", "message"),
    [
        ("params", "margn", "Did you mean 'margin'"),
        ("params,data", "margin", "--continuous compares two metrics along one x"),
    ],
)
def test_a_jump_that_cannot_be_looked_at_is_one_sentence(
    x: str, metric: str, message: str, margins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    arguments = [*JUMP[:4], *JUMP[6:], metric]
    assert main(["scaling", str(margins), "--x", x, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_few_sizes_leave_a_form_out_and_not_the_answer(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four sizes have no break: the others are compared, the note says so; the form by name is
    refused. The JSON has no NaN.
    """
    frame = pd.read_csv(table).assign(
        params=lambda t: 10.0 ** np.ceil(np.log10(t["params"]).clip(upper=10) - 0.5)
    )
    frame = frame[frame["params"].between(1e7, 1e10)]
    frame.to_csv(table, index=False)
    arguments = [
        "scaling",
        str(table),
        "--y",
        "loss",
        "--x",
        "params",
        "--group",
        "family",
        "-n",
        "100",
    ]
    assert main([*arguments, "--json"]) == 0
    text = capsys.readouterr().out
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert "segmented" not in [row["form"] for row in found["forms"]] and len(found["forms"]) == 3
    assert any(
        "segmented is left out: a break needs at least 5 different values of x; there are 4" in n
        for n in found["notes"]
    )
    assert main([*arguments, "--forms", "segmented"]) == 2
