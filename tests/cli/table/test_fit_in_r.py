"""The same fit in R: what the script says, and, where R and lme4 are installed, that its criterion
is the one printed here.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.stats.crossed_data import cbpp, conditions
from transect.cli.main import main
from transect.cli.table.fit_in_r import export_to_r, r_script
from transect.stats.formula.notation import parse
from transect.stats.formula.reference_levels import with_references
from transect.stats.table.table_model import fit_table

FORMULAS = [
    "y ~ arch*cond + log_params + (1 + cond | model) + (1 | item)",
    "y ~ C(arch, sum) + poly(log_params, 2) + (1 | model) + (1 | item)",
    "y ~ 0 + arch + scale(log_params) + (1 + cond || model) + (1 | item)",
    "y ~ arch + offset(log_params) + (1 | model) + (1 | item)",
]


def _has_lme4() -> bool:
    call = ["Rscript", "-e", "library(lmerTest)"]
    return (
        shutil.which("Rscript") is not None
        and subprocess.run(call, capture_output=True).returncode == 0
    )


def test_the_script_calls_lmer_on_the_rows_that_were_fitted(tmp_path: Path) -> None:
    """Levels in their order, the reference first; only the columns and rows used."""
    frame = conditions().assign(y=lambda t: t["y"].where(t.index != 5), more=1)
    formula = FORMULAS[0]
    model = fit_table(with_references(frame, {"arch": "ssm"}, parse(formula)), formula)
    table, script = export_to_r(model, tmp_path / "r", None)
    assert (
        list(pd.read_csv(table)) == ["y", "arch", "cond", "log_params", "model", "item"]
        and len(pd.read_csv(table)) == 719
    )
    text = script.read_text()
    assert 'd[["arch"]] <- factor(d[["arch"]], levels = c("ssm", "dense", "moe"))' in text
    assert (
        "m <- lmer(y ~ arch + cond + log_params + arch:cond + (1 + cond | model) + (1 | item), data = d, REML = TRUE"
        in text
    )


@pytest.mark.parametrize(
    ("formula", "part"),
    [
        (FORMULAS[3], "lmer(y ~ arch + offset(log_params) + (1 | model) + (1 | item)"),
        (
            FORMULAS[1],
            "lmer(y ~ C(arch, contr.sum) + poly(log_params, 2) + (1 | model) + (1 | item)",
        ),
        (
            FORMULAS[2],
            'lmer(y ~ 0 + arch + scale(log_params) + (1 | model) + (0 + dummy(cond, "b") | model) + (1 | item)',
        ),
    ],
)
def test_codings_and_slopes_are_written_as_r_has_them(formula: str, part: str) -> None:
    """contr.sum; slopes without correlations by lme4's dummy()."""
    assert part in r_script(fit_table(conditions(), formula), None)


def test_counts_are_glmers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line: glmer with family = binomial, and where the files are."""
    cbpp().to_csv(tmp_path / "t.csv", index=False)
    call = ["cbind(incidence, healthy) ~ factor(period) + (1 | herd)", "--family", "binomial"]
    assert main(["fit", str(tmp_path / "t.csv"), *call, "--export-r", str(tmp_path / "r")]) == 0
    assert "The same in R" in capsys.readouterr().out
    assert (
        "glmer(cbind(incidence, healthy) ~ factor(period) + (1 | herd), data = d, family = binomial"
        in (tmp_path / "r" / "model.R").read_text()
    )


@pytest.mark.parametrize(("method", "part"), [("nAGQ=9", "nAGQ = 9"), ("nAGQ=0", "nAGQ = 0")])
def test_quadrature_is_glmers(method: str, part: str) -> None:
    """The same number of points there."""
    formula = "cbind(incidence, healthy) ~ factor(period) + (1 | herd)"
    assert f", {part}," in r_script(
        fit_table(cbpp(), formula, family="binomial", method=method), None
    )


def _odd() -> pd.DataFrame:
    """Names that R reserves, and levels that it would read as numbers, missing values or code."""
    renamed = conditions().rename(columns={"model": "if", "log_params": "_n"})
    levels = {"dense": "1e1", "moe": 'NA"[x]', "ssm": "010"}
    return renamed.assign(arch=renamed["arch"].map(levels), cond=renamed["cond"] == "b")


ODD = "y ~ arch*cond + `_n` + (1 | `if`) + (0 + arch || item)"


def test_names_and_levels_are_written_as_r_needs_them() -> None:
    """Backticks for what R reserves; columns of words are read as words; a level with signs stays
    whole.
    """
    text = r_script(fit_table(_odd(), ODD), None)
    assert (
        '"arch" = "character", "cond" = "character"' in text
        and "+ `_n` + " in text
        and "(1 | `if`)" in text
    )
    assert r'dummy(arch, "NA\"[x]")' in text


def test_a_response_of_true_and_false_is_written_as_numbers(tmp_path: Path) -> None:
    """1 and 0, which glmer takes; a predictor of that kind as its levels."""
    frame = conditions().assign(
        right=lambda t: t["y"] > t["y"].median(), cond=lambda t: t["cond"] == "b"
    )
    formula = "right ~ cond + (1 | model) + (1 | item)"
    table, _ = export_to_r(
        fit_table(frame, formula, family="binomial", method="nAGQ=0"), tmp_path, None
    )
    written = pd.read_csv(table, dtype=str)
    assert set(written["right"]) == {"0", "1"} and set(written["cond"]) == {"True", "False"}


@pytest.mark.skipif(not _has_lme4(), reason="R with lmerTest is not installed")
@pytest.mark.parametrize("formula", [*FORMULAS, ODD])
def test_r_finds_the_same_criterion(formula: str, tmp_path: Path) -> None:
    """The REML criterion that R prints, to its one decimal."""
    model = fit_table(_odd() if formula == ODD else conditions(), formula)
    export_to_r(model, tmp_path, None)
    printed = subprocess.run(
        ["Rscript", "model.R"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"REML criterion at convergence: ([\d.]+)", printed)
    assert found and float(found.group(1)) == pytest.approx(model.fit.criterion, abs=0.06)


def test_weights_are_named_as_a_column() -> None:
    """R looks for them in the table: a column called d does not stand in for it."""
    frame = conditions().assign(d=1.5)
    assert "weights = d," in r_script(fit_table(frame, FORMULAS[1], weights="d"), "d")
