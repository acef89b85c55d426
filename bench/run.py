"""make bench: the same work by this engine and by its peers, in one run, turn by turn.

    python -m bench.run [--rounds 3] [--pairs 1000] [--patched 20] [--only CASE ...] [--threads 2]

Every implementation is a process in its own environment (bench/worker.py) that has loaded before
the first round. In each round they run one after the other, never at once, each round beginning
with another one; idle ones use no CPU. Figures are CPU seconds (user and system, all threads),
which other work on the machine disturbs least, and wall seconds beside them. On a CUDA GPU the same
is done once more, with the share of the peak that the device reaches in a large matrix product.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import tables
from bench.cases import Case, cases
from bench.environments import ROOT, make, python_of
from bench.material import make as make_models
from transect.errors import InputError, ResourceError
from transect.store.project import find_project

FOLDER = ROOT / "bench"


class Worker:
    """A running implementation."""

    def __init__(self, case: Case, name: str, given: Path, folder: Path, threads: int) -> None:
        environment = case.implementations()[name]
        self.name, self.result = name, folder / f"{name}.npy"
        self.log = folder / f"{name}.log"
        settings = {
            **{
                "OMP_NUM_THREADS": str(threads),
                "OMP_WAIT_POLICY": "PASSIVE",
                "TOKENIZERS_PARALLELISM": "false",
            },
            **{"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"},
        }
        command = [
            str(python_of(environment)),
            "-m",
            "bench.worker",
            case.task,
            name,
            str(given),
            str(self.result),
        ]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **settings},
                text=True,
                stderr=log,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        self.loaded = self._answer()
        self.rounds: list[dict[str, Any]] = []

    def run(self) -> None:
        """One round."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        spent = self._answer()
        print(
            f"  {self.name}: {spent['cpu_seconds']:.2f} CPU s, {spent['wall_seconds']:.2f} s",
            flush=True,
        )
        self.rounds.append(spent)

    def end(self) -> np.ndarray:
        """The last round's result."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        return np.load(self.result)

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: {self.log.read_text()[-2000:]}")
        return json.loads(line)


def compare(case: Case, device: str, rounds: int, threads: int, folder: Path) -> tables.Table:
    """All implementations of a case, in turns."""
    given = folder / "given.json"
    given.write_text(json.dumps({**case.inputs(FOLDER / "material"), "device": device}))
    workers: list[Worker] = []
    failed: dict[str, str] = {}
    for name in case.implementations():
        try:
            workers.append(Worker(case, name, given, folder, threads))
        except RuntimeError as error:
            failed[name] = _last_line(error)
    for number in range(rounds):
        for worker in workers[number % len(workers) :] + workers[: number % len(workers)]:
            try:
                if worker.name not in failed:
                    worker.run()
            except RuntimeError as error:
                failed[worker.name] = _last_line(error)
    ran = [worker for worker in workers if worker.name not in failed]
    results = {worker.name: worker.end() for worker in ran}
    decide = getattr(import_module(f"bench.{case.task}"), "decisions", None)
    return tables.Table(
        case, device, {w.name: (w.loaded, w.rounds) for w in ran}, results, decide, failed
    )


def _last_line(error: Exception) -> str:
    print(f"  {error}", file=sys.stderr)
    return str(error).strip().splitlines()[-1]


def peak_flops(dtype: torch.dtype) -> float:
    """Floating point operations per second in a product of two 8192 x 8192 matrices on the GPU,
    best of 5.
    """
    a = torch.randn(8192, 8192, device="cuda", dtype=dtype)
    seconds = []
    for _ in range(6):
        torch.cuda.synchronize()
        start = time.perf_counter()
        a @ a
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * 8192**3 / min(seconds[1:])


def main() -> None:
    """See the top."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=1000, help="per paradigm")
    parser.add_argument("--patched", type=int, default=20, help="pairs that are patched")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="CASE",
        help="e.g. pairs pairs_alibi patching_residual induction",
    )
    options = parser.parse_args()
    chosen = cases(options.pairs, options.patched)
    names = [case.name for case in chosen]
    if unknown := [name for name in options.only or [] if name not in names]:
        parser.error(f"unknown case {', '.join(unknown)}; there are: {', '.join(names)}")
    chosen = [case for case in chosen if not options.only or case.name in options.only]
    if mirror := find_project(ROOT).mirror:
        os.environ["TRANSECT_MIRROR"] = str(mirror)
    try:
        for peer in sorted({peer for case in chosen for peer in case.environments()}):
            make(peer)
        make_models(FOLDER / "material")
    except (InputError, ResourceError) as error:
        sys.exit(str(error))
    gpu = torch.cuda.is_available()
    peaks = (
        {name: peak_flops(getattr(torch, name)) for name in ("float32", "bfloat16")} if gpu else {}
    )
    if not gpu:
        print("No CUDA GPU here: the GPU's part is left out.")
    done = []
    for device in ("cpu", "cuda") if gpu else ("cpu",):
        for case in chosen:
            print(f"{case.title} ({device})", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                done.append(compare(case, device, options.rounds, options.threads, Path(folder)))
            tables.write(FOLDER / "tables", done, _machine(options), peaks)
    print((FOLDER / "tables" / "tables.md").read_text())


def _machine(options: argparse.Namespace) -> str:
    """One line on the machine and the day."""
    try:
        info = Path("/proc/cpuinfo").read_text()
        model = next(
            line.split(":")[1].strip()
            for line in info.splitlines()
            if line.startswith("model name")
        )
    except (OSError, StopIteration):
        model = platform.processor()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {model}, {os.cpu_count()} cores{gpu}, {options.threads} threads, load "
        f"{os.getloadavg()[2]:.1f}; Python {platform.python_version()}, torch {torch.__version__}, {options.rounds} rounds"
    )


if __name__ == "__main__":
    main()
