"""Error rates and coverages of the statistics, by simulation: each rate is counted over data sets with planted truth.

A rate is a function of a generator that makes one data set and says whether the event happened (a false alarm, an interval
that holds the truth). `RATES` names each with the range that it must lie in; the ranges of the text are those of the
project's aims: 5 +- 1.5 % false alarms, 93 to 97 % coverage.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transect.stats.attribution import attribute
from transect.stats.curve_inference import break_test, breakpoint_interval
from transect.stats.curves import fit_curve
from transect.stats.table_model import fit_table

FALSE_ALARMS, COVERAGE = (0.035, 0.065), (0.93, 0.97)


@dataclass(frozen=True)
class Rate:
    """`event` of one data set; `low` to `high`: where its share must lie."""

    event: Callable[[np.random.Generator], bool]
    low: float
    high: float


def _runs_and_items(rng: np.random.Generator, n_runs: int, n_items: int = 30, slope: float = 0.0) -> pd.DataFrame:
    """y = slope x + run + item + e, x a property of runs; standard deviations 0.5, 1 and 1."""
    run, item = (g.ravel() for g in np.meshgrid(np.arange(n_runs), np.arange(n_items), indexing="ij"))
    x = rng.normal(size=n_runs)
    y = slope * x[run] + rng.normal(0, 0.5, n_runs)[run] + rng.normal(size=n_items)[item] + rng.normal(size=len(run))
    labels = {"run": [f"r{r}" for r in run], "item": [f"i{i}" for i in item]}
    return pd.DataFrame({"y": y, "x": x[run], **labels})


def run_level(n_runs: int) -> Callable[[np.random.Generator], bool]:
    """A false alarm of y ~ x + (1 | item) + (1 | run)."""

    def event(rng: np.random.Generator) -> bool:
        found = fit_table(_runs_and_items(rng, n_runs), "y ~ x + (1 | item) + (1 | run)").effects
        return bool(found["p"][1] < 0.05)

    return event


def run_ignored(rng: np.random.Generator) -> bool:
    """The same without the run effect, which has to be asked for."""
    frame = _runs_and_items(rng, 8)
    return bool(fit_table(frame, "y ~ x + (1 | item)", allow_pseudoreplication=True).effects["p"][1] < 0.05)


def coverage_of_a_slope(n_runs: int) -> Callable[[np.random.Generator], bool]:
    """Whether the 95 % interval of a run-level slope of 0.3 holds it."""

    def event(rng: np.random.Generator) -> bool:
        row = fit_table(_runs_and_items(rng, n_runs, slope=0.3), "y ~ x + (1 | item) + (1 | run)").effects.iloc[1]
        return bool(row["lower"] <= 0.3 <= row["upper"])

    return event


def coverage_within_runs(rng: np.random.Generator) -> bool:
    """A condition that varies within runs, its slope differing between them (SD 0.4): 10 runs, truth 0.2."""
    frame = _runs_and_items(rng, 10)
    condition = frame["item"].str[1:].astype(int) % 2
    slopes = dict(zip(frame["run"].unique(), rng.normal(0.2, 0.4, 10), strict=True))
    frame = frame.assign(condition=condition, y=frame["y"] + condition * frame["run"].map(slopes))
    row = fit_table(frame, "y ~ condition + (1 | item) + (1 + condition | run)").effects.iloc[1]
    return bool(row["lower"] <= 0.2 <= row["upper"])


def _sizes_and_seeds(rng: np.random.Generator, ratio: float) -> pd.DataFrame:
    """4 sizes x 9 seeds x 12 items without any trend; SD of sizes = ratio x SD of seeds / 3."""
    size, seed, item = (g.ravel() for g in np.meshgrid(np.arange(4), np.arange(9), np.arange(12), indexing="ij"))
    run = size * 9 + seed
    value = rng.normal(0, ratio * 0.5 / 3, 4)[size] + rng.normal(0, 0.5, 36)[run]
    value = value + rng.normal(0, 1, 12)[item] + rng.normal(0, 1, len(run))
    labels = {"configuration": [f"c{s}" for s in size], "run": [f"r{r}" for r in run], "item": [f"i{i}" for i in item]}
    return pd.DataFrame({"value": value, "size": 10.0 ** (7 + size), **labels})


def configuration_level(ratio: float) -> Callable[[np.random.Generator], bool]:
    """A false alarm of a trend with size, tested against the 4 configurations, over items."""

    def event(rng: np.random.Generator) -> bool:
        found = attribute(_sizes_and_seeds(rng, ratio), ["log10(size)"], items=True)["effects"]
        return bool(found["p"][0] < 0.05)

    return event


def configuration_level_on_means(ratio: float) -> Callable[[np.random.Generator], bool]:
    """The same on the means of configurations (exact)."""

    def event(rng: np.random.Generator) -> bool:
        runs = _sizes_and_seeds(rng, ratio).groupby(["configuration", "run", "size"], as_index=False)["value"].mean()
        return bool(attribute(runs, ["log10(size)"], variance="pooled")["effects"]["p"][0] < 0.05)

    return event


def seeds_as_units(rng: np.random.Generator) -> bool:
    """The same with the 36 seeds as units, sizes differing 4 / 3 as much as seeds."""
    frame = _sizes_and_seeds(rng, 4).groupby(["configuration", "run", "size"], as_index=False)["value"].mean()
    x = np.column_stack([np.ones(36), np.log10(frame["size"])])
    beta, rss, *_ = np.linalg.lstsq(x, frame["value"], rcond=None)
    t = beta[1] / np.sqrt(rss[0] / 34 * np.linalg.inv(x.T @ x)[1, 1])
    return bool(abs(t) > 2.032)  # Student, 34 df


def _broken(rng: np.random.Generator, bend: float) -> tuple[np.ndarray, np.ndarray]:
    x = 10 ** rng.uniform(6, 11, 40)
    z = np.log10(x)
    return x, 0.3 + 0.02 * z + bend * np.maximum(0, z - 8.7) + rng.normal(0, 0.03, 40)


def coverage_of_a_breakpoint(rng: np.random.Generator) -> bool:
    """40 points, slope changing by 0.1 per decade at 8.7, noise 0.03."""
    found = breakpoint_interval(*_broken(rng, 0.1), seed=int(rng.integers(2**31)))
    return bool(found["lower"] <= 8.7 <= found["upper"])


def false_break(rng: np.random.Generator) -> bool:
    """A line that is called broken."""
    return break_test(*_broken(rng, 0.0), 199, seed=int(rng.integers(2**31)))["p"] <= 0.05


def coverage_of_an_exponent(rng: np.random.Generator) -> bool:
    """The exponent 0.2 of a power law over 30 families of 4 models each, families resampled."""
    from transect.stats.curve_inference import bootstrap_parameters

    groups = np.repeat(np.arange(30), 4)
    x = 10 ** rng.uniform(6, 11, len(groups))
    y = 1.7 + 40 * x**-0.2 + rng.normal(0, 0.02, 30)[groups] + rng.normal(0, 0.02, len(x))
    curve = fit_curve("power", x, y)
    rows = bootstrap_parameters(curve, x, y, groups, 200, seed=int(rng.integers(2**31))).set_index("parameter")
    return bool(rows.loc["a", "lower"] <= 0.2 <= rows.loc["a", "upper"])


RATES: dict[str, Rate] = {
    **{f"run-level effect, {n} runs: false alarms": Rate(run_level(n), *FALSE_ALARMS) for n in (6, 8, 12)},
    "run-level effect, run ignored: false alarms": Rate(run_ignored, 0.30, 1.0),
    **{
        f"size trend over items, size SD {r} x seed SD / 3: false alarms": Rate(configuration_level(r), *FALSE_ALARMS)
        for r in (0, 1, 2, 4)
    },
    **{
        f"size trend on means, size SD {r} x seed SD / 3: false alarms": Rate(
            configuration_level_on_means(r), *FALSE_ALARMS
        )
        for r in (0, 1, 2, 4)
    },
    "size trend, seeds as units: false alarms": Rate(seeds_as_units, 0.30, 1.0),
    **{f"slope of runs, {n} runs: coverage": Rate(coverage_of_a_slope(n), *COVERAGE) for n in (8, 16)},
    "effect within runs, slope by run: coverage": Rate(coverage_within_runs, *COVERAGE),
    "breakpoint: coverage": Rate(coverage_of_a_breakpoint, *COVERAGE),
    "line called broken: false alarms": Rate(false_break, *FALSE_ALARMS),
    "exponent of a power law, families resampled: coverage": Rate(coverage_of_an_exponent, *COVERAGE),
}
