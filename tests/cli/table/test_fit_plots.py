"""Figures of a fitted table: they show the numbers of the fit, and are written where they were
asked for.
"""

from pathlib import Path

import numpy as np
import pytest

from tests.stats.crossed_data import cbpp, sleepstudy
from transect.cli.main import main
from transect.cli.table.fit_plots import (
    effects_figure,
    random_effects_figure,
    residual_figure,
    write_plots,
)
from transect.errors import InputError
from transect.stats.mixed.random_effects import conditional_modes
from transect.stats.table.table_model import TableModel, fit_table


@pytest.fixture(scope="module")
def model() -> TableModel:
    return fit_table(sleepstudy(), "reaction ~ days + (days | subject)")


def test_residuals_are_those_of_the_fit(model: TableModel) -> None:
    """180 points from -3.954 to 5.179 residual standard deviations (lme4), in order against normal
    quantiles.
    """
    left, right = residual_figure(model).axes
    assert len(left.lines[0].get_ydata()) == 180
    quantiles = np.asarray(right.lines[1].get_ydata())
    assert (quantiles[0], quantiles[-1]) == pytest.approx((-3.954, 5.179), abs=1e-3) and (
        np.diff(quantiles) >= 0
    ).all()


def test_effects_are_per_standard_deviation_of_their_column(model: TableModel) -> None:
    """10.467 ms per day over days of SD 2.872, with the interval."""
    (ax,) = effects_figure(model).axes
    assert np.asarray(ax.lines[0].get_xdata())[0] == pytest.approx(
        10.4673 * np.arange(10).std(), rel=1e-4
    )


def test_random_effects_stand_in_order(model: TableModel) -> None:
    """A panel per effect, 18 subjects from the lowest to the highest mode."""
    axes = random_effects_figure(conditional_modes(model.mixed)).axes
    assert [ax.get_title(loc="left") for ax in axes] == [
        "(Intercept) by subject (18 levels)",
        "days by subject (18 levels)",
    ]
    assert (np.diff(np.asarray(axes[0].lines[0].get_xdata())) >= 0).all()


def test_a_binomial_fit_has_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line: each as SVG, PDF and PNG, and the places are printed."""
    cbpp().to_csv(tmp_path / "t.csv", index=False)
    call = ["cbind(incidence, healthy) ~ factor(period) + (1 | herd)", "--family", "binomial"]
    assert main(["fit", str(tmp_path / "t.csv"), *call, "--plots", str(tmp_path / "p")]) == 0
    names = {
        f"{name}.{form}"
        for name in ("residuals", "effects", "random_effects")
        for form in ("svg", "pdf", "png")
    }
    assert {path.name for path in (tmp_path / "p").iterdir()} == names
    assert "Figures: " in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_told(model: TableModel, tmp_path: Path) -> None:
    """A file in its place: one sentence."""
    (tmp_path / "p").write_text("")
    with pytest.raises(InputError, match="--plots .* cannot be written"):
        write_plots(model, tmp_path / "p")
