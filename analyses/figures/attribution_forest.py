"""What depends on what: effects with 95 % intervals, one panel per outcome; what is not
identifiable is said, not left out.

Thin grey lines: the same effect by OLS on unit means. Dashed and with a dagger: fragile (any single
removal changes sign or verdict).
"""

import re
import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transect.report import style

NEEDS = ["attribution"]

LINE, HEAD = 0.135, 0.62  # inches: one line of text; title and axis of a panel
REASON = 78  # characters of a reason on one line


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws attribution.effects."""
    effects = tables["attribution"]["effects"]
    if effects.empty:
        figure, (ax,) = style.panels(1, height=0.6)
        ax.set_axis_off()
        ax.text(
            0.5,
            0.5,
            "no factor was asked for",
            ha="center",
            va="center",
            color=style.GREY,
            style="italic",
        )
        return figure
    parts = {outcome: _rows(part) for outcome, part in effects.groupby("outcome", sort=False)}
    heights = [HEAD + part["y"].iloc[-1] + LINE for part in parts.values()]
    figure, axes = style.panels(
        len(parts), columns=1, height=sum(heights) / len(heights), layout="none"
    )
    for i, (ax, (outcome, part)) in enumerate(zip(axes, parts.items(), strict=True)):
        top = 1 - (sum(heights[:i]) + 0.22) / sum(heights)
        bottom = 1 - (sum(heights[: i + 1]) - 0.3) / sum(heights)
        ax.set_position((0.4, bottom, 0.24, top - bottom))
        _panel(ax, part)
        ax.text(
            -1.64,
            1.0,
            outcome,
            transform=ax.transAxes,
            fontsize=7.5,
            fontweight="bold",
            va="bottom",
        )
    return figure


def _rows(part: Any) -> Any:
    """Effects first, then simple effects, then interactions; `y` in inches from the top, two lines
    for long labels.
    """
    order = {
        kind: i
        for i, kind in enumerate(
            ["difference", "slope", "refused", "mean", "simple", "interaction"]
        )
    }
    part = part.iloc[np.argsort(part["kind"].map(order), kind="stable")].reset_index(drop=True)
    labels = [style.plain(str(term)) for term in part["term"]]
    labels = [re.sub(r" (in|×) ", r"\n\1 ", text) if len(text) > 52 else text for text in labels]
    reasons = [
        len(textwrap.wrap(str(r), REASON)) - 1 if np.isnan(e) else 0
        for r, e in zip(part["reason"], part["lower"], strict=True)
    ]
    lines = (
        np.array(
            [1.25 + max(text.count("\n"), more) for text, more in zip(labels, reasons, strict=True)]
        )
        * LINE
    )
    return part.assign(label=labels, y=np.cumsum(lines) - lines / 2)


def _panel(ax: Any, part: Any) -> None:
    ax.axvline(0, color="black", lw=0.6)
    for _, row in part.iterrows():
        y, beside = (
            row["y"],
            {
                "xycoords": ("axes fraction", "data"),
                "fontsize": 6,
                "va": "center",
                "annotation_clip": False,
            },
        )
        if not np.isfinite(row["lower"]):
            ax.annotate(
                textwrap.fill(str(row["reason"]), REASON),
                (0.02, y),
                color=style.GREY,
                style="italic",
                **beside,
            )
            continue
        clear = row["lower"] > 0 or row["upper"] < 0  # filled where the interval excludes 0
        colour = style.COLOURS[0] if row["kind"] != "interaction" else style.COLOURS[1]
        marker = {"interaction": "D", "simple": "s"}.get(row["kind"], "o")
        fragile = _fragile(row)
        ax.hlines(
            y,
            row["lower"],
            row["upper"],
            color=colour,
            lw=1.3,
            ls=(0, (2.2, 1.2)) if fragile else "-",
        )
        ax.hlines(y + 0.36 * LINE, row["ols_lower"], row["ols_upper"], color="#999999", lw=0.6)
        ax.plot(
            [row["ols_estimate"]], [y + 0.36 * LINE], marker="|", color="#777777", ms=3, mew=0.7
        )
        ax.plot(
            [row["estimate"]],
            [y],
            marker=marker,
            color=colour if clear else "white",
            mec=colour,
            ms=4.2,
        )
        ax.annotate(style.interval(row) + (" †" if fragile else ""), (1.04, y), **beside)
        ax.annotate(str(row["units"]).split(" (")[0], (1.74, y), color=style.GREY, **beside)
    ax.set_yticks(part["y"], part["label"])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(part["y"].iloc[-1] + LINE, 0)
    ax.locator_params(axis="x", nbins=5)
    ax.grid(axis="x")
    ax.spines["left"].set_visible(False)


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """The effects whose interval excludes 0, which of them are fragile, and what could not be told."""
    said = []
    for outcome, part in tables["attribution"]["effects"].groupby("outcome", sort=False):
        clear = part[(part["lower"] > 0) | (part["upper"] < 0)]
        found = "; ".join(
            f"{style.plain(row['term'])} {style.interval(row)}{_fragility(row)}"
            for _, row in clear.iterrows()
        )
        refused = part.loc[~np.isfinite(part["lower"].astype(float)), "term"]
        text = f"{outcome}: " + (
            f"intervals exclude 0 for {found}" if found else "no interval excludes 0"
        )
        said.append(text + (f"; not identifiable: {', '.join(refused)}" if len(refused) else ""))
    return (
        "Effects with 95 % intervals, tested between configurations; filled marks where the interval excludes 0. Thin grey "
        "lines: the same effect by least squares on the means of configurations (statsmodels). Dashed, with †: fragile, the sign "
        "or the verdict (whether the interval excludes 0) changes when some single run, configuration, family or suite is left "
        "out; the table of influence has every removal. "
        + ". ".join(said)
        + "."
        + style.cut_note(tables["attribution"]["effects"])
    )


def _fragility(row: Any) -> str:
    return f" († {row['flips']})" if _fragile(row) else ""


def _fragile(row: Any) -> bool:
    return row.get("fragile") in (True, np.True_)
