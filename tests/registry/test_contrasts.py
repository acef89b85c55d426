"""Named contrasts: what differs is found from the facts."""

from pathlib import Path

import pytest

from tests.kin_project import OTHER, SMALL, kin_registry
from transect.errors import InputError
from transect.registry.contrasts import contrasts


def test_runs_are_compared_where_they_agree(tmp_path: Path) -> None:
    """`by: [d_model]` compares the two corpora within each width, and nothing else differs there."""
    found = contrasts(kin_registry(tmp_path))["corpus_small"]
    assert [[r.id for r in runs] for runs in found.sets] == [
        ["small-64-pile", "small-64-web"],
        ["small-128-pile", "small-128-web"],
    ]
    assert not found.also


def test_without_by_the_size_differs_as_well(tmp_path: Path) -> None:
    """Runs of both widths in one set differ in size too, and the file does not say so."""
    found = contrasts(kin_registry(tmp_path, SMALL.replace(", by: [d_model]", "")))["corpus_small"]
    assert found.undeclared == ["size"] and found.also["size"] == ["d_model"]


def test_what_else_differs_is_named(tmp_path: Path) -> None:
    """The pair differs in vocabulary besides the architecture; `amount` is declared, but one of the
    two is unknown.
    """
    found = contrasts(kin_registry(tmp_path))["mixer_near"]
    assert found.also == {} and found.unseen == ["amount"]
    both = OTHER.replace("also: [amount]", "also: []")
    known = SMALL.replace("tied_embeddings: true,", "tied_embeddings: true, vocab_size: 256,")
    assert contrasts(kin_registry(tmp_path, known, both))["mixer_near"].undeclared == ["tokenizer"]


def test_post_training_is_compared_with_the_parent_only(tmp_path: Path) -> None:
    """A chat model is paired with the run it was trained from, not with every base model."""
    found = contrasts(kin_registry(tmp_path))["chat_small"]
    assert [[r.id for r in runs] for runs in found.sets] == [["small-128-web", "small-chat"]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ("small-64-pile, other-64]", "small-64-pille, other-64]"),
            "there is no run 'small-64-pille'. Did you mean 'small-64-pile'",
        ),
        (
            ("factor: architecture", "factor: architectur"),
            "no design factor 'architectur'.*Did you mean 'architecture'",
        ),
        (
            ("also: [amount]", "also: [amounts]"),
            "no design factor 'amounts'.*Did you mean 'amount'",
        ),
        (
            ("[[small-64-pile, other-64]]", "[[small-64-pile, small-64-web]]"),
            "no runs that are compared are known to differ in 'architecture'",
        ),
    ],
)
def test_a_fault_is_one_sentence(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    """File, contrast, what was given, the nearest guess."""
    with pytest.raises(InputError, match=told) as error:
        contrasts(kin_registry(tmp_path, other=OTHER.replace(*change)))
    assert "contrast mixer_near" in str(error.value) and "\n" not in str(error.value)
