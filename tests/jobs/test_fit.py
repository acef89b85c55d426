"""`transect fit` from a file to the printed summary and the JSON, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.stats.crossed_data import cbpp, sleepstudy
from transect.cli import main

FORMULA = "reaction ~ days + (1 + days | subject)"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "sleep.csv"
    sleepstudy().to_csv(path, index=False)
    return path


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["fit", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_gives_every_number(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """lme4 and lmerTest on sleepstudy: criterion 1743.6283, days 10.467 (1.5458), 17 df, correlation 0.066."""
    found = _json(capsys, str(table), FORMULA)
    assert found["criterion"] == pytest.approx(1743.6283, abs=1e-4)
    days = found["effects"][1]
    assert [days["estimate"], days["se"], days["df"]] == pytest.approx([10.467286, 1.545790, 17], rel=1e-5)
    assert (days["unit"], days["n_units"]) == ("subject", 18)
    assert found["correlations"][0]["correlation"] == pytest.approx(0.0656, abs=1e-4)


def test_the_summary_reads_like_lme4_s(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Criterion, random effects, fixed effects, in this order; units beside the effects."""
    assert main(["fit", str(table), FORMULA, "--intervals", "profile"]) == 0
    text = capsys.readouterr().out
    places = [
        text.index(p) for p in ("REML criterion: 1743.6283", "Random effects:", "Fixed effects:", "95 % intervals:")
    ]
    assert places == sorted(places)
    assert "subject (18)" in text


def test_a_binomial_table_is_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """cbpp by successes and failures: lme4's herd variance 0.4123."""
    path = tmp_path / "cbpp.parquet"
    cbpp().to_parquet(path)
    found = _json(capsys, str(path), "cbind(incidence, healthy) ~ period + (1 | herd)", "--family", "binomial")
    assert found["method"].startswith("Laplace")
    assert found["variances"][0]["variance"] == pytest.approx(0.4123, abs=5e-4)


def test_missing_values_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three rows without a reaction time are left out and said."""
    frame = sleepstudy()
    frame.loc[[3, 50, 99], "reaction"] = np.nan
    frame.to_csv(tmp_path / "holes.csv", index=False)
    assert main(["fit", str(tmp_path / "holes.csv"), FORMULA]) == 0
    assert "Rows: 177 (3 more have missing values and were left out)" in capsys.readouterr().out


def _refused(frame: pd.DataFrame, formula: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    frame.to_csv(folder / "t.csv", index=False)
    assert main(["fit", str(folder / "t.csv"), formula, *more]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("reaction ~ days + twice + (1 | subject)", "'twice' is aliased: in these rows it is determined by days"),
        ("reaction ~ days + (1 | one)", "one has one level"),
        ("reaction ~ days + (1 | row)", "as many levels as there are rows"),
        ("constant ~ days + (1 | subject)", "is 7 in every row"),
        ("exact ~ days + (1 | subject)", "no residual variance"),
        ("reaction ~ exp(days) + (1 | subject)", "unknown function 'exp'"),
        ("reaction ~ dayz + (1 | subject)", "Did you mean 'days'"),
        ("reaction ~ days", "no random term"),
        ("reaction ~ age + (1 | days)", r"'age' does not vary within subject"),
        ("subject ~ days + (1 | one)", "level"),
    ],
)
def test_bad_input_is_one_sentence(
    formula: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and a sentence that names what is wrong, before anything is printed."""
    frame = sleepstudy().assign(one="a", constant=7, twice=lambda f: 2 * f["days"], row=[f"r{i}" for i in range(180)])
    frame = frame.assign(exact=3.0 * frame["days"], age=lambda f: f["subject"].str[1:].astype(int) % 5)
    assert message in _refused(frame, formula, tmp_path, capsys)


def test_a_refused_design_may_be_fitted_on_purpose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The explicit override fits it, with the rows as units."""
    sleepstudy().assign(age=lambda f: f["subject"].str[1:].astype(int) % 5).to_csv(tmp_path / "t.csv", index=False)
    arguments = [str(tmp_path / "t.csv"), "reaction ~ age + (1 | days)"]
    assert _json(capsys, *arguments, "--allow-pseudoreplication")["effects"][1]["unit"] == "row"


def test_levels_are_left_out_on_request(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """18 subjects left out in turn, for both effects; the slope of days stays as it is, which is said."""
    found = _json(capsys, str(table), FORMULA, "--leave-out", "subject")
    assert len(found["left_out"]) == 36
    days = found["influence"][1]
    assert days["lowest"] < 10.467 < days["highest"]
    assert days["fragile"] is False
