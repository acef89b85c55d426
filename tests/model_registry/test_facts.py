"""The registry holds every model of the facts that were collected from public sources, with the
same numbers.
"""

import os
from pathlib import Path

import pytest
import yaml

from transect.registry import suites
from transect.registry.run import Run
from transect.store.files.yaml_file import LOADER
from transect.store.project import SHIPPED, Project

MIRROR = os.environ.get("TRANSECT_MIRROR")
FACTS = Path(MIRROR).parent / "registry_facts" if MIRROR else None
# number of the facts -> field of the registry
FIELDS = {"params_nonembed": "params_non_embedding"} | {
    name: name
    for name in (
        "params_total",
        "n_layers",
        "d_model",
        "n_heads",
        "n_kv_heads",
        "d_ff",
        "vocab_size",
        "context_length",
        "tied_embeddings",
    )
}
# EuroLLM-22B: its card's 56 layers contradict its 22B
CONTRADICTED = {("utter-project/EuroLLM-22B-2512", "n_layers")}


@pytest.mark.skipif(
    FACTS is None or not FACTS.is_dir(), reason="no collected facts beside TRANSECT_MIRROR"
)
def test_every_model_with_its_numbers():
    """1,500 entries; a zero there means that a model has no such thing; templates of repositories
    are checked elsewhere.
    """
    runs: dict[str, list[Run]] = {}
    for run in suites.load(Project(SHIPPED)).runs.values():
        runs.setdefault(run.get("hub_id"), []).append(run)
    compared = 0
    for path in sorted(FACTS.glob("*.yaml")):
        for entry in yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)["models"]:
            hub_id = entry["hub_id"]
            if "{" in hub_id:
                continue
            assert hub_id in runs, f"{path.name}: {hub_id}"
            for name, field in FIELDS.items():
                value = entry.get(name)
                if (value or value is False) and (hub_id, name) not in CONTRADICTED:
                    assert value in [run.get(field) for run in runs[hub_id]], (
                        f"{path.name}: {hub_id}, {name}"
                    )
                    compared += 1
    assert compared > 6500
