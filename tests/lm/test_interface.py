"""Every model offers every method of Model: it works, or it is not applicable with a reason. Never
another exception.
"""

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests import architectures
from tests.shelf import tiny_model
from transect.errors import NotApplicable
from transect.lm import load
from transect.lm.generate.generation import answers, continue_texts, generate
from transect.lm.generate.sampling import Sampling
from transect.lm.intervene.activations import capture, gradients
from transect.lm.intervene.edits import Edit
from transect.lm.intervene.interventions import run
from transect.lm.model import Model
from transect.lm.network import NetworkModel
from transect.lm.score.scoring import lines, total_logprobs
from transect.registry.run import Rule, Run

IDS = [[0, 5, 6, 7], [0, 8, 9, 10]]
METHODS: dict[str, Callable[[Any], Any]] = {
    "bos_id": lambda m: m.bos_id,
    "mask_id": lambda m: m.mask_id,
    "fingerprint": lambda m: m.fingerprint,
    "encode": lambda m: m.encode("the dog"),
    "spelled": lambda m: m.spelled("the dog", m.encode("the dog")),
    "illegible": lambda m: m.illegible("the dog", m.encode("the dog")),
    "encodings": lambda m: m.encodings(["the dog", ""]),
    "watch": lambda m: m.watch(None),
    "token_scores": lambda m: m.token_scores(IDS, [1, 2], top1=True, batch_size=1),
    "token_logprobs": lambda m: m.token_logprobs(IDS),
    "set_logprobs": lambda m: m.set_logprobs(IDS, [[1, 3], []], np.arange(m.vocab_size) < 30),
    "pll": lambda m: m.pll(IDS, [[-1, 0, 1, 1], [-1, 0, 0, -1]]),
    "write": lambda m: m.write(["the dog"], max_new_tokens=3),
    "attention": lambda m: m.attention(np.array(IDS), lambda pattern: pattern[..., -1, 0]),
    "attention_patterns": lambda m: list(m.attention_patterns(np.array(IDS))),
    "lacks": lambda m: m.lacks,
    "n_logits": lambda m: m.n_logits,
    "no_number": lambda m: m.no_number(IDS[0]),
    "packing": lambda m: m.packing,
    "anatomy": lambda m: m.anatomy,
}
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "generate": lambda m: generate(m, IDS, Sampling(max_new_tokens=3, seed=0, n=2, top_p=0.9)),
    "answers": lambda m: answers(m, ["the dog"], max_new_tokens=3),
    "total_logprobs": lambda m: total_logprobs(m, lines(m, ["the dog", "a cat"])),
    "continue_texts": lambda m: continue_texts(m, ["the dog"], max_new_tokens=3, seed=0),
    "capture residual_post": lambda m: capture(m, IDS, ["residual_post"]),
    "capture head": lambda m: capture(m, IDS, ["head"]),
    "gradients": lambda m: gradients(
        m, IDS, ["residual_pre"], lambda logits, batch: logits[:, -1, 5]
    ),
    "ablate residual_post": lambda m: run(m, IDS, [Edit("residual_post", 0, 0.0)]),
    "ablate mlp": lambda m: run(m, IDS, [Edit("mlp", 0, 0.0)]),
}
# what an encoder-decoder is asked in another way
SEQ2SEQ: dict[str, Callable[[Any], Any]] = {
    "token_scores": lambda m: m.token_scores(
        IDS, [1, 2], sources=[[5, 6], [7]], top1=True, batch_size=1
    ),
}
INSIDE = {"anatomy", "capture residual_post", "gradients", "ablate residual_post"}
HEADS = {"attention", "attention_patterns", "capture head"}
LEFT_TO_RIGHT = {
    "token_scores",
    "token_logprobs",
    "set_logprobs",
    "generate",
    "answers",
    "continue_texts",
}
LACKS = {
    "gpt2": {"pll"},
    "bert": LEFT_TO_RIGHT,
    "mamba2": {"pll", "ablate mlp"} | HEADS,
    "lstm": {"pll", "ablate mlp"} | HEADS,
    "ngram": {"pll", "ablate mlp"} | HEADS | INSIDE,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Model]:
    """One tiny model of each kind."""
    folder = tmp_path_factory.mktemp("models")
    maker = {"t5": architectures.directory_of}
    return {kind: load(maker.get(kind, tiny_model)(folder, kind)) for kind in (*LACKS, "t5")}


def test_every_public_method_is_tried():
    """A new method of Model needs a line above; one of NetworkModel stands in Model first, for all
    kinds of models.
    """
    public = {name for name, _ in inspect.getmembers(Model) if not name.startswith("_")}
    settings = {
        name
        for name in public
        if not callable(getattr(Model, name)) and getattr(Model, name) is None
    }
    assert public - settings == set(METHODS)
    assert {
        name for name, _ in inspect.getmembers(NetworkModel) if not name.startswith("_")
    } == public


@pytest.mark.parametrize("name", [*METHODS, *FUNCTIONS])
@pytest.mark.parametrize("kind", LACKS)
def test_a_method_works_or_is_not_applicable(kind, name, models):
    """As the table says, and the reason is a sentence."""
    use = (METHODS | FUNCTIONS)[name]
    if name not in LACKS[kind]:
        use(models[kind])
        return
    with pytest.raises(NotApplicable) as refusal:
        use(models[kind])
    assert len(str(refusal.value).split()) > 3


@pytest.mark.parametrize("name", [*METHODS, *FUNCTIONS])
def test_an_encoder_decoder_works_or_says_why_not(name, models):
    """Whichever of the two: what its decoder's insides offer is for lm/anatomy/anatomy.py to say."""
    with contextlib.suppress(NotApplicable):
        (METHODS | FUNCTIONS | SEQ2SEQ)[name](models["t5"])


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("gpt2", {"objective": "causal", "mixer": "attention"}),
        ("bert", {"objective": "masked", "mixer": "attention"}),
        ("mamba2", {"objective": "causal", "mixer": "ssd"}),
        ("lstm", {"objective": "causal", "mixer": "recurrent"}),
        ("ngram", {"objective": "causal", "mixer": "ngram"}),
    ],
)
def test_the_registry_promises_what_the_model_offers(kind, facts, models):
    """Planning and loading agree on what can be measured."""
    run = Run("run", "suite", Rule("main", (None,)), {"hub_id": "lab/model", **facts})
    assert models[kind].capabilities == run.capabilities
