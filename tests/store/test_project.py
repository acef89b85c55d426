"""Where things lie."""

import os
from pathlib import Path

import pytest

from tests.shelf import tiny_model
from transect.cli import main
from transect.errors import InputError
from transect.jobs.workflow import runner
from transect.store import project, units
from transect.store.project import SHIPPED, Project, find_project
from transect.study import study_file as studies


def test_project_is_found_from_inside(world) -> None:  # type: ignore[no-untyped-def]
    """A folder below transect.yaml belongs to that project; its own units come before the shipped
    ones.
    """
    inside = world.root / "studies"
    assert find_project(inside).root == world.root
    assert find_project(inside).roots == (world.root, SHIPPED)


def test_repository_is_a_project() -> None:
    """Inside the repository the project is the repository itself."""
    assert find_project(SHIPPED / "tests").roots == (SHIPPED,)


def test_settings_and_environment(world, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """A setting names the store and the mirror; the environment wins over it."""
    (world.root / "transect.yaml").write_text("store: scratch\nmirror: /data\n")
    assert find_project(world.root).store == world.root / "scratch"
    monkeypatch.setenv("TRANSECT_STORE", "/elsewhere")
    assert find_project(world.root).store == Path("/elsewhere")


def test_unknown_setting_is_told(world) -> None:  # type: ignore[no-untyped-def]
    """A misspelt setting is answered with the nearest."""
    (world.root / "transect.yaml").write_text("stor: x\n")
    with pytest.raises(InputError, match="unknown setting 'stor'.*Did you mean 'store'"):
        find_project(world.root)


def test_init_makes_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`transect init DIR` makes a folder that is found as a project, with no setting on; a second
    time it refuses.
    """
    assert main.main(["init", str(tmp_path / "mine")]) == 0
    assert find_project(tmp_path / "mine" / "studies").root == tmp_path / "mine"
    assert find_project(tmp_path / "mine").settings == {}
    assert main.main(["init", str(tmp_path / "mine")]) == 2


def with_measure(folder: Path, ran: Path) -> Path:
    """A folder with a measure that hides the shipped one of its name, and tells by a file that it
    was run.
    """
    (folder / "measures").mkdir(parents=True)
    shipped = (SHIPPED / "src/transect/measures/behaviour/minimal_pair.py").read_text()
    (folder / "measures/minimal_pair.py").write_text(
        shipped + f"\n\nopen({str(ran)!r}, 'a').write('x')\n"
    )
    (folder / "pairs.csv").write_text("sentence_good,sentence_bad\nthe cat sat,the cat mat\n")
    return folder


def measured(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What `transect measure` in a folder says on stderr; it succeeds."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(project, "_told", set())
    given = [
        "measure",
        str(model),
        "--measure",
        "minimal_pair",
        "--stimuli",
        "pairs.csv",
        "--out",
        "r.csv",
    ]
    code = main.main(given)
    told = capsys.readouterr().err
    assert code == 0 and (folder / "r.csv").is_file(), told
    return told


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"), "gpt2")


def test_a_folder_that_is_no_project_runs_nothing_of_its_own(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A downloaded data set with measures/: the shipped measure is taken, and it is told that the
    folder's is not read.
    """
    folder = with_measure(tmp_path / "data set", tmp_path / "RAN")
    told = measured(folder, model, monkeypatch, capsys)
    assert (
        "is no project" in told
        and "so measures/ in it is not read" in told
        and not (tmp_path / "RAN").exists()
    )


def test_a_project_says_that_its_unit_hides_a_shipped_one(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With transect.yaml in the folder it is run, with one line."""
    folder = with_measure(tmp_path / "mine", tmp_path / "RAN")
    (folder / "transect.yaml").write_text("")
    told = measured(folder, model, monkeypatch, capsys)
    assert (
        told.count("in the place of the shipped one") == 1
        and str(folder / "measures/minimal_pair.py") in told
    )
    assert (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    "fault",
    [
        "another user's file",
        "another user's folder",
        "a folder for everybody",
        "a file for everybody",
    ],
)
def test_a_parent_that_may_be_anothers_has_no_effect(
    fault: str,
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """/tmp/transect.yaml: neither its units nor its settings are used, and one sentence says why."""
    parent = with_measure(tmp_path / "shared", tmp_path / "RAN")
    settings = parent / "transect.yaml"
    settings.write_text("store: elsewhere\n")
    place = parent if "folder" in fault else settings
    if "another" in fault:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file to another user")
        os.chown(place, 12345, 12345)
    else:
        place.chmod(0o777)
    folder = parent / "below"
    folder.mkdir()
    (folder / "pairs.csv").write_text((parent / "pairs.csv").read_text())
    told = measured(folder, model, monkeypatch, capsys)
    reason = "it belongs to another user" if "another" in fault else "everybody may write there"
    assert f"{settings} is not used: {reason}" in told and told.count("is not used") == 1
    assert not (tmp_path / "RAN").exists() and find_project(folder).settings == {}


def test_a_project_in_a_folder_for_everybody_must_be_ones_own(tmp_path: Path) -> None:
    """Standing in /tmp itself: only a transect.yaml of one's own makes it a project; a colleague's
    folder that others may not write is one.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    settings = tmp_path / "transect.yaml"
    settings.write_text("")
    tmp_path.chmod(0o1777)
    assert find_project(tmp_path).has_own
    os.chown(settings, 12345, 12345)
    assert not find_project(tmp_path).has_own
    tmp_path.chmod(0o755)
    assert find_project(tmp_path).has_own


@pytest.mark.parametrize(
    "kind", ["studies", "model_registry", *(own for own, _, _ in units.KINDS.values())]
)
def test_every_kind_of_own_unit_needs_a_project(kind: str, tmp_path: Path) -> None:
    """Neither code nor facts are read of a plain folder; with transect.yaml they are."""
    (tmp_path / kind).mkdir(parents=True)
    (tmp_path / kind / "mine.py").write_text("")
    (tmp_path / kind / "mine.yaml").write_text("")

    def found(where: Project) -> bool:
        if kind in ("studies", "model_registry"):
            return any((root / kind / "mine.yaml").is_file() for root in where.roots)
        return any(
            "mine" in units.available(k, where)
            for k, (own, _, _) in units.KINDS.items()
            if own == kind
        )

    assert not found(find_project(tmp_path))
    (tmp_path / "transect.yaml").write_text("")
    assert found(find_project(tmp_path))


def test_a_profile_of_a_folder_that_is_no_project_is_not_used(world, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A profile of Snakemake may run commands: the project's own is taken, else the shipped one,
    never that of the current folder.
    """
    study = studies.load("tiny", world)
    assert str(SHIPPED / "profiles/default") in runner.snakemake(study, 1)
    (world.root / "profiles/default").mkdir(parents=True)
    assert str(world.root / "profiles/default") in runner.snakemake(study, 1)


def test_a_suite_is_added_to_projects_only(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a plain folder it would not be read: the sentence says how to make it a project."""
    monkeypatch.chdir(tmp_path)
    assert main.main(["registry", "add", str(model), "--suite", "mine"]) == 2
    assert (
        "is no project" in (told := capsys.readouterr().err) and f"transect init {tmp_path}" in told
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("cores: x", "cores is 'x'; it must be a whole number of at least 1"),
        ("cores: -1", "cores is .-1."),
        ("cores: true", "cores is 'True'"),
        ("cores: 1.5", "cores is '1.5'"),
        ("keep_weights: 'no'", "keep_weights is 'no'; it must be true or false"),
        ("store: [a]", "store is .*it must be the path of a folder"),
        ("mirror: 7", "mirror is '7'"),
        ("[", "transect.yaml"),
        ("- a", "expected settings"),
        ("a: b: c", "transect.yaml"),
    ],
)
def test_malformed_settings_are_told(settings: str, told: str, tmp_path: Path) -> None:
    """By the file, the setting, what it is and what it may be."""
    (tmp_path / "transect.yaml").write_text(settings)
    with pytest.raises(InputError, match=told):
        find_project(tmp_path)


@pytest.mark.parametrize(
    "place", ["mine", "mine/measures", "mine/analyses/figures", "mine/studies"]
)
def test_init_with_a_file_in_the_way(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where the folder, or one within it, must be: one sentence with its name, the file is
    left alone, no project is made.
    """
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("kept")
    assert main.main(["init", str(tmp_path / "mine")]) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path / place} is no folder" in told and told.count("\n") == 1
    assert (tmp_path / place).read_text() == "kept" and not (
        tmp_path / "mine/transect.yaml"
    ).exists()
