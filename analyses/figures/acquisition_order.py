"""Order of acquisition: accuracy of each set over training, one panel per group, baselines as open
marks at the right edge.
"""

from typing import Any

from matplotlib.figure import Figure

from transect.report import style

NEEDS = ["acquisition_order"]


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws acquisition_order.accuracy, where the tokens seen are known, and
    acquisition_order.baselines.
    """
    accuracy, shortcuts = (
        tables["acquisition_order"]["accuracy"],
        tables["acquisition_order"]["baselines"],
    )
    accuracy = accuracy.dropna(subset=["tokens_seen"])
    pairs = list(
        accuracy[["outcome", "group"]].drop_duplicates().itertuples(index=False, name=None)
    )
    figure, axes = style.panels(len(pairs))
    looks = style.looks(accuracy["set"])
    limits = (
        min(accuracy["estimate"].min(), 0.4) - 0.03,
        max(accuracy["estimate"].max(), 0.9) + 0.03,
    )
    for ax, (outcome, group) in zip(axes, pairs, strict=True):
        ax.set_ylim(*limits)
        here, best = (
            t[(t["outcome"] == outcome) & (t["group"] == group)] for t in (accuracy, shortcuts)
        )
        _panel(ax, here, best, looks)
        ax.set_title(f"{outcome}, {group}")
    return figure


def _panel(ax: Any, part: Any, shortcuts: Any, looks: dict[str, style.Look]) -> None:
    at = style.token_axis(ax, part["tokens_seen"])
    right, ends = ax.get_xlim()[1], []
    for name, line in part.groupby("set"):
        look, x, after = looks[name], at(line["tokens_seen"]), (line["tokens_seen"] > 0).to_numpy()
        ax.fill_between(
            x[after],
            line["lower"][after],
            line["upper"][after],
            color=look.colour,
            alpha=0.13,
            lw=0,
        )
        ax.plot(
            x[after],
            line["estimate"][after],
            color=look.colour,
            ls=look.line,
            marker=look.marker,
            mec="white",
            mew=0.4,
        )
        ax.plot(
            x[~after],
            line["estimate"][~after],
            color=look.colour,
            ls="",
            marker=look.marker,
            mec="white",
            mew=0.4,
        )
        best = shortcuts[shortcuts["set"] == name]["estimate"] if len(shortcuts) else []
        if len(best):
            ax.plot(
                [right],
                [max(best)],
                marker=look.marker,
                color="white",
                mec=look.colour,
                ms=4,
                clip_on=False,
                zorder=6,
            )
        ends.append((x[-1], line["estimate"].iloc[-1], name, look.colour))
    chance = part["chance"].iloc[0]
    if chance is not None and chance == chance:
        ax.axhline(chance, color=style.GREY, lw=0.7, ls=(0, (1, 2)), zorder=0)
    ax.grid(axis="y")
    style.end_labels(ax, ends)


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """Which set is ahead at the end."""
    found = tables["acquisition_order"]
    said = []
    for _, row in found["differences"].iterrows():
        value = (
            f"{style.interval(row)} ({row['units']})"
            if not row["reason"]
            else f"{style.number(row['estimate'])} ({row['reason']})"
        )
        said.append(f"{row['outcome']}, {row['group']}, {row['term']}: {value}")
    return (
        "Accuracy over training with 95 % intervals over runs and items; open marks at the right edge: the best shortcut "
        "baseline of that set; dotted: chance. At the end: "
        + "; ".join(said)
        + "."
        + style.cut_note(found["differences"])
    )
