"""How well the note on an omitted slope tells its cost: 5 suites of 4 sizes, 1 to 5 seeds, items
shared in part, slopes of suites.

    needed = SD of the estimates over all tables / mean of the standard errors as printed
    told   = the median of the ratio that the note gives (stats/table/omitted_slopes.py)
python -m simulations.slope_cost [-n 500]
"""

import argparse

import numpy as np
import pandas as pd

from transect.stats.table.omitted_slopes import omitted_slopes
from transect.stats.table.table_model import fit_table

SIZES = np.array([-0.7, -0.2, 0.3, 0.9])  # log10, about their middle
FORMULA = "y ~ size + (1 | suite) + (1 | run) + (1 | item)"


def suites(rng: np.random.Generator) -> pd.DataFrame:
    """SD 0.2 of the suites' slopes about 0, 0.3 of suites, 0.1 of runs, 0.5 of items and of rows."""
    items, run, rows = rng.normal(0, 0.5, 40), 0, []
    for suite in range(5):
        level, slope = rng.normal(0, 0.3), rng.normal(0, 0.2)
        own = np.concatenate([np.arange(10), 10 + rng.choice(30, 10, replace=False)])
        for size in SIZES + rng.uniform(-0.1, 0.1, 4):
            for _ in range(rng.integers(1, 6)):
                y = (
                    level
                    + slope * size
                    + rng.normal(0, 0.1)
                    + items[own]
                    + rng.normal(0, 0.5, len(own))
                )
                rows += [
                    (value, size, f"s{suite}", f"r{run}", f"i{i}")
                    for value, i in zip(y, own, strict=True)
                ]
                run += 1
    return pd.DataFrame(rows, columns=["y", "size", "suite", "run", "item"])


def cost(n: int, seed: int = 0) -> dict[str, float]:
    """needed, told and false_alarms (the share of tables in which size is significant at 0.05) over
    n tables.
    """
    found = []
    for i in range(n):
        model = fit_table(suites(np.random.default_rng([seed, i])), FORMULA)
        effect = model.effects.set_index("term").loc["size"]
        slopes = omitted_slopes(model).set_index(["term", "group"])
        found.append(
            (
                effect["estimate"],
                effect["se"],
                slopes.loc[("size", "suite"), "se_ratio"],
                effect["p"] < 0.05,
            )
        )
    estimate, se, ratio, alarm = np.array(found, float).T
    return {
        "needed": float(estimate.std() / se.mean()),
        "told": float(np.median(ratio)),
        "false_alarms": float(alarm.mean()),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=500, help="tables")
    n = parser.parse_args().n
    print(
        f"omitted slopes of suites, {n} tables:",
        ", ".join(f"{k} {v:.3f}" for k, v in cost(n).items()),
    )
