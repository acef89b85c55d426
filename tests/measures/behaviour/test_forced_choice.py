"""Forced choice: answers planted on a server, and the same model asked directly and over the
interface.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.lm.chat_server import answering_model, serve
from tests.shelf import tiny_model
from transect.errors import InputError, NotApplicable
from transect.lm import load
from transect.lm.api import ApiModel
from transect.lm.generate.generation import answers
from transect.lm.model import Model
from transect.measures.behaviour.forced_choice import measure

ITEMS = pd.DataFrame(
    {
        "item": ["a", "b", "c"],
        "sentence_good": ["the dog runs .", "cats sleep", "a cat runs"],
        "sentence_bad": ["the dogs runs .", "cats sleeps", "a cat run"],
    }
)
GOOD = set(ITEMS["sentence_good"])


def first_is_good(prompt: str) -> bool:
    """Of the canary, which has one line, too: no."""
    return any(line.partition(") ")[2] in GOOD for line in prompt.splitlines()[1:2])


def asked(folder: Path, reply: Callable[[str], str], **options: object) -> pd.DataFrame:
    """The rows of the measure on the three items, for answers by `reply`; one column per metric."""
    with serve(reply) as chat:
        rows = measure(ApiModel(folder / "run.jsonl", chat.url, "tiny"), ITEMS, seed=1, **options)
    assert list(rows) == ["item", "metric", "value", "error"]
    return rows.pivot(index="item", columns="metric", values="value").assign(
        error=rows.groupby("item")["error"].first()
    )


@pytest.mark.parametrize(
    ("reply", "correct", "prefers_first"),
    [
        (lambda prompt: "12"[not first_is_good(prompt)], 1.0, 0.5),
        (lambda prompt: "12"[first_is_good(prompt)], 0.0, 0.5),
        (lambda prompt: "1", 0.5, 1.0),
        (lambda prompt: "2", 0.5, 0.0),
    ],
)
def test_planted_answers(
    tmp_path: Path, reply: Callable[[str], str], correct: float, prefers_first: float
) -> None:
    """Always the good one, always the bad one, always the first, always the second: by the
    definition.
    """
    found = asked(tmp_path, reply)
    assert (found["correct"] == correct).all() and (found["prefers_first"] == prefers_first).all()
    assert found["error"].isna().all()


def test_the_prompt_holds_both_sentences_in_both_orders(tmp_path: Path) -> None:
    """What is sent, word for word."""
    with serve(lambda prompt: "B") as chat:
        model = ApiModel(tmp_path / "run.jsonl", chat.url, "tiny")
        measure(model, ITEMS[1:2], seed=1, labels="AB", question="Which one?")
    sent = [request["messages"][0]["content"] for request in chat.asked[1:]]
    ending = "Answer with A or B only.\nAnswer:"
    assert sent == [
        f"Which one?\nA) cats sleep\nB) cats sleeps\n{ending}",
        f"Which one?\nA) cats sleeps\nB) cats sleep\n{ending}",
    ]


@pytest.mark.parametrize(
    "answer", ["2", " 2.", "**2**", "(2)\nBecause it agrees, unlike 1.", '"2"', "2)"]
)
def test_answers_that_are_read(tmp_path: Path, answer: str) -> None:
    """Punctuation about the label, and what stands on later lines, changes nothing."""
    assert (asked(tmp_path, lambda prompt: answer)["prefers_first"] == 0).all()


@pytest.mark.parametrize(
    "answer", ["", "1 or 2", "12", "B", "Both", "The 2nd", "3", "2 cats sleep"]
)
def test_other_answers_are_refused(tmp_path: Path, answer: str) -> None:
    """Neither label alone: rows with an error that quotes the answer, and no value; also where one
    order alone is so.
    """
    found = asked(
        tmp_path, lambda prompt: "1" if "dog" in prompt or first_is_good(prompt) else answer
    )
    assert found["correct"].isna().tolist() == [False, True, True]
    assert (
        found["error"][1:] == f"bad sentence first: the answer {answer!r} is neither 1 nor 2"
    ).all()


def test_labels_are_two(tmp_path: Path) -> None:
    """One letter, two alike, or a sign: one sentence."""
    for labels in ("A", "AA", "A)", "ABC"):
        with pytest.raises(InputError, match="are not two different letters or digits"):
            asked(tmp_path, lambda prompt: "A", labels=labels)


def test_directly_or_over_the_interface_it_is_the_same(tmp_path: Path) -> None:
    """A tiny model that answers 1 or 2: asked here and through a server that continues the prompt
    with it. The two rest on the same prompts; answers and biases of all kinds occur."""
    model: Model = load(answering_model(tmp_path))
    direct = measure(model, ITEMS, seed=1, max_new_tokens=1)
    assert direct["error"].isna().all() and set(direct["value"]) == {0.0, 0.5, 1.0}
    with serve(lambda prompt: answers(model, [prompt], max_new_tokens=1)[0].text) as chat:
        behind = measure(
            ApiModel(tmp_path / "run.jsonl", chat.url, "tiny"), ITEMS, seed=1, max_new_tokens=1
        )
    pd.testing.assert_frame_equal(direct, behind)


def test_open_models_without_an_answer(tmp_path: Path) -> None:
    """A prompt beyond the context is an error of its item; a masked model cannot be asked."""
    long = ITEMS.assign(sentence_bad=[" ".join(["dog"] * 80), "cats sleeps", "a cat run"])
    rows = measure(load(answering_model(tmp_path)), long, seed=1, max_new_tokens=1)
    assert (
        rows[rows["error"].notna()]["item"].unique().tolist() == ["a"]
        and "context" in rows["error"][0]
    )
    with pytest.raises(NotApplicable):
        measure(load(tiny_model(tmp_path, "bert")), ITEMS, seed=1)
