"""The size that was left out: the trend of the others, its 95 % prediction band, and what was then
measured.
"""

from typing import Any

from matplotlib.figure import Figure

from transect.report import style

NEEDS = ["held_out_size"]


@style.styled
def figure(tables: dict[str, dict[str, Any]]) -> Figure:
    """Draws held_out_size.lines and held_out_size.predictions, one panel per outcome and group."""
    found = tables["held_out_size"]
    pairs = list(
        found["predictions"][["outcome", "group"]]
        .drop_duplicates()
        .itertuples(index=False, name=None)
    )
    figure, axes = style.panels(len(pairs), columns=3, height=1.75)
    drawn: dict[str, list[Any]] = {}
    for ax, (outcome, group) in zip(axes, pairs, strict=True):
        parts = [
            t[(t["outcome"] == outcome) & (t["group"] == group)] if len(t) else t
            for t in (found["lines"], found["predictions"])
        ]
        _panel(ax, *parts)
        drawn.setdefault(outcome, []).append(ax)
        ax.set_title(outcome if group == "all" else f"{outcome}\n{group}")
    for same in drawn.values():  # one outcome, one scale
        limits = [ax.get_ylim() for ax in same]
        for ax in same:
            ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    return figure


def _panel(ax: Any, lines: Any, predictions: Any) -> None:
    colour, other = style.COLOURS[0], style.COLOURS[1]
    seen = lines[lines["kind"] == "trained on"] if len(lines) else lines
    band = lines[lines["kind"] == "prediction"] if len(lines) else lines
    if len(band):
        ax.fill_between(band["x"], band["lower"], band["upper"], color=colour, alpha=0.13, lw=0)
        ax.plot(band["x"], band["estimate"], color=colour, ls=(0, (4, 2)), lw=1)
    if len(seen):
        ax.plot(seen["x"], seen["estimate"], ls="", marker="o", color=colour, mec="white", mew=0.4)
    known = predictions["lower"].notna()
    ax.vlines(
        predictions["x"][known],
        predictions["lower"][known],
        predictions["upper"][known],
        color=other,
        lw=0.9,
    )
    ax.plot(
        predictions["x"],
        predictions["truth"],
        ls="",
        marker="D",
        color="white",
        mec=other,
        mew=1.0,
        ms=4,
    )
    if not known.any():
        ax.text(
            0.5,
            0.5,
            str(predictions["reason"].iloc[0]).replace(": ", ":\n", 1),
            transform=ax.transAxes,
            ha="center",
            fontsize=5.5,
            color=style.GREY,
            style="italic",
            wrap=True,
        )
    sizes = [*(seen["x"] if len(seen) else []), *predictions["x"]]
    style.size_axis(ax, sizes, predictions["size"].iloc[0])
    ax.grid(axis="y")


def caption(tables: dict[str, dict[str, Any]]) -> str:
    """How many held-out configurations the intervals hold, and the errors beside those of the mean."""
    said = []
    for _, row in tables["held_out_size"]["summary"].iterrows():
        name = row["outcome"] if row["group"] == "all" else f"{row['outcome']}, {row['group']}"
        if not row["n_predicted"]:
            said.append(f"{name}: {row['reason']}")
            continue
        of_trend, of_mean = (
            style.number(row[f"mean_absolute_{c}"]) for c in ("error", "error_of_mean")
        )
        errors = f"mean absolute error {of_trend} (mean of the smaller sizes: {of_mean})"
        said.append(
            f"{name}: {row['n_inside']} of {row['n_predicted']} held-out configurations inside, {errors}, predicted from {row['units']}"
        )
    return (
        "Dots: configurations that were fitted; dashed: their trend, continued, with its 95 % prediction band; open diamonds "
        "and bars: what the held-out size came to, and its interval. " + "; ".join(said) + "."
    )
