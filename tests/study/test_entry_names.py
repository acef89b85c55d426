"""One measure beside itself: what its entries are called, and that a name is no part of what is
measured.
"""

from typing import Any

import pytest

from tests.study.test_study_file import edit
from transect.errors import InputError
from transect.store import cell_store
from transect.store.project import SHIPPED, Project
from transect.study import study_file as studies

PAIRS = "- {measure: minimal_pair, stimuli: agreement, stimuli_options: {frames: 10}}\n"
TWICE = PAIRS.replace("frames: 10}}", "frames: 10}, options: {bos: false}}")
LINE = "{measure: minimal_pair, metric: correct, threshold: 0.9, chance: 0.5}"


def names(world: Project) -> list[str]:
    return [e.name for e in studies.load("tiny", world).entries if e.measure.name == "minimal_pair"]


def beside(
    world: Project,
    other: str = TWICE,
    line: str = LINE.replace("metric:", "entry: bos=false, metric:"),
) -> None:
    """The tiny study with minimal_pair twice, and an outcome that says which."""
    edit(world.root / "studies/tiny.yaml", PAIRS, PAIRS + other)
    edit(world.root / "studies/tiny.yaml", LINE, line)


def test_what_differs_is_the_name(world: Project) -> None:
    """A default that the other entry does not take is named too; the measure that stands alone has
    no name.
    """
    beside(world)
    assert names(world) == ["bos=auto", "bos=false"]
    assert {e.name for e in studies.load("tiny", world).entries if e.measure.name == "copying"} == {
        ""
    }


def test_options_of_the_stimuli_differ_too(world: Project) -> None:
    """The same measure on 10 and on 4 frames."""
    beside(world, PAIRS.replace("10", "4"), LINE.replace("metric:", "entry: frames=4, metric:"))
    assert names(world) == ["frames=10", "frames=4"]


def test_a_given_name_stays(world: Project) -> None:
    """Beside it the other entry is called by what differs."""
    beside(
        world,
        TWICE.replace("{measure", "{name: no opening, measure"),
        LINE.replace("metric:", "entry: no opening, metric:"),
    )
    assert names(world) == ["bos=auto", "no opening"]


def test_renaming_changes_no_key(world: Project) -> None:
    """Keys and shards are those of before, so nothing is measured again."""
    beside(world)
    before = studies.load("tiny", world)
    edit(
        world.root / "studies/tiny.yaml",
        PAIRS,
        PAIRS.replace("{measure", "{name: as it comes, measure"),
    )
    edit(world.root / "studies/tiny.yaml", TWICE, TWICE.replace("{measure", "{name: bare, measure"))
    edit(world.root / "studies/tiny.yaml", "entry: bos=false", "entry: bare")
    after = studies.load("tiny", world)
    assert [c.key for c in after.cells] == [c.key for c in before.cells]
    assert [s.target for s in after.shards] == [s.target for s in before.shards]
    assert {c.entry.name for c in after.cells} == {"as it comes", "bare", ""}


def test_entries_that_never_meet_are_one_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """The miniature's two inductions have no name; what its keys are made of, versions and recipes
    aside, is that of commit 459d2fb.
    """
    kept: list[dict[str, Any]] = []
    digest = cell_store.digest
    monkeypatch.setattr(
        cell_store,
        "digest",
        lambda v: (kept.append(v) if isinstance(v, dict) and "measure" in v else None, digest(v))[
            1
        ],
    )
    study = studies.load("miniature", Project(SHIPPED))
    assert [e.name for e in study.entries if e.measure.name == "induction"] == ["", ""]
    made = [
        part
        | {
            "checkpoint": [c.checkpoint.run.id, c.checkpoint.revision],
            "measure": part["measure"][0],
            "engine": None,
        }
        | {
            "stimuli": part["stimuli"]
            and part["stimuli"] | {"stimuli": part["stimuli"]["stimuli"][0], "corpus": None}
        }
        for part, c in zip(kept, study.cells, strict=True)
    ]
    assert digest(made) == "4ccdc947b7a02c437bc9fa0eae8a493781959ae07d92280751705ee9a91d01c7"


@pytest.mark.parametrize(
    ("other", "line", "told"),
    [
        (
            PAIRS,
            LINE,
            r"minimal_pair agreement stands twice for tiny-8-seed0 at step0 with the same options",
        ),
        (
            PAIRS.replace("10}}", "10}, options: {bos: auto}}"),
            LINE,
            "stands twice .* with the same options",
        ),
        (
            PAIRS.replace("10}}", "10}, checkpoints: last}"),
            LINE,
            "stands twice for tiny-8-seed0 at step12 with the same options",
        ),
        (
            TWICE.replace("{m", "{name: bos=auto, m"),
            LINE,
            "stands twice for .* with the name 'bos=auto'",
        ),
        (
            TWICE,
            LINE,
            r"outcome 1: minimal_pair on agreement stands 2 times .* with `entry`: 'bos=auto', 'bos=false'",
        ),
        (
            TWICE,
            LINE.replace("metric", "entry: bos=fals, metric"),
            "no entry 'bos=fals' of minimal_pair; it has bos=auto, bos=false.*Did you mean 'bos=false'",
        ),
        (
            "",
            LINE.replace("metric", "entry: x, metric"),
            "no entry 'x' of minimal_pair; it has one, without a name",
        ),
    ],
)
def test_what_cannot_be_told_apart_is_refused(
    world: Project, other: str, line: str, told: str
) -> None:
    """One sentence that names the file, the entries and how to tell them apart."""
    beside(world, other, line)
    with pytest.raises(InputError, match=told) as error:
        studies.load("tiny", world)
    assert "tiny.yaml, line" in str(error.value)
