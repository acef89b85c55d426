"""Events of curves: breakpoints, false breaks, the intervals of a power law and of the loss law
L(N, D).
"""

from collections.abc import Callable

import numpy as np

from transect.stats.curves.breakpoints import break_test, breakpoint_interval
from transect.stats.curves.forms import fit_curve
from transect.stats.curves.inference import parameter_intervals

LAW = {"E": 1.69, "A": 406.4, "B": 410.7, "a": 0.34, "b": 0.28}  # Hoffmann et al. (2022)


def _broken(rng: np.random.Generator, bend: float) -> tuple[np.ndarray, np.ndarray]:
    x = 10 ** rng.uniform(6, 11, 40)
    z = np.log10(x)
    return x, 0.3 + 0.02 * z + bend * np.maximum(0, z - 8.7) + rng.normal(0, 0.03, 40)


def coverage_of_a_breakpoint(rng: np.random.Generator) -> bool:
    """40 points, slope changing by 0.1 per decade at 8.7, noise 0.03."""
    found = breakpoint_interval(*_broken(rng, 0.1))
    return bool(found["lower"] <= 8.7 <= found["upper"])


def false_break(rng: np.random.Generator) -> bool:
    """A line that is called broken."""
    return break_test(*_broken(rng, 0.0))["p"] <= 0.05


def _broken_in_groups(
    rng: np.random.Generator, bend: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """16 groups of 8 rows, SD 0.05 between and 0.03 within them."""
    groups, x = np.repeat(np.arange(16), 8), 10 ** rng.uniform(6, 11, 128)
    line = 0.3 + 0.02 * np.log10(x) + bend * np.maximum(0, np.log10(x) - 8.7)
    return x, line + rng.normal(0, 0.05, 16)[groups] + rng.normal(0, 0.03, 128), groups


def coverage_of_a_breakpoint_in_groups(rng: np.random.Generator) -> bool:
    """The slope of 16 groups changes by 0.05 per decade at 8.7."""
    found = breakpoint_interval(*_broken_in_groups(rng, 0.05))
    return bool(found["lower"] <= 8.7 <= found["upper"])


def false_break_in_groups(rng: np.random.Generator) -> bool:
    """A line of 16 groups that is called broken."""
    return break_test(*_broken_in_groups(rng, 0.0))["p"] <= 0.05


def families(
    rng: np.random.Generator, n_families: int, n_sizes: int, falling: bool, bend: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Families (SD 0.1) over the same sizes from 7e7 to 7e9; noise 0.05, or falling with size from
    0.1 to 0.02; bent at 9.2.
    """
    z, family = (
        np.tile(np.linspace(7.845, 9.845, n_sizes), n_families),
        np.repeat(np.arange(n_families), n_sizes),
    )
    sd = 0.1 * 5 ** -((z - 7.845) / 2) if falling else 0.05
    line = 5 - 0.3 * z + bend * np.maximum(0, z - 9.2)
    return (
        10**z,
        line + rng.normal(0, 0.1, n_families)[family] + sd * rng.standard_normal(len(z)),
        family,
    )


def breaks_of_families(
    n_families: int, n_sizes: int, falling: bool
) -> Callable[[np.random.Generator], dict[str, bool]]:
    """A line of families that is called broken; whether the interval holds the place where the
    slope changes by 0.5.
    """

    def event(rng: np.random.Generator) -> dict[str, bool]:
        false = break_test(*families(rng, n_families, n_sizes, falling))["p"] <= 0.05
        found = breakpoint_interval(*families(rng, n_families, n_sizes, falling, 0.5))
        return {"line called broken": false, "break": bool(found["lower"] <= 9.2 <= found["upper"])}

    return event


def false_break_of_falling_noise(rng: np.random.Generator) -> bool:
    """A line of 40 rows without groups that is called broken; noise falls tenfold over five
    decades.
    """
    x = 10 ** rng.uniform(6, 11, 40)
    return break_test(x, 0.3 + rng.standard_normal(40) * 0.03 * (x / 10**8.5) ** -0.2)["p"] <= 0.05


def coverage_of_a_power_law(n_families: int) -> Callable[[np.random.Generator], dict[str, bool]]:
    """E 1.7, A 40 and a 0.2 over families of 4 models, each family left out once; SD 0.02 between
    and within families.
    """

    def event(rng: np.random.Generator) -> dict[str, bool]:
        groups = np.repeat(np.arange(n_families), 4)
        x = 10 ** rng.uniform(6, 11, len(groups))
        y = (
            1.7
            + 40 * x**-0.2
            + rng.normal(0, 0.02, n_families)[groups]
            + rng.normal(0, 0.02, len(x))
        )
        return _held("power", x, y, groups, {"E": 1.7, "A": 40.0, "a": 0.2})

    return event


def coverage_of_a_law(rng: np.random.Generator) -> dict[str, bool]:
    """15 families of 5 models, N 1e7 to 1e11, D 1e8 to 1e12; errors of log L: SD 0.01 between and
    0.005 within families.
    """
    groups = np.repeat(np.arange(15), 5)
    x = np.column_stack(
        [10 ** rng.uniform(7, 11, len(groups)), 10 ** rng.uniform(8, 12, len(groups))]
    )
    loss = LAW["E"] + LAW["A"] * x[:, 0] ** -LAW["a"] + LAW["B"] * x[:, 1] ** -LAW["b"]
    y = loss * np.exp(rng.normal(0, 0.01, 15)[groups] + rng.normal(0, 0.005, len(x)))
    return _held("chinchilla", x, y, groups, LAW)


def _held(
    form: str, x: np.ndarray, y: np.ndarray, groups: np.ndarray, truth: dict[str, float]
) -> dict[str, bool]:
    """Of each parameter whether its interval holds the truth."""
    found = parameter_intervals(fit_curve(form, x, y), x, y, groups).set_index("parameter")
    return {
        name: bool(found.loc[name, "lower"] <= value <= found.loc[name, "upper"])
        for name, value in truth.items()
    }
