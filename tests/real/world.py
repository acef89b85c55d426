"""A study of everything: real pretrained models and a masked one, every measure and every analysis,
all facts as `registry add` leaves them.

project = make(folder, {"smollm2-135m": path, ...})    a project with the models in its registry, English items and the study
"""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from tests import architectures
from transect.cli.registry import add
from transect.store.project import Project, find_project

STUDY = "everything"
MASKED = "masked"
NOUNS = (("dog", "dogs"), ("cat", "cats"), ("key", "keys"))
VERBS = (("sleeps", "sleep"), ("runs", "run"))
STIMULI = '''"""Agreement of a verb with its subject in a few English sentences."""

from itertools import product

import pandas as pd

VERSION = 1
BY: list[str] = []
COLUMNS = ["item", "condition", "number", "text", "sentence_good", "sentence_bad", "clean", "corrupted", "answer", "foil"]
NOUNS, VERBS = {nouns!r}, {verbs!r}


def items(*, seed: int) -> pd.DataFrame:
    rows = []
    for noun, verb, plural, far in product(NOUNS, VERBS, (0, 1), (0, 1)):
        end = " near the big cabinet" if far else ""
        start, other = (f"the {{noun[number]}}{{end}}" for number in (plural, 1 - plural))
        good, bad = verb[plural], verb[1 - plural]
        name = f"{{noun[0]}}_{{verb[1]}}_{{plural}}_{{far}}"
        rows.append([name, ("near", "far")[far], ("one", "many")[plural], f"{{start}} {{good}}", f"{{start}} {{good}}", f"{{start}} {{bad}}",
                     start, other, good, bad])
    return pd.DataFrame(rows, columns=COLUMNS)
'''
ITEMS = len(list(product(NOUNS, VERBS, (0, 1), (0, 1))))
SEQUENCES = {"n": 2, "conditions": [{"length": 8, "gap": 4}]}
MEASURES: list[dict[str, Any]] = [
    {"measure": "minimal_pair", "stimuli": "agreement_few"},
    {"measure": "surprisal", "stimuli": "agreement_few"},
    {"measure": "bits_per_byte", "stimuli": "agreement_few"},
    {"measure": "fertility", "stimuli": "agreement_few"},
    {"measure": "forced_choice", "stimuli": "agreement_few", "options": {"max_new_tokens": 2}},
    {"measure": "copying", "options": SEQUENCES},
    {"measure": "induction", "options": SEQUENCES | {"sequences": True}},
    {"measure": "previous_token", "options": SEQUENCES},
    {
        "measure": "activation_patching",
        "stimuli": "agreement_few",
        "options": {"component": "head"},
    },
]
PAIR = {"measure": "minimal_pair", "metric": "difference_nats"}
MASKED_PAIR = {"measure": "minimal_pair", "metric": "pll_difference_nats", "name": "masked pairs"}
HEADS = {"measure": "induction", "metric": "prefix_matching"}
FACTORS = ["architecture", "corpus", "norm_placement", "seed_varies"]
ANALYSES: list[dict[str, Any]] = [
    {
        "analysis": "population",
        "factors": ["architecture", "objective", "language", "corpus_variant", "stage"],
    },
    {"analysis": "emergence", "outcomes": [PAIR | {"threshold": 0.5, "by": ["language"]}]},
    {
        "analysis": "acquisition_order",
        "outcomes": [
            {
                "measure": "minimal_pair",
                "metric": "correct",
                "sets": "item_condition",
                "balance": "item_number",
                "by": ["language"],
            },
        ],
    },
    {
        "analysis": "attribution",
        "outcomes": [
            PAIR | {"factors": FACTORS},
            MASKED_PAIR | {"factors": ["language"]},
            PAIR
            | {
                "name": "by item",
                "factors": ["architecture", "item_condition"],
                "items": True,
                "items_by": ["language"],
            },
        ],
    },
    {
        "analysis": "variance_shares",
        "outcomes": [
            PAIR | {"factors": FACTORS},
            PAIR | {"name": "by item", "factors": FACTORS, "items": True, "items_by": ["language"]},
        ],
    },
    {"analysis": "size_trend", "outcomes": [PAIR | {"by": ["language"], "adjust": ["corpus"]}]},
    {"analysis": "held_out_size", "outcomes": [PAIR | {"by": ["language"], "adjust": ["corpus"]}]},
    {"analysis": "transfer", "outcomes": [PAIR | {"factors": FACTORS}]},
    {"analysis": "relatedness", "outcomes": [PAIR | {"adjust": ["corpus"]}]},
    {"analysis": "baselines", "outcomes": [PAIR | {"match": ["language"], "by": ["corpus"]}]},
    {
        "analysis": "heads",
        "outcomes": [
            HEADS
            | {
                "by": ["language"],
                "against": "uniform_attention",
                "sequences": "prefix_matching_by_sequence",
            },
        ],
    },
    {"analysis": "representativeness", "population": {"eng": 9, "spa": 1}, "outcomes": [PAIR]},
]


def make(folder: Path, models: Mapping[str, Path]) -> Project:
    """The project; `models`: run id -> folder, to which a tiny masked model of random weights is
    added.
    """
    for name in ("model_registry", "studies", "stimuli"):
        (folder / name).mkdir(parents=True)
    (folder / "transect.yaml").write_text("")
    project = find_project(folder)
    masked = architectures.directory_of(folder / "weights", "bert")
    for name, path in {**models, MASKED: masked}.items():
        add.add(str(path), "few", project, run=name)
    (folder / "stimuli/agreement_few.py").write_text(STIMULI.format(nouns=NOUNS, verbs=VERBS))
    study = {
        **{
            "study": STUDY,
            "title": "Everything",
            "question": "Does every measure and every analysis work?",
            "seed": 1,
        },
        **{"population": {"where": "suite == 'few'"}, "measures": MEASURES, "analyses": ANALYSES},
    }
    (folder / "studies" / f"{STUDY}.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return project
