"""`transect scaling` from a file to the chosen form, its intervals and what lies beyond."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transect.cli import main


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


def test_the_planted_law_is_chosen_with_its_exponent(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The power law predicts left-out families best; its exponent's interval holds 0.2."""
    arguments = ["scaling", str(table), "--y", "loss", "--x", "params", "--group", "family", "-n", "100", "--json"]
    assert main([*arguments, "--forms", "line,power"]) == 0
    found = json.loads(capsys.readouterr().out)
    a = next(p for p in found["parameters"] if p["parameter"] == "a")
    assert found["best"] == "power"
    assert a["lower"] < 0.2 < a["upper"] and a["n_groups"] == 12


def test_larger_models_are_predicted(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fitted up to 1e10, the rows beyond fall into the 95 % interval in at least 80 % of cases."""
    arguments = ["scaling", str(table), "--y", "loss", "--x", "params", "--group", "family", "-n", "100"]
    assert main([*arguments, "--forms", "power", "--beyond", "1e10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["beyond"]["share_inside_95"] >= 0.8


def test_an_unknown_column_is_one_sentence(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, with the nearest guess."""
    assert main(["scaling", str(table), "--y", "los", "--x", "params", "--group", "family"]) == 2
    assert "Did you mean 'loss'" in capsys.readouterr().err
