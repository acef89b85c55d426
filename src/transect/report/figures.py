"""Figures inside the page: an SVG file as an element that neither meets its neighbours nor the network.

Every id becomes <prefix>-<n> in document order (so that two figures never share one, and matplotlib's random ids leave
no trace), its style sheet is scoped to it; metadata (dates), scripts, event attributes and outside links are dropped.
"""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
DROPPED = {
    "metadata",
    "script",
    "foreignObject",
    "iframe",
    "a",
    "animate",
    "set",
}  # dates, behaviour, ways out


@dataclass(frozen=True)
class Figure:
    """`stem`: path without suffix; <stem>.svg is needed, <stem>.pdf linked where it exists. `caption`: what is seen.

    `data`: folders of the result tables that it draws, relative to the page.
    """

    stem: Path
    caption: str
    title: str = ""
    data: Sequence[str] = ()


def embed(figure: Figure, prefix: str, folder: Path) -> dict[str, Any]:
    """The figure as the template's variables: svg (markup), caption, title, file name, the PDF relative to `folder`.

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


def inline_svg(text: str, prefix: str) -> str:
    """The SVG document `text` as an element of an HTML page, its ids <prefix>-1, <prefix>-2 ... in document order."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"Figure {prefix!r} is not well-formed SVG: {error}.") from None
    if root.tag != f"{{{SVG}}}svg":
        raise ValueError(f"Figure {prefix!r} is not SVG: its outermost element is {root.tag}.")
    _drop(root)
    names = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    renamed = {name: f"{prefix}-{n}" for n, name in enumerate(dict.fromkeys(names), start=1)}
    for element in root.iter():
        element.attrib = _attributes(element.attrib, renamed)
        if element.tag == f"{{{SVG}}}style":
            element.text = _scoped(element.text or "", f"#{prefix}-svg")
        element.text = (element.text or "").strip() if len(element) else element.text
        element.tail = "\n" if (element.tail or "").strip() == "" and element.tag != f"{{{SVG}}}tspan" else element.tail
    root.attrib |= {"id": f"{prefix}-svg", "role": "img", "aria-labelledby": f"{prefix}-caption"}
    root.tail = None
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _drop(element: ElementTree.Element) -> None:
    for child in list(element):
        if child.tag.rpartition("}")[2] in DROPPED:
            element.remove(child)
        else:
            _drop(child)


def _attributes(attributes: dict[str, str], renamed: dict[str, str]) -> dict[str, str]:
    """Attributes with ids and references renamed; event handlers and links that leave the document are dropped."""
    kept = {}
    for key, value in attributes.items():
        name = key.rpartition("}")[2]
        if name.lower().startswith("on"):
            continue
        if name == "id":
            value = renamed[value]
        elif name == "href":
            if value.startswith("#"):
                value = "#" + renamed.get(value[1:], value[1:])
            elif not value.startswith("data:image/"):
                continue
            key = "href"  # SVG 2: no xlink prefix, which the HTML parser does not need
        else:
            value = _local_urls(value, renamed)
        kept[key] = value
    return kept


def _local_urls(value: str, renamed: dict[str, str]) -> str:
    """url(#id) renamed; any other url(...) becomes none."""

    def replace(match: re.Match[str]) -> str:
        target = match.group(1).strip("'\" ")
        return f"url(#{renamed.get(target[1:], target[1:])})" if target.startswith("#") else "none"

    return re.sub(r"url\(([^)]*)\)", replace, value)


def _scoped(style: str, scope: str) -> str:
    """A flat style sheet under `scope`: matplotlib's `*{stroke-linejoin: round}` must not restyle the page."""
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", re.sub(r"@import[^;]*;|/\*.*?\*/", "", style, flags=re.DOTALL))
    return "".join(
        f"{', '.join(f'{scope} {part.strip()}' for part in selector.split(','))}{{{_local_urls(body.strip(), {})}}}"
        for selector, body in rules
        if not selector.strip().startswith("@")
    )
