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


@pytest.mark.parametrize("n", ["0", "-5", "1", "99", "many"])
def test_too_few_bootstrap_samples_are_refused(n: str, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the parser, before anything is fitted."""
    with pytest.raises(SystemExit):
        main(["fit", str(table), FORMULA, "--intervals", "bootstrap", f"-n={n}"])
    assert "at least 100" in capsys.readouterr().err


def test_both_intervals_name_the_parameters_alike(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Profile and bootstrap: coefficients, sd of each random effect, sigma."""
    names = {}
    for kind in ("profile", "bootstrap"):
        found = _json(capsys, str(table), "reaction ~ days + (1 | subject)", "--intervals", kind, "-n", "100")
        names[kind] = [row["parameter"] for row in found["intervals"]]
    assert names["profile"] == names["bootstrap"] == ["(Intercept)", "days", "sd subject (Intercept)", "sigma"]


def test_names_with_other_signs_are_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Response, covariate and two groups in backticks: the same coefficient as with plain names, and as unit the group."""
    frame = sleepstudy().assign(half=lambda t: t["days"] % 2).rename(
        columns={"reaction": "reaction (ms)", "days": "days-2", "subject": "the subject"}
    )  # fmt: skip
    frame.to_csv(tmp_path / "t.csv", index=False)
    formula = "`reaction (ms)` ~ `days-2` + (1 + `days-2` | `the subject`) + (1 | `the subject`:half)"
    days = _json(capsys, str(tmp_path / "t.csv"), formula)["effects"][1]
    assert days["estimate"] == pytest.approx(10.467286, rel=1e-3)


def test_the_cross_check_says_what_it_takes_as_fixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its head; the ratio of a binomial model is t, whose df its p has."""
    frame = sleepstudy().assign(age=lambda f: f["subject"].str[1:].astype(int) % 5)
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert main(["fit", str(tmp_path / "t.csv"), "reaction ~ age + days + (1 | subject)"]) == 0
    assert (
        "On the means of each unit, by least squares (levels of other groups taken as fixed):"
        in capsys.readouterr().out
    )
    cbpp().to_csv(tmp_path / "t.csv", index=False)
    assert (
        main(
            ["fit", str(tmp_path / "t.csv"), "cbind(incidence, healthy) ~ period + (1 | herd)", "--family", "binomial"]
        )
        == 0
    )
    head = next(line for line in capsys.readouterr().out.splitlines() if "estimate" in line)
    assert head.split() == ["term", "estimate", "se", "df", "t", "p", "lower", "upper", "unit"]


def test_counts_as_a_binomial_response_suggest_cbind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole counts are no proportions: both columns are wanted."""
    text = _refused(cbpp(), "incidence ~ period + (1 | herd)", tmp_path, capsys, "--family", "binomial")
    assert "write cbind(incidence, FAILURES)" in text
