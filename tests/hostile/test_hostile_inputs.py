"""300 hostile and unlucky inputs: no code runs, nothing is written outside, no traceback, no
process above 3 GiB or 60 s.

Sixty each of model folders, suites, studies, stimuli and answers of a server; every command in a
process of its own (tests/hostile/forked.py).
"""

import contextlib
import os
import re
import shutil
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.hostile.forked import Ended, Forked
from tests.hostile.inputs import KINDS, RUNS, answer, cases
from tests.shelf import tiny_model

pytestmark = pytest.mark.slow
WORLD = Path(__file__).parents[1] / "world"
KEY = "sk-CANARYKEY-0123456789abcdef"
N = 60
LINE = 2_000  # characters of the longest line that a command may say
PAIRS = "sentence_good,sentence_bad\nthe dog runs .,the dog run .\nthe dogs run .,the dogs runs .\n"
BEHIND = """
suite: behind
title: Behind an interface
description: One model of a server of the tests.
sources: {{here: served by the tests}}
checkpoints: {{only: {{revision: main, steps: [null]}}}}
runs:
- id: behind
  family: own
  language: eng
  objective: causal
  stage: base
  mixer: attention
  checkpoints: only
  access: api
  endpoint: "{url}"
  api_model: tiny
  {unknown}
"""
UNKNOWN = "\n  ".join(
    f"{name}: unknown"
    for name in "architecture context_length vocab_size n_layers d_model model_type params_total".split()
)
HEALTHY = [
    ["measure", "model", "--measure", "minimal_pair", "--stimuli", "pairs.csv", "--out", "out.csv"],
    ["registry", "add", "model", "--suite", "mine"],
    ["plan", "tiny"],
    ["registry", "check"],
    ["registry", "list"],
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """healthy/ (a project with a model and stimuli), outside/, home/, tmp/."""
    place = tmp_path_factory.mktemp("hostile")
    shutil.copytree(WORLD, place / "healthy")
    tiny_model(place / "made", "gpt2")
    shutil.move(place / "made/gpt2", place / "healthy/model")
    (place / "healthy/pairs.csv").write_text(PAIRS)
    for name in ("random.py", "yaml.py", "numpy.py"):
        (place / "healthy" / name).write_text(RUNS)
    for name in ("outside", "home", "tmp"):
        (place / name).mkdir()
    (place / "outside/kept").write_text("kept")
    return place


@pytest.fixture(scope="module")
def forked(place: Path) -> Iterator[Forked]:
    """The process that forks, with a home, a folder for temporary files and a key of its own."""
    own = {
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "tmp"),
        "TRANSECT_API_KEY": KEY,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    with Forked(place / "log", {"PATH": os.environ["PATH"]} | own) as forked:
        yield forked


def _files(place: Path) -> set[str]:
    """All that lies beside the project, and every file RAN."""
    beside = {
        str(path)
        for path in place.rglob("*")
        if path.relative_to(place).parts[0] not in ("project", "home", "tmp", "log")
    }
    return beside | {str(path) for path in place.rglob("RAN")}


def _fault(ended: Ended) -> str:
    """What is wrong with how a command ended, or ""."""
    if ended.ended_by:
        return (
            f"ended by us: {ended.ended_by} ({ended.peak / 2**30:.1f} GiB, {ended.seconds:.0f} s)"
        )
    if "Traceback (most recent call last)" in ended.output or ended.code not in (0, 1, 2):
        return f"code {ended.code}: ...{ended.output[-400:]}"
    if re.search(r"pip install|trust_remote_code=True", ended.output):
        return f"advice that opens a hole: {ended.output[-300:]}"
    longest = max(ended.output.splitlines() or [""], key=len)
    return "" if len(longest) < LINE else f"a line of {len(longest)} characters: {longest[:200]}"


def _remove(project: Path) -> None:
    for path in project.rglob("*") if project.exists() else ():
        if stat.S_ISFIFO(path.lstat().st_mode):
            path.unlink()
    shutil.rmtree(project, ignore_errors=True)


def test_healthy_inputs(place: Path, forked: Forked) -> None:
    """Before anything is spoilt every command does what it is asked for, so that what follows tries
    more than the first check of a reader.
    """
    project = place / "project"
    shutil.copytree(place / "healthy", project)
    for command in HEALTHY:
        ended = forked.run(command, project)
        assert ended.code == 0 and not _fault(ended), ended.output
    _remove(project)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_files(place: Path, forked: Forked, kind: str) -> None:
    """Each of 60 spoilt files of a kind ends with an exit code of ours, a short text and nothing
    else.
    """
    faults = {}
    project, before = place / "project", _files(place)
    for case in cases(kind, N):
        shutil.copytree(place / "healthy", project)
        command = case.spoil(project)
        ended = forked.run(command, project)
        fault = _fault(ended) or str(_files(place) - before or before - _files(place) or "")
        if fault:
            faults[f"{case.name}: {' '.join(command)}"] = fault
        _remove(project)
    assert not faults, "\n".join(f"{name}\n    {fault}" for name, fault in faults.items())


@dataclass
class Server:
    """What is sent to every question, and how many were asked."""

    url: str
    sent: bytes = b""
    asked: int = 0


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that sends the bytes that it is given, whatever it is asked."""
    listening = socket.create_server(("127.0.0.1", 0))
    served = Server(f"http://127.0.0.1:{listening.getsockname()[1]}/v1/chat/completions")

    def serve() -> None:
        while True:
            try:
                asked, _ = listening.accept()
            except OSError:
                return
            with asked, contextlib.suppress(OSError):
                asked.settimeout(5)
                asked.recv(2**20)
                served.asked += 1
                asked.sendall(served.sent)

    threading.Thread(target=serve, daemon=True).start()
    yield served
    listening.close()


def _echoes(place: Path, ended: Ended) -> str:
    """Where the key stands, in any case, or ""."""
    if KEY[3:].lower() in ended.output.lower():
        return f"the key in the output: {ended.output[-300:]}"
    files = [
        path
        for part in ("project", "home", "tmp")
        for path in (place / part).rglob("*")
        if path.is_file()
    ]
    return next(
        (
            f"the key in {path}"
            for path in files
            if KEY[3:].lower().encode() in path.read_bytes().lower()
        ),
        "",
    )


def test_hostile_answers(place: Path, forked: Forked, server: Server) -> None:
    """Each of 60 hostile answers ends so too, and the key that some of them echo stands in no
    output and no file.
    """
    faults, silent = {}, 0
    project, before = place / "project", _files(place)
    command = "measure behind --measure forced_choice --stimuli pairs.csv --option max_new_tokens=1 --out out.csv".split()
    for i in range(N):
        shutil.copytree(place / "healthy", project)
        (project / "model_registry/behind.yaml").write_text(
            BEHIND.format(url=server.url, unknown=UNKNOWN)
        )
        server.sent, server.asked = answer(Random(f"answer {i}"), KEY), 0
        ended = forked.run(command, project)
        silent += server.asked == 0
        fault = _fault(ended) or str(_files(place) - before or "") or _echoes(place, ended)
        if fault:
            faults[f"answer {i}: {server.sent[:120]!r}"] = fault
        _remove(project)
    assert not silent and not faults, "\n".join(
        f"{name}\n    {fault}" for name, fault in faults.items()
    )
