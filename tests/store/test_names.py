"""Names that become folders and files."""

import re

import pytest

from transect.errors import InputError
from transect.registry.suites import Registry, load
from transect.store import names
from transect.store.project import SHIPPED, Project

GOOD = [
    "pythia-14m",
    "a",
    "_x",
    "9",
    "gpt2.v1+x",
    "a.b",
    "x" * 100,
    "console",
    "com10",
    "auxiliary",
]
BAD = [
    *(
        "",
        ".",
        "..",
        "../up",
        "a/../b",
        "/abs",
        "a/b",
        "a\\b",
        "C:x",
        ".hidden",
        "-rf",
        "+x",
        "a..b",
        "a.",
        "a ",
        " a",
    ),
    *(
        "abc\n",
        "a\nb",
        "a\tb",
        "a\0b",
        "modèle",
        "ｅvil",
        "a:b",
        "a*b",
        "~root",
        "$HOME",
        "{wildcards.study}",
        "a b",
        "x" * 101,
    ),
    *("CON", "con.txt", "nul", "Aux.tar.gz", "COM1", "lpt9.x", "a\u202eb", "a\u200bb", "١"),
]


@pytest.mark.parametrize("name", GOOD)
def test_a_plain_name_stands(name: str) -> None:
    """What is one folder on every system is a name and a revision."""
    assert names.check(name, "the run") == name == names.check_revision(name, "the revision")


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_is_no_folder_everywhere_is_refused(name: str) -> None:
    """One sentence with the place, the name, what is allowed, and at most one line."""
    with pytest.raises(InputError) as told:
        names.check(name, "suite.yaml, line 3: the id")
    assert str(told.value).startswith("suite.yaml, line 3: the id ") and "\n" not in str(told.value)
    assert len(str(told.value)) < 400


@pytest.mark.parametrize(
    "revision",
    ["main", "step1000", "stage1-step5000-tokens21B", "refs/pr/1", "0" * 40, "v1.0.1", "a/b/c"],
)
def test_revisions_of_the_hub_stand(revision: str) -> None:
    """Branches, tags, commits and references to proposals."""
    assert names.check_revision(revision, "the revision") == revision


@pytest.mark.parametrize(
    "revision",
    [
        "../../..",
        "refs/../..",
        "/abs",
        "a//b",
        "a/",
        "a/.git",
        "a/CON",
        "main\n",
        "a/b\n",
        "x/" * 51,
        "a/ b",
    ],
)
def test_a_revision_that_leads_elsewhere_is_refused(revision: str) -> None:
    """No part climbs, none is empty or hidden, and the whole is no longer than a name."""
    with pytest.raises(InputError):
        names.check_revision(revision, "the revision")


def test_the_nearest_name_is_offered() -> None:
    """Accents and full width letters are told in ASCII, what is not allowed becomes a hyphen."""
    assert (
        names.nearest_name("ｅvil") == "evil"
        and names.nearest_name("Mein Modèle!") == "Mein-Modele"
    )
    assert names.nearest_name("../../x") == "x" and names.nearest_name("日本") == ""
    with pytest.raises(InputError, match="perhaps 'evil'"):
        names.check("ｅvil", "the id")
    with pytest.raises(InputError, match=re.escape("perhaps 'CON_.txt'")):
        names.check("CON.txt", "the id")


def test_names_that_differ_in_capitals_only_are_one_folder() -> None:
    """The first two that meet on a disk that knows no capitals; a name that comes twice is one
    name.
    """
    assert names.one_folder(["a", "b", "a"]) is None
    assert names.one_folder(["Run", "b", "run"]) == ("Run", "run")


@pytest.fixture(scope="module")
def shipped() -> Registry:
    """The shipped registry."""
    return load(Project(SHIPPED))


def test_every_name_of_the_shipped_registry_stands(shipped: Registry) -> None:
    """2,706 runs or more in 51 suites, and all revisions of their rules."""
    assert len(shipped.runs) >= 2706 and len(shipped.suites) >= 51
    revisions = {
        run.rule.revision_of(step) for run in shipped.runs.values() for step in run.rule.steps
    }
    given = [*shipped.runs, *(suite.name for suite in shipped.suites)]
    assert not [name for name in given if names.fault(name)] + [
        r for r in revisions if names.revision_fault(r)
    ]
