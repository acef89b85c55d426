"""The help of a command."""

import pytest

from transect.cli.help_panels import joined
from transect.cli.main import main

TEXT = """The lines of a
paragraph are joined.

For example:

  transect run a
  transect run b"""


def test_the_lines_of_a_paragraph_are_joined() -> None:
    """But not those of examples, which are indented."""
    expected = TEXT.replace("lines of a\nparagraph", "lines of a paragraph")
    assert joined(TEXT) == joined(f"\n{TEXT}\n") == expected


@pytest.mark.parametrize("width", ["60", "100"])
def test_the_help_fits_the_terminal(
    width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is wider than the terminal, and texts are broken by its width, not by a docstring's:
    a line of the text is filled until the next word does not fit.
    """
    monkeypatch.setenv("COLUMNS", width)
    assert main(["fit", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= int(width)
    first = next(i for i, line in enumerate(lines) if line.startswith("The formula is lme4's"))
    next_word = lines[first + 1].split()[0]
    assert len(lines[first].rstrip()) + 1 + len(next_word) > int(width)
