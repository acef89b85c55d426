"""The look of figures, and that equal figures are equal bytes."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transect.report import style


@style.styled
def _drawn() -> Figure:
    figure, (ax,) = style.panels(1, width=style.COLUMN)
    at = style.token_axis(ax, [0, 1e5, 1e6])
    ax.plot(at([0, 1e5, 1e6]), [0, 1, 2])
    ax.fill_between(at([1e5, 1e6]), [0, 1], [2, 3], alpha=0.2)
    style.end_labels(ax, [(6.0, 2.0, "one", "black"), (6.0, 2.0, "two", "black")])
    return figure


def test_drawn_twice_the_bytes_are_the_same(tmp_path: Path) -> None:
    """SVG, PDF and PNG of two drawings, and of one figure saved twice."""
    first, second = (
        style.save(_drawn(), tmp_path / "a" / "x"),
        style.save(_drawn(), tmp_path / "b" / "x"),
    )
    assert [p.name for p in first] == ["x.svg", "x.pdf", "x.png"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.suffix


def test_no_date_and_no_version_is_written(tmp_path: Path) -> None:
    """A later matplotlib, another day: the files say neither."""
    import matplotlib

    for path in style.save(_drawn(), tmp_path / "x"):
        content = path.read_bytes()
        assert b"CreationDate" not in content and b"dc:date" not in content, path.suffix
        assert f"Matplotlib v{matplotlib.__version__}".encode() not in content, path.suffix


def test_a_reader_s_own_settings_do_not_matter(tmp_path: Path) -> None:
    """rcParams of the process change nothing and are left as they were."""
    import matplotlib

    plain = style.save(_drawn(), tmp_path / "a")[0].read_bytes()
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True, "svg.hashsalt": "other"}):
        assert style.save(_drawn(), tmp_path / "b")[0].read_bytes() == plain
        assert matplotlib.rcParams["font.size"] == 20


def test_a_level_looks_the_same_beside_other_levels() -> None:
    """The levels of the shipped studies have a fixed place; no two levels of a figure share colour
    and marker.
    """
    assert (
        style.looks(["mamba2", "gpt_neox parallel"])["mamba2"]
        == style.looks(["mamba2", "bert", "other"])["mamba2"]
    )
    looks = style.looks(["mamba2", "a", "b", "bert", "c"])
    assert len({(k.colour, k.marker) for k in looks.values()}) == 5


def test_step_zero_has_a_place_on_the_logarithmic_axis() -> None:
    """0 tokens stand left of the first checkpoint, the others at log10."""
    ax = Figure().subplots()
    assert isinstance(ax, Axes)
    at = style.token_axis(ax, [0, 1e5, 1e6])
    positions = at([0, 1e5, 1e6])
    assert positions[0] < 5 and positions[1:].tolist() == [5, 6]
    assert ax.get_xticklabels()[0].get_text() == "0"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.4321, "0.432"),
        (-0.0004, "0.000"),
        (12.34, "12.3"),
        (1234.5, "1234"),
        (-0.5, "−0.500"),
        (np.inf, "∞"),
        (np.nan, "–"),
    ],
)
def test_numbers_in_captions(value: float, text: str) -> None:
    """Three significant digits, a true minus, no minus zero."""
    assert style.number(value) == text


def test_labels_are_moved_apart() -> None:
    """Three labels at one height end up a gap apart, around that height."""
    placed = style._apart(np.array([0.5, 0.5, 0.5]), 0.1)
    assert placed == pytest.approx([0.4, 0.5, 0.6])


def test_a_long_title_stays_on_the_page_and_off_its_neighbour() -> None:
    """It is broken where it would run out of the page or into the next panel's title; a short one
    stays as it is.
    """

    @style.styled
    def drawn() -> Figure:
        figure, axes = style.panels(2, columns=2, height=1.05)
        for ax in axes:
            ax.set_title(
                "a title that is much longer than half of a page is wide, whatever its panel"
            )
        axes[0].set_yticks([0, 1], ["short", "a label that moves the panel to the right"])
        return figure

    figure = drawn()
    figure.draw_without_rendering()
    left, right = (
        ax.findobj(lambda t: getattr(t, "get_text", str)().startswith("a title"))[0]
        for ax in figure.axes
    )
    assert left.get_window_extent().x1 < right.get_window_extent().x0
    assert right.get_window_extent().x1 <= figure.bbox.x1 and "\n" in right.get_text()
