"""The peers' own environments: bench/environments/<peer>, one virtual environment each, from PyPI
with exact pins.

    python -m bench.environments [peer ...]

What the comparison must hold equal (torch, transformers, tokenizers, numpy) is pinned as in
constraints.txt; everything else is what the peer itself asks for. An environment is made again when
its pins or the Python change. They cannot share one: what they require contradicts (engine.md
measured sae-lens against transformer-lens), and each must run as its users install it.
"""

import subprocess
import sys
from pathlib import Path

from transect.errors import ResourceError

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "bench" / "environments"
PEERS = {
    "minicons": ["minicons==0.3.39"],
    "lm_eval": [
        "lm-eval==0.4.13",
        "accelerate",
    ],  # its extra "hf" names both; without it the model class is missing
    "transformer_lens": ["transformer-lens==4.3.0"],
    "nnsight": ["nnsight==0.8.1"],
}
EQUAL = ("torch", "transformers", "tokenizers", "numpy", "accelerate", "safetensors")


def python_of(peer: str) -> Path:
    """The interpreter in which a peer runs; "transect" is the one that runs this."""
    return Path(sys.executable) if peer == "transect" else FOLDER / peer / "bin" / "python"


def make(peer: str) -> Path:
    """Make the environment of a peer unless it stands with these pins; the interpreter. Raises
    ResourceError.
    """
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    constraints = "".join(f"{name}=={pinned[name]}\n" for name in EQUAL)
    wanted = "\n".join([sys.version, *PEERS[peer], constraints])
    marker = FOLDER / peer / "installed"
    if marker.is_file() and marker.read_text() == wanted:
        return python_of(peer)
    print(
        f"Installing {', '.join(PEERS[peer])} into {FOLDER / peer}: 1 to 2 GB, some minutes.",
        flush=True,
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER / peer)], check=True)
    limits = FOLDER / peer / "constraints.txt"
    limits.write_text(constraints)
    install = [str(python_of(peer)), "-m", "pip", "install", "--quiet", "--constraint", str(limits)]
    done = subprocess.run(
        [*install, f"torch=={pinned['torch']}", "transformers", "numpy", *PEERS[peer]]
    )
    if done.returncode:
        raise ResourceError(
            f"{PEERS[peer][0]} could not be installed; pip's last lines above say why."
        )
    marker.write_text(wanted)
    return python_of(peer)


if __name__ == "__main__":
    for name in sys.argv[1:] or PEERS:
        make(name)
