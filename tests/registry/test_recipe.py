"""Recipes: what is refused, the learning rate, and what changes the digest."""

import subprocess
import sys

import pytest

from tests.lm.train.runs import small_run
from transect.errors import InputError
from transect.registry import recipe


def test_an_unknown_option_is_named_with_the_nearest() -> None:
    """One sentence that says run, option and guess."""
    with pytest.raises(
        InputError,
        match="Run 'small': unknown trained_here option 'optimiser'.*Did you mean 'optimizer'",
    ):
        recipe.read(small_run(recipe={"optimiser": "adamw"}))


def test_an_unknown_value_is_named_with_the_allowed() -> None:
    """The same for a value."""
    with pytest.raises(InputError, match="schedule is 'cosine'; allowed are constant, linear, wsd"):
        recipe.read(small_run(recipe={"schedule": "cosine"}))


def test_steps_must_end_at_the_last_checkpoint() -> None:
    """Otherwise the schedule would end somewhere else than the run."""
    with pytest.raises(
        InputError, match="trained_here.steps is 7, but its last checkpoint is step 6"
    ):
        recipe.read(small_run(recipe={"steps": 7}))


def test_a_run_must_have_the_factors_of_its_corpus() -> None:
    """The grammar needs a word order."""
    with pytest.raises(InputError, match="lacks the field 'word_order'"):
        recipe.recipe_digest(small_run(word_order=None))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("wsd", [0.5, 1, 1, 1, 1, 1, 1, 0.5]),
    ],
)
def test_learning_rate(schedule: str, expected: list[float]) -> None:
    """Eight steps, two of warm-up, worked out by hand: wsd falls over the last quarter."""
    chosen = recipe.Recipe("neural", steps=8, warmup_steps=2, schedule=schedule)
    assert [chosen.lr_factor(step) for step in range(8)] == pytest.approx(expected)


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"d_model": 16},
        {"corpus_variant": "fresh"},
        {"recipe": {"lr": 0.02}},
        {"steps": (0, 2, 6)},
    ],
)
def test_the_digest_changes_with_what_determines_the_weights(changed: dict) -> None:
    """Seed, size, corpus, an option, the checkpoints."""
    assert recipe.recipe_digest(small_run(**changed)) != recipe.recipe_digest(small_run())


@pytest.mark.parametrize(
    "changed", [{"licence": "MIT"}, {"held_out": True}, {"recipe": {"batched": False}}]
)
def test_the_digest_ignores_what_does_not(changed: dict) -> None:
    """A licence, a role in a study, how runs share a process."""
    assert recipe.recipe_digest(small_run(**changed)) == recipe.recipe_digest(small_run())


def test_planning_imports_no_torch() -> None:
    """The digest is needed by every plan."""
    code = "import sys; import transect.registry.recipe; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
