"""Commands of `transect`, each in a process of its own, in seconds: one process imports everything,
and forks for each command.

with Forked(folder / "log") as forked:
    ended = forked.run(["plan", "tiny"], cwd)      # Ended(code, output, seconds, peak)

The parent looks at a child's memory 50 times a second and ends it at the limit; `python -m
tests.hostile.forked` is the process that forks.
"""

import json
import os
import resource
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

ROOT = Path(__file__).parents[2]
MEMORY = 3 * 2**30
SECONDS = 60.0


@dataclass(frozen=True)
class Ended:
    """How a command ended: `code` is negative for a signal, `peak` the most memory [bytes] that was
    seen; `ended_by` us, or "".
    """

    code: int
    output: str
    seconds: float
    peak: int
    ended_by: str


class Forked:
    """The process that forks; `environment` is what it, and all its commands, start with."""

    def __init__(self, log: Path, environment: dict[str, str]):
        self.log = log
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.hostile.forked"],
            text=True,
            cwd=ROOT,
            env=environment | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> "Forked":
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(20)

    def run(self, argv: list[str], cwd: Path) -> Ended:
        """Run one command in a folder."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(
            json.dumps({"argv": argv, "cwd": str(cwd), "log": str(self.log)}) + "\n"
        )
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        return Ended(**told, output=self.log.read_text(errors="backslashreplace"))


def _child(argv: list[str], cwd: str, log: str) -> None:
    """The command itself; never returns."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(cwd)
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code = 70
    try:
        from transect.cli.main import main

        code = main(argv)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watched(pid: int) -> dict[str, object]:
    """Wait for a child, and end it at a limit."""
    started, peak, ended_by, family = time.monotonic(), 0, "", psutil.Process(pid)
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        seconds = time.monotonic() - started
        if done:
            code = os.waitstatus_to_exitcode(status)
            return {"code": code, "seconds": seconds, "peak": peak, "ended_by": ended_by}
        try:
            peak = max(
                peak, sum(p.memory_info().rss for p in (family, *family.children(recursive=True)))
            )
        except psutil.NoSuchProcess:
            pass
        ended_by = ended_by or ("memory" if peak > MEMORY else "time" if seconds > SECONDS else "")
        if ended_by:
            os.killpg(pid, 9)
        time.sleep(0.02)


def _serve() -> None:
    import torch
    import transformers  # noqa: F401

    import transect.cli.main
    import transect.cli.model.single
    import transect.cli.registry.add
    import transect.lm.api
    import transect.lm.network
    import transect.study.plan.work

    torch.set_num_threads(1)
    transect.lm.api.WAIT = 0.0  # between two tries of a question
    for line in sys.stdin:
        wanted = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(**wanted)
        print(json.dumps(_watched(pid)), flush=True)


if __name__ == "__main__":
    _serve()
