"""One implementation in its own process: loads, warms up, then runs whenever it is asked to.

    python -m bench.worker TASK IMPLEMENTATION GIVEN.json RESULT.npy

Answers on standard output, one JSON object per line: {"ready": CPU seconds of loading and warm-up,
"resident_bytes"}, then for every line read {"cpu_seconds", "wall_seconds", "peak_bytes"}; at the
end of input the last result is written. A task whose work is short says REPEATS, how often a round
does it; figures are of one time. Loading and a warm-up on another copy of the model (smaller work:
lazy imports, thread pools) are outside the timed part. Work on texts (tokenization) is inside, and
in the first round so is what a program checks at a model's first use. Peak: of resident memory on
the CPU, of allocated memory on a GPU.
"""

import importlib
import json
import os
import sys
import time
import warnings
from typing import Any

import numpy as np
import torch


def main(task: str, implementation: str, given_path: str, result_path: str) -> None:
    """See above."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what programs print goes to the log
    warnings.filterwarnings("ignore")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with open(given_path, encoding="utf-8") as file:
        given = json.load(file)
    unit = importlib.import_module(f"bench.{task}")
    prepare = unit.IMPLEMENTATIONS[implementation][1]
    gpu = given["device"].startswith("cuda")
    prepare(unit.smaller(given))()
    run, repeats = prepare(given), getattr(unit, "REPEATS", 1)

    def say(what: dict[str, Any]) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    say(
        {
            "ready": time.process_time(),
            "resident_bytes": _memory("VmRSS"),
            "flop": _flop(run) if gpu else None,
        }
    )
    result = None
    for _ in sys.stdin:
        if gpu:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        _forget_peak()
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(repeats):
            result = run()
        if gpu:
            torch.cuda.synchronize()
        cpu, wall = (time.process_time() - cpu) / repeats, (time.perf_counter() - wall) / repeats
        peak = torch.cuda.max_memory_allocated() if gpu else _memory("VmHWM")
        say({"cpu_seconds": cpu, "wall_seconds": wall, "peak_bytes": peak})
    if result is not None:
        np.save(result_path, np.asarray(result, dtype=np.float64))


def _memory(name: str) -> int:
    """A line of /proc/self/status, in bytes; 0 where there is none (not Linux)."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(f"{name}:"))
    except (OSError, StopIteration):
        return 0


def _forget_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets VmHWM
    except OSError:
        pass


def _flop(run: Any) -> int | None:
    """Floating point operations of one run (matrix products and attention), counted by torch; None
    where it cannot.
    """
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with FlopCounterMode(display=False) as counter:
            run()
    except Exception as error:  # a program may not bear another's dispatch mode
        print(f"FLOP not counted: {error}")
        return None
    return counter.get_total_flops()


if __name__ == "__main__":
    main(*sys.argv[1:])
