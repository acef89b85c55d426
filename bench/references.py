"""Make tests/lm/references/*.json anew: what other programs compute on the tiny models of
tests/lm/peer_inputs.py.

    python -m bench.references [program ...]

One file per program: its versions, for every quantity and model the sha256 of weights and ids
(tests/lm/peer_inputs.py: digest), and the values as the program gave them, rounded to 7 decimals;
bench/reference_jobs.py defines each quantity.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.environments import ROOT, make
from tests.architectures import directory_of
from tests.lm import peer_inputs as inputs
from transect.lm import load
from transect.lm.repeats import repeats

REFERENCES = ROOT / "tests" / "lm" / "references"


def sums(folder: Path) -> dict[str, Any]:
    """Sentences for each causal model."""
    paths = {kind: inputs.causal_model(folder, kind) for kind in inputs.CAUSAL}
    return {
        kind: {"path": str(path), "sentences": inputs.SENTENCES} for kind, path in paths.items()
    }


def surprisals(folder: Path) -> dict[str, Any]:
    """The same sentences for the model that never ends a text."""
    return {"endless": {"path": str(inputs.endless_model(folder)), "sentences": inputs.SENTENCES}}


def pll(folder: Path) -> dict[str, Any]:
    """Sentences for a masked model."""
    return {"bert": {"path": str(inputs.masked_model(folder)), "sentences": inputs.PIECE_SENTENCES}}


def seq2seq(folder: Path) -> dict[str, Any]:
    """Sentences for the decoder, one source for the encoder."""
    given = {"source": inputs.SOURCE, "sentences": inputs.WORD_SENTENCES}
    return {kind: {"path": str(directory_of(folder, kind)), **given} for kind in inputs.SEQ2SEQ}


def patching(folder: Path) -> dict[str, Any]:
    """Pairs as ids, opened by the BOS."""
    result = {}
    for kind in inputs.CAUSAL:
        path = inputs.word_model(folder, kind)
        result[kind] = {"path": str(path), "pairs": inputs.pair_ids(load(path))}
    return result


def induction(folder: Path) -> dict[str, Any]:
    """The rows that the measure draws for its seed."""
    result = {}
    for kind in inputs.CAUSAL:
        path = inputs.word_model(folder, kind)
        rows = [
            {"ids": r.ids.tolist(), "length": r.length, "distance": r.distance}
            for r in repeats(load(path), **inputs.INDUCTION)
        ]
        result[kind] = {"path": str(path), "conditions": rows}
    return result


WANTED = {
    "minicons": {"sums": sums, "surprisals": surprisals, "pll": pll, "seq2seq": seq2seq},
    "lm_eval": {"sums": sums},
    "transformer_lens": {"patching": patching, "induction": induction},
}


def write(program: str) -> Path:
    """Ask one program in its own environment and write its file."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        job = {quantity: give(folder) for quantity, give in WANTED[program].items()}
        (folder / "job.json").write_text(json.dumps(job))
        command = [
            str(make(program)),
            "-m",
            "bench.reference_jobs",
            program,
            str(folder / "job.json"),
        ]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        shas = {
            quantity: {
                name: inputs.digest(Path(given["path"]), inputs.ids_of(given))
                for name, given in models.items()
            }
            for quantity, models in job.items()
        }
    path = REFERENCES / f"{program}.json"
    path.write_text(
        _text(
            {"program": program, "versions": answer["versions"], "inputs": shas, **answer["values"]}
        )
    )
    return path


def _text(value: Any, depth: int = 0) -> str:
    """JSON with one line per list of numbers, so that a change can be read."""
    if isinstance(value, dict):
        inner = ",\n".join(
            f"{' ' * (depth + 1)}{json.dumps(k)}: {_text(v, depth + 1)}" for k, v in value.items()
        )
        return f"{{\n{inner}\n{' ' * depth}}}" + ("\n" if depth == 0 else "")
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        inner = ",\n".join(f"{' ' * (depth + 1)}{_text(v, depth + 1)}" for v in value)
        return f"[\n{inner}\n{' ' * depth}]"
    return json.dumps(value)


if __name__ == "__main__":
    for name in sys.argv[1:] or WANTED:
        print(write(name))
