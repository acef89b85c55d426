"""Which parts of the engine a measure rests on, and the keys that follow from them."""

from pathlib import Path
from typing import Any

import pytest

from transect.errors import InputError
from transect.store import units
from transect.store.project import SHIPPED, Project
from transect.study import engine_parts
from transect.study import study_file as studies

# of a network: what loads and runs it, and what makes tokens of a text
NETWORK = "batching control forward loading network opening packing scoring tokenizer tries"
ANATOMY = "anatomy attention identities residual tracing"
# of a table of counts
COUNTS = "control ngram opening scoring tokenizer"
OF_NETWORKS = {
    "activation_patching": f"{NETWORK} {ANATOMY} activations edits interventions reuse rounding tail",
    "bits_per_byte": NETWORK,
    "copying": f"{NETWORK} repeats",
    "fertility": NETWORK,
    "forced_choice": f"{NETWORK} decoding generation sampling",
    "induction": f"{NETWORK} {ANATOMY} repeats",
    "minimal_pair": f"{NETWORK} rounding",
    "previous_token": f"{NETWORK} {ANATOMY} repeats",
    "surprisal": f"{NETWORK} words",
}
OF_COUNTS = {
    "bits_per_byte": COUNTS,
    "copying": f"{COUNTS} repeats",
    "fertility": COUNTS,
    "forced_choice": f"{COUNTS} decoding generation sampling",
    "minimal_pair": f"{COUNTS} rounding",
    "surprisal": f"{COUNTS} words",
}
# the first digits of each measure's key for one checkpoint of the small world: cells that were
# measured before are found again as long as these stay
KEYS = {
    "activation_patching": "3baf632b1286dc2f",
    "bits_per_byte": "50ca7465712b8ad4",
    "copying": "86f6b310922dc146",
    "fertility": "9c7d7d0f60de9072",
    "forced_choice": "57c838a31566c446",
    "induction": "252b4012e5deb2c7",
    "minimal_pair": "66992c14f0c2c93a",
    "previous_token": "6709e879a4581b10",
    "surprisal": "420085d8accc75b0",
}
STUDY = """\
study: golden
title: Golden
question: Golden?
population: {where: "model_type == 'gpt_neox'", checkpoints: last}
seed: 1
measures:
- {measure: activation_patching, stimuli: swaps, options: {component: head}}
- {measure: bits_per_byte, stimuli: grammar_heldout}
- {measure: copying, options: {n: 8, tokens: "^[bdfgklmn][aeiou]$", conditions: [{length: 8}]}}
- {measure: fertility, stimuli: grammar_heldout}
- {measure: forced_choice, stimuli: agreement}
- {measure: induction, options: {n: 8, tokens: "^[bdfgklmn][aeiou]$", conditions: [{length: 8}]}}
- {measure: minimal_pair, stimuli: agreement}
- {measure: previous_token, options: {n: 8, tokens: "^[bdfgklmn][aeiou]$", conditions: [{length: 8}]}}
- {measure: surprisal, stimuli: grammar_heldout}
analyses:
- {analysis: population, title: Sample, factors: [d_model]}
"""
SWAPS = '''"""Own."""
VERSION = 1
COLUMNS = {"item": "", "clean": "", "corrupted": "", "answer": "", "foil": ""}


def items(*, seed):
    return None
'''


def parts(measure: str, **facts: Any) -> dict[str, int]:
    unit = units.find("measure", measure, Project(SHIPPED))
    return engine_parts.versions(unit, {"mixer": "attention", "model_type": "llama"} | facts)  # type: ignore[arg-type]


def test_every_shipped_measure_is_listed_here() -> None:
    """A new measure states which parts it rests on."""
    assert set(OF_NETWORKS) == set(units.available("measure", Project(SHIPPED)))


@pytest.mark.parametrize("measure", OF_NETWORKS)
def test_the_parts_of_a_network(measure: str) -> None:
    """As they were listed by hand before they followed from imports: no more, so that a change to
    patching measures no surprisal again, and no fewer.
    """
    assert set(parts(measure)) == set(OF_NETWORKS[measure].split())


@pytest.mark.parametrize("measure", OF_COUNTS)
def test_the_parts_of_a_table_of_counts(measure: str) -> None:
    """No batches and no forward: these change no n-gram model's values."""
    assert set(parts(measure, mixer="ngram")) == set(OF_COUNTS[measure].split())


def test_the_one_architecture_that_is_written_here_is_a_part() -> None:
    """Of runs of that architecture only."""
    assert set(parts("surprisal", model_type="lstm")) - set(parts("surprisal")) == {"lstm"}


def test_a_model_behind_an_interface_rests_on_what_asks_it() -> None:
    """What it says is computed elsewhere."""
    assert set(parts("forced_choice", endpoint="https://localhost/v1")) == {"api"}


def test_the_versions_are_those_of_the_files() -> None:
    """Each part's VERSION, under its own name, wherever its file lies."""
    declared = {name: units.literals(path) for name, path in engine_parts.by_name().items()}
    found = parts("activation_patching")
    assert found == {name: declared[name]["VERSION"] for name in found}


def test_a_key_holds_what_it_held(world: Project) -> None:
    """The keys of a checkpoint's cells, one per shipped measure, are those of stores that exist."""
    (world.root / "studies/golden.yaml").write_text(STUDY)
    (world.root / "stimuli").mkdir(exist_ok=True)
    (world.root / "stimuli/swaps.py").write_text(SWAPS)
    cells = studies.load("golden", world).shards[0].cells
    assert {cell.entry.measure.name: cell.key[:16] for cell in cells} == KEYS


def own(world: Project, line: str) -> units.Unit:
    (world.root / "measures").mkdir(exist_ok=True)
    path = world.root / "measures/own.py"
    path.write_text(
        f'"""Own."""\n{line}\nVERSION = 1\nUNIT = {{"n": "items"}}\nREQUIRES = ["logits"]\nSTIMULI: list[str] = []\n'
    )
    return units.find("measure", "own", world)


@pytest.mark.parametrize(
    "line",
    [
        "from transect.lm.text.words import spans",
        "import transect.lm.text.words",
        "from transect.lm.text import words",
        "def later():\n    from transect.lm.text.words import spans",
    ],
)
def test_an_import_counts_however_it_is_written(line: str, world: Project) -> None:
    """All forms of an import lead to the same file."""
    run = {"mixer": "attention", "model_type": "llama"}
    assert set(engine_parts.versions(own(world, line), run)) == {*NETWORK.split(), "words"}  # type: ignore[arg-type]


def test_a_helper_of_the_project_hands_its_imports_on(world: Project) -> None:
    """A measure rests on what a file beside it imports."""
    unit = own(world, "import lexicon")
    (world.root / "measures/lexicon.py").write_text("from transect.lm.text.words import spans\n")
    run = {"mixer": "attention", "model_type": "llama"}
    assert "words" in engine_parts.versions(unit, run)  # type: ignore[arg-type]


def test_an_import_that_leads_to_no_file_is_an_error(world: Project) -> None:
    """Its VERSION would silently be in no key."""
    unit = own(world, "from transect.lm.wrods import spans")
    with pytest.raises(InputError, match=r"own.py, line 2: there is no module transect.lm.wrods"):
        engine_parts.versions(unit, {"mixer": "attention", "model_type": "llama"})  # type: ignore[arg-type]


def test_every_versioned_file_has_a_name_of_its_own() -> None:
    """As many names as files with a VERSION below transect/lm."""
    files = [p for p in engine_parts.ENGINE.rglob("*.py") if "VERSION" in units.literals(p)]
    assert sorted(engine_parts.by_name().values()) == sorted(files)


def test_a_file_without_a_name_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its VERSION would be in no key."""
    (tmp_path / "new.py").write_text("VERSION = 1\n")
    monkeypatch.setattr(engine_parts, "ENGINE", tmp_path)
    with pytest.raises(InputError, match="new.py: .* needs an ENGINE_PART"):
        engine_parts.by_name()
