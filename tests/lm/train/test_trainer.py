"""Training: reproducible bit by bit, also after a kill; whole checkpoints that transformers loads;
every recipe.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from tests.lm.train.runs import small_run
from transect.lm import load
from transect.lm.ngram import fit_ngram
from transect.lm.train import data, trainer
from transect.lm.train.trainer import train_run
from transect.registry import recipe
from transect.registry.run import Run

RECIPES = {
    "muon": small_run(),
    "adamw, average, bfloat16, stream": small_run(
        recipe={
            "optimizer": "adamw",
            "ema": 0.9,
            "precision": "bfloat16",
            "rows": "stream",
            "attention": "eager",
        }
    ),
    "masked": small_run(model_type="bert", objective="masked"),
    "mamba2": small_run(
        model_type="mamba2", mixer="ssd", recipe={"config": {"state_size": 4, "chunk_size": 16}}
    ),
    "lstm": small_run(model_type="lstm", mixer="recurrent", recipe={"config": {"dropout": 0.2}}),
}


class Stopped(Exception):
    """What a test throws into the middle of training."""


def digests(root: Path) -> dict[str, str]:
    return json.loads((root / "done.json").read_text())


@pytest.mark.parametrize("name", RECIPES)
def test_a_resumed_run_is_the_same_run(name: str, tmp_path: Path) -> None:
    """Stopped after the second checkpoint and started again: the digests of all checkpoints equal
    those of a run that was never stopped.
    """
    run = RECIPES[name]
    train_run(run, tmp_path / "whole")

    def stop(revision: str, folder: Path) -> None:
        if revision == "step3":
            raise Stopped

    with pytest.raises(Stopped):
        train_run(run, tmp_path / "parts", on_checkpoint=stop)
    seen: list[str] = []
    train_run(run, tmp_path / "parts", on_checkpoint=lambda revision, folder: seen.append(revision))
    assert seen == ["step6"]
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")
    assert not list((tmp_path / "parts").glob("resume*"))


def test_training_changes_the_weights(tmp_path: Path) -> None:
    """And the three checkpoints are three."""
    train_run(small_run(), tmp_path)
    assert len(set(digests(tmp_path).values())) == 3


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    """Called again it writes nothing."""
    train_run(small_run(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    train_run(small_run(), tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_another_recipe_starts_anew(tmp_path: Path) -> None:
    """Weights of another recipe in the same folder are not continued."""
    train_run(small_run(recipe={"lr": 0.02}), tmp_path / "reused")
    train_run(small_run(), tmp_path / "reused")
    train_run(small_run(), tmp_path / "new")
    assert digests(tmp_path / "reused") == digests(tmp_path / "new")


def test_seeds_differ_in_initialisation_and_order(tmp_path: Path) -> None:
    """Two seeds share neither first weights nor first batch."""
    one, two = (
        trainer.Training(run, recipe.read(run), *data.load_corpus(run))
        for run in (small_run(), small_run(seed=1))
    )
    assert not torch.equal(next(one.model.parameters()), next(two.model.parameters()))
    assert not torch.equal(one.batches(0)[0], two.batches(0)[0])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("muon", AutoModelForCausalLM),
        ("masked", AutoModelForMaskedLM),
        ("mamba2", AutoModelForCausalLM),
        ("lstm", AutoModelForCausalLM),
    ],
)
def test_transformers_loads_a_checkpoint(name: str, kind: type, tmp_path: Path) -> None:
    """A folder in hub layout: model and tokenizer load by their Auto classes, and give the
    trainer's own logits.
    """
    train_run(RECIPES[name], tmp_path)
    tokenizer, model = (
        AutoTokenizer.from_pretrained(tmp_path / "step6"),
        kind.from_pretrained(tmp_path / "step6"),
    )
    ids = tokenizer("n1s link a2 subj v3s .", return_tensors="pt")["input_ids"]
    assert tokenizer.decode(ids[0]) == "n1s link a2 subj v3s ."
    assert model(ids).logits.shape == (1, 6, len(tokenizer))
    saved = load_file(tmp_path / "step6" / "model.safetensors")
    assert all(
        torch.equal(saved[key], value) for key, value in model.state_dict().items() if key in saved
    )


def test_the_average_of_the_weights(tmp_path: Path) -> None:
    """ema: average <- d average + (1 - d) weights with d = min(cap, s / (s + 9)) after step s,
    recomputed here from the weights of each step.
    """
    run = small_run(recipe={"ema": 0.3})
    training = trainer.Training(run, recipe.read(run), *data.load_corpus(run))
    expected = next(training.model.parameters()).detach().clone()
    for step in range(6):
        training.take_step()
        decay = min(0.3, step / (step + 9))
        expected = decay * expected + (1 - decay) * next(training.model.parameters()).detach()
    assert torch.allclose(training.average[0], expected, atol=1e-6)


def test_the_loss_falls(tmp_path: Path) -> None:
    """Forty steps take a width of 16 from log2(258) = 8.0 bits to below 6.5."""
    run = small_run(steps=(0, 40), d_model=16, recipe={"steps": 40, "batch_size": 16})
    training = trainer.Training(run, recipe.read(run), *data.load_corpus(run))
    losses = [training.take_step() / 0.6931 for _ in range(40)]
    assert losses[0] == pytest.approx(8.0, abs=0.3) and losses[-1] < 6.5


def test_an_lstm_learns_more_than_frequencies(tmp_path: Path) -> None:
    """120 steps take an LSTM, loaded and scored as any model, half a nat a token below the unigram
    model of the corpus, on its last 200 documents.
    """
    run = small_run(
        steps=(120,),
        model_type="lstm",
        mixer="recurrent",
        d_model=32,
        recipe={"steps": 120, "batch_size": 16, "config": {"initializer_range": 0.15}},
    )
    train_run(run, tmp_path)
    tokenizer, documents = data.load_corpus(run)
    ids = [
        [tokenizer.bos_token_id, *document]
        for document in data.encoded(documents[-200:], tokenizer)
    ]
    model = load(tmp_path / "step120")
    unigram = fit_ngram(list(data.encoded(documents[:5000], tokenizer)), len(tokenizer), 1)
    found = np.concatenate(model.token_logprobs(ids))
    frequencies = np.log(
        np.concatenate([unigram.probabilities(np.array(document))[1:] for document in ids])
    )
    assert -np.nanmean(found) < -frequencies.mean() - 0.5


@pytest.mark.parametrize("order", [1, 2])
def test_an_ngram_model_is_one_checkpoint(order: int, tmp_path: Path) -> None:
    """Counted, not trained: config.json says its order."""
    train_run(
        small_run(
            steps=(None,),
            model_type="ngram",
            mixer="ngram",
            trained_here={"recipe": "ngram", "order": order},
        ),
        tmp_path,
    )
    assert json.loads((tmp_path / "stepNone" / "config.json").read_text())["order"] == order
    assert list(digests(tmp_path)) == ["stepNone"]


KILLED = """
import sys; from pathlib import Path
from tests.lm.train.runs import small_run
from transect.lm.train.trainer import train_run
train_run(small_run(steps=tuple(range(41)), recipe={"steps": 40}), Path(sys.argv[1]))
"""


def long_run() -> Run:
    return small_run(steps=tuple(range(41)), recipe={"steps": 40})


@pytest.mark.slow
def test_kill_minus_nine_anywhere(tmp_path: Path) -> None:
    """Killed five times at arbitrary moments of a run that saves at every step; the digests are
    those of a run left in peace.
    """
    train_run(long_run(), tmp_path / "whole")
    root = tmp_path / "killed"
    for kill in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(root)], env=os.environ | {"PYTHONPATH": os.getcwd()}
        )
        while process.poll() is None and len(list(root.glob("step*"))) < 6 * (kill + 1):
            time.sleep(0.005)
        time.sleep(0.013 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
    train_run(long_run(), root)
    assert digests(root) == digests(tmp_path / "whole")
