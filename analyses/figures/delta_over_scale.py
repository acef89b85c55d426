"""Delta over scale: what each factor adds to size alone in groups that were left out, as a grid of
numbers.
"""

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transect.report import style

NEEDS = ["transfer"]


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws transfer.delta: one panel per outcome, factors x groupings; bold where the interval
    excludes 0.
    """
    delta = tables["transfer"]["delta"]
    parts = dict(list(delta.groupby("outcome", sort=False)))
    rows = max([part["factor"].nunique() for part in parts.values()], default=1)
    figure, axes = style.panels(len(parts), columns=2, height=0.62 + 0.21 * rows)
    for ax, (outcome, part) in zip(axes, parts.items(), strict=True):
        _panel(ax, part, outcome)
    return figure


def _panel(ax: Any, part: Any, outcome: str) -> None:
    factors, groups = list(part["factor"].unique()), list(part["left_out"].unique())
    grid = part.set_index(["factor", "left_out"])[["delta", "lower", "upper"]]
    values = np.array([[grid["delta"].get((f, g), np.nan) for g in groups] for f in factors], float)
    ax.imshow(np.clip(values, -1, 1), cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto", alpha=0.65)
    for (i, j), value in np.ndenumerate(values):
        if not np.isfinite(value):
            ax.text(j, i, "–", ha="center", va="center", color=style.GREY, fontsize=6.5)
            continue
        row = grid.loc[(factors[i], groups[j])]
        clear = row["lower"] > 0 or row["upper"] < 0
        text = ("+" if value > 0 else "") + style.number(value)
        ax.text(
            j,
            i,
            text,
            ha="center",
            va="center",
            fontsize=6.5,
            fontweight="bold" if clear else "normal",
        )
    ax.set_xticks(range(len(groups)), groups)
    ax.set_yticks(
        range(len(factors)), [style.plain(f.replace("_", " ")).replace(":", " × ") for f in factors]
    )
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(textwrap.fill(outcome, 32), fontsize=7.5)


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """Which factors help out of the group."""
    delta = tables["transfer"]["delta"]
    said = []
    for outcome, part in delta.groupby("outcome", sort=False):
        clear = part[part["lower"] > 0]
        found = "; ".join(
            f"{r['factor'].replace('_', ' ').replace(':', ' × ')} with {r['left_out']} left out +{style.number(r['delta'])}"
            for _, r in clear.iterrows()
        )
        said.append(f"{outcome}: {found or 'no factor adds for certain'}")
    return (
        "Delta over scale: R² of size and one factor minus R² of size alone, in the group that was left out (columns); below 0 the "
        "factor misleads. An interaction enters with its parts. Bold where the jackknife's 95 % interval over the groups excludes 0; – "
        "where the other groups do not determine the factor. " + ". ".join(said) + "."
    )
