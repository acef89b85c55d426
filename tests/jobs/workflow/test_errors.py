"""What is told of a workflow that failed, from the logs of real ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from transect.jobs.workflow import errors

SNAKEFILE = """
rule all:
    input: "killed.txt", "failed.txt"

rule die:
    output: "killed.txt"
    log: "log/die.log"
    shell: "echo so far > {log} 2>&1; exec python -c 'import os; os.kill(os.getpid(), 9)' > {log} 2>&1"

rule fail:
    output: "failed.txt"
    log: "log/fail.log"
    shell: "python -c 'print(1); raise SystemExit(\\"there is no such thing\\")' > {log} 2>&1"
"""


def log_of(folder: Path, *arguments: str) -> tuple[str, int]:
    """The log of Snakemake on the file above, and its exit code."""
    (folder / "Snakefile").write_text(SNAKEFILE.replace("python -c", f"{sys.executable} -c"))
    command = [sys.executable, "-m", "snakemake", "--keep-going", "--cores", "2", *arguments]
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout, done.returncode


def test_failed_jobs_are_told_with_the_end_of_their_logs(tmp_path: Path) -> None:
    """The step, by which signal it was killed, and what it said last."""
    told = "\n".join(errors.explained(log_of(tmp_path)[0], tmp_path))
    assert (
        "A job of the step die failed (killed by SIGKILL: out of memory, or a limit of the machine?); log/die.log ends with\n  nothing"
        in told
    )
    assert (
        "A job of the step fail failed; log/fail.log ends with\n  1\n  there is no such thing"
        in told
    )
    assert "Snakemake says" not in told


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        (["--frobnicate"], "error: unrecognized arguments: --frobnicate", 2),
        (["--set-resources", "die:mem_mb=a b"], "mem_mb", 1),
        (["nothing.txt"], "MissingRuleException: No rule to produce nothing.txt", 1),
    ],
)
def test_the_error_of_snakemake_is_told(
    tmp_path: Path, arguments: list[str], error: str, code: int
) -> None:
    """Its own last error as one line: what was asked of it is wrong, no job failed."""
    text, returned = log_of(tmp_path, *arguments)
    assert error in errors.own_error(text) and returned == code, text
