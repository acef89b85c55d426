"""The commands that compute nothing, and what the program does with any command line."""

import importlib.metadata
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from transect.cli import main
from transect.store.project import Project


def test_list_by_property(capsys: pytest.CaptureFixture[str]) -> None:
    """`registry list --where` prints the runs that satisfy the query, as JSON too."""
    assert (
        main.main(
            [
                "registry",
                "list",
                "--json",
                "--where",
                "suite == 'pythia' and d_model == 512 and seed == 3",
            ]
        )
        == 0
    )
    assert [r["id"] for r in json.loads(capsys.readouterr().out)] == ["pythia-70m-seed3"]


def test_bad_query_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown factor: one sentence on stderr, code 2."""
    assert main.main(["registry", "list", "--where", "d_modle == 512"]) == 2
    assert "Did you mean 'd_model'" in capsys.readouterr().err


def test_show_names_the_nearest_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt run is answered with the nearest."""
    assert main.main(["registry", "show", "pythia-70"]) == 2
    assert "Did you mean 'pythia-" in capsys.readouterr().err


def test_show_tells_excluded_revisions(capsys: pytest.CaptureFixture[str]) -> None:
    """Known defects are part of what is shown."""
    assert main.main(["registry", "show", "pythia-2.8b"]) == 0
    assert "excluded" in capsys.readouterr().out


def test_check_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """`registry check` says what it read."""
    assert main.main(["registry", "check"]) == 0
    assert "no errors" in capsys.readouterr().out


def test_plan_counts_cells_and_costs(world: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """`plan` knows cells, loads, training and disk before anything is computed."""
    assert main.main(["plan", "tiny", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cells"], told["runs_to_train"], told["checkpoints_to_load"]) == (26, 5, 13)
    assert told["cpu_hours"] >= 0 and told["download_gb"] == 0
    assert not (world.root / "results").exists()


def test_plan_of_the_shipped_studies_needs_no_network(capsys: pytest.CaptureFixture[str]) -> None:
    """The study for a connected machine is planned offline: bytes to download are known from the
    registry.
    """
    assert main.main(["plan", "suites", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["download_gb"] > 1


def test_measures_are_listed_without_torch() -> None:
    """`transect measures`: what each is, its columns, options with defaults, metrics with units;
    torch is not imported.
    """
    code = "import sys; from transect.cli.main import main; main(['measures']); assert 'torch' not in sys.modules"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "stimuli  sentence_good, sentence_bad" in told and "bos='auto', context=''" in told
    assert (
        "conditions (needed, e.g. [{length: 32, gap: 0}])" in told
        and "recovery (share of clean - corrupted)" in told
    )


def test_one_measure_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    """`transect measures NAME --json` has the texts of the file too; an unknown name is answered
    with the nearest.
    """
    assert main.main(["measures", "surprisal", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["options"] == {"bos": "'auto'", "regions": "None", "corrected": "True"} and told[
        "stimuli"
    ] == ["text"]
    assert "Pimentel" in told["text"] and "Two rows per word" in told["rows"]
    assert (
        main.main(["measures", "surprise"]) == 2
        and "unknown measure 'surprise'" in capsys.readouterr().err
    )


def test_contrasts_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, factor, kind, and what differs as well."""
    assert main.main(["registry", "contrasts", "--json"]) == 0
    found = {row["contrast"]: row for row in json.loads(capsys.readouterr().out)}
    assert (
        found["mamba_pythia"]["factor"] == "architecture"
        and "tokenizer" in found["mamba_pythia"]["also"]
    )


def test_the_tree_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Class, family, suite."""
    assert main.main(["registry", "tree", "--where", "suite == 'mamba'"]) == 0
    assert capsys.readouterr().out.split()[0] == "state-space"


def test_languages_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """With family, type and the number of runs."""
    assert (
        main.main(
            ["registry", "languages", "--where", "language == 'tur' and suite == 'hplt'", "--json"]
        )
        == 0
    )
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["iso"], found["family"], found["runs"]) == ("tur", "Turkic", 1)


def test_a_list_as_csv(capsys: pytest.CaptureFixture[str]) -> None:
    """One row per run, a column per factor."""
    import io

    import pandas as pd

    assert main.main(["registry", "list", "--where", "suite == 'mamba'", "--csv"]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert {"run", "params_total", "mixer", "configuration"} <= set(table) and (
        table["suite"] == "mamba"
    ).all()


@pytest.mark.parametrize(
    "arguments",
    [
        [
            "measure",
            "https://user:S3CRET@h.example/org/m",
            "--measure",
            "induction",
            "--out",
            "r.csv",
        ],
        ["measure", "https://h.example/m?token=S3CRET", "--measure", "induction", "--out", "r.csv"],
        ["run", "https://user:S3CRET@h.example/study.yaml"],
        ["fit", "https://user:S3CRET@h.example/t.csv", "y ~ x"],
        ["gstudy", "https://h.example/t.csv?api-key=S3CRET", "--score", "y", "--object", "a"],
        ["verify", "small", "https://h.example/s.yaml?api-key=S3CRET"],
        ["https://user:S3CRET@h.example/"],
        ["fit", "t.csv", "y ~ x", "--https://user:S3CRET@h.example/=1"],
        ["fit", "t.csv", "y ~ x", "--family", "https://h.example/?token=S3CRET"],
        ["plan", "small", "--effect", "https://h.example/?token=S3CRET"],
    ],
)
def test_an_error_repeats_no_secret(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An address in the place of a model, a study or a table is told without its password or key."""
    assert main.main(arguments) == 2
    told = capsys.readouterr().err
    assert "S3CRET" not in told and "transect" in told


def test_a_project_is_not_made_through_a_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A settings file that is a link which leads nowhere: one sentence, and nothing is made where
    it leads.
    """
    (tmp_path / "s").mkdir()
    (tmp_path / "s/transect.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    assert main.main(["init", str(tmp_path / "s")]) == 2
    assert (
        "is a project already" in capsys.readouterr().err
        and not (tmp_path / "elsewhere.yaml").exists()
    )


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """`transect --version`: what the installed package's metadata say."""
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"transect {importlib.metadata.version('transect')}\n"


@pytest.mark.parametrize("given", [[], ["registry"]])
def test_without_a_command_the_commands_are_named(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence on stderr, nothing on stdout, code 2."""
    assert main.main(given) == 2
    out, err = capsys.readouterr()
    assert out == "" and f"`{' '.join(['transect', *given])}` needs a command: " in err


def test_options_stand_before_or_after_the_arguments() -> None:
    """The parser reads the same command in both orders, an option of a list as often as given."""
    orders = (
        ["fit", "t.csv", "y ~ x", "--means", "a", "-n", "200", "--means=b"],
        ["fit", "--means", "a", "-n200", "--means", "b", "t.csv", "y ~ x"],
    )
    first, second = (_bound(words) for words in orders)
    assert first == second
    assert first["more"].means == ("a", "b") and first["more"].n == 200


def test_what_follows_two_dashes_is_for_snakemake() -> None:
    """Also what looks like an option of `run`; options of `run` stand before or after the study."""
    given = ["run", "-j", "2", "small", "--csv", "--", "-j", "9", "--", "x"]
    command = inspect.getclosurevars(main.read(given, main.program())).nonlocals
    assert command["more"] == {"snakemake_arguments": ("-j", "9", "--", "x")}
    assert command["bound"].arguments["cores"] == 2 and command["bound"].arguments["csv"]


def test_the_last_of_a_repeated_option_counts() -> None:
    """As everywhere in shells; a number below zero is a value, not an option."""
    assert _bound(["plan", "s", "--effect", "1", "--effect", "-0.5"])["question"].effect == -0.5


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["fit", "t", "f", "--of", "run"], ["fit", "t", "f", "--relatedness-column", "run"]),
        (["gstudy", "t", "d", "--wish", "phi=1"], ["gstudy", "t", "d", "--target", "phi=1"]),
    ],
)
def test_both_names_of_an_option_are_read(first: list[str], second: list[str]) -> None:
    """The option's new name and the one that errors and older scripts use."""
    assert _bound(first) == _bound(second) != _bound(first[:3])


def test_a_command_imports_its_own_room_only() -> None:
    """`registry list` reads no command on tables or models, no torch and no rich."""
    code = (
        "import sys; from transect.cli.main import main; main(['registry', 'list']);"
        "assert not {'torch', 'rich.console', 'transect.cli.table.commands',"
        " 'transect.cli.model.commands'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def _bound(words: list[str]) -> dict[str, Any]:
    command = main.read(words, main.program())
    return dict(inspect.getclosurevars(command).nonlocals["bound"].arguments)
