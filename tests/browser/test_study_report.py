"""The report that a study really makes, opened in a browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.test_report_browser import browser, page, pytestmark  # noqa: F401  (fixtures; skips without a browser)
from tests.workflow.test_workflow import WORLD, transect


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of the tiny study."""
    folder = tmp_path_factory.mktemp("study") / "world"
    shutil.copytree(WORLD, folder)
    assert transect(folder, "run", "tiny", "-j", "2").returncode == 0
    return (folder / "results/tiny/report.html").as_uri()


def test_report_of_a_study_opens_without_an_error(page: Iterator) -> None:  # noqa: F811
    """The page shows question, grid and figures; the fixture fails on a console error or any
    request.
    """
    assert page.locator("h1").inner_text() == "A tiny world"  # type: ignore[attr-defined]
    assert page.locator("figure svg").count() >= 2  # type: ignore[attr-defined]
    assert Path(page.url.removeprefix("file://")).is_file()  # type: ignore[attr-defined]
