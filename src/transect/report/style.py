"""How every figure looks, and how it is written: the same bytes whenever it is drawn from the same
tables.

Colours are Okabe & Ito's (2008), told apart by readers with any colour vision; a level also has its
own marker and line, so that colour is never the only carrier. Figures are drawn without pyplot: no
global state, no window.
"""

import io
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from transect.store.files.whole_files import write_bytes

MARGIN = 4  # pixels between two titles
COLUMN, PAGE = 3.5, 7.2  # inches: one column and the whole page of a journal
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs everywhere
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 6.5,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "svg.hashsalt": "transect",  # ids in the SVG follow from the drawing alone
    "svg.fonttype": "path",  # looks the same where the font is not installed
    "pdf.fonttype": 42,  # TrueType: editable text, accepted by journals
}
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A8A"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
LINES: list[Any] = [
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (5, 1.2, 1.2, 1.2)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    "-",
    (0, (2, 2)),
]
HATCHES = ["", "////", "....", "xxxx", "\\\\\\\\", "++++", "||||", "oooo"]
GREY = "#6b6b6b"
# Levels that recur in the shipped studies keep their look in every figure.
FIXED = {
    "gpt_neox parallel": 0,
    "gpt_neox sequential": 1,
    "mamba2": 2,
    "bert": 3,
    "eng": 0,
    "spa": 1,
    "bursty": 0,
    "fresh": 1,
    "simple": 0,
    "attractor": 1,
}


@dataclass(frozen=True)
class Look:
    """How one level of a factor is drawn."""

    colour: str
    marker: str
    line: Any
    hatch: str


def looks(levels: Iterable[str]) -> dict[str, Look]:
    """Level -> look: the fixed one where there is one, else the first free, in sorted order.
    Repeats after eight.
    """
    names = sorted({str(level) for level in levels})
    slots = {name: FIXED[name] for name in names if name in FIXED}
    free = [i for i in range(len(COLOURS)) if i not in slots.values()] or list(range(len(COLOURS)))
    rest = [name for name in names if name not in slots]
    slots |= {name: free[i % len(free)] for i, name in enumerate(rest)}
    return {name: Look(COLOURS[i], MARKERS[i], LINES[i], HATCHES[i]) for name, i in slots.items()}


REFUSED = (
    "no measurements",
    "not identifiable",
)  # how a reason begins that stands where a number would


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorator of a figure function: draws under STYLE, whatever the reader's own matplotlib
    settings are.

    Where all tables that it needs are empty the figure says so; where there is nothing to draw in
    them, why.
    """

    @wraps(draw)
    def inside(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            tables = [
                table
                for need in draw.__globals__.get("NEEDS", [])
                for table in args[0][need].values()
            ]
            if tables and not any(map(len, tables)):
                return _nothing(
                    "nothing was measured yet, or what this figure needs is unknown, e.g. training tokens"
                )
            made = draw(*args, **kwargs)
            if made.axes:
                _break_titles(made)
                return made
            reasons = [
                r
                for t in tables
                if "reason" in t
                for r in t["reason"].dropna()
                if r.startswith(REFUSED)
            ]
            return _nothing(
                reasons[0] if reasons else "nothing in its tables has a place in this figure"
            )

    return inside


def _break_titles(figure: Figure) -> None:
    """Break the titles of panels that would run out of the page, or into the title to their right."""
    figure.draw_without_rendering()
    titles = [
        t
        for ax in figure.axes
        for t in ax.findobj(Text)
        if t.get_text() and t.get_text() == ax.get_title("left")
    ]
    extents = [title.get_window_extent() for title in titles]
    for title, extent in zip(titles, extents, strict=True):
        right = [
            other.x0
            for other in extents
            if other.x0 > extent.x0 and abs(other.y0 - extent.y0) < extent.height
        ]
        room = min([*right, figure.bbox.x1]) - extent.x0 - MARGIN
        if extent.width > room > 0:
            lines = title.get_text().split("\n")
            most = max(1, int(max(map(len, lines)) * room / extent.width))
            title.set_text("\n".join(textwrap.fill(line, most) for line in lines))


def _nothing(reason: str) -> Figure:
    figure, (ax,) = panels(1, height=0.6)
    ax.set_axis_off()
    ax.text(
        0.5, 0.5, textwrap.fill(reason, 90), ha="center", va="center", color=GREY, style="italic"
    )
    return figure


def panels(
    n: int, columns: int = 2, height: float = 2.1, width: float = PAGE, layout: Any = "constrained"
) -> tuple[Figure, list[Axes]]:
    """A page of n equal panels, row by row."""
    columns = min(columns, max(n, 1))
    rows = -(-max(n, 1) // columns)
    figure = Figure(figsize=(width, height * rows), layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax in axes[n:]:
        ax.remove()
    return figure, axes[:n]


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write <stem>.svg, .pdf and .png, each whole or not at all, without dates or versions: equal
    figures, equal bytes.
    """
    empty: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    written = []
    for kind, metadata in empty.items():
        buffer = io.BytesIO()
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            figure.savefig(buffer, format=kind, metadata=metadata)
        path = stem.with_name(f"{stem.name}.{kind}")
        write_bytes(path, buffer.getvalue())
        written.append(path)
    return written


def token_axis(ax: Axes, tokens: Iterable[float]) -> Callable[[Iterable[float]], np.ndarray]:
    """Make x a logarithmic axis of training tokens on which 0 has a place of its own, left of a
    break.

    Returns the positions of tokens: log10, and for 0 a position 0.35 decades (a tenth of the axis
    at least) before the first.
    """
    every = np.unique(np.asarray(list(tokens), float))
    positive = np.log10(every[(every > 0) & np.isfinite(every)])
    if not len(positive):
        positive = np.array([0.0, 1.0])
    low, high = positive.min(), positive.max()
    zero = low - max(0.35, 0.12 * (high - low)) if (every == 0).any() else None
    left = low if zero is None else zero
    pad = 0.04 * max(high - left, 0.2)
    ax.set_xlim(left - pad, high + pad)
    decades = [
        (k, d)
        for k in range(int(np.floor(low)), int(np.ceil(high)) + 1)
        for d in ((1, 3) if high - low < 3.5 else (1,))
    ]
    ticks = [
        (k + np.log10(d), short(d * 10.0**k))
        for k, d in decades
        if low - 0.05 <= k + np.log10(d) <= high + 0.05
    ]
    if zero is not None:
        ticks.insert(0, (zero, "0"))
        middle = (zero + low) / 2
        for shift in (-0.012, 0.012):
            x = middle + shift * (high - zero)
            ax.plot(
                [x - 0.008 * (high - zero), x + 0.008 * (high - zero)],
                [-0.02, 0.02],
                transform=ax.get_xaxis_transform(),
                color="black",
                lw=0.7,
                clip_on=False,
                zorder=9,
            )
    ax.set_xticks([t for t, _ in ticks], [label for _, label in ticks])
    ax.set_xlabel("training tokens")

    def at(values: Iterable[float]) -> np.ndarray:
        values = np.asarray(list(values), float)
        with np.errstate(divide="ignore"):
            return np.where(values > 0, np.log10(values), np.nan if zero is None else zero)

    return at


SIZES = {
    "params_non_embedding": "parameters without embeddings",
    "params_total": "parameters",
    "d_model": "width (d_model)",
}


def size_axis(ax: Axes, sizes: Iterable[float], column: str) -> None:
    """Make x a logarithmic axis of model sizes with a tick at each size that does not touch its
    neighbour; none where none is known.
    """
    every = np.unique(np.asarray(list(sizes), float))
    every = every[np.isfinite(every)]
    ax.set_xlabel(SIZES.get(column, column.replace("_", " ")))
    if not len(every):
        ax.set_xticks([])
        return
    span = np.log10(every.max() / every.min()) or 1.0
    ticks = [every[0]]
    for size in every[1:]:
        if np.log10(size / ticks[-1]) > 0.09 * span:
            ticks.append(size)
    ax.set_xscale("log")
    ax.minorticks_off()
    ax.set_xticks(ticks, [short(float(f"{t:.2g}")) for t in ticks])
    ax.set_xlim(every.min() / 10 ** (0.07 * span), every.max() * 10 ** (0.07 * span))


def plain(term: str) -> str:
    """A term as a reader says it: corpus_variant[bursty - fresh] -> corpus variant: bursty − fresh."""
    text = re.sub(
        r"(\w+)\[([^]]*)\]",
        lambda m: f"{m[1].replace('_', ' ')}: {m[2].replace(' - ', ' − ')}",
        term,
    )
    return text.replace(" x ", " × ")


def short(number: float) -> str:
    """30000 -> 30k, 1e6 -> 1M: numbers on an axis."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def number(value: float) -> str:
    """Three significant digits without exponents, a true minus sign: for captions and labels."""
    if not np.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "–"
    digits = 2 if value == 0 else int(np.clip(2 - np.floor(np.log10(abs(value))), 0, 4))
    text = f"{value:.{min(digits, 3)}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def interval(row: Any) -> str:
    """0.43 [0.12, 0.74]; a limit that was cut at what is possible is marked: 0.9 [0.6, 1.0✂]
    (`cut_note` says so).
    """
    sides = str(row.get("cut") or "").split(", ")
    low, high = (number(row[c]) + ("✂" if c in sides else "") for c in ("lower", "upper"))
    return f"{number(row['estimate'])} [{low}, {high}]"


def cut_note(table: Any) -> str:
    """What the mark of `interval` means, where a row of the table has one."""
    cut = table["cut"].astype(str).str.contains("lower|upper").any() if "cut" in table else False
    return " ✂: a limit cut at what is possible for the outcome." if cut else ""


def end_labels(ax: Axes, labels: Sequence[tuple[float, float, str, str]], gap: float = 0.1) -> None:
    """Write (x, y, text, colour) beside the ends of lines, moved apart vertically by at least `gap`
    of the axis.
    """
    low, high = ax.get_ylim()
    order = sorted(range(len(labels)), key=lambda i: labels[i][1])
    heights = np.array([(labels[i][1] - low) / (high - low) for i in order])
    placed = _apart(heights, gap)
    right = ax.get_xlim()[1]
    for i, y0, y1 in zip(order, heights, placed, strict=True):
        x, _, text, colour = labels[i]
        start = ax.transData.inverted().transform(ax.transAxes.transform((1.0, y0)))
        ax.annotate(
            text,
            xy=(x, start[1]),
            xycoords="data",
            xytext=(1.04, y1),
            textcoords="axes fraction",
            color=colour,
            fontsize=6.5,
            va="center",
            ha="left",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "lw": 0.5,
                "shrinkA": 1,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            }
            if len(labels) > 1 and right
            else None,
        )


def _apart(heights: np.ndarray, gap: float) -> np.ndarray:
    """The nearest increasing positions (least squares) at least `gap` apart: isotonic regression of
    heights - rank * gap.
    """
    blocks: list[list[float]] = []  # [mean, size]
    for target in heights - gap * np.arange(len(heights)):
        blocks.append([target, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (m1, n1), (m2, n2) = blocks[-2], blocks.pop()
            blocks[-1] = [(m1 * n1 + m2 * n2) / (n1 + n2), n1 + n2]
    flat = np.concatenate([[m] * int(n) for m, n in blocks]) if blocks else np.array([])
    return flat + gap * np.arange(len(heights))
