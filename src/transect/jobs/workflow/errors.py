"""What went wrong in a workflow, from Snakemake's log: its own last error, and the jobs that failed
with the end of what they said.
"""

import re
from pathlib import Path

JOB = re.compile(
    r"^Error in (?:group )?rule (\w+).*?^    log: (\S+) \(check", re.MULTILINE | re.DOTALL
)
SIGNALLED = re.compile(
    r"Command '.*? > (\S+) 2>&1.*' (?:returned non-zero exit status (\d+)|died with <Signals\.(\w+))"
)
OWN = re.compile(r"^(?:\w+\.py: error: |Error: |\w+(?:Error|Exception)\b)", re.MULTILINE)
END = re.compile(r"\n\s*\n|\nTraceback|\nWildcards:|\n\[")
# these say only that some job failed
OF_JOBS = (
    "Error in ",
    "CalledProcessError",
    "RuleException",
    "WorkflowError: At least one job did not",
)
JOBS, LINES = 3, 6  # that are shown at most; of each job its last lines


def explained(text: str, root: Path) -> list[str]:
    """Lines for the user. text: Snakemake's log; root: the folder that its paths are relative to."""
    step_of = dict(reversed([(path, rule) for rule, path in JOB.findall(text)]))
    death_of = {path: _death(code, name) for path, code, name in SIGNALLED.findall(text)}
    lines = []
    for path, rule in list(step_of.items())[:JOBS]:
        death = death_of.get(path, "")
        lines.append(f"A job of the step {rule} failed{death}; {path} ends with")
        lines += [f"  {line}" for line in _tail(root / path)]
    if len(step_of) > JOBS:
        lines.append(f"{len(step_of) - JOBS} more jobs failed.")
    if error := own_error(text):
        lines.append(f"Snakemake says: {error}")
    return lines


def own_error(text: str) -> str:
    """Snakemake's last error that is not about a job: the line that names it and what follows, up
    to an empty line; empty without one.
    """
    blocks = [re.split(END, text[match.start() :])[0].split() for match in OWN.finditer(text)]
    errors = [" ".join(words) for words in blocks]
    return next((e for e in reversed(errors) if not e.startswith(OF_JOBS)), "")


def _death(code: str, name: str) -> str:
    signals = {"137": "SIGKILL", "143": "SIGTERM", "139": "SIGSEGV", "134": "SIGABRT"}
    signal = signals.get(code, name)
    memory = ": out of memory, or a limit of the machine?" if signal == "SIGKILL" else ""
    return f" (killed by {signal}{memory})" if signal else ""


def _tail(path: Path) -> list[str]:
    """The last lines of a log."""
    lines: list[str] = []
    if path.is_file():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if line.strip()][-LINES:] or ["nothing: it said nothing"]
