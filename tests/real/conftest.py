"""Real pretrained models: folders in hub layout in the directory that TRANSECT_REAL_MODELS names.
`make test-real` runs these tests.
"""

import json
import lzma
import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from transect.lm import load
from transect.lm.network import NetworkModel
from transect.measures.behaviour import minimal_pair

NAMES = ("smollm2-135m", "gemma3-270m")
PARADIGMS = (
    "adjunct_island",
    "anaphor_gender_agreement",
    "animate_subject_passive",
    "determiner_noun_agreement_2",
    "distractor_agreement_relative_clause",
    "irregular_plural_subject_verb_agreement_2",
    "npi_present_1",
    "principle_A_domain_3",
    "regular_plural_subject_verb_agreement_1",
    "sentential_negation_npi_licensor_present",
    "superlative_quantifiers_1",
    "wh_vs_that_with_gap",
)
EACH = {
    "smollm2-135m": 50,
    "gemma3-270m": 10,
}  # pairs of a paradigm: of Gemma, whose float64 takes thrice as long, a fifth


@pytest.fixture(scope="session")
def real_models() -> dict[str, Path]:
    """Run id -> folder of those that are there; at least one."""
    given = os.environ.get("TRANSECT_REAL_MODELS")
    if not given:
        pytest.skip("TRANSECT_REAL_MODELS names no directory of real models")
    found = {
        name: Path(given) / name for name in NAMES if (Path(given) / name / "config.json").is_file()
    }
    if not found:
        pytest.skip(f"{given} (TRANSECT_REAL_MODELS) holds none of {', '.join(NAMES)}")
    return found


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The local copies of published stimuli (TRANSECT_MIRROR)."""
    given = os.environ.get("TRANSECT_MIRROR")
    if not given:
        pytest.skip("TRANSECT_MIRROR names no directory of published stimuli")
    return Path(given)


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest, real_models: dict[str, Path]) -> NetworkModel:
    """Each of the models in turn."""
    if request.param not in real_models:
        pytest.skip(f"{request.param} is not there")
    torch.set_num_threads(2)
    return load(real_models[request.param])


@pytest.fixture(scope="module")
def pairs(model: NetworkModel, mirror: Path) -> pd.DataFrame:
    """The first pairs of each of twelve paradigms of BLiMP; TRANSECT_REAL_PAIRS says how many of
    each where EACH does not.
    """
    rows, each = [], int(os.environ.get("TRANSECT_REAL_PAIRS", EACH[model.path.name]))
    for name in PARADIGMS:
        with lzma.open(
            mirror / "blimp" / "dev" / f"{name}.jsonl.xz", "rt", encoding="utf-8"
        ) as file:
            found = [json.loads(line) for line, _ in zip(file, range(each), strict=False)]
        rows += [
            {"item": f"{name}_{i}", **{k: row[k] for k in minimal_pair.STIMULI}}
            for i, row in enumerate(found)
        ]
    return pd.DataFrame(rows)
