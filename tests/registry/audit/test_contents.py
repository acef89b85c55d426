"""Sizes, shards, configurations and tokenizers against each other and the entry."""

from pathlib import Path

import pytest

from tests.registry.audit.listings import CONFIG, PARAMS, audited, listing, project, steps, tree
from transect.lm.checkpoint.counting import facts
from transect.registry.audit import Holding, audit
from transect.registry.audit.holding import configured
from transect.registry.audit.listing import parse
from transect.registry.suite_file import reading
from transect.store.project import Project


@pytest.fixture
def lab(tmp_path: Path) -> Project:
    return project(tmp_path, "- {id: m, hub_id: lab/m}")


def test_another_size_at_some_steps(lab: Project) -> None:
    """Two steps in float32 among 152 in float16."""
    trees = listing(steps()) | {s: tree(s, size=4 * PARAMS + 4000) for s in ("step4", "step9000")}
    [found] = audited(lab, {"lab/m": trees})
    assert (found.kind, found.revisions) == ("sizes differ", ("step4", "step9000"))
    assert (found.found, found.expected) == ("455.58 kB", "229.79 kB, as at 152 others")


@pytest.mark.parametrize(
    ("bytes_per_weight", "contradicts"),
    [(2, False), (4, False), (1, False), (3, True), (1.5, True), (8, True)],
)
def test_bytes_that_are_no_number_of_the_entrys_weights(
    lab: Project, bytes_per_weight: float, contradicts: bool
) -> None:
    """Weights of 1, 2 and 4 bytes fit the entry's params_total; those of half as many more weights
    do not.
    """
    found = audited(lab, {"lab/m": listing(steps(), size=int(bytes_per_weight * PARAMS))})
    assert [f.kind for f in found] == ["size contradicts the entry"] * contradicts


def test_causal_masks_that_were_saved_are_no_contradiction(tmp_path: Path) -> None:
    """GPT-2 124M: 548,105,171 bytes hold 124,439,808 weights in float32 and 12 masks of 1024 x 1024
    (hub: openai-community/gpt2).
    """
    facts = "checkpoints: main, n_layers: 12, d_model: 768, vocab_size: 50257, context_length: 1024, params_total: 124439808"
    where = project(tmp_path, f"- {{id: m, hub_id: lab/m, {facts}}}")
    assert audited(where, {"lab/m": {"main": tree("w", size=548_105_171)}}) == []


def test_another_number_of_shards(lab: Project) -> None:
    """One step in two files among 153 in one."""
    trees = listing(steps()) | {"step7000": tree("step7000", shards=2)}
    [found] = audited(lab, {"lab/m": trees})
    assert (found.kind, found.revisions, found.found) == (
        "number of shards differs",
        ("step7000",),
        "2 files",
    )


def test_a_configuration_that_changed(lab: Project) -> None:
    """What differs is told; what only says which program wrote the file is no change."""
    rewritten = CONFIG | {"transformers_version": "5.0", "use_cache": False}
    trees = listing(steps()) | {"step8": tree("step8", config=rewritten)}
    trees["step16"] = tree("step16", config=CONFIG | {"rotary_pct": 0.5})
    [found] = audited(lab, {"lab/m": trees})
    assert (found.kind, found.revisions, found.found) == (
        "configuration changed",
        ("step16",),
        "rotary_pct 0.5 (others: None)",
    )


def test_a_configuration_known_by_its_hash_only(lab: Project) -> None:
    """Where the listing does not say what stands in it, another hash is told as such."""
    trees = listing(steps())
    trees["step16"] = tree("step16", config=CONFIG | {"rotary_pct": 0.5})
    for entries in trees.values():
        for entry in entries:
            entry.pop("content", None)
    [found] = audited(lab, {"lab/m": trees})
    assert (found.revisions, found.found.split(" (")[0]) == (("step16",), "another content")


def test_a_configuration_that_contradicts_the_entry(lab: Project) -> None:
    """The fields that differ, as the registry calls them, with both values; model_type and tying
    among them.
    """
    [run] = reading.read(lab.root / "model_registry/lab.yaml").runs
    wrong = CONFIG | {"num_hidden_layers": 3, "tie_word_embeddings": True}
    held = parse({"lab/m": listing(steps(), config=wrong)}, "here")
    found = audit(
        [Holding(run, held["lab/m"], "here", configured=configured(held.values(), facts))]
    )
    told = [(f.kind, f.found, f.expected) for f in found]
    assert told == [
        (
            "configuration contradicts the entry",
            "n_layers 3, tied_embeddings True",
            "the entry: n_layers 2, tied_embeddings False",
        )
    ]


def test_a_tokenizer_that_changed(lab: Project) -> None:
    """Steps whose tokenizer is another one, in one finding with the files."""
    trees = listing(steps()) | {s: tree(s, tokenizer="other") for s in ("step0", "step1")}
    [found] = audited(lab, {"lab/m": trees})
    assert (found.kind, found.revisions, found.files) == (
        "tokenizer changed",
        ("step0", "step1"),
        ("tokenizer.json",),
    )
    assert (found.found, found.expected) == ("tokenizer.json changed", "as at 152 others")


def test_no_tokenizer(lab: Project) -> None:
    """Revisions without any file of a tokenizer."""
    trees = listing(steps()) | {"step64": tree("step64", tokenizer=None)}
    [found] = audited(lab, {"lab/m": trees})
    assert (found.kind, found.revisions) == ("no tokenizer", ("step64",))


def test_main_is_not_compared_where_it_is_no_checkpoint(lab: Project) -> None:
    """`main` often holds further files; they are no change of the run's."""
    trees = {
        "lab/m": listing(steps())
        | {"main": tree("step143000", tokenizer="newer", shards=1, config={"a": 1})}
    }
    assert audited(lab, trees) == []
