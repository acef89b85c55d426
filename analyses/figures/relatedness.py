"""Relatedness: the slope of size with independent and with related models, side by side."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transect.report import style

NEEDS = ["relatedness"]

MARKERS = {"star": "o", "estimated": "s", "tree": "^"}
NAMES = {
    "star": "star: independent (λ = 0)",
    "estimated": "λ estimated",
    "tree": "tree: as related as it says (λ = 1)",
}


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws relatedness.effects: one panel per outcome, whose units differ."""
    effects = tables["relatedness"]["effects"]
    parts = dict(list(effects.groupby("outcome", sort=False)))
    figure, axes = style.panels(len(parts), columns=2, height=1.05)
    for ax, (outcome, part) in zip(axes, parts.items(), strict=True):
        _panel(ax, part.reset_index(drop=True), outcome)
    return figure


def _panel(ax: Any, part: Any, outcome: str) -> None:
    ax.axvline(0, color="black", lw=0.6)
    for y, row in part.iterrows():
        if not np.isfinite(row["lower"]):
            ax.annotate(
                str(row["reason"]),
                (0.02, 0.5),
                xycoords="axes fraction",
                color=style.GREY,
                fontsize=6,
                wrap=True,
            )
            continue
        colour = style.COLOURS[list(MARKERS).index(row["phylogeny"])]
        clear = row["lower"] > 0 or row["upper"] < 0
        ax.hlines(y, row["lower"], row["upper"], color=colour, lw=1.3)
        ax.plot(
            [row["estimate"]],
            [y],
            marker=MARKERS[row["phylogeny"]],
            color=colour if clear else "white",
            mec=colour,
        )
    names = [
        NAMES[p].replace("λ estimated", f"λ estimated: {style.number(v)}")
        for p, v in zip(part["phylogeny"], part["lambda"], strict=True)
    ]
    ax.set_yticks(range(len(part)), names if len(part) > 1 else ["all equally related"])
    ax.set_ylim(len(part) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("change per tenfold size")
    ax.set_title(outcome)


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """What lambda is worth in each outcome."""
    said = [
        f"{r['outcome']}: {r['sentence']}" for _, r in tables["relatedness"]["lambdas"].iterrows()
    ]
    return (
        "Slope per tenfold size with 95 % intervals if models are independent (star), as related as lambda says, and as the registry's tree "
        "says (class, family, suite, configuration, parent); filled marks where the interval excludes 0. "
        + ". ".join(said)
        + "."
    )
