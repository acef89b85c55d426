"""Train one run of the registry, with all its checkpoints.

The same recipe on the same machine and number of threads gives the same weights, bit by bit, also
after a kill: initialisation follows from the seed, each batch and its dropout from (seed, step),
the learning rate from the step, and the rest of the state is written with each checkpoint.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from transect.lm.train import architectures, data, ngram, saving
from transect.lm.train.data import IGNORED, Batches
from transect.lm.train.muon import Muon
from transect.registry import recipe as recipes
from transect.registry.recipe import Recipe
from transect.registry.run import Run
from transect.store.files.whole_files import write_folder
from transect.store.project import Project

OnCheckpoint = Callable[[str, Path], object]


def train_run(
    run: Run,
    root: Path,
    *,
    on_checkpoint: OnCheckpoint | None = None,
    project: Project | None = None,
) -> None:
    """Train (or resume) a run into `root` (see saving.py for what lies there); nothing is done
    where it is already finished.

    `on_checkpoint(revision, folder)` is called when a checkpoint is on disk. Raises InputError for
    a recipe that cannot be followed.
    """
    recipe = recipes.read(run)
    revisions = [checkpoint.revision for checkpoint in run.checkpoints]
    if saving.prepare(root, recipes.recipe_digest(run, project), revisions):
        return
    tokenizer, documents = data.load_corpus(run, project)
    if recipe.recipe == "ngram":
        ngram.train(recipe, tokenizer, documents, root / revisions[-1])
    else:
        with _threads(recipe.threads):
            Training(run, recipe, tokenizer, documents).to_the_end(
                root, on_checkpoint or (lambda revision, folder: None)
            )
    saving.finish(root, revisions)


@contextlib.contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _accelerator(recipe: Recipe) -> Accelerator:
    """Device and precision. Accelerate keeps both for the whole process, but two runs may differ in
    them: forget those of the last run.
    """
    AcceleratorState._reset_state()
    PartialState._reset_state()
    cpu = recipe.device == "cpu" or not torch.cuda.is_available()
    return Accelerator(cpu=cpu, mixed_precision="bf16" if recipe.precision == "bfloat16" else "no")


class Training:
    """One network with its optimisers and data, at some step."""

    def __init__(
        self, run: Run, recipe: Recipe, tokenizer: PreTrainedTokenizerFast, documents: list[str]
    ):
        seed, masked = int(run.get("seed", 0)), run.get("objective") != "causal"
        self.run, self.recipe, self.tokenizer, self.masked, self.step = (
            run,
            recipe,
            tokenizer,
            masked,
            0,
        )
        self.seed = seed
        self.accelerator = _accelerator(recipe)
        torch.manual_seed(seed)
        self.model: PreTrainedModel = architectures.network(run, recipe, tokenizer).to(
            self.accelerator.device
        )
        self.batches = Batches(
            data.rows(documents, tokenizer, recipe), recipe, tokenizer, seed, masked
        )
        hidden, rest = (
            architectures.split_for_muon(self.model)
            if recipe.optimizer == "muon"
            else ([], list(self.model.parameters()))
        )
        self.muon = Muon(hidden, recipe.muon_lr, weight_decay=recipe.weight_decay)
        groups = [
            {"params": [p for p in rest if p.ndim >= 2], "weight_decay": recipe.weight_decay},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=recipe.lr, betas=recipe.betas, fused=True
        )
        self.average = [p.detach().clone() for p in self.model.parameters()] if recipe.ema else []

    def to_the_end(self, root: Path, on_checkpoint: OnCheckpoint) -> None:
        """Take all steps, and save at those of the run's checkpoint rule; begins after the last
        saved step, where there is one.
        """
        due = {checkpoint.step: checkpoint.revision for checkpoint in self.run.checkpoints}
        state = saving.load_state(root, self.accelerator.device)
        if state is not None and all(
            (root / due[step]).is_dir() for step in due if step <= state["step"]
        ):
            self.load_state(state)
        elif 0 in due:
            self._save(root, due[0], on_checkpoint)
        self.model.train()
        while self.step < self.recipe.steps:
            self.take_step()
            if self.step in due:
                self._save(root, due[self.step], on_checkpoint)

    def take_step(self) -> float:
        """One optimiser step; the loss in nats a token, before the step."""
        inputs, targets = (t.to(self.accelerator.device) for t in self.batches(self.step))
        torch.manual_seed(
            int(np.random.SeedSequence([self.seed, 3, self.step]).generate_state(1)[0])
        )  # of dropout
        loss = self._loss(inputs, targets)
        self.model.zero_grad()
        self.accelerator.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        factor = self.recipe.lr_factor(self.step)
        for group in self.adamw.param_groups:
            group["lr"] = self.recipe.lr * factor
        self.muon.lr = self.recipe.muon_lr * factor
        self.adamw.step()
        self.muon.step()
        if (
            self.average
        ):  # over about the last tenth of training at first, over 1 / (1 - ema) steps later
            decay = min(self.recipe.ema, self.step / (self.step + 9))
            torch._foreach_lerp_(
                self.average, [p.detach() for p in self.model.parameters()], 1 - decay
            )
        self.step += 1
        return loss.item()

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        options: dict[str, Any] = {}
        pad = self.tokenizer.pad_token_id
        if self.masked and pad is not None and bool((inputs == pad).any()):
            options["attention_mask"] = (inputs != pad).long()
        with self.accelerator.autocast():
            logits = self.model(input_ids=inputs, **options).logits
        if self.masked:  # the few targets first: most of the softmax would be thrown away
            chosen = targets != IGNORED
            logits, targets = logits[chosen], targets[chosen]
        return F.cross_entropy(
            logits.flatten(0, -2).float(), targets.flatten(), ignore_index=IGNORED
        )

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, besides the recipe."""
        return {
            "step": self.step,
            "model": [p.detach() for p in self.model.parameters()],
            "adamw": self.adamw.state_dict(),
            "muon": self.muon.state_dict(),
            "average": self.average,
        }

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        for parameter, saved in zip(self.model.parameters(), state["model"], strict=True):
            parameter.copy_(saved)
        for average, saved in zip(self.average, state["average"], strict=True):
            average.copy_(saved)
        self.adamw.load_state_dict(state["adamw"])
        self.muon.load_state_dict(state["muon"])
        self.step = state["step"]

    def _save(self, root: Path, revision: str, on_checkpoint: OnCheckpoint) -> None:
        with self._averaged():
            write_folder(root / revision, self._write_model)
        saving.save_state(root, self.state())
        on_checkpoint(revision, root / revision)

    def _write_model(self, folder: Path) -> None:
        disable_progress_bar()  # one bar per checkpoint says nothing
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model with the average of its weights in place of the weights, where the recipe asks
        for it.
        """
        kept = [p.detach().clone() for p in self.model.parameters()] if self.average else []
        with torch.no_grad():
            for parameter, average in zip(self.model.parameters(), self.average, strict=False):
                parameter.copy_(average)
            yield
            for parameter, weight in zip(self.model.parameters(), kept, strict=False):
                parameter.copy_(weight)
