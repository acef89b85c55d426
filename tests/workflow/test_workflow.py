"""The whole workflow on a tiny world: what is computed again when something changes, and what the
user is told.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from transect.store import children
from transect.store.cell_store import Store, read_table
from transect.store.project import SHIPPED, Project

WORLD = SHIPPED / "tests" / "world"


SECRETS = {"HF_TOKEN": "hf_CANARYTOKENoftests", "TRANSECT_API_KEY": "sk-CANARYKEY-of-the-tests"}
# read by every Python process: each address that is asked for, by the audit events of sockets
LISTENER = """
import os, sys
def hear(event, given):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto") and not isinstance(given[-1], (str, bytes)):
        with open(os.environ["HEARD"], "a") as file:
            file.write(f"{event} {given!r}\\n")
sys.addaudithook(hear)
"""


def transect(
    folder: Path, *arguments: str, umask: int = -1, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the program as a user would, inside the project folder."""
    command = children.python("transect.cli.main", *arguments)
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        umask=umask,
    )


def finished_files(folder: Path) -> dict[str, int]:
    """The files of weights and cells with their times: what was not computed again keeps its time."""
    store = folder / "results" / "store"
    paths = [*store.glob("weights/*/*/*/*/model.safetensors"), *store.glob("cells/*/*/*.parquet")]
    return {str(p.relative_to(store)): p.stat().st_mtime_ns for p in paths}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the tiny study was run to its end, with secrets in the environment, the
    umask of a group, and a listener.

    Its name means something else to YAML, to Snakemake and to a shell; modules beside the study end
    every process that imports them.
    """
    folder = tmp_path_factory.mktemp("done") / "world #2: {x} [1] 'y'"
    shutil.copytree(WORLD, folder)
    for name in (
        "random",
        "statistics",
        "types",
        "numpy",
        "yaml",
        "torch",
        "transect",
        "snakemake",
    ):
        (folder / f"{name}.py").write_text(
            "raise SystemExit('a module beside the study was imported')\n"
        )
    (folder.parent / "listener").mkdir()
    (folder.parent / "listener/sitecustomize.py").write_text(LISTENER)
    paths = os.pathsep.join(
        filter(None, [str(folder.parent / "listener"), os.environ.get("PYTHONPATH")])
    )
    listening = {"PYTHONPATH": paths, "HEARD": str(folder.parent / "heard"), "HF_HUB_OFFLINE": "1"}
    result = transect(folder, "run", "tiny", "-j", "2", umask=0o002, **SECRETS, **listening)
    (folder.parent / "said").write_text(result.stdout + result.stderr)
    assert result.returncode == 0, (
        result.stdout + result.stderr + (folder / "results/tiny/log/snakemake.log").read_text()
    )
    return folder


@pytest.fixture
def project(done: Path, tmp_path: Path) -> Path:
    """A copy of the finished project, to change something in."""
    folder = tmp_path / "world"
    shutil.copytree(done, folder, symlinks=True)  # keeps the files' times
    return folder


def test_study_ends_with_a_report(done: Path) -> None:
    """The report names the study, and every cell is measured."""
    page = (done / "results/tiny/report.html").read_text()
    assert "A tiny world" in page
    status = json.loads(transect(done, "status", "tiny", "--json").stdout)
    assert status["states"] == {"measured": 26} and status["cells_to_measure"] == 0


def modes(results: Path, umask: int) -> dict[str, str]:
    """Every file and folder whose mode is not what the umask leaves of 0666 and 0777."""
    found = {p: p.stat().st_mode & 0o777 for p in results.rglob("*")}
    wrong = {
        p: mode for p, mode in found.items() if mode != (0o777 if p.is_dir() else 0o666) & ~umask
    }
    assert len(found) > 50
    return {str(p.relative_to(results)): oct(mode) for p, mode in wrong.items()}


def test_results_are_open_as_far_as_the_umask_says(done: Path) -> None:
    """Under umask 002 the group may read and write all of them: values, weights, tables, figures,
    logs, locks.
    """
    assert modes(done / "results", 0o002) == {}


@pytest.mark.slow
def test_results_are_private_as_far_as_the_umask_says(tmp_path: Path) -> None:
    """Under umask 077 nobody else may read any of them."""
    shutil.copytree(WORLD, tmp_path / "world")
    assert transect(tmp_path / "world", "run", "tiny", "-j", "2", umask=0o077).returncode == 0
    assert modes(tmp_path / "world/results", 0o077) == {}


def test_no_secret_of_the_environment_is_written(done: Path) -> None:
    """The hub's token and an interface's key stand in no file of the project and in no line of
    output.
    """
    files = [p for p in done.rglob("*") if p.is_file()]
    held = {p: p.read_bytes().lower() for p in [*files, done.parent / "said"]}
    secrets = [secret.lower().encode() for secret in SECRETS.values()]
    assert len(files) > 50 and not [
        p for p, content in held.items() if any(secret in content for secret in secrets)
    ]


def test_a_study_without_hub_models_asks_no_network(done: Path) -> None:
    """No process of it connected to an address or asked for a name (audit events of Python's
    sockets); a control that does is heard.
    """
    heard = done.parent / "heard"
    assert not heard.exists()
    control = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    listening = {"PYTHONPATH": str(done.parent / "listener"), "HEARD": str(done.parent / "control")}
    subprocess.run([sys.executable, "-c", control], env=os.environ | listening, check=True)
    assert "127.0.0.1" in (done.parent / "control").read_text()


def test_a_folder_is_measured_without_a_network(done: Path, tmp_path: Path) -> None:
    """`transect measure FOLDER`, not told to stay offline, connects to no address and asks for no
    name.
    """
    (folder,) = {
        p.parent for p in sorted(done.glob("results/store/weights/*/*/*/*/model.safetensors"))[:1]
    }
    listening = {
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(done.parent / "listener"), os.environ.get("PYTHONPATH")])
        )
    }
    asked = [
        "measure",
        str(folder),
        "--measure",
        "copying",
        "--option",
        "n=2",
        "--option",
        "conditions=[{length: 6, gap: 2}]",
    ]
    environment = {**listening, "HEARD": str(tmp_path / "heard"), "HF_HUB_OFFLINE": ""}
    result = transect(done, *asked, "--out", str(tmp_path / "rows.csv"), **environment)
    assert result.returncode == 0 and (tmp_path / "rows.csv").is_file(), result.stderr
    assert not (tmp_path / "heard").exists()


def test_intervals_keep_the_bounds_that_the_measure_declares(done: Path) -> None:
    """The curve of accuracies in the tables of the study lies in [0, 1], and its rows say so."""
    curves = read_table(done / "results/tiny/tables/emergence/curves.parquet")
    assert set(curves["least"]) == {0.0} and set(curves["most"]) == {1.0}
    assert curves[["lower", "upper"]].stack().dropna().between(0, 1).all()


def test_nothing_to_do_loads_nothing(project: Path) -> None:
    """A second run computes nothing and says so."""
    before = finished_files(project)
    result = transect(project, "run", "tiny", "--csv")
    assert result.returncode == 0 and "all 26 cells are there" in result.stdout
    assert all(
        (project / f"results/tiny/{name}.csv").is_file()
        for name in ("measurements", "grid", "registry", "codebook")
    )
    assert "beside   figures/" in result.stdout
    assert finished_files(project) == before


def test_one_more_run_trains_itself_only(project: Path) -> None:
    """A run added to the registry: its weights and cells are new, all others keep their files."""
    from tests.study.test_study_file import NEW_RUN

    before = finished_files(project)
    with (project / "model_registry/tiny.yaml").open("a") as file:
        file.write(NEW_RUN)
    assert transect(project, "run", "tiny", "-j", "2").returncode == 0
    after = finished_files(project)
    assert {k: after[k] for k in before} == before
    assert {k.split("/")[1 if k.startswith("cells") else 2] for k in set(after) - set(before)} == {
        "tiny-new"
    }


def test_one_more_measure_trains_nothing(project: Path) -> None:
    """A measure added to the study: no training, only its cells."""
    before = finished_files(project)
    study = project / "studies/tiny.yaml"
    study.write_text(
        study.read_text().replace(
            "analyses:", "- {measure: bits_per_byte, stimuli: grammar_heldout}\nanalyses:"
        )
    )
    assert transect(project, "run", "tiny", "-j", "2").returncode == 0
    after = finished_files(project)
    assert {k: after[k] for k in before} == before
    assert len(after) - len(before) == 13  # one more file for each of the 13 checkpoints
    index = Store(project / "results/store").index()
    assert (index["measure"] == "bits_per_byte").sum() == 13


def test_claim_edit_measures_nothing(project: Path) -> None:
    """A change of the study's title makes the tables and the page anew, and nothing that costs."""
    before = finished_files(project)
    study = project / "studies/tiny.yaml"
    study.write_text(study.read_text().replace("A tiny world", "Another title"))
    assert transect(project, "run", "tiny").returncode == 0
    assert "Another title" in (project / "results/tiny/report.html").read_text()
    assert finished_files(project) == before


def test_broken_checkpoint_fails_its_cells_only(project: Path) -> None:
    """Weights that cannot be read: failed cells with the error in the report, exit code 1, the
    others kept.
    """
    shutil.rmtree(project / "results/store/cells/tiny-8-seed0")
    weights = next(
        (project / "results/store/weights/tiny/tiny-8-seed0").glob("*/step6/model.safetensors")
    )
    weights.write_bytes(b"not weights")
    result = transect(project, "run", "tiny")
    assert result.returncode == 1
    assert "24 measured, 2 failed" in result.stdout and "tiny-8-seed0" in result.stdout
    assert "step6" in (project / "results/tiny/report.html").read_text()


def test_user_measure_needs_no_fork(project: Path) -> None:
    """A measure in the project's own folder runs without touching the repository."""
    (project / "measures").mkdir()
    (project / "measures/n_items.py").write_text(
        '"""How many items there are."""\nimport pandas as pd\nVERSION = 1\nUNIT = {"n": "items"}\nREQUIRES = ["logits"]\nSTIMULI = ["sentence_good"]\n'
        'def measure(model, items, *, seed):\n    return pd.DataFrame({"item": ["all"], "metric": "n", "value": [float(len(items))]})\n'
    )
    study = project / "studies/tiny.yaml"
    study.write_text(
        study.read_text().replace(
            "analyses:",
            "- {measure: n_items, stimuli: agreement, stimuli_options: {frames: 10}}\nanalyses:",
        )
    )
    assert transect(project, "run", "tiny").returncode == 0
    cells = Store(project / "results/store")
    index = cells.index()
    assert set(cells.read(index[index["measure"] == "n_items"])["value"]) == {40.0}


def test_resource_failure_is_tried_again(project: Path) -> None:
    """Stimuli that cannot be had now: failed cells with the reason, the others kept; the next run
    measures them.
    """
    (project / "stimuli").mkdir()
    (project / "stimuli/later.py").write_text(
        '"""Items that are there later."""\nfrom pathlib import Path\nimport pandas as pd\nfrom transect.errors import ResourceError\n'
        'VERSION = 1\nCOLUMNS = ["item", "sentence_good", "sentence_bad"]\n\n\ndef items(*, seed):\n'
        '    if not Path("network").exists():\n        raise ResourceError("the network is down")\n'
        '    return pd.DataFrame({"item": ["a"], "sentence_good": ["n1s part v0s ."], "sentence_bad": ["n1s part v0p ."]})\n'
    )
    study = project / "studies/tiny.yaml"
    study.write_text(
        study.read_text().replace(
            "analyses:", "- {measure: minimal_pair, stimuli: later, checkpoints: last}\nanalyses:"
        )
    )
    result = transect(project, "run", "tiny", "-j", "2")
    assert (
        result.returncode == 1
        and "26 measured, 5 failed" in result.stdout
        and "the network is down" in result.stdout
    )
    assert "the network is down" in (project / "results/tiny/report.html").read_text()
    (project / "network").touch()
    result = transect(project, "run", "tiny", "-j", "2")
    assert result.returncode == 0 and "31 measured" in result.stdout


def test_killed_job_takes_nothing_else_with_it(project: Path) -> None:
    """A measure whose process dies without a word, each time: its cells are failed, the rest and
    the report are there.
    """
    (project / "measures").mkdir()
    (project / "measures/deadly.py").write_text(
        '"""Dies."""\nimport os\nVERSION = 1\nUNIT = {"n": "items"}\nREQUIRES = ["attention"]\nSTIMULI: list[str] = []\n'
        "def measure(model, items, *, seed):\n    os.kill(os.getpid(), 9)\n"
    )
    study = project / "studies/tiny.yaml"
    study.write_text(
        study.read_text().replace("analyses:", "- {measure: deadly, checkpoints: last}\nanalyses:")
    )
    result = transect(project, "run", "tiny", "-j", "2")
    assert (
        result.returncode == 1 and "26 measured" in result.stdout and "4 failed" in result.stdout
    ), result.stdout
    assert "the job was killed" in (project / "results/tiny/report.html").read_text()


@pytest.mark.slow
def test_weights_that_changed_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision that moved between two runs: the second ends with one sentence and code 2, and
    what was measured stays as it was.
    """
    from tests.jobs.hub_project import hub_project, publish
    from tests.shelf import tiny_model

    project = hub_project(tmp_path, monkeypatch)
    publish(project, "lab/plain", tiny_model(tmp_path / "first", "gpt2"))
    assert "1 measured" in transect(project.root, "run", "small").stdout
    before = finished_files(project.root)
    publish(project, "lab/plain", tiny_model(tmp_path / "second", "gpt2", seed=1))
    study = project.root / "studies/small.yaml"
    more = "- {measure: copying, options: {n: 2, conditions: [{length: 4}]}}"
    study.write_text(study.read_text().replace("analyses:", f"{more}\nanalyses:"))
    result = transect(project.root, "run", "small")
    assert result.returncode == 2, result.stdout + result.stderr
    assert "plain at main: the weights changed" in result.stderr and result.stderr.count("\n") == 1
    assert finished_files(project.root) == before


def test_plain_snakemake_has_nothing_to_do(done: Path) -> None:
    """The workflow is an ordinary one: `snakemake` after `transect run` finds all done."""
    given = ["-s", str(SHIPPED / "Snakefile"), "-d", str(done), "-n", "--config", "study=tiny"]
    command = children.python("snakemake", *given)
    result = subprocess.run(command, cwd=done, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and "Nothing to be done" in result.stdout + result.stderr, (
        result.stdout + result.stderr
    )


def test_dry_run_imports_no_torch(world: Project) -> None:
    """`snakemake -n` plans without torch and in under 5 s of processor time."""
    code = (
        "import sys\nfrom snakemake.cli import main\ntry:\n    main()\nexcept SystemExit as e:\n    assert not e.code, e.code\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "-s",
        str(SHIPPED / "Snakefile"),
        "-d",
        str(world.root),
        "-n",
        "-q",
        "--config",
        "study=tiny",
    ]
    start = os.times()
    result = subprocess.run(command, cwd=world.root, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    end = os.times()
    assert end.children_user + end.children_system - start.children_user - start.children_system < 5


def test_a_study_runs_once_at_a_time(project: Path) -> None:
    """A second `run` of the same study is refused in one sentence."""
    import fcntl

    with (project / "results/tiny/.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = transect(project, "run", "tiny")
    assert result.returncode == 2 and "is running already" in result.stderr


def test_bad_input_exits_with_2_before_anything_is_computed(world: Project) -> None:
    """An unknown measure: one sentence, code 2, no results."""
    study = world.root / "studies/tiny.yaml"
    study.write_text(study.read_text().replace("measure: copying", "measure: copyng"))
    result = transect(world.root, "run", "tiny")
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "copyng" in result.stderr
    assert not (world.root / "results").exists()


def test_verify_finds_changed_values(project: Path) -> None:
    """`transect verify` reads every cell again: clean at first, then a damaged file is named."""
    assert transect(project, "verify", "tiny").returncode == 0
    file = next((project / "results/store/cells").glob("*/*/*.parquet"))
    content = bytearray(file.read_bytes())
    content[60] ^= 0xFF
    file.write_bytes(content)
    os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))
    result = transect(project, "verify", "tiny")
    assert result.returncode == 1 and "1 damaged" in result.stdout


@pytest.mark.slow
def test_a_disk_that_fills_up_is_told(tmp_path: Path) -> None:
    """While the study runs: one sentence, code 1; with more room the same command goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1300k", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        shutil.copytree(WORLD, disk / "world")
        result = transect(disk / "world", "run", "tiny", "-j", "2")
        assert result.returncode == 1, result.stdout + result.stderr
        assert "the disk is full" in result.stderr and result.stderr.count("\n") == 1
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        result = transect(disk / "world", "run", "tiny", "-j", "2")
        assert result.returncode == 0 and "26 measured" in result.stdout, (
            result.stdout + result.stderr
        )
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_failed_workflow_tells_why(project: Path) -> None:
    """An analysis that is killed: its step, the signal and the log's end; then what follows -- and
    is wrong, before anything runs.
    """
    (project / "analyses").mkdir()
    (project / "analyses/deadly.py").write_text(
        '"""Dies."""\nimport os\nQUESTION = "Does it?"\nNEEDS: list[str] = []\n\n\ndef tables(measurements, registry):\n'
        '    print("so far", flush=True)\n    os.kill(os.getpid(), 9)\n'
    )
    study = project / "studies/tiny.yaml"
    study.write_text(study.read_text().replace("analyses:", "analyses:\n- {analysis: deadly}"))
    result = transect(project, "run", "tiny")
    assert result.returncode == 1
    assert (
        "A job of the step analyse failed (killed by SIGKILL" in result.stdout
        and "deadly.log ends with\n  so far" in result.stdout
    )
    result = transect(project, "run", "tiny", "-j", "1", "--", "--executor", "nothing")
    assert (
        result.returncode == 2
        and "invalid choice: 'nothing'" in result.stderr
        and result.stderr.count("\n") == 1
    )
