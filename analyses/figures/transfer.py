"""Transfer: R2 of whole groups that were left out, size alone beside size and factors; 0 is the
mean of the other groups.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transect.report import style

NEEDS = ["transfer"]

LOW = -1.0  # what lies below is drawn at the edge with an arrow
ROW, HEAD = 0.2, 0.62  # inches


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws transfer.reach: one panel per outcome, one row per grouping."""
    reach = tables["transfer"]["reach"]
    parts = dict(list(reach.groupby("outcome", sort=False)))
    rows = max(len(part) for part in parts.values())
    figure, axes = style.panels(len(parts), columns=1, height=HEAD + ROW * rows, layout="none")
    total = len(parts)
    for i, (ax, (outcome, part)) in enumerate(zip(axes, parts.items(), strict=True)):
        height = (ROW * rows) / (HEAD + ROW * rows) / total
        ax.set_position((0.2, 1 - (i + 1) / total + 0.62 * (1 / total - height), 0.38, height))
        _panel(ax, part.reset_index(drop=True), outcome)
    axes[-1].set_xlabel(
        "R² of the group that was left out (0: no better than the mean of the others)"
    )
    for x, text in (
        (1.03, "R² [95 %]"),
        (1.4, "over size alone"),
        (1.68, "coverage"),
        (1.85, "groups"),
    ):
        axes[0].annotate(
            text, (x, 1.0), xycoords="axes fraction", fontsize=6, color=style.GREY, va="bottom"
        )
    return figure


def _panel(ax: Any, part: Any, outcome: str) -> None:
    ax.axvline(0, color="black", lw=0.6)
    beside = {
        "xycoords": ("axes fraction", "data"),
        "fontsize": 6,
        "va": "center",
        "annotation_clip": False,
    }
    for y, row in part.iterrows():
        if not np.isfinite(row["r2"]):
            ax.annotate(str(row["reason"]), (0.02, y), color=style.GREY, style="italic", **beside)
            continue
        low, high = max(row["r2_lower"], LOW), max(row["r2_upper"], LOW)
        ax.hlines(y, low, high, color=style.COLOURS[0], lw=1.3)
        if row["r2_lower"] < LOW:
            ax.plot([LOW], [y], marker="<", color=style.COLOURS[0], ms=3, clip_on=False)
        ax.plot(
            [max(row["r2_scale_only"], LOW)], [y], marker="D", color="white", mec="#555555", ms=3.6
        )
        ax.plot([max(row["r2"], LOW)], [y], marker="o", color=style.COLOURS[0], ms=4.2)
        ax.annotate(_bounded(row), (1.03, y), **beside)
        ax.annotate(style.number(row["r2_over_scale"]), (1.4, y), **beside)
        ax.annotate(f"{100 * row['coverage']:.0f} %", (1.68, y), **beside)
        ax.annotate(f"{int(row['n_groups'])}", (1.85, y), **beside)
    ax.set_yticks(range(len(part)), [f"{name} left out" for name in part["left_out"]])
    ax.set_ylim(len(part) - 0.5, -0.5)
    ax.set_xlim(LOW - 0.03, 1.03)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.spines["left"].set_visible(False)
    ax.annotate(
        outcome, (-0.5, 1.0), xycoords="axes fraction", fontsize=7.5, fontweight="bold", va="bottom"
    )


def _bounded(row: Any) -> str:
    """R2 with its interval; a bound below -10 is only said to be so."""
    ends = [style.number(v) if v > -10 else "< −10" for v in (row["r2_lower"], row["r2_upper"])]
    return f"{style.number(row['r2'])} [{ends[0]}, {ends[1]}]"


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """What reaches how far, in words, and which groupings could not be judged."""
    said = []
    for outcome, part in tables["transfer"]["reach"].groupby("outcome", sort=False):
        known = part[part["r2"].notna()]
        sure = known.loc[known["r2_lower"] > 0, "left_out"]
        unsure = known.loc[~(known["r2_lower"] > 0), "left_out"]
        text = [f"reaches a {' and a '.join(sure)} that was left out"] if len(sure) else []
        text += [f"nothing certain of another {' or '.join(unsure)}"] if len(unsure) else []
        text += (
            [f"not judged: {', '.join(part.loc[part['r2'].isna(), 'left_out'])}"]
            if len(known) < len(part)
            else []
        )
        said.append(f"{outcome}: {'; '.join(text)}")
    return (
        "Each level of a grouping predicted from the other levels. Circles: size and factors, with the jackknife's 95 % interval over "
        "the groups; open diamonds: size alone; an arrow where the interval goes on below −1. Coverage: truths inside their 95 % "
        "prediction interval. " + ". ".join(said) + "."
    )
