"""Mixed models: fits of a large crossed table and many small refits, beside lme4 where R has it.

    python -m bench.mixed_models [--models 150] [--items 5000] [--rounds 3]

Rows models x items; y ~ log_params + arch + log_tokens + (1 | model) + (1 | item) + (1 | family),
and the same with a correlated slope of log_params by item. Every fit is a process of its own; CPU
seconds are of the fit with its degrees of freedom (lmerTest's are not asked for), reading the table
left out; one thread; peak: resident memory of the whole process.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FIXED = "y ~ log_params + arch + log_tokens + (1 | model) + (1 | family)"
FORMULAS = {
    "intercepts": f"{FIXED} + (1 | item)",
    "correlated slope": f"{FIXED} + (1 + log_params | item)",
}
REFITS = 1000
OUT = Path(__file__).parent / "tables" / "mixed_models.md"
LME4 = """
library(lme4)
arguments <- commandArgs(TRUE)
table <- read.csv(arguments[1], stringsAsFactors = TRUE)
start <- proc.time()
fit <- suppressMessages(lmer(as.formula(arguments[2]), table))
used <- proc.time() - start
cat(sprintf('{"cpu_seconds": %.4f, "criterion": %.6f, "peak_megabytes": %.0f}', used[1] + used[2], REMLcrit(fit),
            as.numeric(sub("VmHWM:\\\\s*([0-9]+) kB", "\\\\1", grep("VmHWM", readLines("/proc/self/status"), value = TRUE))) / 1024))
"""


def simulate(n_models: int, n_items: int) -> pd.DataFrame:
    """A crossed table with planted effects; models in families, items with correlated intercepts
    and slopes.
    """
    rng = np.random.default_rng(1)
    families = max(6, n_models // 6)
    params, tokens = rng.normal(0, 1, n_models), rng.normal(0, 1, n_models)
    arch = rng.integers(0, 3, n_models)
    model, item = (
        g.ravel() for g in np.meshgrid(np.arange(n_models), np.arange(n_items), indexing="ij")
    )
    own = (
        0.3 * params
        + np.array([0.0, 0.1, -0.2])[arch]
        + 0.15 * tokens
        + rng.normal(0, 0.25, n_models)
    )
    own += rng.normal(0, 0.2, families)[np.arange(n_models) % families]
    items = rng.multivariate_normal([0, 0], [[0.64, 0.036], [0.036, 0.0225]], n_items)
    y = (
        own[model]
        + items[item, 0]
        + items[item, 1] * params[model]
        + rng.normal(0, 0.6, len(model))
    )
    return pd.DataFrame(
        {
            "y": y.round(6),
            "log_params": params[model],
            "log_tokens": tokens[model],
            "arch": np.array(["dense", "moe", "ssm"])[arch][model],
            "model": [f"m{m}" for m in model],
            "item": [f"i{i}" for i in item],
            "family": [f"f{m % families}" for m in model],
        }
    )


def own_fit(path: str, formula: str) -> dict[str, float]:
    """This project's fit, in this process."""
    import resource

    from transect.stats.mixed.gaussian import fit_formula

    frame = pd.read_csv(path)
    start = time.process_time()
    fitted = fit_formula(formula, frame)
    fitted.coefficients()
    cpu = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu_seconds": cpu, "criterion": fitted.criterion, "peak_megabytes": peak}


def own_refits(path: str, formula: str) -> dict[str, float]:
    """Parametric bootstrap: REFITS new responses, each fitted."""
    from transect.stats.mixed.bootstrap import refits
    from transect.stats.mixed.gaussian import fit_formula

    fitted = fit_formula(formula, pd.read_csv(path))
    start = time.process_time()
    for _ in refits(fitted, REFITS, 1):
        pass
    return {"cpu_seconds": time.process_time() - start}


def _run(command: list[str]) -> dict[str, float]:
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def _has_lme4() -> bool:
    test = ["Rscript", "-e", "library(lme4)"]
    return (
        shutil.which("Rscript") is not None
        and subprocess.run(test, capture_output=True).returncode == 0
    )


def _table(large: pd.DataFrame, small: pd.DataFrame, rounds: int) -> list[str]:
    lines = [
        "| work | CPU s | lme4 CPU s | ratio | peak MB | lme4 peak MB | criterion - lme4's |",
        "|---|---|---|---|---|---|---|",
    ]
    lme4 = _has_lme4()
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: f"{folder}/{name}.csv" for name in ("large", "small")}
        large.to_csv(paths["large"], index=False)
        small.to_csv(paths["small"], index=False)
        script = Path(folder) / "lme4.R"
        script.write_text(LME4)
        for name, formula in FORMULAS.items():
            own: list[dict[str, float]] = []
            other: list[dict[str, float]] = []
            for _ in range(rounds):  # turn by turn
                own.append(
                    _run(
                        [
                            sys.executable,
                            "-m",
                            "bench.mixed_models",
                            "--fit",
                            paths["large"],
                            formula,
                        ]
                    )
                )
                if lme4:
                    other.append(_run(["Rscript", str(script), paths["large"], formula]))
            lines.append(_line(f"{len(large):,} rows, {name}", own, other))
        refits = _run(
            [
                sys.executable,
                "-m",
                "bench.mixed_models",
                "--refits",
                paths["small"],
                FORMULAS["intercepts"],
            ]
        )
    lines.append(
        f"| {REFITS:,} bootstrap refits of {len(small):,} rows | {refits['cpu_seconds']:.1f} | | | | | |"
    )
    return (
        lines if lme4 else [*lines, "", "R with lme4 is not installed here: its columns are empty."]
    )


def _line(name: str, own: list[dict[str, float]], other: list[dict[str, float]]) -> str:
    cpu, peak = (statistics.median(r[k] for r in own) for k in ("cpu_seconds", "peak_megabytes"))
    if not other:
        return f"| {name} | {cpu:.2f} | | | {peak:.0f} | | |"
    cpus, peaks = (
        statistics.median(r[k] for r in other) for k in ("cpu_seconds", "peak_megabytes")
    )
    gap = own[0]["criterion"] - other[0]["criterion"]
    return f"| {name} | {cpu:.2f} | {cpus:.1f} | {cpus / cpu:.1f} | {peak:.0f} | {peaks:.0f} | {gap:.1e} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=150)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fit", nargs=2, metavar=("TABLE", "FORMULA"), help=argparse.SUPPRESS)
    parser.add_argument("--refits", nargs=2, metavar=("TABLE", "FORMULA"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    found: dict[str, Any] | None = (
        own_fit(*args.fit) if args.fit else own_refits(*args.refits) if args.refits else None
    )
    if found:
        print(json.dumps(found))
        return
    head = f"# Mixed models\n\n{time.strftime('%Y-%m-%d %H:%M')}, {platform.processor() or platform.machine()}, one thread, {args.rounds} rounds\n"
    lines = _table(simulate(args.models, args.items), simulate(30, 200), args.rounds)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text("\n".join([head, *lines]) + "\n")
    print(OUT.read_text())


if __name__ == "__main__":
    main()
