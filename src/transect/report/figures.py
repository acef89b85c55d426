"""Figures of the page: an SVG file as an element of it (svg.py), its caption, its tables, its PDF."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from transect.report.svg import inline_svg


@dataclass(frozen=True)
class Figure:
    """`stem`: path without suffix; <stem>.svg is needed, <stem>.pdf linked where it exists.
    `caption`: what is seen.

    `data`: folders of the result tables that it draws, relative to the page.
    """

    stem: Path
    caption: str
    title: str = ""
    data: Sequence[str] = ()


def embed(figure: Figure, prefix: str, folder: Path) -> dict[str, Any]:
    """The figure as the template's variables: svg (markup), caption, title, file name, the PDF
    relative to `folder`.

    Raises ValueError where <stem>.svg is absent or is not SVG.
    """
    stem = Path(figure.stem)
    source = stem.with_name(stem.name + ".svg")
    if not source.exists():
        raise ValueError(f"Figure {stem.name!r} of the report has no SVG: {source} does not exist.")
    pdf = stem.with_name(stem.name + ".pdf")
    return {
        "id": prefix,
        "svg": Markup(inline_svg(source.read_text(encoding="utf-8"), prefix)),
        "caption": figure.caption,
        "title": figure.title,
        "file": stem.name,
        "data": list(figure.data),
        "pdf": Path(os.path.relpath(pdf, folder)).as_posix() if pdf.exists() else "",
    }
