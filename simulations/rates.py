"""Error rates and coverages of the statistics, by simulation: each rate is counted over data sets
with planted truth.

An event is a function of a generator that makes one data set and says whether it happened (a false
alarm, an interval that holds the truth); of several events of one data set, by name. `RATES` names
each with the range that it must lie in, the ranges being the project's aims: 5 +- 1.5 % false
alarms, 93 to 97 % coverage (at least 93 % near a bound), false discoveries at most 5 % + 2
Monte-Carlo SE.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from simulations.bounded_rates import (
    coverage_of_a_mass,
    coverage_of_a_positive_mean,
    coverage_of_a_share,
)
from simulations.curve_rates import (
    LAW,
    breaks_of_families,
    coverage_of_a_breakpoint,
    coverage_of_a_breakpoint_in_groups,
    coverage_of_a_law,
    coverage_of_a_power_law,
    false_break,
    false_break_in_groups,
    false_break_of_falling_noise,
)
from simulations.map_rates import (
    coverage_of_lambda,
    false_cell,
    false_difference,
    false_node,
    lambda_of_few_groups,
)
from simulations.step_rates import labels_of_a_latent_step, labels_of_a_smooth_latent
from transect.stats.effects.attribution import attribute
from transect.stats.table.table_model import TableModel, fit_table

FALSE_ALARMS, COVERAGE, FALSE_DISCOVERIES = (0.035, 0.065), (0.93, 0.97), (0.0, 0.06)
SKEWED = (0.88, 1.0)  # coverage where few units lie far from the bound, which a sample may miss
AT_LEAST = (
    0.93,
    1.0,
)  # coverage near a bound, where an interval of whole trials cannot but be careful


@dataclass(frozen=True)
class Rate:
    """`event` of one data set, or `of` it where it has several; `low` to `high`: where its share
    must lie.
    """

    event: Callable[[np.random.Generator], bool | dict[str, bool]]
    low: float
    high: float
    of: str = ""


def _runs_and_items(
    rng: np.random.Generator, n_runs: int, n_items: int = 30, slope: float = 0.0
) -> pd.DataFrame:
    """y = slope x + run + item + e, x a property of runs; standard deviations 0.5, 1 and 1."""
    run, item = (
        g.ravel() for g in np.meshgrid(np.arange(n_runs), np.arange(n_items), indexing="ij")
    )
    x = rng.normal(size=n_runs)
    y = (
        slope * x[run]
        + rng.normal(0, 0.5, n_runs)[run]
        + rng.normal(size=n_items)[item]
        + rng.normal(size=len(run))
    )
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
    return bool(
        fit_table(frame, "y ~ x + (1 | item)", allow_pseudoreplication=True).effects["p"][1] < 0.05
    )


def coverage_of_a_slope(n_runs: int) -> Callable[[np.random.Generator], bool]:
    """Whether the 95 % interval of a run-level slope of 0.3 holds it."""

    def event(rng: np.random.Generator) -> bool:
        row = fit_table(
            _runs_and_items(rng, n_runs, slope=0.3), "y ~ x + (1 | item) + (1 | run)"
        ).effects.iloc[1]
        return bool(row["lower"] <= 0.3 <= row["upper"])

    return event


def _within_runs(rng: np.random.Generator, shared_items: bool) -> TableModel:
    """A condition that varies within runs, its slope differing between them (SD 0.4): 10 runs, 30
    items, truth 0.2.
    """
    frame = _runs_and_items(rng, 10)
    if shared_items:
        frame = pd.concat([frame.assign(condition=0), frame.assign(condition=1)], ignore_index=True)
        frame["y"] += rng.normal(size=len(frame))
    else:
        frame["condition"] = frame["item"].str[1:].astype(int) % 2
    slopes = dict(zip(frame["run"].unique(), rng.normal(0.2, 0.4, 10), strict=True))
    frame["y"] += frame["condition"] * frame["run"].map(slopes)
    return fit_table(frame, "y ~ condition + (1 | item) + (1 + condition | run)")


def coverage_of_a_condition_of_items(rng: np.random.Generator) -> bool:
    """Half of the items in each condition: items carry it beside runs, so 9 df, the runs', bound
    their part of the variance alone.

    With 9 df for all of it the interval would be too wide (0.971 over 6,500 data sets).
    """
    row = _within_runs(rng, False).effects.iloc[1]
    return bool(row["lower"] <= 0.2 <= row["upper"])


def coverage_of_a_condition_of_rows(rng: np.random.Generator) -> dict[str, bool]:
    """Every item in both conditions: exact is the t interval of the runs' slopes, which is the
    cross-check of the model.

    Where a variance or correlation of the runs is estimated at its edge (6 of 10 fits here), the
    model's interval is the wider one.
    """
    found = _within_runs(rng, True)
    rows = {
        "model": found.effects.iloc[1],
        "slopes of runs": found.on_means.set_index("term").loc["condition"],
    }
    return {name: bool(row["lower"] <= 0.2 <= row["upper"]) for name, row in rows.items()}


def _sizes_and_seeds(rng: np.random.Generator, ratio: float) -> pd.DataFrame:
    """4 sizes x 9 seeds x 12 items without any trend; SD of sizes = ratio x SD of seeds / 3."""
    size, seed, item = (
        g.ravel() for g in np.meshgrid(np.arange(4), np.arange(9), np.arange(12), indexing="ij")
    )
    run = size * 9 + seed
    value = rng.normal(0, ratio * 0.5 / 3, 4)[size] + rng.normal(0, 0.5, 36)[run]
    value = value + rng.normal(0, 1, 12)[item] + rng.normal(0, 1, len(run))
    labels = {
        "configuration": [f"c{s}" for s in size],
        "run": [f"r{r}" for r in run],
        "item": [f"i{i}" for i in item],
    }
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
        runs = (
            _sizes_and_seeds(rng, ratio)
            .groupby(["configuration", "run", "size"], as_index=False)["value"]
            .mean()
        )
        return bool(attribute(runs, ["log10(size)"], variance="pooled")["effects"]["p"][0] < 0.05)

    return event


def seeds_as_units(rng: np.random.Generator) -> bool:
    """The same with the 36 seeds as units, sizes differing 4 / 3 as much as seeds."""
    frame = (
        _sizes_and_seeds(rng, 4)
        .groupby(["configuration", "run", "size"], as_index=False)["value"]
        .mean()
    )
    x = np.column_stack([np.ones(36), np.log10(frame["size"])])
    beta, rss, *_ = np.linalg.lstsq(x, frame["value"], rcond=None)
    t = beta[1] / np.sqrt(rss[0] / 34 * np.linalg.inv(x.T @ x)[1, 1])
    return bool(abs(t) > 2.032)  # Student, 34 df


RATES: dict[str, Rate] = {
    **{
        f"run-level effect, {n} runs: false alarms": Rate(run_level(n), *FALSE_ALARMS)
        for n in (6, 8, 12)
    },
    "run-level effect, run ignored: false alarms": Rate(run_ignored, 0.30, 1.0),
    **{
        f"size trend over items, size SD {r} x seed SD / 3: false alarms": Rate(
            configuration_level(r), *FALSE_ALARMS
        )
        for r in (0, 1, 2, 4)
    },
    **{
        f"size trend on means, size SD {r} x seed SD / 3: false alarms": Rate(
            configuration_level_on_means(r), *FALSE_ALARMS
        )
        for r in (0, 1, 2, 4)
    },
    "size trend, seeds as units: false alarms": Rate(seeds_as_units, 0.30, 1.0),
    **{
        f"slope of runs, {n} runs: coverage": Rate(coverage_of_a_slope(n), *COVERAGE)
        for n in (8, 16)
    },
    "effect within runs, slope by run: coverage": Rate(coverage_of_a_condition_of_items, *COVERAGE),
    "breakpoint: coverage": Rate(coverage_of_a_breakpoint, *COVERAGE),
    "line called broken: false alarms": Rate(false_break, *FALSE_ALARMS),
    "effect within runs and items, by the model: coverage": Rate(
        coverage_of_a_condition_of_rows, *COVERAGE, "model"
    ),
    **{
        f"power law over {n} families, {name}: coverage": Rate(event, *COVERAGE, name)
        for n in (8, 15, 30)
        for event in (coverage_of_a_power_law(n),)
        for name in ("E", "A", "a")
    },
    **{
        f"loss law over 15 families, {name}: coverage": Rate(coverage_of_a_law, *COVERAGE, name)
        for name in LAW
    },
    "Pagel's lambda, 64 groups: coverage": Rate(coverage_of_lambda, *COVERAGE),
    "Pagel's lambda, 32 groups: called uninformative": Rate(lambda_of_few_groups, 1.0, 1.0),
    "null map of 8 runs, any cell: false discoveries": Rate(false_cell, *FALSE_DISCOVERIES),
    "null map, 5 runs against 5, any cell: false discoveries": Rate(
        false_difference, *FALSE_DISCOVERIES
    ),
    **{
        f"null tree, correlation {shared} within layers, any node: false discoveries": Rate(
            false_node(shared), *FALSE_DISCOVERIES
        )
        for shared in (0.0, 0.5)
    },
    **{
        f"jump of a smooth latent: labelled {label}": Rate(
            labels_of_a_smooth_latent, low, high, label
        )
        for label, low, high in (
            ("metric-induced", 0.9, 1.0),
            ("in the continuous metric too", 0.0, 0.05),
        )
    },
    **{
        f"jump of a latent that steps: labelled {label}": Rate(
            labels_of_a_latent_step, low, high, label
        )
        for label, low, high in (
            ("in the continuous metric too", 0.8, 1.0),
            ("metric-induced", 0.0, 0.05),
        )
    },
    "effect within runs and items, by the slopes of runs: coverage": Rate(
        coverage_of_a_condition_of_rows, *COVERAGE, "slopes of runs"
    ),
    "line called broken, rows in 16 groups: false alarms": Rate(
        false_break_in_groups, *FALSE_ALARMS
    ),
    "breakpoint, rows in 16 groups: coverage": Rate(coverage_of_a_breakpoint_in_groups, *COVERAGE),
    "line called broken, noise falls with size: false alarms": Rate(
        false_break_of_falling_noise, *FALSE_ALARMS
    ),
    **{
        f"{what}, {n} families x {n_sizes} sizes, {'falling' if falling else 'equal'} noise: {rate}": Rate(
            event, low, high, what
        )
        for n in (3, 4, 5, 6, 8)
        for n_sizes in (5, 9)
        for falling in (False, True)
        for event in (breaks_of_families(n, n_sizes, falling),)
        for what, rate, (low, high) in (
            ("line called broken", "false alarms", FALSE_ALARMS),
            ("break", "coverage", COVERAGE),
        )
    },
    **{
        f"bounded mean of right and wrong, truth {p}, {n} units: coverage": Rate(
            coverage_of_a_share(p, n), *AT_LEAST
        )
        for p in (0.5, 0.9, 0.99, 0.999, 1.0)
        for n in (3, 5, 8, 12)
    },
    **{
        f"bounded mean of right and wrong, truth {p}, {n} units of sd 1.5 logits: coverage": Rate(
            coverage_of_a_share(p, n, 1.5), *SKEWED
        )
        for p in (0.9, 0.97, 0.99)
        for n in (8, 12, 24, 48)
    },
    **{
        f"bounded mean of a mass, truth {m}, {n} units: coverage": Rate(
            coverage_of_a_mass(m, n), *AT_LEAST
        )
        for m in (0.05, 0.5, 0.95)
        for n in (3, 8)
    },
    **{
        f"bounded mean of a mass, truth 0.98, {n} units, few of them low: coverage": Rate(
            coverage_of_a_mass(0.98, n, 20), *SKEWED
        )
        for n in (8, 12, 24, 48)
    },
    **{
        f"bounded mean above 0, {n} units: coverage": Rate(
            coverage_of_a_positive_mean(n), *AT_LEAST
        )
        for n in (3, 8)
    },
}
