"""What `transect registry check` finds beyond the schema."""

from pathlib import Path

import pytest

from tests.kin_project import OTHER, SMALL, kin_registry
from transect.registry import check
from transect.registry import suites as registry
from transect.store.project import SHIPPED, Project


def told(tmp_path: Path, **suites: str) -> list[str]:
    return [
        s
        for s in check.findings(kin_registry(tmp_path, **suites))
        if "suite small" in s or "suite other" in s
    ]


def test_a_value_without_a_source(tmp_path: Path) -> None:
    """The closed model's fields rest on nothing; its unknown size needs no source."""
    (finding,) = [s for s in told(tmp_path) if "no source" in s]
    assert "architecture, corpus, mixer, model_type, objective in 1 runs" in finding.replace(
        "access, ", ""
    )
    assert "params_total" not in finding


def test_stated_operations_far_from_6nd(tmp_path: Path) -> None:
    """1e6 stated against 6 x 10 x 1000 = 60,000: 17 times as many."""
    assert any("other-64 states 1e+06 operations" in s and "17 times" in s for s in told(tmp_path))
    assert not any(
        "operations" in s for s in told(tmp_path, other=OTHER.replace("1.0e+6", "1.0e+5"))
    )


def test_an_absent_parent(tmp_path: Path) -> None:
    """A run that was trained from one that the registry does not hold."""
    found = told(tmp_path, small=SMALL.replace("parent: small-chat}", "parent: small-caht}"))
    assert any("small-chat-rl was trained from small-caht" in s for s in found)


def test_a_run_that_descends_from_itself(tmp_path: Path) -> None:
    """small-chat was trained from small-chat-rl, which was trained from it."""
    found = told(tmp_path, small=SMALL.replace("parent: small-chat}", "parent: small-chat-rl}"))
    assert any("small-chat-rl was trained from itself" in s for s in found)


def test_an_exclusion_of_nothing(tmp_path: Path) -> None:
    """A misspelt revision excludes nothing, and the defect would be measured."""
    text = SMALL.replace(
        "parent: small-chat}",
        "parent: small-chat, exclude_revisions: [{revision: step9, reason: x}]}",
    )
    assert any("excludes step9, which its rule" in s for s in told(tmp_path, small=text))


def test_a_contrast_that_is_not_clean(tmp_path: Path) -> None:
    """Called clean, and sizes differ as well."""
    found = told(tmp_path, small=SMALL.replace(", by: [d_model]", ""))
    assert any(
        "corpus_small" in s and "is called clean, and these differ as well: size" in s
        for s in found
    )


@pytest.mark.parametrize(
    "finding",
    ["no source", "is called clean", "not declared", "no field differs", "was trained from"],
)
def test_the_shipped_registry(finding: str) -> None:
    """Every value has a source, and contrasts are what they say they are."""
    assert not [s for s in check.findings(registry.load(Project(SHIPPED))) if finding in s]
