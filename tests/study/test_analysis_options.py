"""Options of analyses, refused when the study is planned."""

import subprocess
import sys
from pathlib import Path

import pytest

from transect.errors import InputError
from transect.store.project import Project
from transect.study import study_file as studies

LINE = "{measure: minimal_pair, metric: correct, threshold: 0.9, chance: 0.5}"


def written(world: Project, outcome: str, analysis: str = "emergence") -> str:
    """The tiny study with another outcome of another analysis."""
    path: Path = world.root / "studies/tiny.yaml"
    text = path.read_text()
    assert LINE in text
    path.write_text(
        text.replace(LINE, outcome).replace("analysis: emergence", f"analysis: {analysis}")
    )
    return "tiny"


@pytest.mark.parametrize(
    ("outcome", "analysis", "told"),
    [
        (
            "{measure: minimal_pair, metric: correct, treshold: 0.9}",
            "emergence",
            "outcome 1: unknown option 'treshold'.*Did you mean 'threshold'",
        ),
        ("{measure: minimal_pair, metric: correct}", "emergence", "option 'threshold' is missing"),
        (
            "{measure: minimal_pair, metric: corect, threshold: 0.9}",
            "emergence",
            "no metric 'corect'.*Did you mean 'correct'",
        ),
        (
            "{measure: minimal_pair, metric: correct, where: {architekture: x}, threshold: 0.9}",
            "emergence",
            "where: .*'architekture'.*Did you mean 'architecture'",
        ),
        (
            "{measure: minimal_pair, metric: correct, factors: [log2(d_modell)]}",
            "attribution",
            "factors: .*column 'd_modell'.*Did you mean 'd_model'",
        ),
        (
            "{measure: minimal_pair, metric: correct, factors: [lg(d_model)]}",
            "attribution",
            "unknown function 'lg'",
        ),
        (
            "{measure: minimal_pair, metric: correct, by: [langage]}",
            "size_trend",
            "by: .*'langage'.*Did you mean 'language'",
        ),
        (
            "{measure: minimal_pair, metric: correct, size: params}",
            "transfer",
            "size: .*column 'params'",
        ),
        (
            "{measure: minimal_pair, metric: correct, reduce: max}",
            "size_trend",
            "unknown reduce 'max'",
        ),
    ],
)
def test_what_an_analysis_does_not_know_is_told_when_planning(
    world: Project, outcome: str, analysis: str, told: str
) -> None:
    """One sentence with the file, the line and the nearest guess."""
    with pytest.raises(InputError, match=told) as error:
        studies.load(written(world, outcome, analysis), world)
    assert "tiny.yaml, line 1" in str(error.value)


def test_an_option_of_the_whole_analysis_too(world: Project) -> None:
    """`refrence` of attribution."""
    outcome = "{measure: minimal_pair, metric: correct, factors: [architecture]}\n  refrence: {architecture: x}"
    with pytest.raises(InputError, match="unknown option 'refrence'.*Did you mean 'reference'"):
        studies.load(written(world, outcome, "attribution"), world)


def test_conditions_of_items_are_known_later(world: Project) -> None:
    """item_* columns are made with the items, so a plan cannot know them."""
    outcome = "{measure: minimal_pair, metric: correct, items: true, factors: [item_condition]}"
    studies.load(written(world, outcome, "attribution"), world)


def test_no_torch_is_imported() -> None:
    """Planning stays light."""
    code = "import sys, transect.study.analysis_options, transect.study.study_file; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
