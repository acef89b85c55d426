"""The report in a browser, as its reader has it: opened from a file, offline, driven by mouse and
keys, printed.
"""

import csv
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from transect.report.page import Figure, ReportData, render

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the Python package playwright is not installed"
)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on PATH"),
]


@pytest.fixture(scope="module")
def address(report_data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("results") / "report.html"
    render(report_data, path)
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser, address: str) -> Iterator:
    """The opened page; the test fails on any console error, page error or request beyond the file
    itself.
    """
    context = browser.new_context(viewport={"width": 1400, "height": 900}, accept_downloads=True)
    page, wrong = context.new_page(), []
    page.on(
        "console",
        lambda m: wrong.append(f"console: {m.text}") if m.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
    # what the page makes itself (data:, blob:) leaves nothing and fetches nothing
    local = (address, "data:", "blob:")
    page.on(
        "request",
        lambda r: wrong.append(f"request: {r.url}") if not r.url.startswith(local) else None,
    )
    page.goto(address)
    yield page
    context.close()
    assert not wrong


@pytest.mark.parametrize("width", [1400, 768, 480, 320])
def test_nothing_hangs_over_the_edge(page, width: int) -> None:
    """At any width the page scrolls downwards only: wide tables and figures scroll in their own
    boxes.
    """
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_lines_are_not_too_long(page) -> None:
    """On a wide screen no paragraph of several lines has more than 85 characters a line."""
    script = """Array.from(document.querySelectorAll('section p, figcaption, .summary li'))
        .map(p => [p.textContent.length, p.clientHeight / parseFloat(getComputedStyle(p).lineHeight)])
        .filter(([n, lines]) => lines > 1.5).map(([n, lines]) => n / Math.round(lines))"""
    assert max(page.evaluate(script)) <= 85


def test_sort_marks_its_column_and_keeps_gaps_last(page) -> None:
    """Ascending, descending, as it was; rows without a value are last both ways, and aria-sort says
    which.
    """
    head = page.locator("#learning-curves th").nth(5)
    first = page.locator("#learning-curves tbody tr").first.locator("td").nth(5)
    for state, text in (("ascending", "0"), ("descending", "1488")):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == state
        assert first.inner_text() == text
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None


def test_numbers_sort_by_their_full_value(page) -> None:
    """The sorted column ascends by what stands behind the cells, not by the shortened text."""
    page.locator("#learning-curves th").nth(4).get_by_role("button").click()
    values = page.locator("#learning-curves tbody").evaluate(
        "b => [...b.rows].map(r => Number(r.cells[4].title))"
    )
    assert len(values) == 3087 and values == sorted(values)


def test_filter_understands_words_and_comparisons(page, report_data: ReportData) -> None:
    """Words and column>number select the rows that pandas selects, and the CSV holds these rows
    with full values.
    """
    page.locator("#learning-curves .filter").fill("mamba2 step>=1200 agreement<0.999")
    frame = report_data.sections[1].tables["learning_curves"]
    wanted = frame[
        frame["run"].str.contains("mamba2") & (frame["step"] >= 1200) & (frame["agreement"] < 0.999)
    ]
    with page.expect_download() as download:
        page.locator("#learning-curves .csv").click()
    rows = list(
        csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8")))
    )
    assert [row["run"] for row in rows] == list(wanted["run"])
    assert [float(row["agreement"]) for row in rows] == list(wanted["agreement"])
    assert (
        f"{len(wanted)} of 3087 rows match"
        in page.locator("#learning-curves .rows-shown").inner_text()
    )


def test_long_tables_start_short(page) -> None:
    """200 of 3,087 rows are shown, all of them on request, and sorting them all takes less than a
    second.
    """
    shown = "b => [...b.rows].filter(r => r.offsetParent !== null).length"
    body = page.locator("#learning-curves tbody")
    assert body.evaluate(shown) == 200
    page.locator("#learning-curves .show-all").click()
    assert body.evaluate(shown) == 3087
    script = "t => { const s = performance.now(); t.querySelectorAll('th button')[3].click(); return performance.now() - s }"
    assert page.locator("#learning-curves").evaluate(script) < 1000


def test_grid_by_keyboard(page) -> None:
    """One tab stop; arrows move; Enter opens the details, Escape closes them and gives the focus
    back.
    """
    squares = page.locator(".grid .square[tabindex='0']")
    assert squares.count() == 1
    squares.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label.startswith(
        "mini-parallel-d32-svo-fresh-s1, minimal_pair on agreement_attractor: 10 of 10"
    )
    assert page.locator("#tip").is_visible()
    page.keyboard.press("Enter")
    assert page.locator("#details").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#details").is_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == label


def test_a_failed_square_tells_why(page) -> None:
    """Its details hold the whole error as text, and the checkpoint that failed apart from the nine
    that did not.
    """
    page.locator(".square.failed").click()
    details = page.locator("#details")
    assert 'ValueError: <mask> & "pad" are one' in details.locator("pre").inner_text()
    assert details.locator(".steps").first.inner_text().split() == ["1000"]
    assert details.locator(".steps").last.locator("li").count() == 9


def test_grid_shows_only_holes_on_request(page) -> None:
    """Two runs with missing and one with failed cells remain; not applicable is no hole to repair."""
    page.locator("#grid-holes").check()
    assert page.locator(".grid tr.run:visible").count() == 3


def test_states_differ_without_colour(page) -> None:
    """Each of the four states has a glyph of its own in the grid."""
    kinds = ["measured", "not-applicable", "missing", "failed"]
    glyphs = {page.locator(f".square.{kind}").first.inner_text()[0] for kind in kinds}
    assert len(glyphs) == 4


@pytest.mark.parametrize(("kind", "start"), [("svg", b"<svg"), ("png", b"\x89PNG")])
def test_figures_can_be_taken_away(page, kind: str, start: bytes) -> None:
    """SVG and PNG are made in the page; the PDF beside it is linked."""
    with page.expect_download() as download:
        page.locator(f"#f1 .downloads .{kind}").click()
    assert download.value.suggested_filename == f"forest.{kind}"
    assert Path(download.value.path()).read_bytes().startswith(start)
    assert re.fullmatch(
        r"\.\./.*figures/forest\.pdf", page.locator("#f1 .downloads a").get_attribute("href")
    )


def test_print_shows_all_rows_and_no_controls(page, tmp_path: Path) -> None:
    """On paper: every row, even filtered ones, none of the controls; the PDF is written."""
    page.locator("#learning-curves .filter").fill("mamba2")
    page.emulate_media(media="print")
    assert page.locator("#learning-curves tbody tr:visible").count() == 3087
    assert (
        page.locator(
            "button:visible:not(.square):not(th button), input:visible, nav:visible"
        ).count()
        == 0
    )
    pdf = page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    assert pdf.startswith(b"%PDF") and len(pdf) > 100_000


def test_everything_has_a_name(page) -> None:
    """Controls, tables, figures and regions have accessible names; there is one main landmark and
    one first heading.
    """
    script = """kinds => [...document.querySelectorAll(kinds)]
        .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length
            || document.getElementById(e.getAttribute('aria-labelledby'))?.textContent))
        .map(e => e.outerHTML.slice(0, 80))"""
    assert (
        page.evaluate(
            script, "button, input, table, section, nav, dialog, [role=img], [role=region]"
        )
        == []
    )
    assert page.locator("main").count() == 1 and page.locator("h1").count() == 1


def test_text_stands_out(page) -> None:
    """Every text has a contrast of at least 4.5 to the nearest background colour behind it (WCAG
    2.2 AA).
    """
    script = """() => {
      const numbers = c => c.match(/[\\d.]+/g).map(Number);
      const light = c => numbers(c).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const behind = e => { while (e && numbers(getComputedStyle(e).backgroundColor)[3] === 0) e = e.parentElement;
        return e ? getComputedStyle(e).backgroundColor : 'rgb(255, 255, 255)' };
      const low = [];
      for (const e of document.querySelectorAll('body *:not(svg *):not(script)')) {
        if (!e.offsetParent || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) low.push(e.outerHTML.slice(0, 90));
      }
      return low }"""
    assert page.evaluate(script) == []


def test_an_empty_study_opens(browser, tmp_path: Path) -> None:
    """No claims, no cells, no sections: the page says so without an error."""
    frame = pd.DataFrame
    columns = {
        "run": [],
        "measure": [],
        "stimuli": [],
        "entry": [],
        "revision": [],
        "step": [],
        "state": [],
        "reason": [],
        "error": [],
    }
    names = ["claim", "verdict", "estimate", "lower", "upper", "units", "reason"]
    runs = frame([{"run": "r1", "role": "population"}])
    render(
        ReportData("n", "t", "q", frame(columns=names), runs, frame(columns)),
        tmp_path / "report.html",
    )
    page, wrong = browser.new_page(), []
    page.on("console", lambda m: wrong.append(m.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto((tmp_path / "report.html").as_uri())
    assert page.get_by_text("states no claims").is_visible()
    page.close()
    assert not wrong


def test_without_script_the_page_is_whole(browser, address: str) -> None:
    """With scripting off all rows are there and no dead control is shown."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#learning-curves tbody tr:visible").count() == 3087
    assert (
        page.locator(".table-tools:visible, .copy:visible, .downloads button:visible").count() == 0
    )
    context.close()


HOSTILE = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:h="http://www.w3.org/1999/xhtml" viewBox="0 0 9 9" '
    'style="position:fixed;top:0;left:0;width:100vw;height:100vh" onload="document.title=1"><script>document.title=1</script>'
    '<h:img src="https://127.0.0.1:9/a.png" onerror="document.title=1"/><h:style>body{display:none}</h:style>'
    '<h:meta http-equiv="refresh" content="0;https://127.0.0.1:9/b"/><h:form action="https://127.0.0.1:9/c"><h:input/></h:form>'
    "<style>@import 'https://127.0.0.1:9/d.css'; ~ p{visibility:hidden} rect{fill:\\75rl(https://127.0.0.1:9/e)}</style>"
    '<foreignObject width="9" height="9"><h:iframe src="https://127.0.0.1:9/f"/></foreignObject>'
    '<rect width="9" height="9" style="fill: image-set(\'https://127.0.0.1:9/g\' 1x)"/><image href="https://127.0.0.1:9/h.png" width="9" height="9"/></svg>'
)


def test_a_hostile_figure_stays_in_its_frame(
    browser, report_data: ReportData, tmp_path: Path
) -> None:
    """It runs nothing, fetches nothing, hides nothing, and lies where a figure lies: within the
    column of the page.
    """
    (tmp_path / "f.svg").write_text(HOSTILE)
    section = replace(report_data.sections[0], figures=[Figure(tmp_path / "f", "A figure.")])
    render(replace(report_data, sections=[section]), tmp_path / "report.html")
    page, wrong = browser.new_page(viewport={"width": 1280, "height": 900}), []
    page.on("console", lambda m: wrong.append(m.text))
    page.on(
        "request",
        lambda r: wrong.append(r.url) if not r.url.startswith(("file:", "data:")) else None,
    )
    page.goto((tmp_path / "report.html").as_uri())
    title = page.title()
    page.wait_for_timeout(300)
    box, frame = (page.locator(name).first.bounding_box() for name in ("figure svg", "figure"))
    assert (
        page.title() == title != "1" and page.get_by_text(report_data.question).first.is_visible()
    )
    assert (
        frame["x"] - 1 <= box["x"]
        and box["x"] + box["width"] <= frame["x"] + frame["width"] + 1 < 1280
    )
    page.close()
    assert not wrong
