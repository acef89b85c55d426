"""What a result was made with: versions, machine, code. Recorded beside the values, never part of a
key.
"""

import platform
import resource
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from typing import Any

from transect.store.project import SHIPPED

PACKAGES = (
    "transect",
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "statsmodels",
    "snakemake",
)


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Package versions, Python, processor and the code's commit."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "versions": versions,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "code": _commit(),
    }


def peak_memory_mb() -> float:
    """Largest resident set of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform != "darwin" else 1024**2)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(
                (line.split(":", 1)[1].strip() for line in file if line.startswith("model name")),
                "unknown",
            )
    except OSError:
        return platform.processor() or "unknown"


def _commit() -> str:
    command = ["git", "-C", str(SHIPPED), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
