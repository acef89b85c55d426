"""The report page: what it says, that it says all of it, and that nothing in it can act."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from transect.report.claims import claims_view
from transect.report.page import Figure, ReportData, Section, Table, render
from transect.report.svg import inline_svg
from transect.report.tables import count, decimals_of_interval, header, number, number_cells

NASTY = "</script></style></textarea><!--<img src=x onerror=alert(1)> & \"quoted\" 'run' {{7*7}} {% raw %} --> ]]>"
FILE = "<img src=x onerror=alert(1)> \"quoted\" 'run' {{7*7}}"
CLAIM = {
    "claim": "A <b>claim</b>",
    "verdict": "supported",
    "estimate": 0.71,
    "lower": 0.6,
    "upper": 0.82,
}
CLAIM |= {"units": "11 runs in 4 families", "reason": NASTY}
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'
    "<metadata><date>2026-11-20T10:00:00</date></metadata><style>*{stroke-linejoin: round}</style>"
    '<defs><clipPath id="p1a2"><rect width="3" height="3"/></clipPath><path id="m9" d="M 0 0"/></defs>'
    '<g clip-path="url(#p1a2)" style="fill: url(#m9)" onclick="alert(1)"><use xlink:href="#m9"/>'
    "<text>a &lt; b</text></g>"
    '<image xlink:href="https://example.org/x.png"/><script>alert(1)</script></svg>'
)


def cells(**changes: object) -> dict:
    cell = {
        "run": "r1",
        "measure": "minimal_pair",
        "stimuli": "agreement",
        "entry": "",
        "revision": "step0",
        "step": 0,
    }
    return cell | {"state": "measured", "reason": None, "error": None} | changes


def report(**changes: object) -> ReportData:
    grid = [cells(step=s, revision=f"step{s}") for s in range(3)]
    grid += [
        cells(
            measure="induction",
            stimuli="",
            state="not applicable",
            reason="needs attention; this model has none",
        )
    ]
    data = ReportData(
        name="tiny",
        title="A title",
        question="A question?",
        claims=pd.DataFrame([CLAIM]),
        registry=pd.DataFrame(
            [{"run": "r1", "role": "population", "suite": "s"}, {"run": NASTY, "role": "held_out"}]
        ),
        grid=pd.DataFrame(grid),
    )
    return replace(data, **changes)


def page(tmp_path: Path, **changes: object) -> str:
    render(report(**changes), tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_same_inputs_same_bytes(tmp_path: Path) -> None:
    """Two renders of one study are byte-identical, and leave no partial file."""
    (tmp_path / "f.svg").write_text(SVG)
    changes = {
        "sections": [
            Section(
                "S", figures=[Figure(tmp_path / "f", "c")], tables={"t": pd.DataFrame({"a": [1.5]})}
            )
        ]
    }
    assert page(tmp_path, **changes) == page(tmp_path, **changes)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.svg", "report.html"]


def test_every_text_is_escaped(tmp_path: Path) -> None:
    """A text with markup in any place adds no element and no event handler."""
    table = Table(pd.DataFrame({NASTY: [NASTY, "b"]}), NASTY, {NASTY: NASTY})
    odd = dict.fromkeys(("run", "measure", "stimuli", "entry", "revision"), NASTY)
    grid = pd.DataFrame(
        [
            cells(**odd),
            cells(run=NASTY, state="failed", error=NASTY),
            cells(run=NASTY, step=1, state="missing", reason=NASTY),
            cells(run=NASTY, measure=NASTY, state="not applicable", reason=NASTY),
        ]
    )
    (tmp_path / f"{FILE}.svg").write_text(SVG)
    figures = [Figure(tmp_path / FILE, NASTY, NASTY, [NASTY])]
    claims = pd.DataFrame(
        [CLAIM | dict.fromkeys(("claim", "units", "reason", "unit", "sentence"), NASTY)]
    )
    runs = pd.DataFrame([{"run": NASTY, "role": "population", "suite": NASTY, NASTY: NASTY}])
    text = page(
        tmp_path,
        name=NASTY,
        title=NASTY,
        question=NASTY,
        summary=[NASTY],
        grid=grid,
        not_sampled=NASTY,
        design={"residual_df": {NASTY: 3}, "aliases": [NASTY], NASTY: NASTY},
        claims=claims,
        registry=runs,
        population_figures=figures,
        sections=[Section(NASTY, NASTY, NASTY, figures, tables={NASTY: table})],
        provenance={NASTY: {NASTY: NASTY}, "t": table, "s": NASTY},
    )
    tags = Elements(text).tags
    assert not {"img", "textarea", "iframe", "object"} & {tag for tag, _ in tags}
    assert "{{7*7}}" in text
    assert not [a for _, attributes in tags for a in attributes if a.startswith("on")]
    assert sum(tag == "script" for tag, _ in tags) == 2
    assert (
        sum(tag == "style" for tag, _ in tags) == 2 + 2
    )  # the page's own, with and without script, and one in each figure


def test_nothing_is_fetched(tmp_path: Path) -> None:
    """No element has an address outside the page, and the policy in the head forbids all fetching."""
    (tmp_path / "f.svg").write_text(SVG)
    tags = Elements(
        page(tmp_path, sections=[Section("S", figures=[Figure(tmp_path / "f", "c")])])
    ).tags
    addresses = [v for _, a in tags for k, v in a.items() if k in ("href", "src", "xlink:href")]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    policy = next(a["content"] for tag, a in tags if tag == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_ids_are_unique_and_links_arrive(tmp_path: Path) -> None:
    """No id occurs twice, even with two copies of a figure and sections of one name; every # link
    has its target.
    """
    (tmp_path / "f.svg").write_text(SVG)
    section = Section(
        "Claims", figures=[Figure(tmp_path / "f", "c")], tables={"runs": pd.DataFrame({"a": [1]})}
    )
    tags = Elements(page(tmp_path, sections=[section, section], provenance={"runs": {"a": 1}})).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for _, a in tags if str(a.get("href", "")).startswith("#")} <= set(ids)


def test_svg_is_made_local() -> None:
    """Ids and references are renamed together; dates, scripts, handlers and outside links are gone;
    style is scoped.
    """
    svg = inline_svg(SVG, "f7")
    assert 'clip-path="url(#f7-1)"' in svg and 'href="#f7-2"' in svg and "fill: url(#f7-2)" in svg
    assert "#f7-svg *{stroke-linejoin: round}" in svg
    assert "a &lt; b" in svg
    assert not re.search(r"2026|script|onclick|example\.org|xlink", svg)


def test_random_ids_leave_no_trace() -> None:
    """Matplotlib draws new random ids each time: the embedded figure is the same."""
    assert inline_svg(SVG, "f1") == inline_svg(
        SVG.replace("p1a2", "p77c").replace("m9", "mZZ"), "f1"
    )


def figure(inside: str = "", root: str = "", namespaces: str = "") -> str:
    """What is left of an SVG with this inside, or with these attributes of its root."""
    return inline_svg(
        f'<svg xmlns="http://www.w3.org/2000/svg" {namespaces} {root}>{inside}</svg>', "f1"
    )


@pytest.mark.parametrize(
    "inside",
    [
        "<script>X</script>",
        "<foreignObject><p xmlns='http://www.w3.org/1999/xhtml'>X</p></foreignObject>",
        "<h:img xmlns:h='http://www.w3.org/1999/xhtml' src='X'/>",
        "<h:meta xmlns:h='http://www.w3.org/1999/xhtml' http-equiv='refresh' content='0;X'/>",
        "<h:form xmlns:h='http://www.w3.org/1999/xhtml' action='X'><h:input/></h:form>",
        "<h:style xmlns:h='http://www.w3.org/1999/xhtml'>body{display:none}X</h:style>",
        "<script xmlns='http://www.w3.org/1999/xhtml'>X</script>",
        "<a href='X'><text>X</text></a>",
        "<animate attributeName='href' to='X'/>",
        "<animateTransform attributeName='X'/>",
        "<set attributeName='onclick' to='X'/>",
        "<iframe src='X'/>",
        "<image href='https://X'/>",
        "<image href='data:image/svg+xml;base64,X'/>",
        "<image href='data:text/html,X'/>",
        "<use href='https://X#a'/>",
        "<use href='#X'/>",
        "<use href='javascript:X'/>",
        "<g onload='X'/>",
        "<g ONCLICK='X'/>",
        "<g data-x='X'/>",
        "<g filter='url(https://X)'/>",
        "<g fill='url(https://X)'/>",
        "<g fill='u\\72l(https://X)'/>",
        "<g style='fill: url(https://X)'/>",
        "<g style='fill: \\75rl(https://X)'/>",
        "<g style='fill: URL( X )'/>",
        "<g style='fill: image-set(\"X\" 1x)'/>",
        "<g style='fill: ur/**/l(X)'/>",
        "<g style='background: url(#a), X'/>",
        "<g style='position: fixed; X: 1'/>",
        "<g style='fill: red; width: 100vw; transform: X'/>",
        "<style>@import 'X';</style>",
        "<style>@import url(X)</style>",
        "<style>@font-face{src: url(X)}</style>",
        "<style>@media all{X{fill: red}}</style>",
        "<style>p ~ X{fill: red}</style>",
        "<style>+ X{fill: red}</style>",
        "<style>:has(X){fill: red}</style>",
        "<style>p{background: url(X)}</style>",
        "<style>p{position: X}</style>",
        "<style>p{fill: X</style>",
        "<cursor href='X'/>",
        "<feImage href='X'/>",
        "<filter><feImage href='https://X'/></filter>",
        "<switch><text>X</text></switch>",
    ],
)
def test_of_a_figure_only_what_draws_is_left(inside: str) -> None:
    """Elements of SVG that draw, with attributes and properties that draw, and references within
    the figure.
    """
    assert "X" not in figure(f"<rect id='a' width='3' height='3'/>{inside}")


def test_what_draws_is_left_of_a_figure() -> None:
    """Gradients, patterns, markers, classes, an image in the file, fonts: as they stand, by new
    names.
    """
    inside = (
        "<style>.line, rect{fill: red; stroke: rgb(1, 2, 3)} #b .line{stroke-width: 2}</style><linearGradient id='b'><stop offset='0' stop-color='red'/>"
        "</linearGradient><g class='line thick' clip-path='url(#b)' style='fill: url(\"#b\"); font: 10px sans-serif; text-anchor: middle'>"
        "<image width='2' height='2' href='data:image/png;base64,iVBORw0KGgo='/><textPath href='#b'>x</textPath></g>"
    )
    found = figure(inside, "width='3in' height='100' viewBox='0 0 3 3'")
    for part in (
        "#f1-svg .f1-line, #f1-svg rect{fill: red; stroke: rgb(1, 2, 3)}#f1-svg #f1-1 .f1-line{stroke-width: 2}",
        'class="f1-line f1-thick"',
        'clip-path="url(#f1-1)"',
        'style="fill: url(#f1-1); font: 10px sans-serif; text-anchor: middle"',
        "data:image/png;base64,iVBORw0KGgo=",
        '<textPath href="#f1-1">x',
        'stop-color="red"',
        'width="3in"',
        'viewBox="0 0 3 3"',
    ):
        assert part in found


def test_a_figure_stays_in_its_place() -> None:
    """The style of the outermost element would be that of a box of the page."""
    found = figure(
        root="style='position:fixed;width:100vw;height:100vh' class='summary' onload='x'"
    )
    assert (
        found
        == '<svg xmlns="http://www.w3.org/2000/svg" class="f1-summary" id="f1-svg" role="img" aria-labelledby="f1-caption" />'
    )


def test_a_figure_without_bottom_is_refused() -> None:
    """5,000 groups in each other: one sentence."""
    with pytest.raises(ValueError, match="Figure 'f1' is nested too deeply"):
        figure("<g>" * 5_000 + "</g>" * 5_000)


def test_a_figure_without_svg_is_refused(tmp_path: Path) -> None:
    """The error names the figure and the file that does not exist."""
    with pytest.raises(ValueError, match=r"Figure 'gone'.*gone\.svg does not exist"):
        page(tmp_path, sections=[Section("S", figures=[Figure(tmp_path / "gone", "c")])])


def test_the_pdf_is_linked_relative_to_the_page(tmp_path: Path) -> None:
    """<stem>.pdf is linked where it exists, by a relative path."""
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "f.svg").write_text(SVG)
    (tmp_path / "figures" / "f.pdf").write_bytes(b"%PDF")
    text = page(
        tmp_path, sections=[Section("S", figures=[Figure(tmp_path / "figures" / "f", "c")])]
    )
    assert '<a href="figures/f.pdf">PDF</a>' in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"claims": pd.DataFrame([CLAIM | {"verdict": "proved"}])}, "Verdict 'proved'"),
        ({"claims": pd.DataFrame([{"claim": "c"}])}, "need the column.*verdict"),
        ({"grid": pd.DataFrame([cells(state="done")])}, "State 'done'"),
        ({"grid": pd.DataFrame([cells(run="r9")])}, "run 'r9'"),
        ({"grid": pd.DataFrame([cells()]).drop(columns="error")}, "needs? the column.*error"),
        ({"registry": pd.DataFrame([{"run": "r1", "role": "spare"}])}, "Role 'spare'"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, change: dict, said: str) -> None:
    """Unknown verdicts, states, roles and runs and missing columns are refused in one sentence;
    nothing is written.
    """
    with pytest.raises(ValueError, match=said):
        page(tmp_path, **change)
    assert not list(tmp_path.iterdir())


def test_a_square_shows_its_worst_state(tmp_path: Path) -> None:
    """Measured, failed and not applicable checkpoints of one run: the square fails with 1 of 2
    applicable measured.
    """
    states = ["measured", "failed", "not applicable"]
    text = page(tmp_path, grid=pd.DataFrame([cells(step=i, state=s) for i, s in enumerate(states)]))
    square = re.search(
        r'<button type="button" class="square ([^"]*)"[^>]*aria-label="([^"]*)"', text
    )
    assert square and square[1] == "failed part"
    assert square[2] == "r1, minimal_pair on agreement: 1 of 2 checkpoints measured, 1 failed"


def test_no_hole_is_silent(tmp_path: Path) -> None:
    """Each state but measured has a line with its reason in the table of holes, worst first, and
    its details.
    """
    grid = [
        cells(),
        cells(step=1, state="failed", error="Traceback\nValueError: bad token"),
        cells(step=2, state="missing"),
    ]
    grid += [
        cells(measure="induction", stimuli=None, state="not applicable", reason="needs attention")
    ]
    text = page(tmp_path, grid=pd.DataFrame(grid))
    holes = text[text.index('id="holes"') :]
    said = ["ValueError: bad token", "planned, not measured yet", "needs attention"]
    assert sorted(said, key=holes.index) == said
    details = json.loads(re.search(r'id="grid-data">(.*?)</script>', text)[1])
    assert "Traceback\nValueError: bad token" in details["texts"]
    assert sum(len(square) for square in details["squares"]) == 4


def test_what_is_absent_is_said(tmp_path: Path) -> None:
    """A study without claims, holes, sections or provenance says so instead of showing nothing."""
    text = page(tmp_path, claims=pd.DataFrame(columns=list(CLAIM)), grid=pd.DataFrame([cells()]))
    assert (
        "states no claims" in text
        and "there are no holes" in text
        and "No provenance was recorded" in text
    )


def test_what_is_unknown_of_every_run_is_no_value_that_they_share(tmp_path: Path) -> None:
    """Models of one's own: the facts that nobody told are named in one list, apart from the values
    that the runs have in common.
    """
    facts = {
        "role": "population",
        "mixer": "attention",
        "corpus": "unknown",
        "train_tokens": None,
        "licence": "unknown",
    }
    text = page(tmp_path, registry=pd.DataFrame([{"run": "r1", **facts}, {"run": "r2", **facts}]))
    assert "The same for every run: mixer = attention." in text
    assert "Unknown of every run: corpus, train tokens, licence." in text


def test_a_claim_reads_as_a_sentence() -> None:
    """Effect and interval have the digits that the interval allows, and minus signs."""
    row = CLAIM | {
        "claim": "Size matters.",
        "estimate": -0.21234,
        "lower": -0.6311,
        "upper": 0.2099,
        "unit": "nats",
    }
    view = claims_view(pd.DataFrame([row]))[0]
    assert (
        view["sentence"]
        == "Size matters: supported (−0.21 nats [−0.63, 0.21]; 11 runs in 4 families)."
    )


def test_a_claim_says_that_its_interval_was_cut() -> None:
    """Beside the interval, in the sentence too."""
    view = claims_view(pd.DataFrame([CLAIM | {"claim": "C", "upper": 1.0, "cut": "upper"}]))[0]
    assert view["interval"] == "[0.60, 1.00] (cut at what is possible)"
    assert view["interval"] in view["sentence"]


def test_a_claim_that_is_not_identifiable_has_no_numbers() -> None:
    """Without an estimate there is no effect, no interval and no drawing, and the sentence is
    whole.
    """
    row = CLAIM | {
        "claim": "C",
        "verdict": "not identifiable",
        "estimate": math.nan,
        "lower": None,
        "upper": None,
    }
    view = claims_view(pd.DataFrame([row]))[0]
    assert (view["effect"], view["interval"], view["mark"]) == ("", "", None)
    assert view["sentence"] == "C: not identifiable (11 runs in 4 families)."


def test_the_interval_is_drawn_where_it_lies() -> None:
    """Interval [1, 3] beyond a region up to 0.5: positions keep that order, an open region reaches
    the edge.
    """
    row = CLAIM | {
        "estimate": 2,
        "lower": 1,
        "upper": 3,
        "region_lower": -math.inf,
        "region_upper": 0.5,
    }
    mark = claims_view(pd.DataFrame([row]))[0]["mark"]
    assert (
        0
        == mark["region"][0]
        < mark["zero"]
        < mark["region"][1]
        < mark["low"]
        < mark["estimate"]
        < mark["high"]
        < 100
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (9999, "9999"),
        (35008, "35,008"),
        (70426624, "70.4M"),
        (999999999, "1.00B"),
        (299892736000, "300B"),
    ]
    + [(11846072320, "11.8B"), (-12345, "−12,345")],
)
def test_counts(value: int, text: str) -> None:
    """Whole numbers are grouped from 10,000 and shortened from ten million."""
    assert count(value) == text


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (0.12345, 2, "0.12"),
        (-0.004, 2, "−0.00400"),
        (0.0, 2, "0.00"),
        (1234.5, None, "1234"),
        (0.0123456, None, "0.0123"),
    ]
    + [(2.41e-9, None, "2.41×10⁻⁹"), (math.inf, 1, "∞"), (math.nan, 1, "–")],
)
def test_numbers(value: float, places: int | None, text: str) -> None:
    """Decimals as asked for, but never so few that a number reads as nothing."""
    assert number(value, places) == text


def test_full_values_stand_behind_short_ones() -> None:
    """The raw value of a cell is the shortest text that reads back as the same float; p-values have
    a floor.
    """
    assert number_cells("x", pd.Series([0.123456789012]))[0].raw == "0.123456789012"
    assert number_cells("p_holm", pd.Series([2.4e-9, 0.5]))[0][:2] == ("<0.001", "2.4e-09")
    assert [c.text for c in number_cells("seed", pd.Series([20261120, None], dtype="Int64"))] == [
        "20261120",
        "–",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("surprisal_bits", ("surprisal", "bits")),
        ("peak_memory_mib", ("peak memory", "MiB")),
        ("n_bytes", ("n\u00a0bytes", "")),
    ]
    + [
        ("bits_per_byte", ("bits per byte", "")),
        ("params_total", ("params total", "")),
        ("slope", ("slope", "nats/doubling")),
    ],
)
def test_units_in_headers(name: str, expected: tuple[str, str]) -> None:
    """The unit is the one that ends the name, or the one that the table gives."""
    assert header(name, {"slope": "nats/doubling"}) == expected


@pytest.mark.parametrize(
    ("low", "high", "places"), [(0.6, 0.82, 2), (-0.011, 0.019, 3), (10, 35, 0), (1, 1, None)]
)
def test_digits_follow_the_interval(low: float, high: float, places: int | None) -> None:
    """Two significant digits of the width."""
    assert decimals_of_interval(low, high) == places


def test_all_rows_are_in_the_page(tmp_path: Path) -> None:
    """Of 1,000 rows 800 wait for "show all" (and print), none is left out."""
    text = page(
        tmp_path, sections=[Section("S", tables={"long": pd.DataFrame({"x": range(1000)})})]
    )
    block = text[text.index('id="long"') : text.index('id="provenance"')]
    assert block.count('<tr class="more">') == 800 and block.count("<td") == 1000
