"""A study file -> cells, keys, shards."""

from pathlib import Path

import pytest

from transect.errors import InputError
from transect.store.project import SHIPPED, Project
from transect.study import engine_parts
from transect.study import study_file as studies
from transect.study.grid import choose


def keys(project: Project) -> dict[tuple[str, str, str], str]:
    cells = studies.load("tiny", project).cells
    return {
        (c.checkpoint.run.id, c.checkpoint.revision, c.entry.measure.name): c.key for c in cells
    }


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def own_measure(project: Project, name: str = "copying") -> Path:
    """The shipped measure as the user's own, so that it can be edited."""
    path = project.root / "measures" / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text((SHIPPED / "src/transect/measures/behaviour" / f"{name}.py").read_text())
    return path


def test_grid_is_the_product(world: Project) -> None:
    """Four runs of three checkpoints and one baseline, two measures."""
    assert len(studies.load("tiny", world).cells) == 4 * 3 * 2 + 1 * 2


def test_comment_changes_no_key(world: Project) -> None:
    """An edit that leaves VERSION alone makes nothing stale."""
    path, before = own_measure(world), keys(world)
    path.write_text(path.read_text() + "\n# a comment\n")
    assert keys(world) == before


def test_version_changes_the_keys_of_its_measure_only(world: Project) -> None:
    """A raised VERSION makes the cells of that measure stale, and no others."""
    path, before = own_measure(world), keys(world)
    edit(path, "VERSION = 1", "VERSION = 2")
    changed = {k[2] for k, v in keys(world).items() if v != before[k]}
    unchanged = {k[2] for k, v in keys(world).items() if v == before[k]}
    assert (changed, unchanged) == ({"copying"}, {"minimal_pair"})


def test_option_and_seed_are_part_of_the_key(world: Project) -> None:
    """Another option changes its measure's keys, another seed all."""
    before = keys(world)
    edit(world.root / "studies/tiny.yaml", "n: 8", "n: 9")
    assert {k[2] for k, v in keys(world).items() if v != before[k]} == {"copying"}
    edit(world.root / "studies/tiny.yaml", "seed: 1", "seed: 2")
    assert not set(keys(world).values()) & set(before.values())


def test_added_run_moves_no_other_shard(world: Project) -> None:
    """A run at the end of the suite file changes the shard that it joins and no other."""
    before = {s.target for s in studies.load("tiny", world).shards}
    with (world.root / "model_registry/tiny.yaml").open("a") as file:
        file.write(NEW_RUN)
    after = {s.target for s in studies.load("tiny", world).shards}
    assert len(before - after) == 1 and len(after - before) == 1


NEW_RUN = """- id: tiny-new
  d_model: 8
  seed: 2
  model_type: gpt_neox
  mixer: attention
  architecture: gpt_neox parallel
  parallel_residual: true
  corpus_variant: fresh
  checkpoints: trained
  trained_here: {recipe: neural, steps: 12, batch_size: 8, context_length: 64, lr: 0.01}
"""


@pytest.mark.parametrize(
    ("which", "steps"),
    [
        ("all", [0, 6, 12]),
        ("last", [12]),
        ("first", [0]),
        ("all but last", [0, 6]),
        ({"spaced": 2}, [0, 12]),
        ({"steps": [6]}, [6]),
    ],
)
def test_checkpoints_are_chosen(world: Project, which: object, steps: list[int]) -> None:
    """Each way to name checkpoints gives those steps."""
    run = studies.load("tiny", world).registry.runs["tiny-8-seed0"]
    assert [c.step for c in choose(run, which, world.root)] == steps


def test_spaced_checkpoints_are_log_spaced() -> None:
    """Of Pythia's checkpoints twelve are taken, first and last among them, none twice."""
    run = studies.registry.load(Project(SHIPPED)).runs["pythia-70m"]
    steps = [c.step or 0 for c in choose(run, {"spaced": 12}, Path("x"))]
    assert len(set(steps)) == 12 and steps[0] == 0 and steps[-1] == 143000


def test_not_applicable_is_decided_when_planning(world: Project) -> None:
    """A head measure on an n-gram model is not applicable, with the reason, and needs no load."""
    edit(world.root / "studies/tiny.yaml", "- {measure: copying", "- {measure: induction")
    cells = [
        c
        for c in studies.load("tiny", world).cells
        if c.checkpoint.run.id == "tiny-bigram" and c.entry.measure.name == "induction"
    ]
    assert len(cells) == 1 and "needs attention" in cells[0].reason


def test_a_model_behind_an_interface_is_marked(world: Project) -> None:
    """Nothing can be read of it: its cells are not applicable, with the reason, and never a hole."""
    suite = world.root / "model_registry" / "tiny.yaml"
    entry = "- {id: %s, model_type: unknown, mixer: attention, architecture: unknown, checkpoints: counted, access: api}\n"
    suite.write_text(suite.read_text() + entry % "behind-a" + entry % "behind-b")
    cells = [
        c for c in studies.load("tiny", world).cells if c.checkpoint.run.id.startswith("behind")
    ]
    assert len(cells) == 4 == len({c.key for c in cells})
    assert all("offers text only, through an interface (access: api)" in c.reason for c in cells)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ("measure: copying", "measure: copyng"),
            "line 9: measures: unknown measure 'copyng'; there are: .*Did you mean 'copying'",
        ),
        (
            ("stimuli: agreement", "stimuli: grammar_heldout"),
            "reads the column 'sentence_good', which the stimuli grammar_heldout lack",
        ),
        (
            ("stimuli: agreement, ", ""),
            "minimal_pair needs stimuli with the columns sentence_good, sentence_bad",
        ),
        (
            ("'tiny' and mixer == 'attention'", "'tiny' and mixer == 'ssd'"),
            "line 4: the population is empty: no run of the registry satisfies",
        ),
        (
            ("'tiny' and mixer == 'attention'", "'tinny'"),
            "line 4: population.where: no run has suite 'tinny'.*Did you mean 'tiny'",
        ),
        (
            ("{measure: minimal_pair, metric", "{measure: induction, metric"),
            "needs the measure 'induction', which .* it takes copying, minimal_pair",
        ),
        (("n: 8", "m: 8"), "copying has no option 'm'; it has conditions, n, tokens, bos"),
        (
            ("frames: 10", "frame: 10"),
            "agreement has no option 'frame'; it has frames.*Did you mean 'frames'",
        ),
        (("seed: 1", "seed: one"), "line 6: seed is 'one'; it must be of type integer"),
        (
            ("analysis: emergence", "analysis: emergense"),
            "unknown analysis 'emergense'.*Did you mean 'emergence'",
        ),
        (("question:", "kwestion:"), "lacks question|unknown field 'kwestion'"),
    ],
)
def test_bad_study_is_one_sentence(world: Project, change: tuple[str, str], told: str) -> None:
    """The sentence names the file, the field and what is allowed."""
    edit(world.root / "studies/tiny.yaml", *change)
    with pytest.raises(InputError, match=told) as error:
        studies.load("tiny", world)
    assert "tiny.yaml" in str(error.value) and "\n" not in str(error.value)


def test_unknown_study_offers_the_nearest(world: Project) -> None:
    """A misspelt study is answered with what there is."""
    with pytest.raises(InputError, match="There is no study 'tyni'; there are: .*tiny"):
        studies.load("tyni", world)


IMPORTING = '''"""Own."""
from transect.lm.text.words import spans
VERSION = 1
UNIT = {"n": "items"}
REQUIRES = ["logits", "hiden"]
STIMULI: list[str] = []


def measure(model, items, *, seed):
    return None
'''


def added_measure(world: Project, requires: str) -> None:
    (world.root / "measures").mkdir()
    (world.root / "measures/own.py").write_text(IMPORTING.replace("hiden", requires))
    edit(world.root / "studies/tiny.yaml", "analyses:", "- {measure: own}\nanalyses:")


def test_a_misspelt_requirement_is_an_error_when_planning(world: Project) -> None:
    """It would make every cell not applicable, without a word: it is told with the nearest
    capability instead.
    """
    added_measure(world, "hiden")
    with pytest.raises(
        InputError,
        match=r"own.py requires 'hiden' of a model \(REQUIRES\); there are: logits, .*Did you mean 'hidden'",
    ):
        studies.load("tiny", world)


def test_a_key_rests_on_what_the_measure_imports(world: Project) -> None:
    """The VERSION of an engine file that a measure imports is part of its key, besides those that
    it requires.
    """
    added_measure(world, "hidden")
    cell = next(c for c in studies.load("tiny", world).cells if c.entry.measure.name == "own")
    parts = engine_parts.versions(cell.entry.measure, cell.checkpoint.run)
    assert {"loading", "network", "batching", "scoring", "words"} <= set(parts)
    other = next(
        c for c in studies.load("tiny", world).cells if c.entry.measure.name == "minimal_pair"
    )
    assert "words" not in engine_parts.versions(other.entry.measure, other.checkpoint.run)


def test_a_key_rests_on_all_that_finds_the_parts(world: Project) -> None:
    """The tokenizer for every model; what is looked at in a network, for measures that look."""
    added_measure(world, "hidden")
    cells = {c.entry.measure.name: c for c in studies.load("tiny", world).cells}
    parts = {
        name: set(engine_parts.versions(c.entry.measure, c.checkpoint.run))
        for name, c in cells.items()
    }
    assert all("tokenizer" in found for found in parts.values())
    assert {"anatomy", "identities", "residual", "tracing"} <= parts["own"] - parts["minimal_pair"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "threshold: 0.9",
            "where: {word_order: SOV}, threshold: 0.9",
            "no run of the study has word_order 'SOV'; there are 'SVO'",
        ),
        (
            "threshold: 0.9",
            "stimuli: agreemnt, threshold: 0.9",
            "takes it on agreement. Did you mean 'agreement'",
        ),
        (
            "seed: 1",
            "seed: 1\ndesign: {where: \"mixer == 'atention'\", terms: [d_model]}",
            "design.where: .*Did you mean 'attention'",
        ),
        (
            "mixer == 'attention'",
            "run in ['tiny-8-seed0', 'tiny-8-sed1']",
            "population.where: there is no run 'tiny-8-sed1'",
        ),
    ],
)
def test_what_no_run_has_is_told_before_anything_runs(
    world: Project, old: str, new: str, told: str
) -> None:
    """A misspelt level, run or stimulus set would silently give a smaller study."""
    edit(world.root / "studies/tiny.yaml", old, new)
    with pytest.raises(InputError, match=told):
        studies.load("tiny", world)


@pytest.mark.parametrize("name", ["store", "con", "abc\n", "x" * 101])
def test_the_name_of_a_study_is_a_folder_of_its_own(world: Project, name: str) -> None:
    """Neither a device, nor with a last newline, nor the folder of the cells: results of a study
    are made anew.
    """
    text = (world.root / "studies/tiny.yaml").read_text()
    path = world.root / "studies" / f"{name}.yaml"
    path.write_text(text.replace("study: tiny", f"study: {name!r}".replace("'", '"')))
    with pytest.raises(InputError, match="study"):
        studies.load(str(path), Project(world.root))


def test_a_name_of_an_entry_is_one_line(world: Project) -> None:
    """A last newline is no part of what reports and outcomes call an entry."""
    edit(
        world.root / "studies/tiny.yaml",
        "measures:\n",
        'measures:\n- {measure: copying, name: "abc\\n"}\n',
    )
    with pytest.raises(InputError, match=r"name is 'abc\\n'; it must be 1 to 60 characters"):
        studies.load("tiny", world)
