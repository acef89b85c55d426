"""The help of a command: as the library draws it, but lines that a docstring breaks are joined to
paragraphs; lines that are indented (examples) stay as they are.
"""

from typing import TYPE_CHECKING, Any

from cyclopts.help import DefaultFormatter

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions


class Panels(DefaultFormatter):
    """Formatter of the help; see App(help_formatter=...) of cyclopts."""

    def render_description(
        self, console: "Console", options: "ConsoleOptions", description: Any
    ) -> None:
        """Print what a command does."""
        if text := plain(description):
            console.print(f"{joined(text)}\n", markup=False, highlight=False)

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Print a group of options, arguments or commands."""
        entries = [e.copy(description=joined(plain(e.description))) for e in panel.entries]
        super().__call__(console, options, panel.copy(entries=entries))


def plain(text: Any) -> str:
    """The characters of a text that is made for a terminal."""
    return str(getattr(text, "primary_renderable", text) or "")


def joined(text: str) -> str:
    """The text with the lines of each paragraph joined, but for paragraphs that are indented."""
    paragraphs = text.strip("\n").split("\n\n")
    return "\n\n".join(p if p.startswith(" ") else " ".join(p.split()) for p in paragraphs)
