"""Real pretrained models: folders in hub layout in the directory that TRANSECT_REAL_MODELS names. `make test-real` runs these tests."""

import os
from pathlib import Path

import pytest

NAMES = ("smollm2-135m", "gemma3-270m")


@pytest.fixture(scope="session")
def real_models() -> dict[str, Path]:
    """Run id -> folder of those that are there; at least one."""
    given = os.environ.get("TRANSECT_REAL_MODELS")
    if not given:
        pytest.skip("TRANSECT_REAL_MODELS names no directory of real models")
    found = {name: Path(given) / name for name in NAMES if (Path(given) / name / "config.json").is_file()}
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
