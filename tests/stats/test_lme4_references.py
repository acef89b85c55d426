"""Every reference fit of lme4 that lies beside the mirror: criterion, coefficients, standard
errors, variances, df.

The references (lme4 1.1-31, lmerTest 3.1-3 under R 4.2.2) are read from reference/statistics next
to the mirror's folder; test_mixed.py and test_generalized.py hold literal values of some of them,
so that these claims never rest on skips alone.
"""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transect.stats.formula.notation import Design, parse
from transect.stats.mixed.binomial import fit_binomial
from transect.stats.mixed.gaussian import MixedFit, fit_formula, grouping

MIRROR = os.environ.get("TRANSECT_MIRROR")
ROOT = Path(MIRROR).parent / "reference" / "statistics" if MIRROR else Path("nowhere")
pytestmark = pytest.mark.skipif(
    not ROOT.is_dir(), reason="lme4's reference fits are not beside TRANSECT_MIRROR"
)

FIXED = "log_params + arch + log_tokens"
RANDOM = {"int": "(1 | item)", "slope": "(1 + log_params | item)"}
CLASSIC = {
    "sleepstudy_int": ("sleepstudy", "Reaction ~ Days + (1 | Subject)"),
    "sleepstudy_slope": ("sleepstudy", "Reaction ~ Days + (1 + Days | Subject)"),
    "sleepstudy_uncorr": ("sleepstudy", "Reaction ~ Days + (Days || Subject)"),
    "Penicillin": ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    "Pastes": ("Pastes", "strength ~ 1 + (1 | sample) + (1 | batch)"),
    "Dyestuff": ("Dyestuff", "Yield ~ 1 + (1 | Batch)"),
}
LINEAR = [f"{name}_{method}" for name in CLASSIC for method in ("REML", "ML")]
LINEAR += [
    f"obs_{y}_{kind}_{method}"
    for y in ("MMLU", "HellaSwag", "ARC.C")
    for kind in ("slope", "int")
    for method in ("REML", "ML")
]
LINEAR += [f"sim_{size}_{kind}_tight" for size in ("tiny", "small", "mid") for kind in RANDOM]
BINOMIAL = [
    "cbpp_nAGQ0",
    "cbpp_nAGQ1",
    "VerbAgg_nAGQ0",
    "sim_tiny_glmm0",
    "sim_tiny_glmm1",
    "sim_small_glmm0",
    "sim_small_glmm1",
]
TEXT = {"Subject": str, "plate": str, "herd": str, "period": str, "id": str}


def _reference(name: str) -> dict:
    return json.loads((ROOT / "lme4" / f"{name}.json").read_text())


def _fit(name: str) -> MixedFit:
    reml = not name.endswith("_ML")
    if name.startswith("sim"):
        _, size, kind, _ = name.split("_")
        frame = pd.read_csv(ROOT / "simulated" / f"{size}.csv")
        return fit_formula(f"y ~ {FIXED} + (1 | model) + {RANDOM[kind]} + (1 | family)", frame)
    if name.startswith("obs"):
        _, outcome, kind, _ = name.split("_")
        frame = pd.read_csv(ROOT / "obsscaling_clean.csv").dropna(subset=[outcome])
        random = "(1 + lfc | family)" if kind == "slope" else "(1 | family)"
        return fit_formula(f"{outcome} ~ lfc + {random}", frame, reml)
    table, formula = CLASSIC[name.rsplit("_", 1)[0]]
    return fit_formula(formula, pd.read_csv(ROOT / "lme4" / f"{table}.csv", dtype=TEXT), reml)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_fits_equal_lme4(name: str) -> None:
    """Criterion to 1e-6, coefficients to 1e-4 standard errors, standard errors 1e-4, variances 5e-4
    of the residual, df 1e-2.
    """
    reference, found = _reference(name), _fit(name)
    se = _numbers(reference["se"])
    table = found.coefficients()
    assert found.criterion <= reference["criterion"] + 1e-6
    assert np.abs((found.beta - _numbers(reference["beta"])) / se).max() <= 1e-4
    assert table["se"].to_numpy() == pytest.approx(se, rel=1e-4)
    components = found.components.set_index(["group", "effect"])["variance"]
    for row in reference["varcorr"]:
        if row.get("var2") in (None, "NA"):
            key = (
                ("residual", "")
                if row["grp"] == "Residual"
                else (row["grp"].split(".")[0], row["var1"])
            )
            assert components[key] == pytest.approx(row["vcov"], abs=5e-4 * found.sigma**2)
    df = reference.get("satt_df") or reference.get("satterthwaite", {}).get("df")
    if df:
        assert table["df"].to_numpy() == pytest.approx(_numbers(df), abs=1e-2)


def _numbers(given: dict | list) -> np.ndarray:
    return np.array(list(given.values()) if isinstance(given, dict) else given, float)


@pytest.mark.parametrize("name", BINOMIAL)
def test_binomial_fits_equal_glmer(name: str) -> None:
    """The criterion is never worse by more than 1e-3 (glmer stops early), coefficients within 1e-2
    standard errors.
    """
    reference = _reference(name)
    if name.startswith("sim"):
        frame = pd.read_csv(ROOT / "simulated" / f"{name.split('_')[1]}.csv")
        formula, successes, trials = (
            f"yb ~ {FIXED} + (1 | model) + (1 | item) + (1 | family)",
            frame["yb"],
            np.ones(len(frame)),
        )
    elif name.startswith("cbpp"):
        frame = pd.read_csv(ROOT / "lme4" / "cbpp.csv", dtype=TEXT)
        formula, successes, trials = (
            "incidence ~ period + (1 | herd)",
            frame["incidence"],
            frame["size"],
        )
    else:
        frame = pd.read_csv(ROOT / "lme4" / "VerbAgg.csv", dtype=TEXT)
        formula, successes, trials = (
            "r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
            frame["r2"] == "Y",
            np.ones(len(frame)),
        )
    parsed = parse(formula)
    design = Design(parsed.fixed, frame, {"situ": "other"})
    terms = [grouping(r, frame) for r in parsed.random]
    method = "nAGQ=0" if name[-1] == "0" else "Laplace"
    found = fit_binomial(
        successes.to_numpy(float),
        np.asarray(trials, float),
        design.matrix(frame),
        design.names,
        terms,
        method,
    )
    se = np.array(list(reference["se"].values()))
    assert found.criterion <= reference["criterion"] + 1e-3
    assert np.abs((found.beta - list(reference["beta"].values())) / se).max() <= 1e-2
