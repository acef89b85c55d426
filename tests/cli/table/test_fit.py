"""`transect fit` from a file to the printed summary and the JSON, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.stats.crossed_data import cbpp, conditions, sleepstudy
from transect.cli.main import main

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
    """lme4 and lmerTest on sleepstudy: criterion 1743.6283, days 10.467 (1.5458), 17 df,
    correlation 0.066.
    """
    found = _json(capsys, str(table), FORMULA)
    assert found["criterion"] == pytest.approx(1743.6283, abs=1e-4)
    days = found["effects"][1]
    assert [days["estimate"], days["se"], days["df"]] == pytest.approx(
        [10.467286, 1.545790, 17], rel=1e-5
    )
    assert (days["unit"], days["n_units"]) == ("subject", 18)
    assert found["correlations"][0]["correlation"] == pytest.approx(0.0656, abs=1e-4)


def test_the_summary_reads_like_lme4_s(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Criterion, random effects, fixed effects, in this order; units beside the effects."""
    assert main(["fit", str(table), FORMULA, "--intervals", "profile"]) == 0
    text = capsys.readouterr().out
    places = [
        text.index(p)
        for p in (
            "REML criterion: 1743.6283",
            "Random effects:",
            "Fixed effects:",
            "95 % intervals by profile",
        )
    ]
    assert places == sorted(places)
    assert "subject (18)" in text


def test_a_binomial_table_is_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """cbpp by successes and failures: lme4's herd variance 0.4123."""
    path = tmp_path / "cbpp.parquet"
    cbpp().to_parquet(path)
    found = _json(
        capsys, str(path), "cbind(incidence, healthy) ~ period + (1 | herd)", "--family", "binomial"
    )
    assert found["method"].startswith("Laplace")
    assert found["variances"][0]["variance"] == pytest.approx(0.4123, abs=5e-4)


def test_missing_values_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three rows without a reaction time are left out and said, by column and sign."""
    frame = sleepstudy()
    frame.loc[[3, 50, 99], "reaction"] = np.nan
    frame.to_csv(tmp_path / "holes.csv", index=False)
    assert main(["fit", str(tmp_path / "holes.csv"), FORMULA]) == 0
    assert "Rows: 177 (3 more were left out: 3 rows: reaction is empty)" in capsys.readouterr().out


def _refused(
    frame: pd.DataFrame, formula: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> str:
    frame.to_csv(folder / "t.csv", index=False)
    assert main(["fit", str(folder / "t.csv"), formula, *more]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (
            "reaction ~ days + twice + (1 | subject)",
            "'twice' is aliased: in these rows it is determined by days",
        ),
        ("reaction ~ days + (1 | one)", "one has one level"),
        ("reaction ~ days + (1 | row)", "as many levels as there are rows"),
        ("constant ~ days + (1 | subject)", "is 7 in every row"),
        ("exact ~ days + (1 | subject)", "no residual variance"),
        ("reaction ~ exp(days) + (1 | subject)", "unknown function 'exp'"),
        ("reaction ~ dayz + (1 | subject)", "Did you mean 'days'"),
        ("reaction ~ age + (1 | days)", r"'age' does not vary within subject"),
        ("subject ~ days + (1 | one)", "level"),
        ("reaction ~ 0 + (1 | subject)", "no fixed effect"),
        ("reaction ~ 1 + (0 | subject)", "(0 | subject) has no effect"),
        ("reaction ~ days + (1 | subject) + (1 + days | subject)", "(1 | subject) twice"),
        ("reaction ~ days + (1 + days + twice | subject)", "'twice' is aliased in (... | subject)"),
        (
            "reaction ~ days + (1 + factor(days) | subject)",
            "by subject there are 180 random effects and 180 rows",
        ),
        ("reaction ~ days + (1 | subject) + (0 + factor(days) | subject)", "by subject there are"),
        ("reaction ~ huge + (1 | subject)", "'huge' has values beyond 1e+60"),
    ],
)
def test_bad_input_is_one_sentence(
    formula: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and a sentence that names what is wrong, before anything is printed."""
    frame = sleepstudy().assign(
        one="a", constant=7, twice=lambda f: 2 * f["days"], row=[f"r{i}" for i in range(180)]
    )
    frame = frame.assign(huge=frame["days"] * 1e200)
    frame = frame.assign(
        exact=3.0 * frame["days"], age=lambda f: f["subject"].str[1:].astype(int) % 5
    )
    assert message in _refused(frame, formula, tmp_path, capsys)


def test_a_refused_design_may_be_fitted_on_purpose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The explicit override fits it, with the rows as units."""
    sleepstudy().assign(age=lambda f: f["subject"].str[1:].astype(int) % 5).to_csv(
        tmp_path / "t.csv", index=False
    )
    arguments = [str(tmp_path / "t.csv"), "reaction ~ age + (1 | days)"]
    assert _json(capsys, *arguments, "--allow-pseudoreplication")["effects"][1]["unit"] == "row"


def test_levels_are_left_out_on_request(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """18 subjects left out in turn, for both effects; the slope of days stays as it is, which is
    said.
    """
    found = _json(capsys, str(table), FORMULA, "--leave-out", "subject")
    assert len(found["left_out"]) == 36
    days = found["influence"][1]
    assert days["lowest"] < 10.467 < days["highest"]
    assert days["fragile"] is False


@pytest.mark.parametrize("n", ["0", "-5", "1", "99", "many"])
def test_too_few_bootstrap_samples_are_refused(
    n: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the parser, before anything is fitted."""
    assert main(["fit", str(table), FORMULA, "--intervals", "bootstrap", f"-n={n}"]) == 2
    assert "at least 100" in capsys.readouterr().err


def test_both_intervals_name_the_parameters_alike(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Profile and bootstrap: coefficients, sd of each random effect, sigma."""
    names = {}
    for kind in ("profile", "bootstrap"):
        found = _json(
            capsys, str(table), "reaction ~ days + (1 | subject)", "--intervals", kind, "-n", "100"
        )
        names[kind] = [row["parameter"] for row in found["intervals"]]
    assert (
        names["profile"]
        == names["bootstrap"]
        == ["(Intercept)", "days", "sd subject (Intercept)", "sigma"]
    )


def test_names_with_other_signs_are_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Response, covariate and two groups in backticks: the same coefficient as with plain names,
    and as unit the group.
    """
    frame = (
        sleepstudy()
        .assign(half=lambda t: t["days"] % 2)
        .rename(columns={"reaction": "reaction (ms)", "days": "days-2", "subject": "the subject"})
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    formula = (
        "`reaction (ms)` ~ `days-2` + (1 + `days-2` | `the subject`) + (1 | `the subject`:half)"
    )
    days = _json(capsys, str(tmp_path / "t.csv"), formula)["effects"][1]
    assert days["estimate"] == pytest.approx(10.467286, rel=1e-3)


def test_the_cross_check_says_what_it_takes_as_fixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its head; the ratio of a binomial model is t, whose df its p has."""
    frame = sleepstudy().assign(age=lambda f: f["subject"].str[1:].astype(int) % 5)
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert main(["fit", str(tmp_path / "t.csv"), "reaction ~ age + days + (1 | subject)"]) == 0
    assert (
        "On one number per unit, its mean, intercept or slope, by least squares (levels of other groups taken as fixed):"
        in capsys.readouterr().out
    )
    cbpp().to_csv(tmp_path / "t.csv", index=False)
    assert (
        main(
            [
                "fit",
                str(tmp_path / "t.csv"),
                "cbind(incidence, healthy) ~ period + (1 | herd)",
                "--family",
                "binomial",
            ]
        )
        == 0
    )
    head = next(line for line in capsys.readouterr().out.splitlines() if "estimate" in line)
    assert head.split() == ["term", "estimate", "se", "df", "t", "p", "lower", "upper", "unit"]


def test_counts_as_a_binomial_response_suggest_cbind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole counts are no proportions: both columns are wanted."""
    text = _refused(
        cbpp(), "incidence ~ period + (1 | herd)", tmp_path, capsys, "--family", "binomial"
    )
    assert "write cbind(incidence, FAILURES)" in text


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["fit", *arguments]) == 0
    return capsys.readouterr().out


def test_a_smaller_model_is_tested_against(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """chi2 23.5365 (lme4's anova), in words that say what was fitted again how; REML stays the
    fit's method.
    """
    text = _printed(
        capsys, str(table), FORMULA, "--against", "reaction ~ 1 + (1 + days | subject)", "-n", "100"
    )
    assert (
        "REML criterion: 1743.6283" in text and "both fitted again by maximum likelihood:" in text
    )
    assert "chi2 23.5365, df 1, p 1.2e-06 (chi-squared distribution)" in text
    assert (
        "p <= 0.0099 by parametric bootstrap, 100 samples of the smaller model, Monte Carlo SE 0.0099"
        in text
    )


def test_equivalence_to_within_a_margin(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """p of the two one-sided tests from estimate, se and df (scipy's t); a wide margin is
    supported, one below the effect is not.
    """
    effect = next(e for e in _json(capsys, str(table), FORMULA)["effects"] if e["term"] == "days")
    for margin, verdict in ((20.0, "supported"), (1.0, "rejected")):
        (found,) = _json(capsys, str(table), FORMULA, "--margin", str(margin))["equivalence"]
        p = max(
            stats.t.sf((margin + s * effect["estimate"]) / effect["se"], effect["df"])
            for s in (-1, 1)
        )
        assert found["p"] == pytest.approx(p, abs=1e-9) and found["verdict"] == verdict
    assert "two one-sided tests" in _printed(capsys, str(table), FORMULA, "--margin", "20")


def test_what_an_r_user_reads_first_is_printed_and_given(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """AIC and BIC of lmer (1755.628, 1774.786), convergence, scaled residuals, whole terms; the
    covariance of effects in JSON.
    """
    text = _printed(capsys, str(table), FORMULA)
    for part in (
        "AIC 1755.63, BIC 1774.79",
        "Converged: with all columns in standard units",
        "Scaled residuals: min -3.954",
        "Whole terms",
    ):
        assert part in text
    found = _json(capsys, str(table), FORMULA)
    assert found["vcov"]["days"]["days"] == pytest.approx(1.5458**2, rel=1e-4)
    assert found["terms"][0]["F"] == pytest.approx(45.853, abs=2e-3)


def test_predictions_are_written(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the columns of the table, lme4's first fitted value; of the rows of another table with
    --new.
    """
    out, new = tmp_path / "p.csv", tmp_path / "new.csv"
    assert "180 of 180 rows" in _printed(capsys, str(table), FORMULA, "--predict", str(out))
    written = pd.read_csv(out)
    assert list(written)[:3] == list(pd.read_csv(table)) and written[".fitted"][0] == pytest.approx(
        253.66367, abs=1e-3
    )
    pd.DataFrame({"days": [1, 2], "subject": ["s00", "new"]}).to_csv(new, index=False)
    _printed(capsys, str(table), FORMULA, "--predict", str(out), "--new", str(new))
    assert len(pd.read_csv(out)) == 2
    assert main(["fit", str(table), FORMULA, "--new", str(new)]) == 2
    assert "name the file for its predictions with --predict" in capsys.readouterr().err


def test_the_reference_level_is_printed_and_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first level without, the chosen one with --reference."""
    conditions().to_csv(tmp_path / "t.csv", index=False)
    formula = "y ~ arch + log_params + (1 | model) + (1 | item)"
    assert "arch: dense (reference), moe, ssm" in _printed(capsys, str(tmp_path / "t.csv"), formula)
    assert "arch: ssm (reference), dense, moe" in _printed(
        capsys, str(tmp_path / "t.csv"), formula, "--reference", "arch=ssm"
    )
    assert main(["fit", str(tmp_path / "t.csv"), formula, "--reference", "arch"]) == 2
    assert "write COLUMN=LEVEL" in capsys.readouterr().err


def test_a_formula_without_random_terms_is_least_squares(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """lm's estimate and standard error; what needs random effects is refused in a sentence."""
    found = _json(capsys, str(table), "reaction ~ days")
    assert (
        found["effects"][1]["se"] == pytest.approx(1.23819530, rel=1e-6)
        and found["method"] == "least squares"
    )
    assert main(["fit", str(table), "reaction ~ days", "--modes"]) == 2
    assert "no random term such as (1 | item), which this needs" in capsys.readouterr().err


def test_marginal_means_are_printed_and_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a factor and of cells: emmeans' mean 0.5832 (0.1941) and difference -0.4202, Holm's p
    0.1989.
    """
    conditions().to_csv(tmp_path / "t.csv", index=False)
    arguments = [
        str(tmp_path / "t.csv"),
        "y ~ arch*cond + log_params + (1 + cond | model) + (1 | item)",
    ]
    arguments += ["--means", "arch", "--means", "arch:cond"]
    found = _json(capsys, *arguments)
    assert found["means"][0]["estimate"] == pytest.approx(0.58317274, abs=1e-5)
    assert found["differences"][0]["p_holm"] == pytest.approx(0.19886765, rel=1e-3)
    text = _printed(capsys, *arguments)
    assert "Marginal means of arch:cond" in text and "arch[dense - moe] x cond[a - b]" in text


def test_related_levels_are_compared_side_by_side(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tree and a matrix of its distances give the same rows: star, estimated and tree, and a
    lambda that 18 groups do not tell.
    """
    names = [f"s{i:02d}" for i in range(18)]
    tree = (
        f"({','.join(f'({a}:1,{b}:1):1' for a, b in zip(names[::2], names[1::2], strict=True))});"
    )
    (table.parent / "tree.nwk").write_text(tree)
    pair = np.arange(18) // 2
    distances = np.where(pair[:, None] == pair, 2.0, 4.0) - 2 * np.eye(18)
    pd.DataFrame(distances, index=names, columns=names).to_csv(table.parent / "distances.csv")
    frame = sleepstudy().assign(age=lambda f: pd.factorize(f["subject"])[0] * 7 % 5)
    frame.to_csv(table, index=False)
    found = {}
    for name in ("tree.nwk", "distances.csv"):
        arguments = [str(table), "reaction ~ age + days + (1 | subject)", "--of", "subject"]
        found[name] = _json(capsys, *arguments, "--relatedness", str(table.parent / name))[
            "relatedness"
        ]
    rows = [pd.DataFrame(f["effects"]) for f in found.values()]
    pd.testing.assert_frame_equal(rows[0], rows[1], rtol=1e-4)
    assert list(rows[0]["phylogeny"].unique()) == ["star", "estimated", "tree"]
    assert (
        not found["tree.nwk"]["lambda"]["informative"]
        and "fewer than 50" in found["tree.nwk"]["lambda"]["sentence"]
    )
    assert found["tree.nwk"]["left_out"] == ["days"]
    text = _printed(capsys, *arguments, "--relatedness", str(table.parent / "tree.nwk"))
    assert "taken for a tree" in text and "uninformative" in text


def test_every_grouping_is_left_out_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """all: subjects, and the clinics they belong to; what is fragile is printed as such."""
    frame = sleepstudy().assign(clinic=lambda f: "c" + f["subject"].str[2])
    frame = frame.assign(age=lambda f: pd.factorize(f["subject"])[0] * 7 % 5)
    frame.to_csv(tmp_path / "t.csv", index=False)
    arguments = [
        str(tmp_path / "t.csv"),
        "reaction ~ age + days + (1 + days | subject)",
        "--leave-out",
        "all",
    ]
    found = _json(capsys, *arguments)
    assert {row["group"] for row in found["left_out"]} == {"subject", "clinic"}
    age = next(row for row in found["influence"] if row["term"] == "age")
    text = _printed(capsys, *arguments)
    assert "With every single level of subject, clinic left out" in text
    below = text.split("left out, estimates range")[1].splitlines()
    assert age["fragile"] == ("fragile" in next(line for line in below if line.startswith(" age")))


def test_modes_explained_variance_and_singular_fits_are_said(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """lme4's first mode 2.2586 (12.0709), MuMIn's R2 0.2787 and 0.7992; a slope estimated as 0 in
    words.
    """
    text = _printed(capsys, str(table), FORMULA, "--modes")
    assert "R2: 0.2787 by the fixed effects (marginal), 0.7992 with the random ones" in text
    assert next(line for line in text.splitlines() if "s00" in line).split()[-2:] == [
        "2.2586",
        "12.071",
    ]
    frame = sleepstudy().assign(noise=np.random.default_rng(1).normal(size=180))
    frame.to_csv(table, index=False)
    text = _printed(capsys, str(table), "noise ~ days + (1 | subject)")
    assert "the variance of (Intercept) by subject is estimated as 0 (a singular fit)" in text


def test_an_omitted_slope_is_said_with_its_reason(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """lme4's standard errors with (days || subject) and without: 1.5596 and 0.8042; what would add
    it is printed.
    """
    found = _json(capsys, str(table), "reaction ~ days + (1 | subject)")
    (slope,) = found["omitted_slopes"]
    assert (slope["term"], slope["group"], slope["remedy"]) == (
        "days",
        "subject",
        "(1 + days | subject)",
    )
    assert slope["se_ratio"] == pytest.approx(1.5596 / 0.8042, rel=1e-3)
    text = _printed(capsys, str(table), "reaction ~ days + (1 | subject)")
    assert (
        "slopes omitted: days by subject (1.94 times)" in text
        and "To add them: (1 + days | subject)" in text
    )


def test_rows_of_a_column_that_nothing_models_are_said_to_be_dependent(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps of a run as rows, the run not in the formula: its residuals give it away; a column of
    chance does not.
    """
    frame = sleepstudy().assign(
        half=lambda f: f["days"] % 2, other=np.random.default_rng(3).permutation(np.arange(180) % 6)
    )
    frame.to_csv(table, index=False)
    found = _json(capsys, str(table), "reaction ~ days + (1 | half)")
    assert [
        w for w in found["warnings"] if "residuals differ between the 18 levels of subject" in w
    ]
    assert not any("levels of other" in w for w in found["warnings"])


def test_the_response_in_other_words_is_no_advice(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole milliseconds beside their logarithm: only the subject, by two of its three names, is
    worth putting in.
    """
    frame = sleepstudy().assign(
        ms=lambda f: f["reaction"].round(-1).astype(int), half=lambda f: f["days"] % 2
    )
    frame = frame.assign(
        log_ms=np.log(frame["ms"]).round(4),
        who=frame["subject"].str.upper(),
        person=frame["subject"],
    )
    frame.to_csv(table, index=False)
    said = [
        w
        for w in _json(capsys, str(table), "log_ms ~ days + (1 | half)")["warnings"]
        if "residuals differ" in w
    ]
    assert len(said) == 1
    assert said[0].count("18 levels") == 2
    assert "levels of ms" not in said[0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--relatedness", "tree.nwk"], "go together"),
        (["--of", "subject", "--relatedness", "none.nwk"], "there is no file of relations"),
        (["--of", "subjct", "--relatedness", "bad.nwk"], "no such column"),
        (["--of", "subject", "--relatedness", "bad.nwk"], "not closed"),
        (["--means", "days"], "this is a number"),
        (["--against", "reaction ~ age + (1 | subject)"], "not nested"),
        (["--weights", "wait"], "unknown column 'wait'"),
        (["--leave-out", "sbject"], "Did you mean 'subject'"),
    ],
)
def test_what_is_asked_beside_the_fit_is_refused_in_one_sentence(
    more: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 2."""
    monkeypatch.chdir(tmp_path)
    Path("bad.nwk").write_text("((s00:1,s01:1")
    frame = sleepstudy().assign(age=lambda f: pd.factorize(f["subject"])[0] * 7 % 5)
    assert message in _refused(frame, FORMULA, tmp_path, capsys, *more)


def test_a_standard_error_far_from_that_of_the_means_is_said(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10 runs of 200 rows and 10 of one: by the model each row counts, in the means each run."""
    run = np.repeat(np.arange(20), [200, 1] * 10)
    frame = pd.DataFrame(
        {"run": run, "size": run * 7 % 20, "y": np.random.default_rng(1).normal(size=len(run))}
    )
    frame.to_csv(table, index=False)
    found = _json(capsys, str(table), "y ~ size + (1 | run)")
    assert found["on_means"][0]["se_ratio"] < 0.2
    assert any(
        "the model's standard error of size is 1/" in w and "means of run (20)" in w
        for w in found["warnings"]
    )


def test_quadrature_is_asked_for_by_its_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """cbpp at 9 points: lme4's herd variance 0.41928 (nAGQ = 9), and the method is said."""
    path = tmp_path / "cbpp.parquet"
    cbpp().to_parquet(path)
    more = (
        "cbind(incidence, healthy) ~ period + (1 | herd)",
        "--family",
        "binomial",
        "--quadrature",
        "9",
    )
    found = _json(capsys, str(path), *more)
    assert found["variances"][0]["variance"] == pytest.approx(0.41928, abs=1e-4)
    assert found["method"] == "adaptive Gauss-Hermite quadrature (nAGQ = 9)"


def test_predictions_never_replace_a_table(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--predict with the table that is fitted, by another way to write its path: refused, the table
    unchanged.
    """
    before, same = table.read_bytes(), table.parent / "." / ".." / table.parent.name / table.name
    assert main(["fit", str(table), FORMULA, "--predict", str(same)]) == 2
    assert (
        "this would replace the table" in capsys.readouterr().err and table.read_bytes() == before
    )


def test_leaving_out_all_without_a_grouping_says_so(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Least squares has no grouping whose levels could be left out."""
    assert (
        main(
            [
                "fit",
                str(table),
                "reaction ~ days",
                "--allow-pseudoreplication",
                "--leave-out",
                "all",
            ]
        )
        == 2
    )
    assert "the formula has no grouping" in capsys.readouterr().err
